/** The kube datastore behind a real API server when things go wrong: what is in force stays, what is wrong is said, and it recovers. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, suite, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Watched } from '../support/datastore-compliance.ts';
import { type ApiServer, apiServerAssets, startApiServer } from '../support/kube/api-server.ts';
import { type DatastoreWorld, datastoreWorld, untilInSync, untilState } from '../support/kube/datastore-world.ts';
import type { KubeObject } from '../support/kube/objects.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const policy = (namespace: string, name: string, port = 80): KubeObject => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name, namespace },
  spec: { podSelector: {}, ingress: [{ ports: [{ port }] }] },
});
const portOf = (watched: Watched, key: string): number | string | undefined =>
  watched.get('NetworkPolicy', key)?.ingress[0]?.ports[0]?.port;

function pod(namespace: string, name: string, labels: Record<string, string> = {}): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels },
    spec: { nodeName: 'n1', containers: [{ name: 'c', image: 'example/c' }] },
  };
}

const crdFolder = path.join(import.meta.dirname, '../../deploy/crds');
const bgpPeerCrd = fs.readFileSync(path.join(crdFolder, 'bgppeers.projectcalico.org.yaml'), 'utf8');

suite('kube datastore and a failing API server', needs({ kube: apiServerAssets }), () => {
  let server: ApiServer;
  before(async () => {
    server = await startApiServer();
  });
  after(() => server.stop());

  const begin = async (t: TestContext): Promise<{ namespace: string; world: DatastoreWorld }> => {
    const namespace = await server.namespace('faults');
    return { namespace, world: await datastoreWorld(t, server, namespace) };
  };

  test('a token that expired is taken from its file again as soon as it is renewed', async (t) => {
    const { namespace, world } = await begin(t);
    // Long enough to be in sync before it ends.
    await world.renewToken(10);
    const watched = await world.follow();
    await untilInSync(watched);
    const token = fs.readFileSync(world.tokenFile, 'utf8');
    const status = async (): Promise<number> => (await server.request({ path: '/api', token })).status;
    await until(async () => (await status()) === 401, { what: 'the token to expire', deadlineMs: 60_000 });
    world.relay.cut();
    await until(() => /401/.test(watched.datastore.status().kinds?.NetworkPolicy?.reason ?? ''), { what: 'a refusal' });
    assert.equal(watched.datastore.status().inSync, true, 'what is in force stays so');
    await server.objects.create(policy(namespace, 'new'));
    await world.renewToken();
    await until(() => portOf(watched, `${namespace}/new`) === 80, { what: 'what came meanwhile', deadlineMs: 30_000 });
    await untilState(watched, 'NetworkPolicy', 'synced');
  });

  test('a new authority of the server is trusted as soon as the CA file has it', async (t) => {
    const { namespace, world } = await begin(t);
    const watched = await world.follow();
    await untilInSync(watched);
    await server.rotateCertificate({ newAuthority: true, trust: false });
    world.relay.cut();
    await until(() => /certificate/.test(watched.datastore.status().kinds?.Pod?.reason ?? ''), { what: 'a refusal' });
    server.trustAuthority();
    await server.objects.create(policy(namespace, 'new'));
    await until(() => portOf(watched, `${namespace}/new`) === 80, { what: 'what came meanwhile', deadlineMs: 30_000 });
    await untilState(watched, 'Pod', 'synced');
  });

  test('a role that is revoked is named, takes nothing with it, and counts again when given back', async (t) => {
    const { namespace, world } = await begin(t);
    await server.objects.create(policy(namespace, 'a'));
    const watched = await world.follow();
    await untilInSync(watched);
    await world.revoke();
    // The watches that are open go on; new ones are refused.
    await until(
      async () => {
        world.relay.cut();
        return watched.datastore.status().kinds?.NetworkPolicy?.state === 'forbidden';
      },
      { what: 'the watch to be refused', deadlineMs: 30_000, intervalMs: 500 },
    );
    const status = watched.datastore.status();
    assert.equal(status.inSync, false);
    assert.match(status.waitingFor.join('\n'), /NetworkPolicy.*forbidden.*list and watch on networkpolicies/);
    assert.equal(portOf(watched, `${namespace}/a`), 80);
    const fresh = await world.follow();
    await untilState(fresh, 'Node', 'forbidden');
    assert.equal(fresh.inSyncCalls(), 0, 'forbidden is not empty');
    await world.grant();
    await untilInSync(watched);
    await untilInSync(fresh);
  });

  test('a kind that is not there is empty, found when it is installed, and empty again when it is deleted', async (t) => {
    const { world } = await begin(t);
    const watched = await world.follow();
    await untilInSync(watched);
    assert.equal(watched.datastore.status().kinds?.BGPPeer?.state, 'absent');
    await server.kubectl(['apply', '-f', '-'], { stdin: bgpPeerCrd });
    const peer: KubeObject = {
      apiVersion: 'projectcalico.org/v3',
      kind: 'BGPPeer',
      metadata: { name: 'tor' },
      spec: { peerIP: '192.0.2.1', asNumber: 65001 },
    };
    await until(() => server.objects.create(peer), { what: 'the definition to be served', deadlineMs: 60_000 });
    await until(() => watched.get('BGPPeer', 'tor')?.asNumber === 65001, { what: 'the peer', deadlineMs: 30_000 });
    assert.deepEqual(watched.datastore.status().kinds?.BGPPeer?.apiVersions, ['projectcalico.org/v3']);
    await server.kubectl(['delete', 'crd', 'bgppeers.projectcalico.org', '--wait=false']);
    await until(() => !watched.get('BGPPeer', 'tor'), { what: 'the peer to go', deadlineMs: 30_000 });
    await untilState(watched, 'BGPPeer', 'absent');
    assert.equal(watched.datastore.status().inSync, true);
  });

  test('an API server that is killed and started again costs nothing that is in force', async (t) => {
    const { namespace, world } = await begin(t);
    await server.objects.create(policy(namespace, 'a'));
    await server.objects.create(policy(namespace, 'b'));
    const watched = await world.follow();
    await untilInSync(watched);
    const before = watched.batches.length;
    await server.restart();
    await server.objects.delete(policy(namespace, 'b'));
    await server.objects.create(policy(namespace, 'c'));
    await until(() => portOf(watched, `${namespace}/c`) === 80 && !portOf(watched, `${namespace}/b`), {
      what: 'both changes',
      deadlineMs: 30_000,
    });
    const told = watched.batches.slice(before).flat();
    assert.deepEqual(
      told
        .filter(({ kind }) => kind === 'NetworkPolicy')
        .map(({ type, key }) => `${type} ${key}`)
        .sort(),
      [`delete ${namespace}/b`, `upsert ${namespace}/c`],
    );
  });

  test('after a compaction everything is listed again, and only the difference is told', async (t) => {
    const { namespace, world } = await begin(t);
    for (const name of ['a', 'b', 'c']) await server.objects.create(policy(namespace, name));
    const watched = await world.follow();
    await untilInSync(watched);
    const before = watched.batches.length;
    await world.relay.close();
    await server.objects.delete(policy(namespace, 'a'));
    await server.objects.patch(policy(namespace, 'b'), policy(namespace, 'b', 81));
    await server.etcd.compact();
    await server.restart();
    world.relay.open();
    await until(() => portOf(watched, `${namespace}/b`) === 81 && !portOf(watched, `${namespace}/a`), {
      what: 'both changes',
      deadlineMs: 30_000,
    });
    const told = watched.batches.slice(before).flat();
    assert.deepEqual(
      told.map(({ type, kind, key }) => `${type} ${kind} ${key}`),
      [`upsert NetworkPolicy ${namespace}/b`, `delete NetworkPolicy ${namespace}/a`],
    );
  });

  test('an API server that hangs is given up by ping, and followed again when it goes on', async (t) => {
    const { namespace, world } = await begin(t);
    const watched = await world.follow();
    await untilInSync(watched);
    await server.pause();
    try {
      await untilState(watched, 'Node', 'failing');
      assert.equal(watched.datastore.status().inSync, true);
    } finally {
      server.resume();
    }
    await server.objects.create(policy(namespace, 'new'));
    await until(() => portOf(watched, `${namespace}/new`) === 80, { what: 'what came meanwhile', deadlineMs: 30_000 });
  });

  test('an object over 1 MB is read like any other', async (t) => {
    const { namespace, world } = await begin(t);
    const watched = await world.follow();
    await untilInSync(watched);
    const from = Array.from({ length: 4_000 }, (_, i) => ({ ipBlock: { cidr: `10.${i >> 8}.${i & 255}.0/24` } }));
    const spec = { podSelector: {}, ingress: Array.from({ length: 7 }, () => ({ from })) };
    const large = { ...policy(namespace, 'large'), spec };
    assert.ok(JSON.stringify(large).length > 1_000_000);
    await server.objects.create(large);
    const found = await until(() => watched.get('NetworkPolicy', `${namespace}/large`), { what: 'the large policy' });
    assert.equal(found.ingress.flatMap(({ peers }) => peers).length, 28_000);
  });

  test('thousands of changes a second end in the state that was written last', async (t) => {
    const { namespace, world } = await begin(t);
    const watched = await world.follow();
    await untilInSync(watched);
    const write = (index: number, round: number): Promise<void> => {
      const { metadata, ...rest } = pod(namespace, `p${index}`, { round: `${round}` });
      return server.etcdPut(`pods/${namespace}/p${index}`, { ...rest, metadata: { ...metadata, uid: `uid-${index}` } });
    };
    const began = performance.now();
    for (let round = 1; round <= 20; round++) {
      await Promise.all(Array.from({ length: 300 }, (_, index) => write(index, round)));
    }
    const perSecond = Math.round(6_000 / ((performance.now() - began) / 1000));
    const atEnd = (): boolean =>
      Array.from({ length: 300 }, (_, i) => watched.get('Pod', `${namespace}/p${i}`)?.metadata.labels['round']).every(
        (round) => round === '20',
      );
    await until(atEnd, { what: 'the last round', deadlineMs: 30_000 });
    const pods = watched.batches.flat().filter(({ kind }) => kind === 'Pod').length;
    t.diagnostic(`${perSecond} changes a second written, ${pods} told in ${watched.batches.length} batches`);
    await Promise.all(Array.from({ length: 300 }, (_, i) => server.etcd.delete(`/registry/pods/${namespace}/p${i}`)));
    await until(() => !watched.get('Pod', `${namespace}/p299`), { what: 'the deletion' });
  });

  test('answers cut in the middle, again and again, end in the right state', async (t) => {
    const { namespace, world } = await begin(t);
    for (let index = 0; index < 40; index++) await server.objects.create(policy(namespace, `p${index}`));
    world.relay.cutAfter(9_000);
    const watched = await world.follow();
    await until(() => watched.batches.length > 0 || watched.datastore.status().kinds?.Node?.state !== 'waiting', {
      what: 'a first answer',
    });
    for (const bytes of [15_000, 40_000, 70_000, 60_001, 100_003]) {
      world.relay.cutAfter(bytes);
      await sleep(300);
      await server.objects.patch(policy(namespace, 'p0'), policy(namespace, 'p0', bytes % 60_000));
    }
    world.relay.cutAfter(undefined);
    await untilInSync(watched);
    await server.objects.delete(policy(namespace, 'p1'));
    await until(() => !portOf(watched, `${namespace}/p1`), { what: 'the deletion' });
    assert.equal(portOf(watched, `${namespace}/p0`), 100_003 % 60_000);
    for (let index = 2; index < 40; index++) assert.equal(portOf(watched, `${namespace}/p${index}`), 80);
    assert.ok(watched.batches.flat().every(({ type, key }) => type === 'upsert' || key === `${namespace}/p1`));
  });

  test('a start without the API server is in sync from disk; what changed meanwhile follows', async (t) => {
    const { namespace, world } = await begin(t);
    for (const name of ['a', 'b']) await server.objects.create(policy(namespace, name));
    const first = await world.follow();
    await untilInSync(first);
    await first.datastore.stop();
    await world.relay.close();
    const second = await world.follow();
    await until(() => second.inSyncCalls() === 1, { what: 'in sync from disk', deadlineMs: 30_000 });
    const { stale, inSync } = second.datastore.status();
    assert.match(stale?.reason ?? '', /cannot be reached.*ECONNREFUSED.*model on disk of/);
    assert.equal(inSync, true);
    assert.equal(portOf(second, `${namespace}/a`), 80);
    await server.objects.delete(policy(namespace, 'a'));
    await server.objects.create(policy(namespace, 'c'));
    const before = second.batches.length;
    world.relay.open();
    await untilInSync(second, 'the API server to be back');
    const told = second.batches.slice(before).flat();
    assert.deepEqual(
      told.map(({ type, kind, key }) => `${type} ${kind} ${key}`),
      [`upsert NetworkPolicy ${namespace}/c`, `delete NetworkPolicy ${namespace}/a`],
    );
    assert.equal(second.inSyncCalls(), 1);
    await second.datastore.stop();
    const mode = fs.statSync(path.join(world.stateDir, 'datastore', 'last-good-kube.jsonl')).mode & 0o777;
    assert.equal(mode, 0o600);
  });

  test('a start without the API server and without anything on disk waits, and says for what', async (t) => {
    const { world } = await begin(t);
    world.relay.hold();
    const watched = await world.follow();
    await sleep(1_000);
    assert.equal(watched.inSyncCalls(), 0);
    assert.match(watched.datastore.status().waitingFor.join('\n'), /Pod \(v1\)/);
    world.relay.release();
    await untilInSync(watched);
  });

  test('a Pod that is asked for is in the model at once, and never older than what the watch told', async (t) => {
    const { namespace, world } = await begin(t);
    const watched = await world.follow();
    await untilInSync(watched);
    const key = `${namespace}/p`;
    assert.equal(await watched.datastore.fetchPod(key), undefined);
    world.relay.hold();
    await server.objects.create(pod(namespace, 'p', { v: '1' }));
    const asked = watched.datastore.fetchPod(key);
    world.relay.release();
    assert.equal((await asked)?.metadata.labels['v'], '1');
    await until(() => watched.get('Pod', key), { what: 'the Pod in the model' });
    await server.objects.patch(pod(namespace, 'p'), { metadata: { labels: { v: '2' } } });
    await until(() => watched.get('Pod', key)?.metadata.labels['v'] === '2', { what: 'the change' });
    await server.objects.delete(pod(namespace, 'p'));
    await until(() => !watched.get('Pod', key), { what: 'the deletion' });
    assert.equal(await watched.datastore.fetchPod(key), undefined);
    assert.equal(watched.get('Pod', key), undefined);
  });

  test('a Secret is read by name as soon as a peer names it, and goes when it is deleted', async (t) => {
    const { namespace, world } = await begin(t);
    await server.kubectl(['apply', '-f', '-'], { stdin: bgpPeerCrd });
    t.after(() => server.kubectl(['delete', 'crd', 'bgppeers.projectcalico.org']));
    const secret: KubeObject = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'bgp', namespace },
      stringData: { tor: 'open sesame' },
    };
    await server.objects.create(secret);
    await server.objects.create({ ...secret, metadata: { name: 'other', namespace } });
    const password = { secretKeyRef: { name: 'bgp', key: 'tor' } };
    const peer: KubeObject = {
      apiVersion: 'projectcalico.org/v3',
      kind: 'BGPPeer',
      metadata: { name: 'tor' },
      spec: { peerIP: '192.0.2.1', asNumber: 65001, password },
    };
    await until(() => server.objects.create(peer), { what: 'the definition to be served', deadlineMs: 60_000 });
    const watched = await world.follow();
    await untilInSync(watched);
    const value = (): string | undefined => watched.get('Secret', `${namespace}/bgp`)?.data['tor']?.reveal();
    assert.equal(value(), 'open sesame', 'read before the in-sync mark');
    assert.equal(watched.get('Secret', `${namespace}/other`), undefined);
    await server.objects.patch(secret, { stringData: { tor: 'changed' } });
    await until(() => value() === 'changed', { what: 'the new password', deadlineMs: 30_000 });
    await server.objects.delete(secret);
    await until(() => !watched.get('Secret', `${namespace}/bgp`), { what: 'the Secret to go', deadlineMs: 30_000 });
    await server.objects.create(secret);
    await until(() => value() === 'open sesame', { what: 'the Secret to come back', deadlineMs: 30_000 });
    await server.objects.delete(peer);
    await until(() => !watched.get('Secret', `${namespace}/bgp`), { what: 'the Secret not to be named any more' });
    await watched.datastore.stop();
    const text = fs.readFileSync(path.join(world.stateDir, 'datastore', 'last-good-kube.jsonl'), 'utf8');
    assert.doesNotMatch(JSON.stringify(watched.datastore.status()), /sesame/);
    assert.match(text, /"NetworkPolicy"|"Namespace"/);
  });
});
