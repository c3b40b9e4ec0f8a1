/**
 * How long the policy engine takes from the first input to the last output, and what it keeps: Felix's own calculation
 * workloads, as far as NetworkPolicy can say them, and one change among many pods. Arguments: `tenants`, `tag`, `change` (all
 * when none is given), `--full` for the large sizes. Prints one JSON object a workload; heap in MB after a collection.
 *
 * Felix (Go, two cores, inputs decoded in memory): tenants of 10,000 namespaces 0.80 s and 39 MB, of 100,000 9.3 to 12.1 s
 * and 314 MB; tag with 250,200 endpoints and 10,000 policies 7.05 s and 283 MB.
 */
import v8 from 'node:v8';
import vm from 'node:vm';
import type { Cidr, IpAddress } from '#kit';
import type { LabelSelector, Labels, ModelUpdate, NetworkPolicyRule, PodObject, PolicyUpdate } from '#model';
import { createPolicyEngine, type PolicyEngine } from '#policy';

v8.setFlagsFromString('--expose-gc');
const collect = vm.runInNewContext('gc') as () => void;

function heapMb(): number {
  collect();
  return process.memoryUsage().heapUsed / 1e6;
}
const round = (value: number, digits = 1): number => Number(value.toFixed(digits));

interface Workload {
  readonly updates: readonly ModelUpdate[];
  readonly local: readonly { readonly id: string; readonly addresses: readonly IpAddress[] }[];
}

function meta(namespace: string, name: string, labels: Labels) {
  return { namespace, name, uid: `${namespace}/${name}`, labels, annotations: {} };
}

function pod(namespace: string, name: string, labels: Labels, address: IpAddress): ModelUpdate {
  const object: PodObject = {
    metadata: meta(namespace, name, labels),
    nodeName: 'n1',
    hostNetwork: false,
    serviceAccountName: 'default',
    ports: [],
    phase: 'Running',
    terminating: false,
    podIPs: [address],
  };
  return { type: 'upsert', kind: 'Pod', key: `${namespace}/${name}`, object };
}

const addressOf = (i: number): IpAddress => `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}` as IpAddress;
const everything: LabelSelector = { matchLabels: {}, matchExpressions: [] };
const has = (key: string): LabelSelector => ({
  matchLabels: {},
  matchExpressions: [{ key, operator: 'Exists', values: [] }],
});

function namespace(name: string, labels: Labels): ModelUpdate {
  return { type: 'upsert', kind: 'Namespace', key: name, object: { metadata: meta('', name, labels) } };
}

function policy(
  ns: string,
  name: string,
  podSelector: LabelSelector,
  ingress: readonly NetworkPolicyRule[],
  egress: readonly NetworkPolicyRule[],
): ModelUpdate {
  return {
    type: 'upsert',
    kind: 'NetworkPolicy',
    key: `${ns}/${name}`,
    object: {
      metadata: meta(ns, name, {}),
      podSelector,
      policyTypes: egress.length > 0 ? ['Ingress', 'Egress'] : ['Ingress'],
      ingress,
      egress,
    },
  };
}

/** Text that is different for each `seed`, `length` long. */
function unique(seed: number, length: number): string {
  let text = '';
  for (let state = seed * 2_654_435_761 + 1; text.length < length; state = Math.imul(state, 1_103_515_245) + 12_345) {
    text += (state >>> 0).toString(36);
  }
  return text.slice(0, length);
}

function tenantLabels(i: number): Labels {
  return {
    id: unique(i, 20),
    release: unique(i + 1e6, 16),
    revision: unique(i + 2e6, 12),
    hash: unique(i + 3e6, 10),
    owner: unique(i + 4e6, 8),
    canary: String(i % 2 === 0),
    managed: String(i % 3 === 0),
    public: String(i % 5 === 0),
    gpu: String(i % 7 === 0),
    zone: `zone-${i % 3}`,
    tier: `tier-${i % 4}`,
    size: `size-${i % 5}`,
    language: `language-${i % 6}`,
    cluster: 'one',
    team: `team-${i % 5000}`,
  };
}

/** One pod and one policy in each namespace: to and from its own namespace, and DNS. 100 pods are local. */
function tenants(count: number): Workload {
  const updates: ModelUpdate[] = [];
  const local: { id: string; addresses: IpAddress[] }[] = [];
  const own: NetworkPolicyRule = { peers: [{ podSelector: everything }], ports: [] };
  const dns: NetworkPolicyRule = {
    peers: [{ ipBlock: { cidr: '10.255.0.10/32' as Cidr, except: [] } }],
    ports: [{ protocol: 'UDP', port: 53 }],
  };
  for (let i = 0; i < count; i++) {
    const name = `tenant-${i}`;
    updates.push(namespace(name, { name, id: unique(i, 20), production: String(i % 2 === 0) }));
    updates.push(pod(name, 'pod', tenantLabels(i), addressOf(i)));
    updates.push(policy(name, 'isolate', everything, [own], [own, dns]));
    if (i % (count / 100) === 0) local.push({ id: `${name}/pod`, addresses: [addressOf(i)] });
  }
  return { updates, local };
}

/** 28 distinct names in 31 places, as in the original. */
const markers = Array.from({ length: 31 }, (_, i) => `marker-${i % 28}`);

/**
 * Few labels that many pods share, and many policies that select by them. One namespace, because the original's policies are
 * of the whole cluster: here too every one of them is in force for some local pod.
 */
function tag(remote: number, policies: number): Workload {
  const updates: ModelUpdate[] = [];
  const local: { id: string; addresses: IpAddress[] }[] = [];
  updates.push(namespace('ns', {}));
  for (let i = 0; i < remote + 200; i++) {
    const labels: Record<string, string> = { [markers[i % 31]!]: 'true' };
    for (const n of [10, 11, 20, 30, 40]) labels[`one-in-${n}`] = `value-${i % n}`;
    updates.push(pod('ns', `pod-${i}`, labels, addressOf(i)));
    if (i >= remote) local.push({ id: `ns/pod-${i}`, addresses: [addressOf(i)] });
  }
  for (let i = 0; i < policies; i++) {
    const ingress = [0, 1, 2, 3, 4].map(
      (k): NetworkPolicyRule => ({
        peers: [{ namespaceSelector: everything, podSelector: has(markers[(i + k) % 31]!) }],
        ports: [],
      }),
    );
    updates.push(policy('ns', `policy-${i}`, has(markers[i % 31]!), ingress, []));
  }
  return { updates, local };
}

function load(workload: Workload): { engine: PolicyEngine; out: PolicyUpdate[] } {
  const engine = createPolicyEngine();
  for (const update of workload.updates) engine.update(update);
  for (const { id, addresses } of workload.local) engine.setLocalEndpoint(id, addresses);
  engine.inSync();
  return { engine, out: engine.flush() };
}

function measure(name: string, workload: Workload): object {
  const runs: number[] = [];
  for (let i = 0; i < 3; i++) {
    const start = performance.now();
    load(workload);
    runs.push(performance.now() - start);
  }
  const before = heapMb();
  const { engine, out } = load(workload);
  const messages = out.length;
  const members = out.reduce((sum, update) => sum + (update.type === 'set' ? update.members.length : 0), 0);
  out.length = 0;
  const engineHeapMb = heapMb() - before;
  return {
    bench: 'policy',
    workload: name,
    inputs: workload.updates.length,
    medianMs: round(runs.toSorted((a, b) => a - b)[1]!),
    // Of the engine alone: the objects belong to the datastore's model.
    engineHeapMb: round(engineHeapMb),
    heapMb: round(before + engineHeapMb),
    messages,
    members,
    sets: engine.stats().sets,
  };
}

/** One remote pod after another moves from one label to another, among 250,000. */
function change(remote: number): object {
  const workload = tag(remote, 10_000);
  const { engine } = load(workload);
  const pods = workload.updates.filter((update) => update.kind === 'Pod').slice(0, 2000);
  const values: number[] = [];
  let messages = 0;
  for (const [i, update] of pods.entries()) {
    if (update.kind !== 'Pod' || update.type !== 'upsert') continue;
    const { object } = update;
    const labels = { ...object.metadata.labels, [markers[(i + 7) % 31]!]: 'true' };
    const start = performance.now();
    engine.update({ ...update, object: { ...object, metadata: { ...object.metadata, labels } } });
    messages += engine.flush().length;
    values.push((performance.now() - start) * 1000);
  }
  values.sort((a, b) => a - b);
  return {
    bench: 'policy',
    workload: `change of one label among ${remote} pods`,
    medianUs: round(values[values.length >> 1]!),
    p99Us: round(values[Math.floor(values.length * 0.99)]!),
    messages,
  };
}

const full = process.argv.includes('--full');
const wanted = process.argv.slice(2).filter((word) => !word.startsWith('-'));
const benches: Readonly<Record<string, () => object>> = {
  tenants: () => measure('tenants 10000', tenants(10_000)),
  ...(full && { 'tenants-full': () => measure('tenants 100000', tenants(100_000)) }),
  tag: () => (full ? measure('tag 250000', tag(250_000, 10_000)) : measure('tag 25000', tag(25_000, 1000))),
  change: () => change(full ? 250_000 : 25_000),
};
for (const [name, run] of Object.entries(benches)) {
  if (wanted.length > 0 && !wanted.some((word) => name.startsWith(word))) continue;
  console.log(JSON.stringify(run()));
}
