import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostInterfaceName } from '#cni';
import type { PolicyDataplane } from '#felix';
import { type IpAddress, systemClock } from '#kit';
import type { PodObject, PolicyUpdate, WorkloadEndpoint } from '#model';
import { createPolicyPipeline } from './policy-pipeline.ts';

const ip = (text: string): IpAddress => text as IpAddress;
const first = hostInterfaceName('shop/web', 'eth0', 0);
const second = hostInterfaceName('shop/web', 'eth0', 1);
const pod = (extra: Partial<PodObject> = {}): PodObject => ({
  metadata: { name: 'web', namespace: 'shop', uid: 'u', labels: {}, annotations: {} },
  nodeName: 'n1',
  hostNetwork: false,
  serviceAccountName: 'default',
  ports: [],
  phase: 'Pending',
  terminating: false,
  podIPs: [],
  ...extra,
});

/** The dataplane as far as the pipeline uses it: what is there by interface, and which programs. */
async function world() {
  const workloads = new Map<string, WorkloadEndpoint>();
  const programs = new Set<string>();
  const rechecked: string[] = [];
  const forgotten: string[] = [];
  const dataplane = {
    apply(updates: readonly PolicyUpdate[]) {
      for (const update of updates) {
        if (update.type === 'endpoint') programs.add(update.id);
        if (update.type === 'endpointRemove') programs.delete(update.id);
      }
    },
    setEndpoint(endpoint: WorkloadEndpoint) {
      for (const [name, { id }] of workloads) if (id === endpoint.id) workloads.delete(name);
      workloads.set(endpoint.interfaceName, endpoint);
    },
    removeEndpoint(id: string, interfaceName: string) {
      if (workloads.get(interfaceName)?.id === id) workloads.delete(interfaceName);
    },
    setInSync: () => undefined,
    recheckFlows: (addresses: Iterable<IpAddress> | 'pods') => {
      rechecked.push(typeof addresses === 'string' ? addresses : [...addresses].join(' '));
    },
    whenApplied: () => Promise.resolve(),
    endpointInForce: (id: string, name: string) => programs.has(id) && workloads.get(name)?.id === id,
  } as unknown as PolicyDataplane;
  let told: readonly WorkloadEndpoint[] = [];
  const pipeline = createPolicyPipeline({
    nodeName: 'n1',
    clock: systemClock(),
    dataplane,
    onEndpoints: (endpoints) => {
      told = endpoints;
    },
    flushConntrack: async (addresses) => {
      forgotten.push(...addresses);
    },
  });
  await pipeline.inSync();
  const put = async (object: PodObject): Promise<void> => {
    pipeline.update([{ type: 'upsert', kind: 'Pod', key: 'shop/web', object }]);
    await new Promise((resolve) => setImmediate(resolve));
  };
  const remove = async (): Promise<void> => {
    pipeline.update([{ type: 'delete', kind: 'Pod', key: 'shop/web' }]);
    await new Promise((resolve) => setImmediate(resolve));
  };
  const there = () => [...workloads].map(([name, { addresses }]) => [name, ...addresses]);
  return { pipeline, programs, put, remove, there, told: () => told, rechecked, forgotten };
}
const endpoint = (interfaceName: string, address: string): WorkloadEndpoint => ({
  id: 'shop/web',
  interfaceName,
  addresses: [ip(address)],
});
const signal = new AbortController().signal;

test('a pod of this node is prepared without addresses, and its route is nobody’s business yet', async () => {
  const { programs, put, there, told } = await world();
  await put(pod());
  assert.deepEqual(there(), [[first]]);
  assert.deepEqual([...programs], ['shop/web']);
  assert.deepEqual(told(), []);
});

test('pods of other nodes, of the host’s network, that end or have ended are not, and stop being', async () => {
  const { programs, put, remove, there } = await world();
  for (const other of [
    pod({ nodeName: 'n2' }),
    pod({ hostNetwork: true }),
    pod({ terminating: true }),
    pod({ phase: 'Failed' }),
  ]) {
    await put(other);
    assert.deepEqual(there(), []);
  }
  await put(pod());
  await put(pod({ phase: 'Succeeded' }));
  assert.deepEqual([there(), [...programs]], [[], []]);
  await put(pod());
  await put(pod({ nodeName: 'n2' }));
  assert.deepEqual(there(), []);
  await put(pod());
  await remove();
  assert.deepEqual([there(), [...programs]], [[], []]);
});

test('staged policies are asked of the host endpoints on the way, too', async () => {
  const { pipeline } = await world();
  const metadata = { name: 'up', namespace: '', uid: 'u', labels: {}, annotations: {} };
  const hostEndpoint = { metadata, node: 'n1', interfaceName: 'up0', expectedIPs: [], profiles: [], ports: [] };
  const says = { tier: 'default', selector: 'all()', types: ['Egress' as const], ingress: [], egress: [] };
  const policy = { metadata, ...says, hostTraffic: 'forward' as const, stagedAction: 'Set' as const };
  pipeline.update([
    { type: 'upsert', kind: 'HostEndpoint', key: 'up', object: hostEndpoint },
    { type: 'upsert', kind: 'StagedGlobalNetworkPolicy', key: 'up', object: policy },
  ]);
  await pipeline.settled();
  const host = { endpoint: 'HostEndpoint:up', failsafe: { inbound: [], outbound: [] } };
  const connection = {
    from: { address: ip('10.0.0.1'), endpoint: 'shop/web', host },
    to: { address: ip('203.0.113.1') },
    protocol: 'TCP',
    port: 80,
  } as const;
  const hostVerdict = (staged: boolean): string | undefined =>
    pipeline.explain(connection, staged).directions.find(({ endpoint: id }) => id === host.endpoint)?.verdict.by;
  assert.deepEqual([hostVerdict(false), hostVerdict(true)], ['notIsolated', 'endOfTier']);
});

test('ADD gives it addresses; DEL leaves it prepared while the pod goes on, and nothing when it does not', async () => {
  const { pipeline, programs, put, remove, there, told } = await world();
  await put(pod());
  await pipeline.attach(endpoint(first, '10.1.0.1'), signal);
  assert.deepEqual([there(), told().length], [[[first, '10.1.0.1']], 1]);
  await pipeline.detach(endpoint(first, '10.1.0.1'));
  assert.deepEqual([there(), told().length], [[[first]], 0]);
  await pipeline.attach(endpoint(first, '10.1.0.2'), signal);
  await remove();
  assert.deepEqual(there(), [[first, '10.1.0.2']], 'the interface is still there');
  await pipeline.detach(endpoint(first, '10.1.0.2'));
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([there(), [...programs]], [[], []]);
});

test('a sandbox that is replaced: the late DEL of the old one takes nothing of the new one', async () => {
  const { pipeline, put, there } = await world();
  await put(pod());
  await pipeline.attach(endpoint(first, '10.1.0.1'), signal);
  await pipeline.attach(endpoint(second, '10.1.0.2'), signal);
  await pipeline.detach(endpoint(first, '10.1.0.1'));
  assert.deepEqual(there(), [[second, '10.1.0.2']]);
  await pipeline.detach(endpoint(second, '10.1.0.2'));
  assert.deepEqual(there(), [[first]]);
});

test('flows of a pod are judged anew when its rules change, all of them at the start, and forgotten when it goes', async () => {
  const { pipeline, put, rechecked, forgotten } = await world();
  assert.deepEqual(rechecked.splice(0), ['pods']);
  await put(pod());
  await pipeline.attach(endpoint(first, '10.1.0.1'), signal);
  rechecked.length = 0;
  const flow = { source: ip('10.9.9.9'), fromHost: false, protocol: 6, sourcePort: 1, destinationPort: 80, mark: 0 };
  const allowed = (): boolean => pipeline.flowAllowed({ ...flow, destination: ip('10.1.0.1') });
  assert.equal(allowed(), true);
  const object = {
    metadata: { name: 'closed', namespace: 'shop', uid: 'p', labels: {}, annotations: {} },
    podSelector: { matchLabels: {}, matchExpressions: [] },
    policyTypes: ['Ingress' as const],
    ingress: [],
    egress: [],
  };
  pipeline.update([{ type: 'upsert', kind: 'NetworkPolicy', key: 'shop/closed', object }]);
  await pipeline.settled();
  assert.deepEqual([rechecked.splice(0), allowed()], [['10.1.0.1'], false]);
  await pipeline.detach(endpoint(first, '10.1.0.1'));
  assert.deepEqual([forgotten, allowed()], [['10.1.0.1'], true]);
});

test('a Pod that comes after its ADD asked, and one that completed, are told apart', async () => {
  const { pipeline, put } = await world();
  await put(pod({ phase: 'Succeeded' }));
  await assert.rejects(pipeline.attach(endpoint(first, '10.1.0.1'), signal), /has completed/);
});
