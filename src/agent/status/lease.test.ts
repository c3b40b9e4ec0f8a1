import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, silentLogger } from '#kit';
import { failure, fakeApi, unreachable } from './fake-api.ts';
import { createLeaseElection, type LeaseElection, leaseStep, lookAfterMs } from './lease.ts';

const collection = '/apis/coordination.k8s.io/v1/namespaces/poplin-system/leases';
const path = `${collection}/poplin-status`;

function world() {
  const api = fakeApi([collection]);
  const clock = new FakeClock();
  /** Each with a clock that is wrong in its own way. */
  const agent = (identity: string, skewMs = 0, client = api as Parameters<typeof createLeaseElection>[0]['client']) => {
    const deps = {
      client,
      clock,
      wallMs: () => 1_800_000_000_000 + skewMs + clock.nowMs(),
      random: () => 0.5,
      log: silentLogger,
      nodes: () => 3,
    };
    return createLeaseElection(deps, { namespace: 'poplin-system', name: 'poplin-status', identity });
  };
  const pass = async (ms: number, look: () => void = () => undefined): Promise<void> => {
    for (let left = ms; left > 0; left -= 500) {
      clock.advance(500);
      for (let i = 0; i < 3; i++) await new Promise<void>((resolve) => setImmediate(resolve));
      look();
    }
  };
  return { api, clock, agent, pass };
}
const holders = (agents: readonly LeaseElection[]): number => agents.filter((agent) => agent.holding).length;

test('one of many holds it, whatever their clocks say, and keeps it', async () => {
  const { api, agent, pass } = world();
  const agents = [agent('a'), agent('b', 3_600_000), agent('c', -86_400_000)];
  for (const each of agents) each.start();
  await pass(20_000);
  assert.equal(holders(agents), 1);
  const first = agents.findIndex((each) => each.holding);
  await pass(300_000, () => {
    assert.equal(holders(agents), 1);
    assert.ok(agents[first]!.holding);
  });
  const spec = api.objects.get(path)!['spec'] as Record<string, unknown>;
  assert.equal(spec['leaseTransitions'], 0);
  assert.match(String(spec['renewTime']), /^\d{4}-.*\.\d{6}Z$/);
});

test('a holder that is cut off stops before another begins', async () => {
  const { api, agent, pass } = world();
  let cut = false;
  const client = {
    ...api,
    request: async (r: Parameters<typeof api.request>[0]) => (cut ? unreachable() : api.request(r)),
  };
  const [a, b] = [agent('a', 0, client), agent('b', 60_000)];
  a.start();
  await pass(10_000);
  b.start();
  await pass(10_000);
  assert.deepEqual([a.holding, b.holding], [true, false]);
  cut = true;
  await pass(90_000, () => assert.ok(holders([a, b]) <= 1));
  assert.deepEqual([a.holding, b.holding], [false, true]);
  cut = false;
  await pass(60_000, () => assert.equal(holders([a, b]), 1));
});

test('a holder that stops hands over without waiting for the duration', async () => {
  const { agent, pass } = world();
  const [a, b] = [agent('a'), agent('b')];
  a.start();
  await pass(10_000);
  b.start();
  await pass(10_000);
  await a.stop();
  assert.equal(a.holding, false);
  await pass(13_000);
  assert.equal(b.holding, true);
});

test('a conflict means that another was quicker', async () => {
  const { api, agent, pass } = world();
  const a = agent('a');
  a.start();
  await pass(10_000);
  const lease = api.objects.get(path)! as { spec: object; metadata: object };
  api.objects.set(path, {
    ...lease,
    metadata: { ...lease.metadata, resourceVersion: 'other' },
    spec: { ...lease.spec, holderIdentity: 'thief' },
  });
  await pass(15_000);
  assert.equal(a.holding, false);
  await pass(60_000);
  assert.equal(a.holding, true, 'the thief never renewed');
});

test('without the right to it the agent says so, and asks rarely', async () => {
  const { api, agent, pass } = world();
  api.intercept = () => failure(403, 'Forbidden', 'poplin-status');
  const a = agent('a');
  a.start();
  await pass(300_000);
  assert.match(a.failure!, /give the agent's Role get, create and update of leases/);
  assert.ok(api.requests.length <= 8, `${api.requests.length} requests`);
  api.intercept = undefined;
  await pass(80_000);
  assert.equal(a.failure, undefined);
  assert.equal(a.holding, true);
});

test('the more nodes, the more rarely those who wait look', () => {
  assert.equal(lookAfterMs(3, 0.5), 10_000);
  assert.equal(lookAfterMs(200, 0.5), 40_000);
  assert.ok(lookAfterMs(5_000, 0.99) < 73_000);
  assert.equal(leaseStep({ holderIdentity: 'x', leaseDurationSeconds: 15 }, 'me', 14_999), 'wait');
  assert.equal(leaseStep({ holderIdentity: 'x', leaseDurationSeconds: 15 }, 'me', 15_000), 'take');
  assert.equal(leaseStep({}, 'me', 0), 'take');
});
