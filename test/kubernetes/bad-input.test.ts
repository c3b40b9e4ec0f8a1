/**
 * What no validation keeps away: objects that make no sense, fields nobody knows, objects of a megabyte, storms of changes, answers cut in
 * the middle, clocks that differ. The agent stays up, what was good stays in force, and it says what is wrong and what to do.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, suite, type TestContext, test } from 'node:test';
import {
  agentToken,
  calico,
  installDefinitions,
  installPoplin,
  type KubeNode,
  kubeAgentNeeds,
  kubeNode,
  legacyDefinitions,
  schedulePod,
} from '../support/kube/agent.ts';
import {
  addPod,
  patience,
  startReady,
  untilInSync,
  untilIsolated,
  untilKnown,
  untilNoProblem,
  untilProblem,
  untilSessions,
} from '../support/kube/agent-state.ts';
import { type ApiServer, startApiServer } from '../support/kube/api-server.ts';
import type { KubeObject } from '../support/kube/objects.ts';
import type { LoneAgent } from '../support/lone-agent.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const policy = (name: string, spec: object): KubeObject => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name, namespace: 'default' },
  spec,
});
/** As it stands in etcd: no admission, no validation. */
const stored = (object: KubeObject, index = 0): KubeObject => ({
  ...object,
  metadata: {
    uid: `00000000-0000-4000-8000-${index.toString(16).padStart(12, '0')}`,
    ...{ creationTimestamp: '2026-01-01T00:00:00Z', generation: 1 },
    ...object.metadata,
  },
});

interface Reported {
  readonly exceptions?: readonly { readonly object?: string; readonly field?: string; readonly message: string }[];
  readonly notUsed?: readonly { readonly object: string; readonly fields: readonly string[] }[];
}
interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

suite('bad input', needs(kubeAgentNeeds), () => {
  let server: ApiServer;
  before(async () => {
    server = await startApiServer();
    await installPoplin(server);
    await installDefinitions(server, legacyDefinitions());
    await server.objects.create(calico('BGPConfiguration', 'default', { nodeToNodeMeshEnabled: false }));
  });
  after(() => server?.stop());

  const putPeer = (name: string, spec: object): Promise<void> =>
    server.etcdPut(`projectcalico.org/bgppeers/${name}`, stored(calico('BGPPeer', name, spec)));
  const remove = (...objects: readonly KubeObject[]) => Promise.all(objects.map((each) => server.objects.delete(each)));
  /** What the node's PoplinNode object says of an object. */
  const reported = async (name: string, find: (report: Reported) => unknown): Promise<void> => {
    const poplinNode = { apiVersion: 'poplin.dev/v1alpha1', kind: 'PoplinNode', metadata: { name } };
    let last: unknown;
    await until(
      async () => {
        last = (await server.objects.get(poplinNode))?.['status'];
        return find((last ?? {}) as Reported);
      },
      { what: `the report of PoplinNode ${name}`, ...patience },
    ).catch((error: Error) => {
      throw new Error(`${error.message}; it says ${JSON.stringify(last)}`);
    });
  };
  const untilCondition = async (object: KubeObject, reason: string): Promise<Condition> =>
    until(
      async () => {
        const status = (await server.objects.get(object))?.['status'] as { readonly conditions?: readonly Condition[] };
        return status?.conditions?.find((each) => each.reason === reason);
      },
      { what: `${object.kind} ${object.metadata.name} to be told ${reason}`, ...patience },
    );

  test('peers that no validation would let through are left out or stay as they were, each with field and remedy', async (t) => {
    const { agent } = await kubeNode(t, server);
    const names = ['good', 'turned', 'both', 'zero'];
    t.after(() => remove(...names.map((name) => calico('BGPPeer', name, {}))));
    for (const [name, peerIP] of [
      ['good', '192.0.2.71'],
      ['turned', '192.0.2.72'],
    ] as const)
      await server.objects.create(calico('BGPPeer', name, { peerIP, asNumber: 64513 }));
    await startReady(agent);
    await untilSessions(agent, 'peer/good', 'peer/turned');
    await putPeer('both', { peerIP: '192.0.2.73', peerSelector: 'all()', asNumber: 64513 });
    await putPeer('zero', { peerIP: '192.0.2.74', asNumber: 0 });
    await putPeer('turned', { peerIP: '192.0.2.75', asNumber: 0 });
    await untilProblem(agent, /^BGPPeer both: spec\.peerIP: stands beside peerSelector; keep peerIP for a router/);
    await untilProblem(agent, /^BGPPeer zero: spec\.asNumber: .*0.*never valid/);
    await untilProblem(agent, /^BGPPeer turned: spec\.asNumber: .*last good version stays in force/);
    await untilSessions(agent, 'peer/good', 'peer/turned');
    const [, turned] = (await agent.api.bgpPeers()).toSorted((a, b) => (a.name < b.name ? -1 : 1));
    assert.deepEqual([turned?.address, turned?.asn], ['192.0.2.72', 64513]);
    await reported('n1', ({ exceptions = [] }) =>
      names.slice(1).every((name) => exceptions.some(({ object }) => object === `BGPPeer ${name}`)),
    );
    const { message } = await untilCondition(calico('BGPPeer', 'zero', {}), 'Invalid');
    assert.match(message, /^spec\.asNumber: .*0/);
    await server.objects.patch(calico('BGPPeer', 'zero', {}), { spec: { asNumber: 64514 } });
    await untilSessions(agent, 'peer/good', 'peer/turned', 'peer/zero');
    await untilNoProblem(agent, /BGPPeer zero: spec/);
  });

  test('pools that overlap, or lie in the range of Services, are told so', async (t) => {
    const { agent } = await kubeNode(t, server);
    const pools = [
      calico('IPPool', 'first', { cidr: '10.42.0.0/16', natOutgoing: true }),
      calico('IPPool', 'inside', { cidr: '10.42.128.0/17' }),
      calico('IPPool', 'services', { cidr: '10.96.128.0/20' }),
    ];
    t.after(() => remove(...pools));
    await startReady(agent);
    for (const pool of pools) await server.objects.create(pool);
    const overlap = await untilCondition(pools[1]!, 'CIDROverlap');
    assert.match(overlap.message, /^spec\.cidr: 10\.42\.128\.0\/17 overlaps 10\.42\.0\.0\/16 of IPPool first/);
    const inServices = await untilCondition(pools[2]!, 'InServiceRange');
    assert.match(inServices.message, /^spec\.cidr: 10\.96\.128\.0\/20 overlaps 10\.96\.0\.0\/16.*another range/);
    await addPod(agent, 'beside', await schedulePod(server, 'n1', 'beside'));
    assert.equal((await agent.status()).ready.ok, true);
  });

  test('a policy that cannot be read never opens what was closed', async (t) => {
    const { agent } = await kubeNode(t, server);
    const [kept, never] = [policy('kept', { podSelector: {} }), policy('never', {})];
    t.after(() => remove(kept, never));
    await server.objects.create(kept);
    await startReady(agent);
    await addPod(agent, 'guarded', await schedulePod(server, 'n1', 'guarded'));
    await untilIsolated(agent, 'guarded');
    const broken = {
      podSelector: {},
      policyTypes: ['Ingress'],
      ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/99' } }] }],
    };
    for (const name of ['kept', 'never'])
      await server.etcdPut(`networkpolicies/default/${name}`, stored(policy(name, broken)));
    await untilProblem(
      agent,
      /^NetworkPolicy default\/kept: spec\.ingress\[0\].*10\.0\.0\.0\/99.*last good version stays/,
    );
    await untilProblem(
      agent,
      /^NetworkPolicy default\/never: spec\.ingress\[0\].*never valid: what it selects is denied/,
    );
    await untilIsolated(agent, 'guarded');
    await remove(kept);
    await untilNoProblem(agent, /NetworkPolicy default\/kept/);
    await untilIsolated(agent, 'guarded');
    await remove(never);
    await untilNoProblem(agent, /NetworkPolicy/);
    await untilIsolated(agent, 'guarded', false);
  });

  test('fields that nobody knows are named, and the rest of the object is in force', async (t) => {
    const { agent } = await kubeNode(t, server);
    const legacy = {
      apiVersion: 'crd.projectcalico.org/v1',
      kind: 'BGPPeer',
      metadata: { name: 'fields' },
      spec: { peerIP: '192.0.2.80', asNumber: 64513, colour: 'red', maxRestartTimes: '1s' },
    };
    t.after(() => remove(legacy));
    await server.objects.create(legacy);
    await startReady(agent);
    await untilSessions(agent, 'peer/fields');
    const notes = (await agent.api.datastore()).notUsed.map(({ object, field, message }) =>
      [object, field, message].join(': '),
    );
    assert.match(notes.join('\n'), /BGPPeer fields: spec\.colour: is not known to Poplin and has no effect/);
    assert.match(notes.join('\n'), /BGPPeer fields: spec\.maxRestartTimes: .*did you mean maxRestartTime\?/);
    await reported('n1', ({ notUsed }) =>
      notUsed?.some(({ object, fields }) => object === 'BGPPeer fields' && fields.length === 2),
    );
  });

  test('objects of more than a megabyte', async (t) => {
    const { agent } = await kubeNode(t, server);
    const blocks = Array.from({ length: 30_000 }, (_, i) => ({
      ipBlock: { cidr: `172.${16 + (i >> 13)}.${(i >> 5) & 255}.${(i & 31) * 8}/29` },
    }));
    const large = policy('large', { podSelector: {}, policyTypes: ['Ingress'], ingress: [{ from: blocks }] });
    assert.ok(JSON.stringify(large).length > 1_000_000);
    const env = Array.from({ length: 12 }, (_, i) => ({ name: `V${i}`, value: 'x'.repeat(100_000) }));
    const pod: KubeObject = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'heavy', namespace: 'default' },
      spec: { nodeName: 'n1', containers: [{ name: 'c', image: 'example/c', env }] },
    };
    t.after(() => remove(large, pod));
    await startReady(agent);
    const { metadata } = await server.objects.create(pod);
    await addPod(agent, 'heavy', metadata.uid ?? '');
    const alive = keepsAnswering(t, agent);
    await server.objects.create(large);
    await untilIsolated(agent, 'heavy');
    alive();
    const { stdout } = await agent.inside('ipset', 'save');
    for (const block of ['172.16.0.0/29', '172.19.169.120/29']) assert.ok(stdout.includes(` ${block}\n`), block);
  });

  test('more than two thousand changes a second for ten seconds', async (t) => {
    const node = await kubeNode(t, server);
    await storm(t, server, node);
  });

  test('answers cut in the middle: the start waits for the whole, changes are caught up with', async (t) => {
    const { agent, relay } = await kubeNode(t, server);
    const env = [{ name: 'V', value: 'x'.repeat(2_000) }];
    const pods = Array.from({ length: 300 }, (_, i) => remotePod(i, { env }));
    await server.etcd.putAll(pods.slice(0, 100));
    await server.etcd.putAll(pods.slice(100, 200));
    await server.etcd.putAll(pods.slice(200));
    t.after(() => Promise.all(pods.map(([key]) => server.etcd.delete(key))));
    relay.cutAfter(100_000);
    agent.start();
    await until(
      async () => (await agent.status()).datastore.waitingFor.some((text) => /^Pod \(v1\): .*(cut|broke)/.test(text)),
      {
        what: `a list that was cut; the log ends: ${agent.log.slice(-600)}`,
        ...patience,
      },
    );
    const { ready, datastore } = await agent.status();
    assert.deepEqual([ready.ok, datastore.inSync], [false, false]);
    assert.ok(!(await agent.inside('ipset', 'save')).stdout.includes('poplin'), 'nothing is written of half a model');
    relay.cutAfter(undefined);
    await agent.untilReady(patience.deadlineMs);
    const all = (await server.objects.list({ apiVersion: 'v1', kind: 'Pod' })).length;
    await untilKnown(agent, 'Pod', all);
    relay.cutAfter(20_000);
    await Promise.all(pods.slice(0, 150).map(([key]) => server.etcd.delete(key)));
    relay.cutAfter(undefined);
    await untilKnown(agent, 'Pod', all - 150);
    await untilInSync(agent);
  });

  test('clocks that differ: a token that is not good yet, a certificate that is over', async (t) => {
    const { agent, relay, renewToken } = await kubeNode(t, server);
    // By then the agent has come up and been refused, on a busy machine too.
    renewToken(await agentToken(server, 'n1', 3600, { validInSec: 30 }));
    agent.start();
    await until(async () => (await agent.status()).datastore.waitingFor.some((text) => text.includes('401')), {
      what: 'the agent to say that its token is refused',
      ...patience,
    });
    // The same token: time is all that passes.
    await agent.untilReady(patience.deadlineMs);
    await server.rotateCertificate({ notAfter: new Date(Date.now() - 1000) });
    relay.cut();
    await untilProblem(agent, /^datastore: .*certificate has expired/);
    await server.rotateCertificate();
    await untilInSync(agent);
  });
});

const remotePod = (index: number, container: object = {}, labels: Readonly<Record<string, string>> = {}) => {
  const name = `remote-${index}`;
  const address = `10.50.${index >> 8}.${index & 255}`;
  const object = stored(
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'default', labels },
      spec: { nodeName: 'elsewhere', containers: [{ name: 'c', image: 'example/c', ...container }] },
      status: { phase: 'Running', podIP: address, podIPs: [{ ip: address }] },
    },
    index + 1,
  );
  return [`/registry/pods/default/${name}`, object] as const;
};

/** @returns ends it, and fails when the agent was not answering all the while, as the kubelet's liveness probe judges it. */
function keepsAnswering(t: TestContext, agent: LoneAgent): () => void {
  let stopped = false;
  let asked = 0;
  const failures: string[] = [];
  const ask = async (): Promise<void> => {
    while (!stopped) {
      asked++;
      const probe = ['curl', '--silent', '--max-time', '5', '--unix-socket', agent.socket, 'http://agent/livez'];
      const { code, stdout } = await agent.inside(...probe);
      if (code !== 0 || !stdout.includes('"ok":true')) failures.push(`exit ${code}: ${stdout}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  const asking = ask();
  t.after(() => {
    stopped = true;
    return asking;
  });
  return () => {
    stopped = true;
    assert.ok(asked > 0);
    assert.deepEqual(failures, []);
  };
}

const PODS = 1_000;
const EVENTS_PER_SEC = 2_500;
const STORM_SEC = 10;
const BATCH = 100;
/** What a model of a thousand pods and queues without a bound would not keep to. */
const GROWTH_MB_MAX = 120;

async function storm(t: TestContext, server: ApiServer, { agent }: KubeNode): Promise<void> {
  const gate = policy('gate', {
    podSelector: { matchLabels: { app: 'server' } },
    ingress: [{ from: [{ podSelector: { matchLabels: { gate: 'open' } } }] }],
  });
  t.after(() => server.objects.delete(gate));
  const put = (index: number, open: boolean) => remotePod(index, {}, { gate: open ? 'open' : 'shut' });
  const write = (from: number, open: (index: number) => boolean) =>
    server.etcd.putAll(Array.from({ length: BATCH }, (_, i) => put(from + i, open(from + i))));
  for (let from = 0; from < PODS; from += BATCH) await write(from, () => false);
  t.after(async () => {
    for (let i = 0; i < PODS; i++) await server.etcd.delete(put(i, false)[0]);
  });
  await server.objects.create(gate);
  await startReady(agent);
  await addPod(agent, 'server', await schedulePod(server, 'n1', 'server', { labels: { app: 'server' } }));
  const memoryMb = (): number =>
    Number(/^VmHWM:\s+(\d+) kB$/m.exec(fs.readFileSync(`/proc/${agent.pid}/status`, 'utf8'))?.[1]) / 1024;
  const before = memoryMb();

  const alive = keepsAnswering(t, agent);
  const began = performance.now();
  let sent = 0;
  for (let round = 0; performance.now() - began < STORM_SEC * 1000; round++) {
    await write((round * BATCH) % PODS, () => (round / (PODS / BATCH)) % 2 < 1);
    sent += BATCH;
    const dueMs = (sent / EVENTS_PER_SEC) * 1000 - (performance.now() - began);
    if (dueMs > 0) await new Promise((resolve) => setTimeout(resolve, dueMs));
  }
  process.stdout.write(`${sent} changes, ${Math.round((sent / (performance.now() - began)) * 1000)} a second\n`);
  // Every third is open in the end. Each has a revision of its own, as what an API server writes: it may end the watch of an agent
  // that lags, and a watch that resumes behind one half of a transaction never tells of the other.
  for (let from = 0; from < PODS; from += BATCH)
    await Promise.all(Array.from({ length: BATCH }, (_, i) => server.etcd.put(...put(from + i, (from + i) % 3 === 0))));
  const wanted = Array.from({ length: PODS }, (_, i) => i)
    .filter((i) => i % 3 === 0)
    .map((i) => `10.50.${i >> 8}.${i & 255}`)
    .sort();
  let found: string[] = [];
  await until(
    async () => {
      const { stdout } = await agent.inside('ipset', 'save');
      found = [
        ...new Set([...stdout.matchAll(/^add \S+ (10\.50\.\d+\.\d+)\b/gm)].map(([, address]) => address!)),
      ].sort();
      return found.join() === wanted.join();
    },
    { what: 'the kernel to hold the last state', ...patience },
  ).catch((error: Error) => {
    throw new Error(`${error.message}; it holds ${found.length} of ${wanted.length}`);
  });
  alive();
  const grown = memoryMb() - before;
  process.stdout.write(`${Math.round(before)} MB before, ${Math.round(grown)} MB more at the most\n`);
  assert.ok(grown < GROWTH_MB_MAX, `${grown} MB more`);
}
