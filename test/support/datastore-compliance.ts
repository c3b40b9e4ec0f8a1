/**
 * What every datastore promises, run against a harness that can put objects into its source. The source keeps what was put
 * across restarts of the datastore; `restart` is a process that died and came back, with its state on disk.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Datastore } from '#datastore';
import { type Kind, type ModelObjects, type ModelUpdate, objectKey } from '#model';
import { until } from './wait.ts';

/** A Kubernetes object as written in a manifest. */
export interface SourceObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Record<string, unknown> };
  readonly spec?: unknown;
  readonly status?: unknown;
}

export interface DatastoreHarness {
  /** A datastore over the source as it is; not started. Called again after `stop` it is the next run. */
  create(): Datastore;
  put(object: SourceObject): void | Promise<void>;
  /** Puts what the source's own validation would refuse, where it has one. Default: `put`. */
  putInvalid?(object: SourceObject): void | Promise<void>;
  /** Puts several, for tests of numbers. */
  putAll(objects: readonly SourceObject[]): void | Promise<void>;
  remove(object: SourceObject): void | Promise<void>;
}

export interface Watched {
  readonly datastore: Datastore;
  readonly batches: (readonly ModelUpdate[])[];
  inSyncCalls(): number;
  /** The model that the updates add up to. */
  get<K extends Kind>(kind: K, key: string): ModelObjects[K] | undefined;
}

/** Starts a datastore and follows it; stops with the test. */
export async function follow(t: TestContext, datastore: Datastore): Promise<Watched> {
  const model = new Map<string, unknown>();
  const batches: (readonly ModelUpdate[])[] = [];
  let inSync = 0;
  datastore.onUpdates((batch) => {
    assert.ok(batch.length > 0, 'no batch is empty');
    const ids = batch.map((update) => `${update.kind} ${update.key}`);
    assert.equal(new Set(ids).size, ids.length, 'at most one update for each object in a batch');
    batches.push(batch);
    for (const update of batch) {
      if (update.type === 'upsert') model.set(`${update.kind} ${update.key}`, update.object);
      else assert.ok(model.delete(`${update.kind} ${update.key}`), 'only what is there is deleted');
    }
  });
  datastore.onInSync(() => {
    inSync++;
  });
  await datastore.start();
  t.after(() => datastore.stop());
  return {
    datastore,
    batches,
    inSyncCalls: () => inSync,
    get: (kind, key) => model.get(`${kind} ${key}`) as never,
  };
}

export function policyObject(name: string, port: number | string): SourceObject {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name, namespace: 'web' },
    spec: { podSelector: {}, ingress: [{ ports: [{ port }] }] },
  };
}
/** Refused: the API has no such port. */
const invalid = (name: string): SourceObject => policyObject(name, 70_000);
const putInvalid = (source: DatastoreHarness, name: string): void | Promise<void> =>
  (source.putInvalid ?? source.put)(invalid(name));
const portOf = (watched: Watched, name: string): number | string | undefined =>
  watched.get('NetworkPolicy', `web/${name}`)?.ingress[0]?.ports[0]?.port;

/** Registers the suite; `harness` makes a fresh source for each test. */
/**
 * @param neverValid what an object does that nobody ever knew a valid version of: a directory cannot be trusted to name it at
 *   all, while of a NetworkPolicy of the API server it is known whom it selects
 */
export function datastoreCompliance(
  name: string,
  harness: (t: TestContext) => DatastoreHarness,
  neverValid: 'keeps the mark back' | 'denies',
): void {
  test(`${name}: what is there is told before the in-sync mark, which is given once`, async (t) => {
    const source = harness(t);
    await source.put(policyObject('a', 80));
    const watched = await follow(t, source.create());
    await until(() => watched.inSyncCalls() > 0, { what: 'in sync' });
    assert.equal(portOf(watched, 'a'), 80);
    assert.ok(watched.get('Namespace', 'web'), 'a namespace that is used is there');
    await source.put(policyObject('b', 81));
    await until(() => portOf(watched, 'b') === 81, { what: 'the second policy' });
    assert.equal(watched.inSyncCalls(), 1);
    assert.equal(watched.datastore.status().inSync, true);
    assert.equal(watched.datastore.status().objects.NetworkPolicy, 2);
  });

  test(`${name}: changes and deletions follow, and what is equal is not told again`, async (t) => {
    const source = harness(t);
    await source.put(policyObject('a', 80));
    await source.put(policyObject('b', 80));
    const watched = await follow(t, source.create());
    await until(() => watched.inSyncCalls() > 0, { what: 'in sync' });
    const before = watched.batches.length;
    await source.put(policyObject('a', 80));
    await source.put(policyObject('b', 81));
    await until(() => portOf(watched, 'b') === 81, { what: 'the change' });
    await source.remove(policyObject('b', 0));
    await until(() => !watched.get('NetworkPolicy', 'web/b'), { what: 'the deletion' });
    const told = watched.batches.slice(before).flat();
    assert.ok(told.every((update) => update.key === 'web/b'));
  });

  test(`${name}: an invalid version leaves the last good one in force, across a restart too`, async (t) => {
    const source = harness(t);
    await source.put(policyObject('a', 80));
    const first = await follow(t, source.create());
    await until(() => first.inSyncCalls() > 0, { what: 'in sync' });
    assert.equal(portOf(first, 'a'), 80);
    await putInvalid(source, 'a');
    await until(() => first.datastore.status().faultsTotal > 0, { what: 'the fault' });
    const [fault] = first.datastore.status().faults;
    assert.equal(fault?.object, 'NetworkPolicy web/a');
    assert.match(fault?.field ?? '', /spec\.ingress\[0\]\.ports\[0\]\.port/);
    assert.match(fault?.message ?? '', /70000/);
    assert.equal(fault?.blocking, false);
    assert.equal(portOf(first, 'a'), 80);
    assert.equal(first.datastore.status().inSync, true);
    await first.datastore.stop();
    const second = await follow(t, source.create());
    await until(() => second.inSyncCalls() > 0, { what: 'in sync again' });
    assert.equal(portOf(second, 'a'), 80);
    await source.put(policyObject('a', 82));
    await until(() => portOf(second, 'a') === 82, { what: 'the mended version' });
    await until(() => second.datastore.status().faultsTotal === 0, { what: 'no fault' });
  });

  test(`${name}: what was never valid ${neverValid} until it is mended or gone`, async (t) => {
    const source = harness(t);
    await source.put(policyObject('good', 80));
    await putInvalid(source, 'bad');
    await putInvalid(source, 'worse');
    const watched = await follow(t, source.create());
    await until(() => watched.datastore.status().faultsTotal === 2, { what: 'both faults' });
    const heldBack = neverValid === 'keeps the mark back';
    if (heldBack) {
      assert.equal(watched.datastore.status().inSync, false);
      assert.match(watched.datastore.status().waitingFor.join('\n'), /web\/bad[\s\S]*web\/worse/);
    } else {
      await until(() => watched.inSyncCalls() > 0, { what: 'in sync' });
      const { metadata, ...denies } = watched.get('NetworkPolicy', 'web/worse')!;
      assert.equal(metadata.name, 'worse');
      const policyTypes = ['Ingress'];
      const podSelector = { matchLabels: {}, matchExpressions: [] };
      assert.deepEqual(denies, { podSelector, policyTypes, ingress: [], egress: [], standIn: true });
      const effects = watched.datastore.status().faults.map(({ effect, blocking }) => [effect, blocking]);
      assert.deepEqual(
        effects,
        Array(2).fill(['it was never valid: what it selects is denied until it can be read', false]),
      );
    }
    await source.put(policyObject('bad', 81));
    await until(() => portOf(watched, 'bad') === 81, { what: 'the mended one' });
    assert.equal(watched.inSyncCalls(), heldBack ? 0 : 1);
    await source.remove(invalid('worse'));
    await until(() => watched.inSyncCalls() > 0, { what: 'in sync' });
    await until(() => !watched.get('NetworkPolicy', 'web/worse'), { what: 'the deletion' });
  });

  test(`${name}: staged policies of all kinds are told with what is to be made of them, and go`, async (t) => {
    const source = harness(t);
    const staged = (kind: Kind, spec: object): SourceObject => {
      const place = kind === 'StagedGlobalNetworkPolicy' ? {} : { namespace: 'web' };
      return { apiVersion: 'projectcalico.org/v3', kind, metadata: { name: 's', ...place }, spec };
    };
    const objects = [
      staged('StagedNetworkPolicy', { tier: 'first', ingress: [{ action: 'Deny' }] }),
      staged('StagedGlobalNetworkPolicy', { stagedAction: 'Delete' }),
      staged('StagedKubernetesNetworkPolicy', { stagedAction: 'Set', podSelector: {}, ingress: [{}] }),
    ];
    for (const object of objects) await source.put(object);
    const watched = await follow(t, source.create());
    await until(() => watched.inSyncCalls() > 0, { what: 'in sync' });
    const [calico, global, kubernetes] = [
      watched.get('StagedNetworkPolicy', 'web/s'),
      watched.get('StagedGlobalNetworkPolicy', 's'),
      watched.get('StagedKubernetesNetworkPolicy', 'web/s'),
    ];
    assert.deepEqual([calico?.stagedAction, calico?.tier, calico?.ingress[0]?.action], ['Set', 'first', 'Deny']);
    assert.equal(global?.stagedAction, 'Delete');
    assert.deepEqual([kubernetes?.stagedAction, kubernetes?.policyTypes], ['Set', ['Ingress']]);
    for (const object of objects) await source.remove(object);
    const left = (): boolean =>
      objects.some(({ kind, metadata }) => watched.get(kind as Kind, objectKey({ namespace: '', ...metadata })));
    await until(() => !left(), { what: 'their end' });
  });

  test(`${name}: what was deleted while nobody looked is gone for the next run`, async (t) => {
    const source = harness(t);
    await source.put(policyObject('a', 80));
    await source.put(policyObject('b', 80));
    const first = await follow(t, source.create());
    await until(() => first.inSyncCalls() > 0, { what: 'in sync' });
    await first.datastore.stop();
    await source.remove(policyObject('a', 80));
    const second = await follow(t, source.create());
    await until(() => second.inSyncCalls() > 0, { what: 'in sync again' });
    assert.equal(second.get('NetworkPolicy', 'web/a'), undefined);
    assert.equal(portOf(second, 'b'), 80);
  });

  test(`${name}: ten thousand objects, and one change among them is one update`, async (t) => {
    const source = harness(t);
    const pod = (index: number, phase: string): SourceObject => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: `p${index}`, namespace: 'web', labels: { app: `a${index % 100}` } },
      spec: { nodeName: `n${index % 50}`, containers: [{ name: 'c', image: 'i', ports: [{ containerPort: 80 }] }] },
      status: { phase, podIPs: [{ ip: `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}` }] },
    });
    await source.putAll(Array.from({ length: 10_000 }, (_, index) => pod(index, 'Running')));
    const watched = await follow(t, source.create());
    await until(() => watched.inSyncCalls() > 0, { what: 'in sync', deadlineMs: 60_000 });
    assert.equal(watched.datastore.status().objects.Pod, 10_000);
    const before = watched.batches.length;
    await source.put(pod(77, 'Failed'));
    await until(() => watched.get('Pod', 'web/p77')?.phase === 'Failed', { what: 'the change', deadlineMs: 30_000 });
    assert.deepEqual(
      watched.batches.slice(before).map((batch) => batch.length),
      [1],
    );
  });
}
