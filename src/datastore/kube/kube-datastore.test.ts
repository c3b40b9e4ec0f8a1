/** The datastore as a whole: what it takes up, when it is in sync, and that its model ends as the cluster is. */
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import { KubeError } from './client.ts';
import { event, type FakeObject, refusal } from './fake-cluster.ts';
import { nodes, oldPeers, onceRead, peer, peers, pod, pods, world } from './kube-world.ts';

test('lists stream, watches go on from there, and the mark comes once', async (t) => {
  const w = await world(t);
  w.cluster.put(pods, pod('a', 1));
  await w.datastore.start();
  await w.pass();
  assert.equal(w.inSync(), 1);
  assert.deepEqual(w.pods(), { a: '1' });
  w.cluster.put(pods, pod('a', 2));
  w.cluster.put(pods, pod('b', 1));
  w.cluster.remove(pods, 'web/b');
  await w.pass();
  assert.deepEqual(w.pods(), { a: '2' });
  assert.equal(w.requestsTo(pods).length, 1);
  assert.deepEqual(
    w.batches.at(-1)?.map(({ type, key }) => `${type} ${key}`),
    ['upsert web/a'],
  );
});

test('kinds of both groups are one, by name, and the newer group wins', async (t) => {
  const w = await world(t);
  w.cluster.serve(peers, oldPeers);
  w.cluster.put(oldPeers, peer('crd.projectcalico.org/v1', 'both', { asNumber: 1 }));
  w.cluster.put(oldPeers, peer('crd.projectcalico.org/v1', 'old', { asNumber: 2 }));
  w.cluster.put(peers, peer('projectcalico.org/v3', 'both', { asNumber: 3 }));
  await w.datastore.start();
  await w.pass();
  assert.equal(w.get('BGPPeer', 'both')?.asNumber, 3);
  assert.equal(w.get('BGPPeer', 'old')?.asNumber, 2);
  assert.equal(w.datastore.status().objects.BGPPeer, 2);
  w.cluster.remove(peers, 'both');
  await w.pass();
  assert.equal(w.get('BGPPeer', 'both')?.asNumber, 1);
  w.cluster.put(peers, peer('projectcalico.org/v3', 'both', { asNumber: 0.5 }));
  await w.pass();
  assert.equal(w.get('BGPPeer', 'both'), undefined, 'the name is taken by one that cannot be read');
  assert.equal(w.datastore.status().faults[0]?.object, 'BGPPeer both');
  assert.equal(w.datastore.status().inSync, true, 'only a policy blocks');
  w.cluster.unserve(peers);
  await w.pass(40_000);
  assert.equal(w.get('BGPPeer', 'both')?.asNumber, 1);
  assert.deepEqual(w.datastore.status().kinds?.BGPPeer?.apiVersions, ['crd.projectcalico.org/v1']);
});

test('kinds that are absent cost one look at their group in half a minute, and are found by it', async (t) => {
  const w = await world(t);
  await w.datastore.start();
  await w.pass(200_000);
  assert.equal(w.requestsTo(peers).length, 1);
  w.cluster.serve(peers);
  w.cluster.put(peers, peer('projectcalico.org/v3', 'tor'));
  await w.pass(40_000);
  assert.equal(w.get('BGPPeer', 'tor')?.asNumber, 65001);
  assert.equal(w.datastore.status().kinds?.BGPPeer?.state, 'synced');
});

test('403 is not in sync, and names verb and resource; it counts again when it is granted', async (t) => {
  const w = await world(t);
  const calico = '/apis/projectcalico.org/v3/networkpolicies';
  w.cluster.serve(calico);
  const refused = [nodes, pods, calico];
  w.cluster.fault = ({ path }) => (refused.includes(path) ? refusal(403) : undefined);
  await w.datastore.start();
  await w.pass(60_000);
  assert.equal(w.inSync(), 0);
  assert.equal(w.datastore.status().kinds?.Node?.state, 'forbidden');
  const waiting = w.datastore.status().waitingFor.join('\n');
  assert.match(waiting, /Node.*list and watch on nodes \(API group ""\)/);
  // As people know it, not as it is called here.
  assert.match(waiting, /^NetworkPolicy \(projectcalico\.org\/v3\): .*list and watch on networkpolicies/m);
  w.cluster.fault = () => undefined;
  await w.pass(15_000);
  // Because some kinds were missing for long, what is on disk was asked for.
  await onceRead(w, () => w.inSync() > 0);
  assert.equal(w.inSync(), 1);
});

test('a Pod asked for by name goes ahead of the watch, and older events do not undo it', async (t) => {
  const w = await world(t);
  w.cluster.put(pods, pod('a', 1));
  await w.datastore.start();
  await w.pass();
  const late = new PassThrough();
  w.cluster.fault = ({ path, query }) => (path === pods && query?.['watch'] ? { status: 200, body: late } : undefined);
  w.cluster.cut(pods);
  for (const version of [2, 3]) w.cluster.put(pods, pod('a', version));
  w.cluster.put(pods, pod('b', 1));
  await w.pass(1_000);
  assert.equal((await w.datastore.fetchPod('web/a'))?.metadata.labels['version'], '3');
  await w.datastore.fetchPod('web/b');
  await w.pass();
  assert.deepEqual(w.pods(), { a: '3', b: '1' });
  const [{ metadata }] = w.cluster.objects(pods) as [FakeObject];
  const older = {
    ...pod('a', 2),
    metadata: { ...pod('a', 2).metadata, resourceVersion: `${Number(metadata['resourceVersion']) - 1}` },
  };
  for (const type of ['MODIFIED', 'DELETED']) {
    late.write(event(type, older));
    await w.pass();
    assert.deepEqual(w.pods(), { a: '3', b: '1' }, type);
  }
  w.cluster.remove(pods, 'web/b');
  w.cluster.fault = () => undefined;
  late.end();
  await w.pass(1_000);
  assert.deepEqual(w.pods(), { a: '3' });
  assert.equal(await w.datastore.fetchPod('web/b'), undefined);
});

test('whatever happens on the way, the model ends as the cluster is, and the mark is given once', async () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd');
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('put' as const), name, version: fc.nat(9) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('remove' as const), name }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('cut', 'end', 'compact', 'bookmark', 'fetch'), name }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('away', 'back', 'refuse', 'pages', 'garbage'), name }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(0, 50, 400, 3_000) }) },
  );
  const away = new KubeError('away', { code: 'UNREACHABLE', server: 'x' });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40 }),
      fc.integer({ min: 3, max: 4_000 }),
      async (steps, chunkBytes) => {
        const undo: (() => unknown)[] = [];
        const w = await world({ after: (fn) => void undo.push(fn as () => unknown) });
        try {
          w.cluster.chunkBytes = () => chunkBytes;
          await w.datastore.start();
          for (const one of steps) {
            if (one.do === 'put') w.cluster.put(pods, pod(one.name, one.version));
            else if (one.do === 'remove') w.cluster.remove(pods, `web/${one.name}`);
            else if (one.do === 'cut') w.cluster.cut(pods, event('ADDED', pod('a', 99)).slice(0, 30));
            else if (one.do === 'end') w.cluster.end(pods);
            else if (one.do === 'compact') w.cluster.compact();
            else if (one.do === 'bookmark') w.cluster.bookmark(pods);
            else if (one.do === 'fetch') await w.datastore.fetchPod(`web/${one.name}`).catch(() => undefined);
            else if (one.do === 'away') w.cluster.fault = () => away;
            else if (one.do === 'back') w.cluster.fault = () => undefined;
            else if (one.do === 'refuse') w.cluster.fault = ({ path }) => (path === pods ? refusal(500) : undefined);
            else if (one.do === 'pages') w.cluster.watchList = false;
            else if (one.do === 'garbage') w.cluster.send(pods, '{"type":"ADD\n');
            else await w.pass('ms' in one ? one.ms : 0);
          }
          w.cluster.fault = () => undefined;
          await w.pass(20_000);
          const expected = w.cluster
            .objects(pods)
            .map(({ metadata }) => [metadata.name, (metadata['labels'] as Record<string, string>)['version']]);
          assert.deepEqual(w.pods(), Object.fromEntries(expected.sort()));
          assert.equal(w.inSync(), 1);
          assert.equal(w.datastore.status().inSync, true);
        } finally {
          for (const fn of undo.reverse()) await fn();
        }
      },
    ),
    { numRuns: 40 },
  );
});
