import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, silentLogger } from '#kit';
import { createCniFailures } from './cni-failures.ts';
import { createEventBook, EVENT_LIMITS, type EventNote } from './event-book.ts';
import { createEventWriter } from './event-writer.ts';
import type { NodeFacts } from './facts.ts';
import { failure, fakeApi, unreachable } from './fake-api.ts';
import { nodeFacts } from './fake-facts.ts';
import { nodeConditions } from './node-conditions.ts';
import { nodeEvents } from './node-events.ts';

const note = (name: string, text = 'Secret x is missing', reason = 'SecretMissing'): EventNote => ({
  regarding: { apiVersion: 'projectcalico.org/v3', kind: 'BGPPeer', name, uid: `uid-${name}` },
  type: 'Warning',
  reason,
  action: 'HeldDown',
  note: text,
});

test('one Event when it begins, a count while it lasts, a new one when it comes again', () => {
  const book = createEventBook();
  const counts: number[] = [];
  for (let ms = 0; ms <= 4_000_000; ms += 5_000)
    counts.push(...book.tell([note('tor')], ms).writes.map((w) => w.count));
  assert.deepEqual(counts, [1, 2, 3]);
  for (let ms = 4_005_000; ms <= 5_000_000; ms += 5_000) assert.deepEqual(book.tell([], ms).writes, []);
  assert.deepEqual(
    book.tell([note('tor')], 5_005_000).writes.map((w) => w.count),
    [1],
  );
});

test('words that change at each look, and what comes and goes, make no stream', () => {
  const book = createEventBook();
  let written = 0;
  for (let i = 0; i < 720; i++) {
    const told = i % 2 === 0 ? [note('tor', `try ${i}`)] : [];
    written += book.tell(told, i * 5_000).writes.length;
  }
  assert.ok(written >= 2 && written <= 12, `${written} Events in an hour`);
});

test('thousands of faults a second: bounded in all, and what is left out is counted', () => {
  const book = createEventBook();
  let [written, dropped] = [0, 0];
  for (let second = 0; second < 60; second++) {
    const notes = Array.from({ length: 3_000 }, (_, i) => note(`p${second}-${i}`));
    const told = book.tell(notes, second * 1_000);
    written += told.writes.length;
    dropped += told.dropped;
  }
  const most = EVENT_LIMITS.burst + 60_000 / EVENT_LIMITS.refillMs;
  assert.ok(written >= EVENT_LIMITS.burst && written <= most, `${written} Events in a minute`);
  assert.equal(written + dropped, 180_000);
});

function world() {
  const api = fakeApi([
    '/apis/events.k8s.io/v1/namespaces/default/events',
    '/apis/events.k8s.io/v1/namespaces/web/events',
  ]);
  const clock = new FakeClock();
  const hits: string[] = [];
  const make = () =>
    createEventWriter(
      {
        client: api,
        clock,
        wallMs: () => 1_800_000_000_000 + clock.nowMs(),
        log: silentLogger,
        limits: { hit: (limit) => void hits.push(limit) },
      },
      { instance: 'n1' },
    );
  return { api, clock, hits, make };
}

test('an Event is about its object, in the namespace of it, or in default', async () => {
  const { api, make } = world();
  const writer = make();
  const policy = {
    ...note('deny'),
    regarding: { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', name: 'deny', namespace: 'web' },
  };
  writer.tell([note('tor'), policy]);
  await writer.idle();
  const [first, second] = [...api.objects.values()] as Record<string, unknown>[];
  assert.deepEqual((first!['metadata'] as Record<string, unknown>)['namespace'], 'default');
  assert.deepEqual(first!['regarding'], note('tor').regarding);
  assert.equal(first!['note'], 'Secret x is missing');
  assert.match(String(first!['eventTime']), /\.\d{6}Z$/);
  assert.deepEqual((second!['metadata'] as Record<string, unknown>)['namespace'], 'web');
});

test('it lasts: the same Event is counted, over a restart of the agent as well', async () => {
  const { api, clock, make } = world();
  const writer = make();
  writer.tell([note('tor')]);
  await writer.idle();
  clock.advance(EVENT_LIMITS.againAfterMs);
  writer.tell([note('tor')]);
  await writer.idle();
  const second = make();
  second.tell([note('tor')]);
  await second.idle();
  assert.equal(api.objects.size, 1);
  const [event] = [...api.objects.values()] as { series: { count: number } }[];
  assert.equal(event!.series.count, 2);
  api.objects.clear();
  clock.advance(EVENT_LIMITS.againAfterMs);
  writer.tell([note('tor')]);
  await writer.idle();
  clock.advance(EVENT_LIMITS.newAfterMs);
  writer.tell([note('tor')]);
  await writer.idle();
  assert.equal(api.objects.size, 1, 'an Event that expired is made anew');
});

test('what cannot be written is dropped and counted, and the server is left alone for a while', async () => {
  const { api, clock, hits, make } = world();
  api.intercept = () => unreachable();
  const writer = make();
  writer.tell([note('a'), note('b'), note('c')]);
  await writer.idle();
  assert.equal(api.requests.length, 1);
  assert.equal(hits.length, 3);
  api.intercept = () => failure(403, 'Forbidden', 'a');
  clock.advance(31_000);
  writer.tell([note('d'), note('e')]);
  await writer.idle();
  assert.equal(api.requests.length, 2);
});

const eventsOf = (extra: Partial<NodeFacts>, more: { repairs?: number; cniFailures?: string } = {}) => {
  const facts = nodeFacts(extra);
  return nodeEvents({ facts, conditions: nodeConditions(facts), nodeUid: 'u1', repairs: 0, ...more });
};

test('a node that is well has none; each thing to act on has one', () => {
  assert.deepEqual(eventsOf({}), []);
  const policy = { ...nodeFacts().policy, failures: 3, lastError: 'locked' };
  const reasons = [
    eventsOf({ podCIDRs: [] }),
    eventsOf({ addresses: { rejected: [] } }),
    eventsOf({ policy }),
    eventsOf({ bgp: { issues: [], heldDown: new Map(), startFailure: 'port 179 is taken' } }),
    eventsOf({}, { repairs: 3 }),
    eventsOf({}, { cniFailures: 'several calls failed' }),
  ].map((events) => events.map(({ reason }) => reason).join());
  assert.deepEqual(reasons, [
    'PodCIDRMissing',
    'AddressNotFound',
    'PolicyApplyFailed',
    'SpeakerCannotStart',
    'ChangedByOthers',
    'CNICallsFailing',
  ]);
  assert.deepEqual(eventsOf({ podCIDRs: [] })[0]!.regarding, { apiVersion: 'v1', kind: 'Node', name: 'n1', uid: 'u1' });
  assert.deepEqual(eventsOf({ policy: { ...policy, failures: 1 } }), []);
});

test("one failed CNI call is a pod's, many are the node's", () => {
  const failures = createCniFailures();
  for (let i = 0; i < 4; i++) failures.add('ADD', 'try_again', i);
  for (let i = 0; i < 100; i++) failures.add('ADD', 'ok', i);
  assert.equal(failures.summary(1_000), undefined);
  failures.add('DEL', 'internal', 1_000);
  assert.match(failures.summary(1_000)!, /several CNI calls failed .*ADD try_again, DEL internal/);
  for (let i = 0; i < 10_000; i++) failures.add('ADD', 'try_again', 2_000);
  assert.match(failures.summary(2_000)!, /at least 50/);
  assert.equal(failures.summary(400_000), undefined);
});
