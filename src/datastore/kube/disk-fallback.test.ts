/** What is on disk: last good versions, and the model of an agent that starts while the API server is away. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { refusal } from './fake-cluster.ts';
import { namespaces, onceRead, pod, pods, policies, policy, world } from './kube-world.ts';

test('the last good version of an object counts across restarts, of this cluster only', async (t) => {
  const first = await world(t);
  first.cluster.put(policies, policy('a', 80));
  await first.datastore.start();
  await first.pass();
  first.cluster.put(policies, policy('a', 70_000));
  await first.pass();
  assert.equal(first.datastore.status().faults[0]?.effect, 'the last good version stays in force');
  await first.datastore.stop();
  const second = await world(t, { cluster: first.cluster, stateDir: first.stateDir });
  await second.datastore.start();
  await onceRead(second, () => second.inSync() > 0);
  assert.equal(second.inSync(), 1);
  assert.equal(second.get('NetworkPolicy', 'web/a')?.ingress[0]?.ports[0]?.port, 80);
  await second.datastore.stop();
  first.cluster.put(namespaces, { metadata: { name: 'kube-system', uid: 'cluster-2' } });
  const other = await world(t, { cluster: first.cluster, stateDir: first.stateDir });
  await other.datastore.start();
  await onceRead(other, () => other.inSync() > 0);
  const standIn = other.get('NetworkPolicy', 'web/a');
  assert.deepEqual([standIn?.standIn, standIn?.ingress, standIn?.egress], [true, [], []]);
});

test('a policy that nobody can read denies what it names: at once, across restarts, with the API server away', async (t) => {
  const first = await world(t);
  const broken = (spec: object) => ({ metadata: { name: 'a', namespace: 'web' }, spec });
  const ingress = { policyTypes: ['Ingress'], ingress: [{ because: 'of a later API' }] };
  await first.datastore.start();
  await first.pass();
  first.cluster.put(policies, broken({ podSelector: { matchLabels: { app: 'db' } }, ...ingress }));
  await first.pass();
  const expected = { policyTypes: ['Ingress'], ingress: [], egress: [], standIn: true };
  const { podSelector, metadata, ...rest } = first.get('NetworkPolicy', 'web/a')!;
  assert.deepEqual(rest, expected);
  assert.deepEqual(podSelector.matchLabels, { app: 'db' });
  assert.equal(first.datastore.status().inSync, true);
  await first.datastore.stop();
  const away = await world(t, { cluster: first.cluster, stateDir: first.stateDir });
  away.cluster.fault = () => refusal(500);
  await away.datastore.start();
  await away.pass(35_000);
  await onceRead(away, () => away.inSync() > 0);
  assert.equal(away.get('NetworkPolicy', 'web/a')?.standIn, true);
  away.cluster.fault = () => undefined;
  await away.pass(60_000);
  assert.match(away.datastore.status().faults[0]?.effect ?? '', /never valid: what it selects is denied/);
  away.cluster.put(
    policies,
    broken({ podSelector: { matchLabel: { app: 'db' } }, policyTypes: ['Egress', 'Sideways'] }),
  );
  await away.pass();
  const wider = away.get('NetworkPolicy', 'web/a');
  assert.deepEqual(wider?.podSelector, { matchLabels: {}, matchExpressions: [] }, 'whom it selects is not known');
  assert.deepEqual(wider?.policyTypes, ['Ingress', 'Egress']);
  away.cluster.put(policies, policy('a', 80));
  await away.pass();
  assert.equal(away.get('NetworkPolicy', 'web/a')?.ingress[0]?.ports[0]?.port, 80);
  assert.equal(away.get('NetworkPolicy', 'web/a')?.standIn, undefined);
  away.cluster.put(policies, broken({ podSelector: {}, ...ingress }));
  await away.pass();
  assert.equal(away.get('NetworkPolicy', 'web/a')?.ingress[0]?.ports[0]?.port, 80, 'the last good version');
});

test('an API server that answers with errors only is as good as none, after half a minute; so is a clock that is wrong', async (t) => {
  const first = await world(t);
  first.cluster.put(policies, policy('a', 80));
  await first.datastore.start();
  await first.pass();
  await first.datastore.stop();
  t.mock.method(Date, 'now', () => 0);
  const second = await world(t, { cluster: first.cluster, stateDir: first.stateDir });
  second.cluster.fault = () => refusal(500);
  await second.datastore.start();
  await second.pass(25_000);
  assert.equal(second.inSync(), 0);
  await second.pass(10_000);
  await onceRead(second, () => second.inSync() > 0);
  assert.equal(second.inSync(), 1);
  assert.match(second.datastore.status().stale?.reason ?? '', /model on disk of .*, 0 min old/);
  assert.equal(second.get('NetworkPolicy', 'web/a')?.ingress[0]?.ports[0]?.port, 80);
  second.cluster.fault = () => undefined;
  second.cluster.remove(policies, 'web/a');
  await second.pass(20_000);
  assert.equal(second.get('NetworkPolicy', 'web/a'), undefined);
  assert.equal(second.datastore.status().stale, undefined);
});

test('a change is on disk soon, where an agent finds it that is killed and starts while the API server is away', async (t) => {
  const w = await world(t);
  await w.datastore.start();
  // The whole model, first.
  await w.pass(1_500);
  const file = path.join(w.stateDir, 'datastore', 'last-good-kube.jsonl');
  const holds = async (text: string): Promise<boolean> => {
    // The file is written in real time.
    for (
      const end = performance.now() + 10_000;
      performance.now() < end;
      await new Promise((go) => setTimeout(go, 5))
    ) {
      if (fs.existsSync(file) && fs.readFileSync(file, 'utf8').includes(text)) return true;
    }
    return false;
  };
  assert.ok(await holds('kube-system'));
  w.cluster.put(pods, pod('a', 1));
  await w.pass(500);
  assert.ok(await holds('web/a'));
});
