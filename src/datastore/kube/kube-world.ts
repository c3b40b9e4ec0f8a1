/** A datastore over a cluster in memory, in time that moves when told to: the world of this folder's tests. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { FakeClock, type Logger, silentLogger } from '#kit';
import type { Kind, ModelObjects, ModelUpdate } from '#model';
import { FakeCluster, type FakeObject } from './fake-cluster.ts';
import { createKubeDatastore, type KubeDatastore } from './kube-datastore.ts';

export const pods = '/api/v1/pods';
export const namespaces = '/api/v1/namespaces';
export const policies = '/apis/networking.k8s.io/v1/networkpolicies';
export const nodes = '/api/v1/nodes';
export const peers = '/apis/projectcalico.org/v3/bgppeers';
export const oldPeers = '/apis/crd.projectcalico.org/v1/bgppeers';

export function pod(name: string, version: string | number): FakeObject {
  return { metadata: { name, namespace: 'web', labels: { version: `${version}` } }, spec: {}, status: {} };
}
export function policy(name: string, port: number): FakeObject {
  const spec = { podSelector: {}, ingress: [{ ports: [{ port }] }] };
  return { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: { name, namespace: 'web' }, spec };
}
export function peer(apiVersion: string, name: string, more: object = {}): FakeObject {
  return { apiVersion, kind: 'BGPPeer', metadata: { name }, spec: { peerIP: '192.0.2.1', asNumber: 65001, ...more } };
}

export interface World {
  readonly cluster: FakeCluster;
  readonly clock: FakeClock;
  readonly stateDir: string;
  readonly batches: (readonly ModelUpdate[])[];
  readonly datastore: KubeDatastore;
  inSync(): number;
  get<K extends Kind>(kind: K, key: string): ModelObjects[K] | undefined;
  /** Version labels of the pods that were told. */
  pods(): Record<string, string | undefined>;
  /** Lets everything that is due happen, and `ms` go by in steps. */
  pass(ms?: number): Promise<void>;
  requestsTo(path: string): readonly Record<string, unknown>[];
}

/** @param before what is taken over of an earlier world: its cluster, its folder. */
export async function world(
  t: Pick<TestContext, 'after'>,
  before: Partial<World> & { readonly log?: Logger } = {},
): Promise<World> {
  const cluster = before.cluster ?? new FakeCluster();
  cluster.serve(pods, namespaces, policies, nodes);
  if (cluster.objects(namespaces).length === 0) {
    cluster.put(namespaces, { metadata: { name: 'kube-system', uid: 'cluster-1' } });
  }
  const clock = new FakeClock();
  const stateDir = before.stateDir ?? fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-kube-state-'));
  const datastore = createKubeDatastore(
    { log: before.log ?? silentLogger, clock, random: () => 0.5, connection: cluster },
    { namespace: 'poplin-system', stateDir },
  );
  const model = new Map<string, unknown>();
  const batches: (readonly ModelUpdate[])[] = [];
  let inSync = 0;
  datastore.onUpdates((batch) => {
    assert.ok(batch.length > 0);
    batches.push(batch);
    for (const update of batch) {
      if (update.type === 'upsert') model.set(`${update.kind} ${update.key}`, update.object);
      else assert.ok(model.delete(`${update.kind} ${update.key}`), `${update.key} is there to be deleted`);
    }
  });
  datastore.onInSync(() => {
    inSync++;
  });
  t.after(async () => {
    await datastore.stop();
    fs.rmSync(stateDir, { recursive: true, force: true });
  });
  const self: World = {
    cluster,
    clock,
    stateDir,
    batches,
    datastore,
    inSync: () => inSync,
    get: (kind, key) => model.get(`${kind} ${key}`) as never,
    pods: () => {
      const found = [...model].filter(([ref]) => ref.startsWith('Pod ')).sort(([a], [b]) => (a < b ? -1 : 1));
      return Object.fromEntries(
        found.map(([ref, object]) => [ref.slice(8), (object as ModelObjects['Pod']).metadata.labels['version']]),
      );
    },
    pass: async (ms = 100) => {
      for (let passed = 0; passed <= ms; passed += 50) {
        for (let i = 0; i < 12; i++) await turn();
        clock.advance(50);
      }
      for (let i = 0; i < 12; i++) await turn();
    },
    requestsTo: (path) => cluster.requests.filter((request) => request.path === path).map(({ query }) => query),
  };
  return self;
}

/** What is on disk is read in real time, beside a clock that moves when told to: turns of the loop until it has taken effect. */
export async function onceRead(w: World, effect: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!effect() && performance.now() < end) await w.pass(0);
}
