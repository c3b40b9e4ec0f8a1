/**
 * An agent cut down to CNI: server, address pools and the system, with a dataplane that has nothing to enforce. Runs in the network namespace
 * of a node, as a process of its own, so that tests can kill it.
 *
 * Prints one JSON object a line. A line on stdin, `policy ok|hang|fail`, `pods known|unknown` or `ready yes|no`, changes how the rest of
 * the agent behaves; `report` asks for a line.
 */
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { cniSystem } from '#agent';
import { createCniServer } from '#cni';
import { createIpam } from '#ipam';
import { type Cidr, type Logger, systemClock } from '#kit';
import type { PodObject } from '#model';
import { startRealPolicy } from './cni-policy.ts';

export interface ServerConfig {
  /** Everything lives below it; see `pathsIn`. */
  readonly directory: string;
  readonly podCIDRs: readonly string[];
  readonly addressRestMs?: number;
  readonly podWaitMs?: number;
  readonly policyWaitMs?: number;
  /** How long each policy takes to be in force. */
  readonly policyDelayMs?: number;
  /** Enforce policy for real. */
  readonly realPolicy?: 'nft' | 'legacy';
  readonly mtu?: number;
}

export function pathsIn(directory: string) {
  return {
    socketPath: `${directory}/run/cni/cni.sock`,
    queueDirectory: `${directory}/queue`,
    stateDirectory: `${directory}/attachments`,
  };
}

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** Resolves never, rejects when `signal` aborts. */
function forever(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const abort = (): void => reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
  });
}

function makeLogger(fields: object): Logger {
  const write = (level: string) => (more: object, message: string) => say({ level, message, ...fields, ...more });
  const silent = (): void => undefined;
  return { error: write('error'), warn: write('warn'), info: write('info'), debug: silent, child: makeLogger };
}

async function main(config: ServerConfig): Promise<void> {
  const clock = systemClock();
  const behaviour = { policy: 'ok', pods: 'known', ready: 'yes' };
  const attached = new Map<string, readonly string[]>();
  const ipam = createIpam({ clock }, config.addressRestMs === undefined ? {} : { restMs: config.addressRestMs });
  ipam.setPools(config.podCIDRs as Cidr[]);
  const { mtu } = config;
  const families = config.podCIDRs.map((cidr) => (cidr.includes(':') ? 6 : 4));
  const real = config.realPolicy
    ? await startRealPolicy(`${config.directory}/xtables.lock`, families, config.realPolicy)
    : undefined;
  const server = createCniServer(
    {
      system: cniSystem(),
      pods: {
        wait: async (key, _uid, signal) => {
          if (behaviour.pods !== 'known') return forever(signal);
          // A Pod that comes only now: its rules are put in force by the ADD itself.
          void real?.podKnown(key);
          return {} as PodObject;
        },
      },
      dataplane: real?.dataplane ?? {
        async attach(endpoint, signal) {
          if (behaviour.policy === 'fail') throw new Error('iptables-restore said no');
          if (behaviour.policy === 'hang') await forever(signal);
          if (config.policyDelayMs) await sleep(config.policyDelayMs, undefined, { signal });
          attached.set(endpoint.interfaceName, endpoint.addresses);
        },
        async detach(endpoint) {
          attached.delete(endpoint.interfaceName);
        },
        async flushConntrack() {
          return undefined;
        },
      },
      ipam,
      clock,
      log: makeLogger({}),
      notReady: () => (behaviour.ready === 'yes' ? undefined : 'the datastore is not in sync'),
    },
    {
      ...pathsIn(config.directory),
      ...(mtu === undefined ? {} : { mtu: () => mtu }),
      ...(config.podWaitMs === undefined ? {} : { podWaitMs: config.podWaitMs }),
      ...(config.policyWaitMs === undefined ? {} : { policyWaitMs: config.policyWaitMs }),
      ...(config.addressRestMs === undefined ? {} : { addressRestMs: config.addressRestMs }),
    },
  );
  await server.recover();
  for (const endpoint of server.endpoints()) attached.set(endpoint.interfaceName, endpoint.addresses);
  await server.start();
  say({ state: 'serving', endpoints: server.endpoints() });
  createInterface({ input: process.stdin }).on('line', async (line) => {
    const [what = '', value = ''] = line.split(' ');
    if (what === 'known') {
      await real?.podKnown(value);
    } else if (what === 'report') {
      say({
        report: {
          endpoints: server.endpoints(),
          usage: ipam.usage(),
          attached: [...attached.keys()],
          lastAdd: server.lastAdd,
        },
      });
    } else Object.assign(behaviour, { [what]: value });
    if (what !== 'report') say({ set: what, to: value });
  });
  process.on('SIGTERM', () => void server.stop().then(() => process.exit(0)));
}

if (import.meta.main) await main(JSON.parse(process.argv[2] ?? '') as ServerConfig);
