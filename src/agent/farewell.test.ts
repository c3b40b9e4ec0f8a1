import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createFarewell } from './farewell.ts';
import { failure, fakeApi, unreachable } from './status/fake-api.ts';

const collection = '/apis/apps/v1/namespaces/poplin-system/daemonsets';
const path = `${collection}/poplin`;
const daemonSet = { metadata: { name: 'poplin' } };

function world() {
  const api = fakeApi([collection]);
  api.objects.set(path, daemonSet);
  return { api, farewell: createFarewell(api, 'poplin-system') };
}

test('a DaemonSet that is there means a restart, one that is gone or going an end', async () => {
  const { api, farewell } = world();
  await farewell.remember();
  assert.equal(await farewell.isForGood(), false);
  api.objects.set(path, { metadata: { name: 'poplin', deletionTimestamp: '2026-01-01T00:00:00Z' } });
  assert.equal(await farewell.isForGood(), true);
  api.objects.delete(path);
  assert.equal(await farewell.isForGood(), true);
});

test('who cannot tell restarts', async () => {
  const { api, farewell } = world();
  await farewell.remember();
  for (const intercept of [
    () => failure(403, 'Forbidden', 'poplin'),
    () => failure(503, 'ServiceUnavailable'),
    () => ({ status: 404, body: '404 page not found\n' }),
    unreachable,
  ]) {
    api.intercept = intercept;
    assert.equal(await farewell.isForGood(), false);
  }
});

test('an agent without a DaemonSet of that name always restarts', async () => {
  const { api, farewell } = world();
  api.objects.delete(path);
  await farewell.remember();
  assert.equal(await farewell.isForGood(), false);
  assert.equal(await createFarewell(api, 'poplin-system').isForGood(), false);
});
