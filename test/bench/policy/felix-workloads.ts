/**
 * Felix's own calculation workloads (projectcalico/calico, felix/calc/calc_graph_bench_test.go and its Kubernetes scale test), in the kinds
 * that they are written in: GlobalNetworkPolicy and GlobalNetworkSet, NetworkPolicy for tenants. `tagCluster` is the first one with
 * ClusterNetworkPolicy.
 */
import type { Cidr } from '#kit';
import type { Labels, ModelUpdate, NetworkPolicyRule } from '#model';
import {
  addressOf,
  clusterPolicy,
  everything,
  globalNetworkSet,
  globalPolicy,
  hasLabel,
  type LocalPod,
  namespace,
  networkPolicy,
  pod,
  ruleOf,
  type Workload,
} from './objects.ts';

const namespaceCount = 100;
const localPods = 200;
const tenantLocalPods = 100;
/** 28 distinct names in 31 places, as in the original. */
const markers = Array.from({ length: 31 }, (_, i) => `marker-${i % 28}`);
export const marker = (i: number): string => markers[i % markers.length]!;

export function endpointLabels(i: number): Labels {
  const labels: Record<string, string> = { [marker(i)]: 'true' };
  for (const n of [10, 11, 20, 30, 40]) labels[`one-in-${n}`] = `value-${i % n}`;
  return labels;
}

/** Namespaces in turn; the last 200 of `count` are local. */
export function endpoints(count: number): { updates: ModelUpdate[]; local: LocalPod[] } {
  const updates = Array.from({ length: namespaceCount }, (_, n) => namespace(`namespace-${n}`, {}));
  const local: LocalPod[] = [];
  for (let i = 0; i < count; i++) {
    const update = pod(`namespace-${i % namespaceCount}`, `pod-${i}`, endpointLabels(i), [addressOf(i)]);
    updates.push(update);
    if (i >= count - localPods) local.push({ id: update.key, addresses: [addressOf(i)] });
  }
  return { updates, local };
}

export function tag(remote: number, policies: number): Workload {
  const { updates, local } = endpoints(remote + localPods);
  for (let i = 0; i < policies; i++) {
    const sources = [0, 1, 2, 3, 4].map((k) => `has(${marker(i + k)})`);
    updates.push(globalPolicy(`policy-${i}`, `has(${marker(i)})`, sources));
  }
  return { updates, local };
}

export function tagCluster(remote: number, policies: number): Workload {
  const { updates, local } = endpoints(remote + localPods);
  for (let i = 0; i < policies; i++) {
    const sources = [0, 1, 2, 3, 4].map((k) => hasLabel(marker(i + k)));
    updates.push(clusterPolicy(`policy-${i}`, hasLabel(marker(i)), sources));
  }
  return { updates, local };
}

const setSizes = [1, 1, 1, 1, 2, 3, 4, 5, 100, 1000];

export function netset(count: number, sets: number): Workload {
  const { updates, local } = endpoints(count);
  let next = count;
  for (let i = 0; i < sets; i++) {
    const name = `network-set-${i}`;
    const addresses = Array.from({ length: setSizes[i % setSizes.length]! }, () => addressOf(next++));
    updates.push(globalNetworkSet(name, { 'network-set-name': name }, addresses));
    updates.push(globalPolicy(`policy-${i}`, 'all()', [`network-set-name == '${name}'`]));
  }
  return { updates, local };
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
export function tenants(count: number): Workload {
  const updates: ModelUpdate[] = [];
  const local: LocalPod[] = [];
  const own = ruleOf(everything);
  const dns: NetworkPolicyRule = {
    peers: [{ ipBlock: { cidr: '10.255.0.10/32' as Cidr, except: [] } }],
    ports: [{ protocol: 'UDP', port: 53 }],
  };
  const rules = { podSelector: everything, ingress: [own], egress: [own, dns] };
  for (let i = 0; i < count; i++) {
    const name = `tenant-${i}`;
    updates.push(namespace(name, { name, id: unique(i, 20), production: String(i % 2 === 0) }));
    const only = pod(name, 'pod', tenantLabels(i), [addressOf(i)]);
    updates.push(only, networkPolicy(name, 'isolate', rules));
    if (i % (count / tenantLocalPods) === 0) local.push({ id: only.key, addresses: [addressOf(i)] });
  }
  return { updates, local };
}
