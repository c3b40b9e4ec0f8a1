/**
 * The test cluster by hand, for developers: `npm run cluster -- COMMAND`.
 *
 *   up [--agent poplin|bridge|none] [--family 4|6] [--proxy iptables|nftables] [--containerd 2|1.6]
 *   down | status
 *   kubectl ARGS...          as admin
 *   exec NODE COMMAND...     inside a node          tor|outside|wire COMMAND...   in that namespace
 *   birdc COMMAND...         the ToR router's       root NODE                     a node's root, seen from outside
 *   start|stop PART          etcd, apiserver, kcm, scheduler, bird, 'kubelet node1', 'kube-proxy node2', 'containerd node1'
 *   reboot NODE              power cut; its parts are started again one by one with `start`
 *   latency [SAMPLES]        time from a policy at the API server to the first blocked connection, and back
 *   logs FOLDER              everything that helps to understand a failure
 */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { netnsPath } from '#lab';
import { collectLogs, down, openCluster, rebootNode, up } from '../support/cluster/cluster.ts';
import { ClusterError } from '../support/cluster/errors.ts';
import { type AgentHook, bridgeHook, manifestHook } from '../support/cluster/hooks.ts';
import { kubectlCommand } from '../support/cluster/kubectl.ts';
import { latencyText, measurePolicyLatency } from '../support/cluster/latency.ts';
import { type MachineName, type NodeName, netnsOf, nodeNames, paths } from '../support/cluster/layout.ts';
import { nodeCommand, nodePath } from '../support/cluster/node.ts';
import { allParts, isRunning, logOf, type Part, startPart, stopPart } from '../support/cluster/parts.ts';
import { readState } from '../support/cluster/state.ts';
import { birdc } from '../support/cluster/tor.ts';

const say = (line: string): void => void process.stdout.write(`${line}\n`);

class UsageError extends Error {}

function oneOf<T extends string>(value: string | undefined, allowed: readonly T[], what: string): T {
  const found = allowed.find((one) => one === value);
  if (found) return found;
  throw new UsageError(`${what} ${JSON.stringify(value ?? '')}: one of ${allowed.join(', ')} is wanted`);
}

function become(command: readonly string[], env?: Readonly<Record<string, string>>): void {
  const [first, ...args] = command;
  const { status } = spawnSync(first!, args, { stdio: 'inherit', env: env ?? process.env });
  process.exitCode = status ?? 1;
}

async function bringUp(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      agent: { type: 'string', default: 'poplin' },
      family: { type: 'string', default: '4' },
      proxy: { type: 'string', default: 'iptables' },
      containerd: { type: 'string', default: '2' },
    },
  });
  const agents: Readonly<Record<'poplin' | 'bridge' | 'none', AgentHook | undefined>> = {
    poplin: manifestHook(),
    bridge: bridgeHook,
    none: undefined,
  };
  const agent = agents[oneOf(values.agent, ['poplin', 'bridge', 'none'], '--agent')];
  const { api } = await up({
    ...(agent ? { agent } : {}),
    keep: true,
    family: oneOf(values.family, ['4', '6'], '--family') === '6' ? 6 : 4,
    proxyMode: oneOf(values.proxy, ['iptables', 'nftables'], '--proxy'),
    containerd: oneOf(values.containerd, ['2', '1.6'], '--containerd'),
    say,
  });
  api.close();
  say(`logs: ${paths.logs}; \`npm run cluster -- kubectl get pods -A\`; \`npm run cluster -- down\``);
}

function status(): void {
  const { options } = readState();
  say(`IPv${options.family} first, kube-proxy in ${options.proxyMode} mode, containerd ${options.containerd}`);
  for (const part of allParts) say(`${isRunning(part) ? 'running' : 'stopped'}  ${part.padEnd(18)} ${logOf(part)}`);
}

async function latency(samples: number): Promise<void> {
  const cluster = openCluster();
  say(latencyText(await measurePolicyLatency(cluster, samples)));
  cluster.api.close();
}

async function run([command, ...args]: readonly string[]): Promise<void> {
  const node = (): NodeName => oneOf(args[0], nodeNames, 'node');
  switch (command) {
    case 'up':
      return bringUp(args);
    case 'down':
      return down();
    case 'status':
      return status();
    case 'kubectl': {
      const { command: line, env } = kubectlCommand(args);
      return become(line, env);
    }
    case 'exec':
      return become(nodeCommand(node(), args.slice(args[1] === '--' ? 2 : 1)));
    case 'root':
      return say(nodePath(node(), '/'));
    case 'tor':
    case 'outside':
    case 'wire':
      return become(['nsenter', `--net=${netnsPath(netnsOf(command satisfies MachineName))}`, ...args]);
    case 'birdc':
      return say(await birdc(...args));
    case 'start':
      return startPart(oneOf<Part>(args[0], allParts, 'part'));
    case 'stop':
      return stopPart(oneOf<Part>(args[0], allParts, 'part'));
    case 'reboot':
      return rebootNode(node());
    case 'latency':
      return latency(Number(args[0] ?? 10));
    case 'logs':
      return collectLogs(args[0] ?? 'dist/cluster-logs');
    default:
      throw new UsageError(`no command ${JSON.stringify(command ?? '')}: see the head of test/cluster/main.ts`);
  }
}

try {
  await run(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof ClusterError || error instanceof UsageError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
