/** Lists and watches, and every way in which they go wrong. */
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { KubeError } from './client.ts';
import { event, refusal, tooLarge } from './fake-cluster.ts';
import { pod, pods, policies, policy, world } from './kube-world.ts';

test('a server without WatchList is listed by pages; a page that expired begins all over, whole', async (t) => {
  const w = await world(t);
  w.cluster.watchList = false;
  for (let i = 0; i < 1_200; i++) w.cluster.put(pods, pod(`p${i}`, 1));
  let compacted = false;
  w.cluster.fault = ({ path, query }) => {
    if (path === pods && query?.['continue'] && !compacted) {
      compacted = true;
      w.cluster.remove(pods, 'web/p0');
      w.cluster.compact();
    }
    return undefined;
  };
  await w.datastore.start();
  await w.pass(1_000);
  assert.equal(w.inSync(), 1);
  assert.equal(w.datastore.status().objects.Pod, 1_199);
  const queries = w.requestsTo(pods);
  assert.deepEqual(
    queries.map(({ limit, resourceVersion, watch }) => [watch, limit, resourceVersion === undefined]),
    [
      [true, undefined, true],
      [undefined, 500, false],
      [undefined, 500, true],
      [undefined, undefined, true],
      [true, undefined, false],
    ],
  );
});

for (const expiredAs of ['status', 'event'] as const) {
  test(`410 as ${expiredAs}: listed again not older than known, and only the difference is told`, async (t) => {
    const w = await world(t);
    w.cluster.expiredAs = expiredAs;
    for (const name of ['a', 'b', 'c']) w.cluster.put(pods, pod(name, 1));
    await w.datastore.start();
    await w.pass();
    const told = w.batches.length;
    w.cluster.fault = ({ path }) =>
      path === pods ? new KubeError('away', { code: 'UNREACHABLE', server: 'x' }) : undefined;
    w.cluster.cut(pods);
    await w.pass();
    assert.equal(w.datastore.status().kinds?.Pod?.state, 'failing');
    assert.equal(w.datastore.status().inSync, true);
    w.cluster.remove(pods, 'web/a');
    w.cluster.put(pods, pod('b', 2));
    w.cluster.compact();
    w.cluster.fault = () => undefined;
    await w.pass(2_000);
    assert.deepEqual(w.pods(), { b: '2', c: '1' });
    assert.deepEqual(
      w.batches
        .slice(told)
        .flat()
        .map(({ type, key }) => `${type} ${key}`),
      ['upsert web/b', 'delete web/a'],
    );
    assert.match(String(w.requestsTo(pods).at(-1)?.['resourceVersion']), /^\d+$/);
    assert.equal(w.datastore.status().kinds?.Pod?.state, 'synced');
  });
}

test('429 and 503 with Retry-After are waited for as long as they say', async (t) => {
  const w = await world(t);
  w.cluster.fault = ({ path }) => (path === pods ? refusal(429, {}, 7) : undefined);
  await w.datastore.start();
  await w.pass(6_500);
  assert.equal(w.requestsTo(pods).length, 1);
  assert.match(w.datastore.status().waitingFor.join(), /429/);
  w.cluster.fault = () => undefined;
  await w.pass(3_000);
  assert.equal(w.requestsTo(pods).length, 2);
  assert.equal(w.inSync(), 1);
});

test('an answer cut in an object is thrown away to its last newline, and the watch goes on before it', async (t) => {
  const w = await world(t);
  w.cluster.put(pods, pod('a', 1));
  await w.datastore.start();
  await w.pass();
  const { resourceVersion } = w.datastore.status().kinds!.Pod!;
  w.cluster.cut(pods, event('MODIFIED', pod('a', 2)).slice(0, 60));
  await w.pass(1_000);
  assert.equal(w.requestsTo(pods).at(-1)?.['resourceVersion'], resourceVersion);
  assert.deepEqual(w.pods(), { a: '1' });
  w.cluster.put(pods, pod('a', 3));
  await w.pass();
  assert.deepEqual(w.pods(), { a: '3' });
});

test('what is no JSON is never taken for an object; where it stays, a list reads past it', async (t) => {
  const w = await world(t);
  w.cluster.put(pods, pod('a', 1));
  await w.datastore.start();
  await w.pass();
  let garbage = 0;
  w.cluster.fault = ({ path, query }) => {
    if (path !== pods || query?.['sendInitialEvents']) return undefined;
    garbage++;
    setImmediate(() => w.cluster.send(pods, '{"type":"ADDED","object":\n'));
    return undefined;
  };
  w.cluster.send(pods, 'no json\n');
  await w.pass(5_000);
  assert.equal(garbage, 2);
  assert.deepEqual(w.pods(), { a: '1' });
  assert.equal(w.requestsTo(pods).at(-1)?.['sendInitialEvents'], true);
  for (const line of [
    'null\n',
    '[]\n',
    '{"type":"ADDED","object":{}}\n',
    '{"type":"NEW","object":{"metadata":{"name":"x"}}}\n',
  ]) {
    w.cluster.send(pods, line);
    await w.pass(1_000);
  }
  assert.deepEqual(w.pods(), { a: '1' });
});

test('a watch that is silent is replaced; bookmarks keep it, and it resumes from the last one', async (t) => {
  const w = await world(t);
  await w.datastore.start();
  await w.pass();
  for (let i = 0; i < 4; i++) {
    await w.pass(60_000);
    w.cluster.bookmark(pods);
  }
  assert.equal(w.requestsTo(pods).length, 1);
  await w.pass();
  const { resourceVersion } = w.datastore.status().kinds!.Pod!;
  await w.pass(170_000);
  assert.equal(w.requestsTo(pods).length, 2);
  assert.equal(w.requestsTo(pods)[1]?.['resourceVersion'], resourceVersion);
  assert.equal(w.datastore.status().kinds?.Pod?.state, 'synced');
});

test('a list by WatchList that never ends is given up for pages', async (t) => {
  const w = await world(t);
  w.cluster.put(pods, pod('a', 1));
  w.cluster.fault = ({ path, query }) => {
    if (path !== pods || !query?.['sendInitialEvents']) return undefined;
    return { status: 200, body: new PassThrough() };
  };
  await w.datastore.start();
  await w.pass(20_000);
  assert.equal(w.inSync(), 1);
  assert.deepEqual(w.pods(), { a: '1' });
});

test('an object too large to be read is named, keeps its last version, and the rest goes on', async (t) => {
  const w = await world(t);
  w.cluster.put(policies, policy('a', 80));
  await w.datastore.start();
  await w.pass();
  w.cluster.put(policies, { ...policy('a', 81), status: 'x'.repeat(9 * 1024 * 1024) });
  w.cluster.put(policies, policy('b', 82));
  await w.pass();
  const [fault] = w.datastore.status().faults;
  assert.equal(fault?.object, 'NetworkPolicy web/a');
  assert.match(fault?.message ?? '', /bytes as JSON.*make it smaller/);
  assert.equal(w.get('NetworkPolicy', 'web/a')?.ingress[0]?.ports[0]?.port, 80);
  assert.equal(w.get('NetworkPolicy', 'web/b')?.ingress[0]?.ports[0]?.port, 82);
  assert.equal(w.datastore.status().inSync, true);
});

test('an object too large to be read that does not begin with its name takes no other one away', async (t) => {
  const w = await world(t);
  w.cluster.put(policies, policy('a', 80));
  await w.datastore.start();
  await w.pass();
  const annotations = { text: 'x'.repeat(9 * 1024 * 1024) };
  w.cluster.put(policies, { ...policy('a', 81), metadata: { annotations, name: 'a', namespace: 'web' } });
  w.cluster.compact();
  w.cluster.cut(policies);
  await w.pass(2_000);
  assert.ok(w.requestsTo(policies).length > 2, 'listed again');
  assert.equal(w.get('NetworkPolicy', 'web/a')?.ingress[0]?.ports[0]?.port, 80);
  assert.match(w.datastore.status().faults[0]?.object ?? '', /NetworkPolicy \(name not read\)/);
});

test('a resourceVersion that the server does not have is not asked for again', async (t) => {
  const w = await world(t);
  w.cluster.put(pods, pod('a', 1));
  await w.datastore.start();
  await w.pass();
  let asked = 0;
  w.cluster.fault = ({ path, query }) => {
    if (path !== pods || query?.['resourceVersion'] === undefined) return undefined;
    asked++;
    return refusal(504, tooLarge);
  };
  w.cluster.cut(pods);
  await w.pass(2_000);
  assert.equal(asked, 1);
  assert.equal(w.datastore.status().kinds?.Pod?.state, 'synced');
});
