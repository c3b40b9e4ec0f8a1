/**
 * `poplin cleanup`: takes away everything that an agent with this configuration ever made on the machine, also while containers of pods still
 * run: their interfaces go, and they have no network until they are made anew under another CNI plugin.
 *
 * The order: first nobody may ask for new pods, then what pods have goes, then what would let a next agent take over where this one
 * ended. Killed anywhere in between, the next run finds the rest: a file that says what else there is goes after that.
 */
import fs from 'node:fs';
import path from 'node:path';
import { NETWORK_NAME, readAttachments, removeConflist, removePlugins } from '#cni';
import type { AgentConfig } from '#config';
import { cleanupHostPorts, cleanupPolicyDataplane, cleanupRoutes } from '#felix';
import { createLogger } from '#obs';
import { durableFile, openNftTables, openRouteKernel, sysctlFiles } from '#sys';
import { takeNode } from './node-lock.ts';
import { agentPaths, conntrackFlusher, INTERFACE_PREFIX, runCommand } from './system.ts';

export interface CleanupSummary {
  /** What was removed, by kind. */
  readonly removed: Readonly<Record<string, number>>;
  /** Settings of the kernel that were put back. */
  readonly restored: readonly string[];
  /** What would not go, in words; empty when all is as before. */
  readonly left: readonly string[];
  /** What stays though nothing of ours is in it, or is somebody else's. */
  readonly notes: readonly string[];
}

export interface CleanupOptions {
  /** Folder of the runtime's CNI plugins: those that Poplin installed go. Default: where the configuration has ours. */
  readonly pluginFolder?: string;
}

/** Refuses while an agent runs. Safe to repeat. @throws AgentError LOCKED; InstallError */
export async function runCleanup(config: AgentConfig, options: CleanupOptions = {}): Promise<CleanupSummary> {
  const release = await takeNode(config);
  const log = createLogger({ level: config.logLevel, base: { node: config.nodeName } });
  const paths = agentPaths(config);
  const tables = openNftTables();
  const env = { XTABLES_LOCKFILE: config.xtablesLockFile };
  try {
    const configurations = config.cniConfDir && removeConflist(config.cniConfDir) ? 1 : 0;
    const attachments = readAttachments(paths.attachments);
    const hostPorts = await cleanupHostPorts(
      { run: runCommand, tables, log },
      {
        network: NETWORK_NAME,
        containerIds: new Set(attachments.flatMap(({ containerId }) => containerId ?? [])),
        sharedChains: config.cniPortmap,
        env,
      },
    );
    const policy = await cleanupPolicyDataplane({ run: runCommand, tables, log }, { env });
    const routes = await cleanupRoutes(
      {
        kernel: openRouteKernel(),
        sysctls: sysctlFiles(config.procSys || undefined),
        sysctlState: durableFile(paths.sysctls),
        log,
      },
      { interfacePrefix: INTERFACE_PREFIX },
    );
    // With them go the marks on flows that policy had cut.
    await conntrackFlusher()(attachments.flatMap(({ addresses }) => addresses));
    // Not before the interfaces are gone: until then a runtime may still delete pods with it.
    const plugins = removePlugins(options.pluginFolder ?? path.dirname(config.cniBinary));
    const files = removeFiles(config);
    const { chains, jumps, sets } = policy;
    const { links, nexthops, routes: routeCount } = routes;
    return {
      removed: {
        configurations,
        chains,
        jumps,
        sets,
        hostPorts: hostPorts.removed,
        interfaces: links,
        routes: routeCount,
        nexthops,
        plugins: plugins.length,
        files: files.removed,
      },
      restored: routes.sysctls,
      left: routes.failures,
      notes: [...hostPorts.left, ...policy.left, ...files.notes],
    };
  } finally {
    tables.close();
    release();
  }
}

/**
 * State and sockets. By name, never a folder with whatever is in it: an operator may have pointed an option at one that holds more. The
 * folders themselves go when they are empty; in a container they are mounts and stay.
 */
function removeFiles(config: AgentConfig): { readonly removed: number; readonly notes: readonly string[] } {
  const paths = agentPaths(config);
  const temporaries = (folder: string): string[] =>
    (fs.existsSync(folder) ? fs.readdirSync(folder) : [])
      .filter((name) => /^\..*\.\d+\.\d+\.tmp$/.test(name))
      .map((name) => path.join(folder, name));
  const state = [
    paths.cniQueue,
    path.join(config.stateDir, 'datastore'),
    paths.sysctls,
    paths.dnsServers,
    paths.domainAddresses,
    ...temporaries(config.stateDir),
    // Last: it says which addresses and containers there were.
    paths.attachments,
  ];
  // We hold the lock, and made it again if it was not there.
  const run = [paths.apiSocket, paths.cniSocket, ...temporaries(config.runDir)];
  const removed = [...state, ...run].filter((file) => {
    if (!isThere(file)) return false;
    fs.rmSync(file, { recursive: true, force: true });
    return true;
  });
  fs.rmSync(paths.lock, { force: true });
  const notes = [path.dirname(paths.cniSocket), config.stateDir, config.runDir].flatMap((folder) => {
    const others = removeFolder(folder);
    return others.length > 0 ? [`${folder} holds what is not ours: ${others.slice(0, 5).join(', ')}`] : [];
  });
  return { removed: removed.length, notes };
}

/** A socket whose listener is gone exists, too; a dangling link does. */
function isThere(file: string): boolean {
  return fs.lstatSync(file, { throwIfNoEntry: false }) !== undefined;
}

/** Removes an empty folder, unless it is a mount. Returns what is in it. */
function removeFolder(folder: string): string[] {
  if (!fs.existsSync(folder)) return [];
  const names = fs.readdirSync(folder);
  if (names.length > 0) return names;
  try {
    fs.rmdirSync(folder);
  } catch (error) {
    if (!['EBUSY', 'EROFS', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
  return [];
}
