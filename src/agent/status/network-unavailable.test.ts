import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, silentLogger } from '#kit';
import { failure, fakeApi } from './fake-api.ts';
import { createNetworkUnavailableWriter } from './network-unavailable.ts';

const path = '/api/v1/nodes/n1';

function world(conditions: readonly object[]) {
  const api = fakeApi(['/api/v1/nodes']);
  api.objects.set(path, { metadata: { name: 'n1', uid: 'u1' }, status: { conditions } });
  const clock = new FakeClock();
  const writer = createNetworkUnavailableWriter(
    { client: api, clock, wallMs: () => Date.parse('2026-01-01T00:00:00Z'), random: () => 0.5, log: silentLogger },
    { nodeName: 'n1' },
  );
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left >= 0; left -= 500) {
      clock.advance(Math.min(500, left));
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  };
  const stored = () =>
    (api.objects.get(path)!['status'] as { conditions: readonly Record<string, string>[] }).conditions;
  return { api, writer, pass, stored };
}
const patches = (api: ReturnType<typeof fakeApi>) =>
  api.writes().filter((each) => each === `PATCH ${path}/status`).length;

test("cleared once everything is in the kernel, beside the kubelet's conditions", async () => {
  const { api, writer, pass, stored } = world([
    { type: 'Ready', status: 'True' },
    { type: 'NetworkUnavailable', status: 'True', reason: 'NoRouteCreated' },
  ]);
  writer.seen({ uid: 'u1', networkUnavailable: true });
  await pass(60_000);
  assert.deepEqual(api.requests, []);
  writer.clear();
  await pass(1_000);
  assert.equal(patches(api), 1);
  assert.deepEqual(
    stored().map(({ type, status, reason }) => [type, status, reason]),
    [
      ['Ready', 'True', undefined],
      ['NetworkUnavailable', 'False', 'PoplinIsUp'],
    ],
  );
  assert.equal(writer.cleared, true);
});

test('False already: nothing is written', async () => {
  const { api, writer, pass } = world([{ type: 'NetworkUnavailable', status: 'False', reason: 'CalicoIsUp' }]);
  writer.clear();
  await pass(60_000);
  assert.equal(patches(api), 0);
  assert.equal(api.requests.length, 1);
});

test('retried until it is done', async () => {
  const { api, writer, pass } = world([]);
  api.intercept = ({ method }) => (method === 'PATCH' ? failure(403, 'Forbidden', 'n1') : undefined);
  writer.clear();
  await pass(10_000);
  assert.ok(patches(api) >= 2);
  assert.equal(writer.cleared, false);
  api.intercept = undefined;
  await pass(60_000);
  assert.equal(writer.cleared, true);
});

test('set again by somebody, or a new Node of the name: cleared again, not in a fight', async () => {
  const { api, writer, pass } = world([]);
  writer.seen({ uid: 'u1', networkUnavailable: false });
  writer.clear();
  await pass(1_000);
  for (let i = 0; i < 60; i++) {
    api.objects.set(path, {
      metadata: { name: 'n1' },
      status: { conditions: [{ type: 'NetworkUnavailable', status: 'True' }] },
    });
    writer.seen({ uid: 'u1', networkUnavailable: true });
    await pass(500);
  }
  await pass(35_000);
  assert.ok(patches(api) >= 2 && patches(api) <= 4, `${patches(api)} patches`);
  const before = patches(api);
  api.objects.set(path, { metadata: { name: 'n1' }, status: {} });
  writer.seen({ uid: 'u2', networkUnavailable: false });
  await pass(1_000);
  assert.equal(patches(api), before + 1);
});

test('stopping writes nothing', async () => {
  const { api, writer, pass } = world([]);
  await writer.stop();
  writer.clear();
  await pass(60_000);
  assert.deepEqual(api.requests, []);
});
