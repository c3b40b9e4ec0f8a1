/**
 * How long a policy takes to bite, in a real cluster: a pod on node1 opens a TCP connection to a pod on node2 every 2 ms.
 *
 * A default-deny ingress policy is created: the figure is the time from the API server's answer to the start of the first of three
 * blocked probes in a row. It is deleted: the time to the start of the first probe that passes. A probe has 50 ms to connect.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  AF_INET,
  AF_INET6,
  check,
  EPOLLOUT,
  Epoll,
  type Fd,
  getIntOption,
  inNetns,
  libc,
  newSocket,
  openNetns,
  SO_ERROR,
  SOCK_STREAM,
  SOL_SOCKET,
  sockaddrIn,
} from '#sys';
import { until } from '../wait.ts';
import type { Cluster } from './cluster.ts';
import { addressOf, createNamespace, deleteNamespace, podNetnsPath, runPods } from './pods.ts';

const probeEveryMs = 2;
const probeWindowMs = 50;
/** Blocked probes in a row that count as blocked: one may be lost to a busy machine. */
const blockedRun = 3;
const port = 8080;
const verdictDeadlineMs = 30_000;
const EINPROGRESS = 115;
const SO_LINGER = 13;
const resetOnClose = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);

interface Probe {
  readonly startedMs: number;
  open: boolean | undefined;
}

/** Opens connections from within a namespace at a steady rate and keeps each one's verdict. */
class ConnectionProbe {
  readonly #namespace: Fd;
  readonly #address: string;
  readonly #epoll: Epoll;
  readonly #running = new Map<number, { readonly fd: Fd; readonly probe: Probe }>();
  readonly #timer: NodeJS.Timeout;
  probes: Probe[] = [];

  constructor(netns: string, address: string) {
    this.#namespace = openNetns(netns);
    this.#address = address;
    this.#epoll = new Epoll((fd) => {
      const running = this.#running.get(fd);
      if (running) this.#end(running, getIntOption(fd, SOL_SOCKET, SO_ERROR) === 0);
    });
    this.#timer = setInterval(() => this.#turn(), probeEveryMs);
  }

  #turn(): void {
    const now = performance.now();
    for (const running of this.#running.values()) {
      if (running.probe.startedMs > now - probeWindowMs) break; // in order of their start
      this.#end(running, false);
    }
    const probe: Probe = { startedMs: now, open: undefined };
    this.probes.push(probe);
    const domain = this.#address.includes(':') ? AF_INET6 : AF_INET;
    const fd = inNetns(this.#namespace, () => newSocket(domain, SOCK_STREAM));
    check('setsockopt', libc.setsockopt(fd.number, SOL_SOCKET, SO_LINGER, resetOnClose, resetOnClose.length));
    const to = sockaddrIn(this.#address, port);
    const result = libc.connect(fd.number, to, to.length);
    const running = { fd, probe };
    this.#running.set(fd.number, running);
    this.#epoll.add(fd.number, EPOLLOUT);
    if (result < 0 && result !== -EINPROGRESS) this.#end(running, false);
  }

  #end({ fd, probe }: { readonly fd: Fd; readonly probe: Probe }, open: boolean): void {
    probe.open = open;
    this.#running.delete(fd.number);
    this.#epoll.remove(fd.number);
    fd.close();
  }

  /** Start of the first of `run` equal verdicts in a row among the probes started since `sinceMs`. */
  async first(open: boolean, sinceMs: number, run: number): Promise<number> {
    const what = `${run} connections in a row to be ${open ? 'open' : 'blocked'}`;
    return until(() => firstOf(this.probes, open, sinceMs, run), { what, deadlineMs: verdictDeadlineMs });
  }

  close(): void {
    clearInterval(this.#timer);
    for (const running of this.#running.values()) this.#end(running, false);
    this.#epoll.close();
    this.#namespace.close();
  }
}

/** Exported for its test. */
export function firstOf(
  probes: readonly { readonly startedMs: number; readonly open: boolean | undefined }[],
  open: boolean,
  sinceMs: number,
  run: number,
): number | undefined {
  let length = 0;
  let startedMs = 0;
  for (const probe of probes) {
    if (probe.startedMs < sinceMs) continue;
    if (probe.open === undefined) return undefined; // and so are later ones
    if (probe.open !== open) length = 0;
    else if (length++ === 0) startedMs = probe.startedMs;
    if (length === run) return startedMs;
  }
  return undefined;
}

export interface PolicyLatency {
  readonly samples: number;
  readonly createdToBlockedMs: readonly number[];
  readonly deletedToOpenMs: readonly number[];
}

/** The middle one, of an even number the lower. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[(sorted.length - 1) >> 1]!;
}

const namespace = 'policy-latency';
const policies = `/apis/networking.k8s.io/v1/namespaces/${namespace}/networkpolicies`;

export async function measurePolicyLatency(cluster: Cluster, samples: number): Promise<PolicyLatency> {
  const { api, options } = cluster;
  await createNamespace(cluster, namespace);
  let probe: ConnectionProbe | undefined;
  try {
    const [server, client] = await runPods(cluster, [
      { namespace, name: 'server', node: 'node2', args: ['netexec', `--http-port=${port}`] },
      { namespace, name: 'client', node: 'node1' },
    ]);
    probe = new ConnectionProbe(podNetnsPath(client!), addressOf(server!, options.family));
    await probe.first(true, 0, 20);
    const createdToBlockedMs: number[] = [];
    const deletedToOpenMs: number[] = [];
    for (let i = 0; i < samples; i++) {
      // At a moment of its own: nothing periodic in the agent may favour or spoil every sample.
      await sleep(500 + Math.random() * 1_000);
      probe.probes = [];
      const spec = { podSelector: {}, policyTypes: ['Ingress'] };
      await api.create(policies, { metadata: { name: 'deny' }, spec });
      createdToBlockedMs.push(await since(probe, false, blockedRun));
      await sleep(500 + Math.random() * 1_000);
      probe.probes = [];
      await api.delete(`${policies}/deny`);
      deletedToOpenMs.push(await since(probe, true, 1));
    }
    return { samples, createdToBlockedMs, deletedToOpenMs };
  } finally {
    probe?.close();
    await deleteNamespace(cluster, namespace);
  }
}

/** From now, when the API server has answered. A verdict may be in force before its answer is: that counts as 0. */
async function since(probe: ConnectionProbe, open: boolean, run: number): Promise<number> {
  const answeredMs = performance.now();
  return Math.max(0, (await probe.first(open, answeredMs - probeWindowMs, run)) - answeredMs);
}

export function latencyText({ samples, createdToBlockedMs, deletedToOpenMs }: PolicyLatency): string {
  const line = (what: string, values: readonly number[]): string =>
    `${what}: p50 ${median(values).toFixed(0)} ms, max ${Math.max(...values).toFixed(0)} ms, ${samples} samples: ${values.map((value) => value.toFixed(0)).join(' ')}`;
  return `${line('created -> blocked', createdToBlockedMs)}\n${line('deleted -> open', deletedToOpenMs)}`;
}
