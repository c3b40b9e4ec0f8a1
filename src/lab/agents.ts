/** The agents and routers of a lab as processes. */
import fs from 'node:fs';
import path from 'node:path';
import { stringify } from 'yaml';
import { toolPath } from '#setup';
import { birdConfig } from './bird.ts';
import { LabError } from './errors.ts';
import { nodeAsn, type StoredObject } from './manifests.ts';
import { type LabPaths, machineNetns, nodePaths } from './names.ts';
import { type LabProcess, startProcess } from './processes.ts';
import type { Topology, TopologyRouter } from './topology.ts';

/** Entry of the command line, run unbuilt. */
export const cliEntry = path.join(import.meta.dirname, '..', 'cli', 'main.ts');
const holdTimeSec = 9;
/** Sessions of a lab come back soon after a router does. */
const connectRetrySec = 1;

/** Path of a program that the set-up scripts provide. @throws LabError TOOL_MISSING */
export function labTool(name: Parameters<typeof toolPath>[0]): string {
  const file = toolPath(name);
  if (file) return file;
  throw new LabError(
    `${name} is not there yet: start the lab with \`npm run -s poplin -- lab ...\`, which fetches and builds what it needs`,
    {
      code: 'TOOL_MISSING',
      tool: name,
    },
  );
}

/** Nothing of the caller's environment: POPLIN_* variables of a shell must not reach every agent of a lab. */
export function agentEnvironment(lab: LabPaths, node: string): Record<string, string> {
  return {
    PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: process.env['HOME'] ?? '/root',
    XTABLES_LOCKFILE: nodePaths(lab, node).xtablesLock,
  };
}

/** Further options of an agent's configuration file. */
export type AgentOptions = Readonly<Record<string, string | number | boolean>>;

/** Starts the agent of one node, in the node's namespace, with directories and a lock for iptables of its own. */
export async function startAgent(lab: LabPaths, node: string, options: AgentOptions = {}): Promise<LabProcess> {
  const paths = nodePaths(lab, node);
  for (const directory of [paths.state, paths.run, paths.cniConfig, path.dirname(paths.cniBinary)])
    fs.mkdirSync(directory, { recursive: true });
  fs.writeFileSync(
    paths.config,
    stringify({
      nodeName: node,
      datastoreDir: paths.datastore,
      stateDir: paths.state,
      runDir: paths.run,
      xtablesLockFile: paths.xtablesLock,
      cniConfDir: paths.cniConfig,
      cniBinary: paths.cniBinary,
      connectRetrySec,
      ...options,
    }),
  );
  return startProcess({
    role: `agent ${node}`,
    netns: machineNetns(lab, node),
    command: process.execPath,
    args: [cliEntry, 'agent', '--config', paths.config],
    env: agentEnvironment(lab, node),
    logFile: paths.log,
  });
}

export function routerFiles(
  lab: LabPaths,
  router: string,
): { readonly config: string; readonly control: string; readonly log: string } {
  const directory = path.join(lab.directory, 'routers');
  return {
    config: path.join(directory, `${router}.conf`),
    control: path.join(directory, `${router}.ctl`),
    log: path.join(lab.logs, `${router}.log`),
  };
}

export async function startRouter(
  lab: LabPaths,
  topology: Topology,
  router: TopologyRouter,
  objects: readonly StoredObject[],
): Promise<LabProcess> {
  const files = routerFiles(lab, router.name);
  fs.mkdirSync(path.dirname(files.config), { recursive: true });
  fs.writeFileSync(
    files.config,
    birdConfig({ topology, router, nodeAsn: (node) => nodeAsn(objects, node), holdTimeSec }),
  );
  return startProcess({
    role: `${router.daemon} ${router.name}`,
    netns: machineNetns(lab, router.name),
    command: labTool('bird'),
    args: ['-f', '-c', files.config, '-s', files.control],
    logFile: files.log,
  });
}

export async function startProber(lab: LabPaths): Promise<LabProcess> {
  return startProcess({
    role: 'prober',
    command: process.execPath,
    args: [path.join(import.meta.dirname, 'prober', 'main.ts'), lab.proberSocket],
    logFile: path.join(lab.logs, 'prober.log'),
  });
}
