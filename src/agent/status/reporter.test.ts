import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, type IpAddress, silentLogger } from '#kit';
import type { NodeObject } from '#model';
import { createModelStore } from '../model-store.ts';
import type { StatusParts } from './collect.ts';
import { failure, fakeApi } from './fake-api.ts';
import { datastoreStatus, nodeFacts, peerStatus, speakerStatus } from './fake-facts.ts';
import { POPLIN_NODES_PATH, type PoplinNodeStatus } from './poplin-node.ts';
import { createStatusReporter } from './reporter.ts';

const node: NodeObject = {
  metadata: { name: 'n1', namespace: '', uid: 'u1', labels: {}, annotations: {} },
  podCIDRs: [],
  internalIPs: [],
  networkUnavailable: true,
};

function world() {
  const api = fakeApi([POPLIN_NODES_PATH, '/api/v1/nodes', '/apis/events.k8s.io/v1/namespaces/default/events']);
  api.objects.set('/api/v1/nodes/n1', { metadata: { name: 'n1', uid: 'u1' }, status: {} });
  const clock = new FakeClock();
  const model = createModelStore();
  model.apply({ type: 'upsert', kind: 'Node', key: 'n1', object: node });
  const facts = nodeFacts();
  /** What the parts say; tests change it. */
  const say = {
    datastore: datastoreStatus(),
    speaker: speakerStatus([peerStatus('peer/tor')]),
    policy: facts.policy,
    applied: Promise.resolve(),
    repairs: 0,
  };
  const parts: StatusParts = {
    datastore: { status: () => say.datastore },
    model,
    routes: {
      counts: () => ({
        learned: { ipv4: 2, ipv6: 1 },
        installed: { ipv4: 2, ipv6: 1 },
        held: 0,
        unresolved: 0,
        refused: 0,
        pending: 0,
        repairs: say.repairs,
      }),
      whenApplied: async () => undefined,
      status: () => ({ routes: [], blackholes: [], missingEndpoints: [], held: { 4: false, 6: false }, inSync: true }),
      localAddresses: () => [],
    },
    policyDataplane: { status: () => say.policy, whenApplied: () => say.applied },
    policy: { settled: async () => undefined, endpoints: () => [] },
    bgp: {
      status: async () => say.speaker,
      config: () => undefined,
      issues: () => [],
      startFailure: () => undefined,
      routes: async () => ({ routes: [] }),
      nodeAddress: () => ({
        ipv4: { address: '10.0.0.1' as IpAddress, source: 'InternalIP', interfaceName: 'eth0' },
        rejected: [{ address: '172.17.0.1' as IpAddress, interfaceName: 'docker0', reason: 'a bridge of containers' }],
        issues: [],
      }),
    },
    ipam: { usage: () => [] },
    cni: { notServing: () => undefined, pods: () => 3 },
    health: { ready: () => ({ ok: true, reasons: [] }) },
  };
  const reporter = createStatusReporter(
    {
      client: api,
      parts,
      clock,
      log: silentLogger,
      limits: { hit: () => undefined },
      wallMs: () => 1_800_000_000_000 + clock.nowMs(),
      random: () => 0.5,
    },
    { nodeName: 'n1', namespace: 'poplin-system', version: '0.1.0' },
  );
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 250) {
      clock.advance(250);
      for (let i = 0; i < 3; i++) await new Promise<void>((resolve) => setImmediate(resolve));
    }
  };
  const status = () => api.objects.get(`${POPLIN_NODES_PATH}/n1`)?.['status'] as PoplinNodeStatus;
  const conditionOf = (type: string) => status().conditions.find((each) => each.type === type)!;
  const events = () => [...api.objects.values()].filter((o) => o['kind'] === 'Event').map((o) => o['reason']);
  return { api, clock, model, say, reporter, pass, status, conditionOf, events };
}

test('PoplinNode and Events follow the parts; a condition is there within two seconds of a touch', async () => {
  const { say, reporter, pass, status, conditionOf, events } = world();
  reporter.start();
  await pass(11_000);
  assert.equal(status().summary.sessions, '1/1');
  assert.deepEqual(status().addresses, { ipv4: '10.0.0.1', source: 'InternalIP' });
  assert.deepEqual(status().rejectedAddresses, [
    { address: '172.17.0.1', interface: 'docker0', reason: 'a bridge of containers' },
  ]);
  assert.deepEqual(events(), ['PodCIDRMissing']);
  say.speaker = speakerStatus([peerStatus('peer/tor', { state: 'Active', lastError: 'ECONNREFUSED' })]);
  reporter.touch();
  await pass(2_500);
  assert.equal(conditionOf('BGPEstablished').status, 'False');
  await reporter.stop();
});

test('a revision is in force when the kernel has what came with it', async () => {
  const { say, reporter, pass, status } = world();
  const kinds = (resourceVersion: string) =>
    ({ NetworkPolicy: { state: 'synced', apiVersions: ['networking.k8s.io/v1'], resourceVersion } }) as const;
  const inForce = () => status().kinds[0]!.resourceVersion;
  say.datastore = datastoreStatus({ kinds: kinds('5'), lastUpdate: 'a' });
  reporter.start();
  await pass(25_000);
  assert.equal(inForce(), '5');
  const writing = Promise.withResolvers<void>();
  say.applied = writing.promise;
  say.datastore = datastoreStatus({ kinds: kinds('9'), lastUpdate: 'b' });
  await pass(60_000);
  assert.equal(inForce(), '5', 'still being written');
  say.datastore = datastoreStatus({ kinds: kinds('12'), lastUpdate: 'c' });
  writing.resolve();
  await pass(40_000);
  assert.equal(inForce(), '12');
  await reporter.stop();
});

test('NetworkUnavailable is cleared after the first complete apply, not before, and not touched by a stop', async () => {
  const { api, reporter, pass } = world();
  const patched = () => api.writes().filter((each) => each === 'PATCH /api/v1/nodes/n1/status').length;
  reporter.start();
  await pass(30_000);
  assert.equal(patched(), 0);
  reporter.complete();
  await pass(1_000);
  assert.equal(patched(), 1);
  await reporter.stop();
  assert.equal(patched(), 1);
});

test('an agent that stops says so', async () => {
  const { reporter, pass, conditionOf, status } = world();
  reporter.start();
  await pass(11_000);
  await reporter.stop();
  assert.deepEqual([conditionOf('Ready').status, conditionOf('Ready').reason], ['False', 'AgentStopped']);
  assert.equal(status().summary.ready, 'False');
  await pass(60_000);
});

test('rules that others change again and again are an Event, one repair is none', async () => {
  const { say, reporter, pass, events } = world();
  reporter.start();
  await pass(700_000);
  say.repairs = 1;
  await pass(10_000);
  assert.ok(!events().includes('ChangedByOthers'));
  say.repairs = 3;
  await pass(10_000);
  assert.ok(events().includes('ChangedByOthers'));
  await reporter.stop();
});

test('failed CNI calls in bulk are an Event', async () => {
  const { reporter, pass, events } = world();
  reporter.start();
  for (let i = 0; i < 5; i++) reporter.cniCall({ command: 'ADD', outcome: 'wiring_failed', tookMs: 3 });
  await pass(10_000);
  assert.ok(events().includes('CNICallsFailing'));
  await reporter.stop();
});

test('an API server that refuses everything is asked little', async () => {
  const { api, reporter, pass } = world();
  api.intercept = () => failure(403, 'Forbidden', 'n1');
  reporter.start();
  reporter.complete();
  await pass(600_000);
  assert.ok(api.requests.length < 60, `${api.requests.length} requests in ten minutes`);
  await reporter.stop();
});
