import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { FakeClock } from '#kit';
import { FakeCluster, refusal } from './fake-cluster.ts';
import { ListClusterError, listCluster } from './list-cluster.ts';

const pods = '/api/v1/pods';
const policies = '/apis/networking.k8s.io/v1/networkpolicies';

function cluster(): FakeCluster {
  const fake = new FakeCluster();
  fake.serve(pods, '/api/v1/namespaces', '/api/v1/nodes', policies);
  for (const name of ['a', 'b']) fake.put(pods, { metadata: { name, namespace: 'web' }, spec: {}, status: {} });
  fake.put(policies, { metadata: { name: 'p', namespace: 'web' }, spec: { podSelector: {} } });
  return fake;
}

/** Runs to the end in time that is made to pass. */
async function list(fake: FakeCluster) {
  const clock = new FakeClock();
  const kinds = ['Pod', 'NetworkPolicy', 'ClusterNetworkPolicy'] as const;
  let over = false;
  const result = listCluster(kinds, {}, { clock, connection: fake }).finally(() => {
    over = true;
  });
  result.catch(() => undefined);
  while (!over) {
    await turn();
    clock.advance(5);
  }
  return result;
}

test('gives what is there of the wanted kinds; kinds that are not served are empty', async () => {
  const { updates, faults } = await list(cluster());
  assert.deepEqual(updates.map(({ kind, key }) => `${kind} ${key}`).sort(), [
    'NetworkPolicy web/p',
    'Pod web/a',
    'Pod web/b',
  ]);
  assert.deepEqual(faults, []);
});

test('says which kind may not be listed; others are no matter', async () => {
  const fake = cluster();
  fake.fault = ({ path }) => (path === '/api/v1/nodes' ? refusal(403) : undefined);
  assert.equal((await list(fake)).updates.length, 3);
  fake.fault = ({ path }) => (path === policies ? refusal(403) : undefined);
  await assert.rejects(list(fake), (error: ListClusterError) => {
    assert.ok(error instanceof ListClusterError);
    assert.deepEqual(error.failure, { code: 'FORBIDDEN', kind: 'NetworkPolicy' });
    return true;
  });
});

test('gives up on a server that does not answer', async () => {
  const fake = cluster();
  fake.fault = ({ path }) => (path === pods ? refusal(500) : undefined);
  await assert.rejects(list(fake), /has not listed Pod within 30 s/);
});
