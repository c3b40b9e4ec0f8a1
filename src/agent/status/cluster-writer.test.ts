import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, silentLogger } from '#kit';
import { createClusterWriter } from './cluster-writer.ts';
import type { EventNote } from './event-book.ts';
import { failure, fakeApi } from './fake-api.ts';
import { datastoreStatus } from './fake-facts.ts';
import { POPLIN_NODES_PATH } from './poplin-node.ts';

const peers = '/apis/projectcalico.org/v3/bgppeers';
const calicoPolicies = '/apis/projectcalico.org/v3/networkpolicies';
const inShop = '/apis/projectcalico.org/v3/namespaces/shop/networkpolicies';
const policies = '/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies';

function world(options: Parameters<typeof fakeApi>[1] = {}) {
  const api = fakeApi(
    [POPLIN_NODES_PATH, peers, policies, calicoPolicies, inShop, '/apis/networking.k8s.io/v1/servicecidrs'],
    options,
  );
  const clock = new FakeClock();
  const told: EventNote[] = [];
  const state = {
    holding: true,
    status: datastoreStatus({ kinds: { BGPPeer: { state: 'synced', apiVersions: ['projectcalico.org/v3'] } } }),
  };
  const writer = createClusterWriter({
    client: api,
    clock,
    wallMs: () => 1_800_000_000_000 + clock.nowMs(),
    random: () => 0,
    log: silentLogger,
    holding: () => state.holding,
    datastore: { status: () => state.status },
    events: { tell: (notes) => void told.push(...notes) },
  });
  writer.start();
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 1_000) {
      clock.advance(1_000);
      for (let i = 0; i < 20; i++) await new Promise<void>((resolve) => setImmediate(resolve));
    }
  };
  const node = (name: string, state: string, revision: string): void =>
    void api.objects.set(`${POPLIN_NODES_PATH}/${name}`, {
      metadata: { name, resourceVersion: revision },
      status: { bgp: { sessions: [{ name: 'peer/tor', address: '10.0.0.9', state }] } },
    });
  const peer = (generation = 1): void =>
    void api.objects.set(`${peers}/tor`, {
      metadata: { name: 'tor', generation, resourceVersion: `g${generation}`, uid: 'u' },
      spec: {},
    });
  const conditions = () =>
    Object.fromEntries(
      (
        (api.objects.get(`${peers}/tor`)!['status'] as { conditions?: { type: string; status: string }[] })
          ?.conditions ?? []
      ).map(({ type, status }) => [type, status]),
    );
  const patches = () => api.writes().length;
  return { api, state, writer, pass, node, peer, conditions, patches, told };
}

test('the holder writes what nodes report, once, and follows changes', async () => {
  const { pass, node, peer, conditions, patches } = world();
  peer();
  node('n1', 'Active', '1');
  await pass(11_000);
  assert.deepEqual(conditions(), { Accepted: 'True', Established: 'False' });
  await pass(60_000);
  assert.equal(patches(), 1);
  node('n1', 'Established', '2');
  await pass(11_000);
  assert.equal(conditions()['Established'], 'True');
  assert.equal(patches(), 2);
});

test('who does not hold the Lease asks and writes nothing', async () => {
  const { api, state, pass, peer } = world();
  state.holding = false;
  peer();
  await pass(60_000);
  assert.deepEqual(api.requests, []);
});

test('a node that is silent does not count any more', async () => {
  const { pass, node, peer, conditions } = world();
  peer();
  node('n1', 'Established', '1');
  await pass(11_000);
  assert.equal(conditions()['Established'], 'True');
  await pass(750_000);
  assert.equal(conditions()['Established'], 'Unknown');
});

test('an object that changed meanwhile is left for the next round', async () => {
  const { api, pass, node, peer, conditions } = world();
  peer();
  node('n1', 'Established', '1');
  let changed = false;
  api.intercept = ({ method }) => {
    if (method === 'PATCH' && !changed) {
      changed = true;
      peer(2);
    }
    return undefined;
  };
  await pass(2_000);
  assert.deepEqual(conditions(), {});
  await pass(11_000);
  assert.equal(conditions()['Established'], 'True');
});

test('definitions without a status, or that drop our fields, are left alone and named', async () => {
  const none = world({ withoutStatus: [peers] });
  none.peer();
  await none.pass(120_000);
  assert.deepEqual(none.writer.unsupported(), ['BGPPeer']);
  assert.ok(none.patches() <= 3);
  const pruning = world();
  pruning.peer();
  pruning.api.intercept = ({ method }) =>
    method === 'PATCH' ? { status: 200, body: { metadata: {}, status: {} } } : undefined;
  await pruning.pass(120_000);
  assert.deepEqual(pruning.writer.unsupported(), ['BGPPeer']);
  assert.equal(pruning.patches(), 1);
});

test('kinds of an old installation alone are not written', async () => {
  const { api, state, pass, peer } = world();
  peer();
  state.status = datastoreStatus({
    kinds: { BGPPeer: { state: 'synced', apiVersions: ['crd.projectcalico.org/v1'] } },
  });
  await pass(30_000);
  assert.ok(!api.requests.some(({ path }) => path.startsWith(peers)));
});

test('a server that is busy is left alone as long as it asks', async () => {
  const { api, pass, peer } = world();
  peer();
  api.intercept = () => ({ ...failure(429, 'TooManyRequests'), retryAfterSec: 60 });
  await pass(2_000);
  const asked = api.requests.length;
  await pass(55_000);
  assert.equal(api.requests.length, asked);
});

test('Events are told with each round', async () => {
  const { state, pass, peer, told } = world();
  peer();
  const kinds = state.status.kinds!;
  state.status = datastoreStatus({
    kinds,
    faults: [{ object: 'BGPPeer tor', field: 'spec', message: 'both', effect: 'kept', blocking: false, since: 'now' }],
    faultsTotal: 1,
  });
  await pass(2_000);
  assert.deepEqual(
    told.map(({ reason, regarding }) => [reason, regarding.uid]),
    [['Invalid', 'u']],
  );
});

test('a policy is followed until it is in force on every node, at most one write a round, and then left alone', async () => {
  const { api, state, pass, patches } = world();
  const apiVersion = 'policy.networking.k8s.io/v1alpha2';
  state.status = datastoreStatus({ kinds: { ClusterNetworkPolicy: { state: 'synced', apiVersions: [apiVersion] } } });
  const put = (generation: number, resourceVersion: string): void => {
    const before = api.objects.get(`${policies}/p`);
    api.objects.set(`${policies}/p`, { ...before, metadata: { name: 'p', uid: 'u', generation, resourceVersion } });
  };
  const node = (name: string, revision: string): void =>
    void api.objects.set(`${POPLIN_NODES_PATH}/${name}`, {
      metadata: { name, resourceVersion: `${name}${revision}` },
      status: { kinds: [{ kind: 'ClusterNetworkPolicy', resourceVersion: revision }] },
    });
  const inForce = () => {
    const status = api.objects.get(`${policies}/p`)!['status'] as { conditions: { type: string }[] } | undefined;
    return status?.conditions.find(({ type }) => type === 'InForce') as Record<string, unknown> | undefined;
  };
  put(1, '50');
  node('n1', '50');
  node('n2', '49');
  await pass(2_000);
  assert.deepEqual(
    [inForce()?.['reason'], inForce()?.['message']],
    ['NotYetOnAllNodes', 'generation 1 is in force on 1 of 2 nodes; not yet in the kernel (on n2)'],
  );
  for (let revision = 51; revision < 58; revision++) {
    node('n2', String(revision));
    await pass(1_000);
  }
  assert.equal(patches(), 1, 'within ten seconds');
  await pass(60_000);
  assert.deepEqual([inForce()?.['status'], inForce()?.['observedGeneration'], patches()], ['True', 1, 2]);
  // Another generation, which nobody has yet.
  put(2, '900');
  await pass(11_000);
  assert.deepEqual([inForce()?.['status'], inForce()?.['observedGeneration']], ['False', 2]);
});

test('a policy in a namespace is written there, and is listed again when the datastore has heard of its kind', async () => {
  const { api, state, pass, patches } = world();
  const say = (resourceVersion: string): void => {
    const apiVersions = ['projectcalico.org/v3'];
    state.status = datastoreStatus({
      kinds: { CalicoNetworkPolicy: { state: 'synced', apiVersions, resourceVersion } },
    });
  };
  const metadata = { name: 'p', namespace: 'shop', uid: 'u', generation: 1, resourceVersion: '50' };
  api.objects.set(`${inShop}/p`, { metadata, spec: { ingress: [] } });
  // The collection of all namespaces, as the API server answers it.
  api.intercept = ({ method, path }) =>
    method === 'GET' && path === calicoPolicies
      ? { status: 200, body: { metadata: {}, items: [api.objects.get(`${inShop}/p`)] } }
      : undefined;
  const lists = (): number => api.requests.filter(({ path }) => path === calicoPolicies).length;
  const node = (revision: string): void =>
    void api.objects.set(`${POPLIN_NODES_PATH}/n1`, {
      metadata: { name: 'n1', resourceVersion: `n${revision}` },
      status: { kinds: [{ kind: 'CalicoNetworkPolicy', resourceVersion: revision }] },
    });
  const inForce = () => {
    const { conditions } = api.objects.get(`${inShop}/p`)!['status'] as { conditions: { type: string }[] };
    return (conditions.find(({ type }) => type === 'InForce') as { status?: string } | undefined)?.status;
  };
  say('50');
  node('49');
  await pass(2_000);
  assert.deepEqual(api.writes(), [`PATCH ${inShop}/p/status`]);
  assert.equal(inForce(), 'False');
  assert.deepEqual(api.objects.get(`${inShop}/p`)!['spec'], { ingress: [] });
  say('101');
  await pass(11_000);
  assert.equal(lists(), 2);
  await pass(60_000);
  assert.deepEqual([lists(), patches()], [2, 1], 'nothing was heard of them');
  node('60');
  await pass(11_000);
  assert.deepEqual([inForce(), lists(), patches()], ['True', 2, 2]);
});
