import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refusal } from './fake-cluster.ts';
import { peer, peers, world } from './kube-world.ts';

const secrets = '/api/v1/secrets';

test('Secrets that peers name: missing is known, refused is said and keeps what was', async (t) => {
  const w = await world(t);
  w.cluster.serve(peers, secrets);
  const secret = {
    metadata: { name: 'bgp', namespace: 'poplin-system' },
    apiVersion: 'v1',
    kind: 'Secret',
    data: { k: 'cHc=' },
  };
  const password = { secretKeyRef: { name: 'bgp', key: 'k' } };
  w.cluster.put(peers, peer('projectcalico.org/v3', 'tor', { password }));
  await w.datastore.start();
  await w.pass(1_000);
  assert.equal(w.inSync(), 1, 'a missing Secret is an answer');
  w.cluster.put(secrets, secret);
  await w.pass(40_000);
  assert.equal(w.get('Secret', 'poplin-system/bgp')?.data['k']?.reveal(), 'pw');
  w.cluster.fault = ({ path }) => (path.includes('/secrets/') ? refusal(403) : undefined);
  await w.pass(40_000);
  assert.equal(w.get('Secret', 'poplin-system/bgp')?.data['k']?.reveal(), 'pw');
  assert.equal(w.datastore.status().kinds?.Secret?.state, 'forbidden');
  w.cluster.fault = () => undefined;
  w.cluster.remove(secrets, 'poplin-system/bgp');
  await w.pass(60_000);
  assert.equal(w.get('Secret', 'poplin-system/bgp'), undefined);
});

test('Secrets that TCP-AO keys name are read, each once', async (t) => {
  const w = await world(t);
  w.cluster.serve(peers, secrets);
  const put = (name: string) =>
    w.cluster.put(secrets, {
      metadata: { name, namespace: 'poplin-system' },
      apiVersion: 'v1',
      kind: 'Secret',
      data: { k: Buffer.from(name).toString('base64') },
    });
  for (const name of ['old', 'new', 'nobody-asks']) put(name);
  const key = (id: number, name: string) => ({
    sendID: id,
    recvID: id,
    algorithm: 'hmac-sha-1-96',
    secret: { secretKeyRef: { name, key: 'k' } },
  });
  const tcpAO = { keys: [key(1, 'old'), key(2, 'new')] };
  w.cluster.put(peers, peer('projectcalico.org/v3', 'tor', { tcpAO }));
  await w.datastore.start();
  await w.pass(1_000);
  const texts = ['old', 'new', 'nobody-asks'].map((name) =>
    w.get('Secret', `poplin-system/${name}`)?.data['k']?.reveal(),
  );
  assert.deepEqual(texts, ['old', 'new', undefined]);
});
