import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, silentLogger } from '#kit';
import type { NodeFacts } from './facts.ts';
import { failure, fakeApi, unreachable } from './fake-api.ts';
import { datastoreStatus, nodeFacts } from './fake-facts.ts';
import { POPLIN_NODES_PATH, type PoplinNodeStatus, poplinNodeContent } from './poplin-node.ts';
import { createPoplinNodeWriter } from './poplin-node-writer.ts';

const path = `${POPLIN_NODES_PATH}/n1`;
const contentOf = (extra: Partial<NodeFacts> = {}) => poplinNodeContent(nodeFacts(extra), () => '2026-01-01T00:00:00Z');

function world(collections: readonly string[] = [POPLIN_NODES_PATH]) {
  const api = fakeApi(collections);
  const clock = new FakeClock();
  const start = Date.parse('2026-01-01T12:00:00Z');
  const writer = createPoplinNodeWriter(
    { client: api, clock, wallMs: () => start + clock.nowMs(), random: () => 0.5, log: silentLogger },
    { nodeName: 'n1' },
  );
  /** Time passes, and what was asked for meanwhile is answered. */
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left >= 0; left -= 100) {
      clock.advance(Math.min(100, left));
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  };
  const status = () => api.objects.get(path)?.['status'] as PoplinNodeStatus | undefined;
  return {
    api,
    clock,
    writer,
    pass,
    status,
    offer: (c = contentOf(), seen = '') => writer.offer(c, { uid: 'u1' }, seen),
  };
}

test('the object is made with the Node as its owner, then its status is written', async () => {
  const { api, offer, pass, status } = world();
  offer();
  await pass(100);
  assert.deepEqual(api.writes(), [`POST ${POPLIN_NODES_PATH}`, `PATCH ${path}/status`]);
  const metadata = api.objects.get(path)!['metadata'] as { ownerReferences: unknown };
  assert.deepEqual(metadata.ownerReferences, [{ apiVersion: 'v1', kind: 'Node', name: 'n1', uid: 'u1' }]);
  assert.equal(status()!.observedAt, '2026-01-01T12:00:00Z');
  assert.equal(status()!.conditions.length, 7);
});

test('without a Node nothing is made', async () => {
  const { api, writer, pass } = world();
  writer.offer(contentOf(), undefined, '');
  await pass(500);
  assert.deepEqual(api.writes(), []);
  assert.match(writer.failure()!, /waits for its Node/);
});

test('content waits for 10 s, a condition for 1 s, and nothing new for the heartbeat', async () => {
  const { api, offer, pass, status } = world();
  offer();
  await pass(100);
  const written = () => api.requests.filter(({ method }) => method === 'PATCH').length;
  for (let i = 0; i < 90; i++) {
    offer(contentOf({ version: `0.1.${i}` }));
    await pass(100);
  }
  assert.equal(written(), 1);
  await pass(2_000);
  assert.equal(written(), 2);
  assert.equal(status()!.version.version, '0.1.89');
  offer(contentOf({ version: '0.1.89', podCIDRs: [] }));
  await pass(900);
  assert.equal(written(), 3);
  // Conditions that flap are bounded as well.
  for (let i = 0; i < 50; i++) {
    offer(contentOf({ version: '0.1.89', ...(i % 2 ? { podCIDRs: [] } : {}) }));
    await pass(100);
  }
  assert.ok(written() <= 3 + 6, `${written()} writes`);
  const before = written();
  await pass(200_000);
  assert.ok(written() - before <= 1);
  await pass(400_000);
  assert.ok(written() - before >= 2, 'the heartbeat');
});

test('revisions that only bookmarks moved are not worth a write, those of real changes are', async () => {
  const { api, offer, pass, status } = world();
  offer(contentOf(), 'noon');
  await pass(20_000);
  offer(contentOf({ inForce: { Pod: '11' } }), 'noon');
  await pass(20_000);
  assert.equal(api.writes().length, 2);
  offer(contentOf({ inForce: { Pod: '12' } }), 'one');
  await pass(20_000);
  assert.equal(api.writes().length, 3);
  assert.equal(status()!.kinds[0]!.resourceVersion, '12');
});

test('times of transition go on over a restart, and a deleted object is made again', async () => {
  const first = world();
  first.offer();
  await first.pass(100);
  const { api } = first;
  const second = createPoplinNodeWriter(
    {
      client: api,
      clock: first.clock,
      wallMs: () => Date.parse('2026-02-02T00:00:00Z'),
      random: () => 0,
      log: silentLogger,
    },
    { nodeName: 'n1' },
  );
  second.offer(contentOf({ podCIDRs: [] }), { uid: 'u1' }, '');
  await first.pass(100);
  const times = Object.fromEntries(first.status()!.conditions.map((c) => [c.type, c.lastTransitionTime]));
  assert.equal(times['Ready'], '2026-01-01T12:00:00Z');
  assert.equal(times['PodCIDRAssigned'], '2026-02-02T00:00:00Z');
  api.objects.delete(path);
  second.offer(contentOf(), { uid: 'u2' }, '');
  await first.pass(5_000);
  assert.ok(first.status());
});

test('a kind that is not installed is looked for again, and the agent works on', async () => {
  const { api, offer, pass, writer } = world([]);
  offer();
  await pass(120_000);
  assert.ok(api.requests.length <= 3, `${api.requests.length} requests`);
  assert.match(writer.failure()!, /not installed: apply deploy\/crds/);
  api.intercept = ({ method }) =>
    method === 'PATCH' ? { status: 200, body: {} } : { status: 200, body: { status: {} } };
  await pass(90_000);
  assert.equal(writer.failure(), undefined);
});

test('an API server that is away or busy is asked again, ever more rarely', async () => {
  const { api, offer, pass, status } = world();
  api.intercept = () => unreachable();
  offer();
  await pass(60_000);
  assert.ok(api.requests.length < 12, `${api.requests.length} requests`);
  api.intercept = () => ({ ...failure(429, 'TooManyRequests'), retryAfterSec: 100 });
  await pass(70_000);
  const asked = api.requests.length;
  await pass(30_000);
  assert.equal(api.requests.length, asked);
  api.intercept = undefined;
  await pass(130_000);
  assert.ok(status());
});

test('what was offered last is written at the end, if it differs', async () => {
  const { api, offer, pass, writer, status } = world();
  offer();
  await pass(100);
  offer(contentOf({ ready: { ok: false, reasons: ['it is stopping'] }, datastore: datastoreStatus() }));
  await writer.stop(500);
  assert.equal(status()!.conditions.find(({ type }) => type === 'Ready')!.status, 'False');
  const count = api.requests.length;
  offer();
  await pass(400_000);
  assert.equal(api.requests.length, count);
});
