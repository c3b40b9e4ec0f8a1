import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, silentLogger } from '#kit';
import type { PodObject } from '#model';
import { createModelStore } from './model-store.ts';
import { createPodSource } from './pod-source.ts';

const pod = (uid: string, annotations: Record<string, string> = {}): PodObject => ({
  metadata: { name: 'web', namespace: 'shop', uid, labels: {}, annotations },
  nodeName: 'n1',
  hostNetwork: false,
  serviceAccountName: 'default',
  ports: [],
  phase: 'Pending',
  terminating: false,
  podIPs: [],
});

function world() {
  const model = createModelStore();
  const clock = new FakeClock();
  const asked: string[] = [];
  const ask = async (key: string): Promise<void> => void asked.push(key);
  const pods = createPodSource({ model, clock, log: silentLogger, ask });
  const put = (object: PodObject): void => {
    model.apply({ type: 'upsert', kind: 'Pod', key: 'shop/web', object });
    pods.podChanged('shop/web');
  };
  return { pods, put, clock, asked };
}
const settled = async (promise: Promise<unknown>): Promise<boolean> => {
  const marker = {};
  return (await Promise.race([promise, Promise.resolve(marker)])) !== marker;
};

test('a Pod that is known is there at once, one that is not when it comes', async () => {
  const { pods, put } = world();
  const waiting = pods.wait('shop/web', undefined, new AbortController().signal);
  assert.equal(await settled(waiting), false);
  put(pod('u1'));
  assert.equal((await waiting).metadata.uid, 'u1');
  assert.equal((await pods.wait('shop/web', 'u1', new AbortController().signal)).metadata.uid, 'u1');
});

test('the Pod of the same name before this one does not do; a static pod is known by its configuration hash', async () => {
  const { pods, put } = world();
  put(pod('old'));
  const waiting = pods.wait('shop/web', 'new', new AbortController().signal);
  assert.equal(await settled(waiting), false);
  put(pod('new'));
  assert.equal((await waiting).metadata.uid, 'new');
  put(pod('mirror', { 'kubernetes.io/config.hash': 'abc' }));
  assert.equal((await pods.wait('shop/web', 'abc', new AbortController().signal)).metadata.uid, 'mirror');
});

test('giving up rejects with the reason, once, and leaves nobody waiting', async () => {
  const { pods, put } = world();
  const gone = new AbortController();
  const waiting = pods.wait('shop/web', undefined, gone.signal);
  gone.abort(new Error('hung up'));
  await assert.rejects(waiting, /hung up/);
  put(pod('u1'));
  await assert.rejects(pods.wait('shop/other', undefined, gone.signal), /hung up/);
});

test('the source is asked when the watch is late, until the Pod is there', async () => {
  const { pods, put, clock, asked } = world();
  const waiting = pods.wait('shop/web', 'u1', new AbortController().signal);
  assert.deepEqual(asked, []);
  clock.advance(1_000);
  assert.deepEqual(asked, ['shop/web']);
  clock.advance(8_000);
  assert.deepEqual(asked, ['shop/web', 'shop/web', 'shop/web']);
  put(pod('u1'));
  assert.equal((await waiting).metadata.uid, 'u1');
  clock.advance(60_000);
  assert.equal(asked.length, 3);
});
