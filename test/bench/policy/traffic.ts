/**
 * What packets pay for policy: new connections and full segments through a node with 200 pods and 1,000 policies, against the same node without a policy,
 * one burst of each after the other in alternation.
 *
 *   client --veth-- popclient [node] popserver --veth-- server      packet-burst.c plays both ends
 *
 * The worst place: of the ten policies of each end the last one allows. `bare` is a node without any rule of ours that tracks connections.
 * IPv4; the two pods have interfaces, of the others the rules alone.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Backend } from '#felix';
import type { IpAddress } from '#kit';
import type { LabelSelector, ModelUpdate, WorkloadEndpoint } from '#model';
import { exec, type Fd, inNetns, newNetns } from '#sys';
import { median, rounded } from '../../support/numbers.ts';
import { KernelNode, type NodeModel } from './kernel-node.ts';
import { addressOf, everything, namespace, networkPolicy, pod } from './objects.ts';

const localPods = 200;
const policies = 1_000;
const port = 80;
const connectionsMust = 0.85;
const throughputMust = 0.98;
const bursts = 40;
/** Some 30 ms a burst: within it the machine is the same. */
const connectionsPerBurst = 2_000;
const segmentsPerBurst = 6_400;
const gatewayMac = '02:00:00:00:00:01';
/** A frame to it ends where it enters the node. */
const nobodysMac = '02:00:00:00:00:02';
/** What the node believes the pods to be: their interfaces take no frame in. */
const silentMac = '02:00:00:00:00:03';

type Load = 'connections' | 'throughput';
/** Which policies: none, ten for each of the pods, or all for the server's pod alone; undefined: no dataplane at all. */
type Kind = 'none' | 'ten' | 'thousand' | undefined;

const app = (i: number): LabelSelector => ({
  matchLabels: { app: `a${String(i).padStart(3, '0')}` },
  matchExpressions: [],
});
const name = (i: number): string => `np${String(i).padStart(3, '0')}`;
const interfaceOf = (i: number): string => `pop${((i * 2_654_435_761) >>> 0).toString(16).padStart(8, '0')}`;

/** Two pods a namespace; the client is the first pod, the server the last. Everybody allows the last app alone to come. */
function model(kind: Exclude<Kind, undefined>): NodeModel {
  const perPod = kind === 'thousand' ? policies : 10;
  const updates: ModelUpdate[] = [];
  const endpoints: WorkloadEndpoint[] = [];
  const peers = (i: number) => ({ peers: [{ namespaceSelector: everything, podSelector: app(i) }] });
  for (let n = 0; n < localPods / 2; n++) {
    updates.push(namespace(`n${n}`, {}));
    for (const i of [2 * n, 2 * n + 1]) {
      const isEnd = i === 0 || i === localPods - 1;
      const addresses = [addressOf(i + 1)] as IpAddress[];
      updates.push(pod(`n${n}`, `p${i}`, app(isEnd ? perPod - 1 : i % (perPod - 1)).matchLabels, addresses));
      endpoints.push({ id: `n${n}/p${i}`, interfaceName: interfaceOf(i), addresses });
    }
    const isPoliced = kind === 'ten' || (kind === 'thousand' && n === localPods / 2 - 1);
    for (let i = 0; isPoliced && i < perPod; i++) {
      const ingress = [{ ...peers(i), ports: [{ protocol: 'TCP' as const, port }] }];
      const egress = kind === 'ten' ? [{ ...peers(i), ports: [] }] : [];
      updates.push(networkPolicy(`n${n}`, name(i), { podSelector: everything, ingress, egress }));
    }
  }
  return { updates, endpoints };
}

interface Burst {
  readonly cpuNs: number;
  readonly wallNs: number;
}

class TrafficNode {
  readonly node: KernelNode;
  readonly #ends: readonly [Fd, Fd] = [newNetns(), newNetns()];
  readonly #program: string;

  private constructor(backend: Backend, program: string) {
    this.node = new KernelNode(backend);
    this.#program = program;
  }
  static async make(backend: Backend, kind: Kind, program: string): Promise<TrafficNode> {
    const traffic = new TrafficNode(backend, program);
    const { node } = traffic;
    inNetns(node.netns, () => {
      fs.writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
      // A network card does it; between two veths of sockets nobody does.
      fs.writeFileSync('/proc/sys/net/netfilter/nf_conntrack_checksum', '0');
    });
    for (const [at, end] of traffic.#ends.entries()) {
      const i = at === 0 ? 0 : localPods - 1;
      const device = interfaceOf(i);
      const address = addressOf(i + 1);
      await node.sh(
        'ip',
        'link',
        'add',
        device,
        'address',
        gatewayMac,
        'type',
        'veth',
        'peer',
        'name',
        'eth0',
        'netns',
        pathOf(end),
      );
      await node.sh('ip', 'link', 'set', device, 'up');
      await node.sh('ip', 'route', 'add', `${address}/32`, 'dev', device);
      await node.sh('ip', 'neigh', 'add', address, 'lladdr', silentMac, 'dev', device, 'nud', 'permanent');
      const up = await exec('nsenter', [`--net=${pathOf(end)}`, 'ip', 'link', 'set', 'eth0', 'up']);
      assert.equal(up.code, 0, up.stderr);
    }
    if (kind) {
      await node.told(model(kind));
      await node.inSync();
    } else {
      const invalid = ['-m', 'conntrack', '--ctstate', 'INVALID', '-j', 'DROP'];
      await node.sh(`xtables-${backend}-multi`, 'iptables', '-t', 'mangle', '-A', 'FORWARD', ...invalid);
    }
    return traffic;
  }

  /** @param mac where frames go; anything but the gateway's ends where it enters the node. */
  async burst(load: Load, count: number, mac = gatewayMac): Promise<Burst> {
    await this.node.sh('conntrack', '-F');
    const [client, server] = this.#ends.map(pathOf) as [string, string];
    const cpu = String(os.cpus().length - 1);
    const ends = [client, server, addressOf(1), addressOf(localPods)];
    const { code, stdout, stderr } = await exec(this.#program, [cpu, ...ends, String(port), mac, load, String(count)]);
    assert.equal(code, 0, stderr);
    const [wallNs = 0, cpuNs = 0, sent = 0, ...arrived] = stdout.trim().split(' ').map(Number);
    // A stray frame of the kernel's own may be among them.
    const through = arrived.reduce((sum, one) => sum + one, 0);
    if (mac === gatewayMac) assert.ok(through >= sent, `${sent} frames sent, ${through} arrived`);
    return { cpuNs: cpuNs / count, wallNs: wallNs / count };
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.node[Symbol.asyncDispose]();
    for (const end of this.#ends) end.close();
  }
}

function pathOf(fd: Fd): string {
  return `/proc/${process.pid}/fd/${fd.number}`;
}

/** Medians of `rounds` bursts of each, in alternation: nanoseconds of processor for one connection or segment. */
async function alternate<Name extends string>(
  rounds: number,
  each: Readonly<Record<Name, () => Promise<Burst>>>,
): Promise<{ ns: Record<Name, number>; ratio: (one: Name, other: Name, of?: keyof Burst) => number }> {
  const names = Object.keys(each) as Name[];
  const all = Object.fromEntries(names.map((one) => [one, [] as Burst[]])) as Record<Name, Burst[]>;
  for (let round = 0; round < rounds; round++) for (const one of names) all[one].push(await each[one]());
  const ns = Object.fromEntries(names.map((one) => [one, rounded(median(all[one].map(({ cpuNs }) => cpuNs)))]));
  return {
    ns: ns as Record<Name, number>,
    // Of neighbours in time, whatever the machine did meanwhile.
    ratio: (one, other, of = 'cpuNs') => rounded(median(all[one].map((burst, i) => burst[of] / all[other][i]![of]))),
  };
}

export async function traffic(backend: Backend, load: Load, scale: (full: number) => number): Promise<object> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-burst-'));
  const program = path.join(folder, 'packet-burst');
  const source = path.join(import.meta.dirname, 'packet-burst.c');
  execFileSync('gcc', ['-Wall', '-Wextra', '-Werror', '-O2', '-o', program, source]);
  await using bare = await TrafficNode.make(backend, undefined, program);
  await using none = await TrafficNode.make(backend, 'none', program);
  await using ten = await TrafficNode.make(backend, 'ten', program);
  await using thousand = await TrafficNode.make(backend, 'thousand', program);
  const count = load === 'connections' ? connectionsPerBurst : segmentsPerBurst;
  const { ns, ratio } = await alternate(Math.max(3, scale(bursts)), {
    sending: () => none.burst(load, count, nobodysMac),
    bare: () => bare.burst(load, count),
    none: () => none.burst(load, count),
    ten: () => ten.burst(load, count),
    thousand: () => thousand.burst(load, count),
  });
  fs.rmSync(folder, { recursive: true });
  const must = load === 'connections' ? connectionsMust : throughputMust;
  const tenToNone = ratio('none', 'ten');
  return {
    bench: 'policy',
    workload: `${load}, ${backend}`,
    localPods,
    policies,
    /** Of one processor, which the node's work fills but for `sendingShare`. */
    perSec: Object.fromEntries(Object.entries(ns).map(([kind, each]) => [kind, Math.round(1e9 / each)])),
    cpuNs: ns,
    sendingShare: rounded(ns.sending / ns.none),
    tenToNone,
    tenToNoneByWall: ratio('none', 'ten', 'wallNs'),
    tenToBare: ratio('bare', 'ten'),
    thousandToNone: ratio('none', 'thousand'),
    must: { tenToNone: must },
    ok: tenToNone >= must,
  };
}
