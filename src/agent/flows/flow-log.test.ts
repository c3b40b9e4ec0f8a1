/** From logged packets to what people ask for, with a source of packets that the test is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FlowsQuery } from '#api';
import { type FlowLabel, flowPrefix } from '#felix';
import { type Cidr, FakeClock, type IpAddress, parseIp, silentLogger } from '#kit';
import type { PodObject, PolicyRule } from '#model';
import { PolicyStateStore } from '#policy';
import { type PacketLogOptions, SysError } from '#sys';
import { createFlowLog, type FlowLogConfig } from './flow-log.ts';

const config: FlowLogConfig = { nodeName: 'n1', flowLog: 'denied', flowLogGroup: 1179, flowLogRatePerSec: 10 };
const denied = (by: FlowLabel['by']): string => flowPrefix({ verdict: 'denied', direction: 'ingress', by });
const endOfTier = denied({ type: 'endOfTier', tier: 'default' });
const all: FlowsQuery = { after: 0, limit: 1000, waitSec: 0 };
const longId = `NetworkPolicy:shop/${'x'.repeat(100)}`;

function fake(options: Partial<FlowLogConfig> & { readonly refused?: string } = {}) {
  const clock = new FakeClock();
  const state = new PolicyStateStore();
  const limits: string[] = [];
  const source: { options?: PacketLogOptions; fails?: SysError; opened: number } = { opened: 0 };
  const { refused, ...changed } = options;
  const flows = createFlowLog(
    {
      open(given) {
        if (source.fails) throw source.fails;
        source.opened++;
        source.options = given;
        return { close: () => undefined };
      },
      state,
      clock,
      wallMs: () => Date.parse('2026-01-01T00:00:00Z') + clock.nowMs(),
      log: silentLogger,
      limits: { hit: (limit) => limits.push(limit) },
      interfaceName: (index) => (index === 7 ? 'pop1' : undefined),
      refused: () => refused,
    },
    { ...config, ...changed },
  );
  state.apply([
    { type: 'policy', id: 'NetworkPolicy:shop/api', program: { ingress: [], egress: [] } },
    { type: 'policy', id: longId, program: { ingress: [{ action: 'deny', protocol: 6 }], egress: [] } },
    {
      type: 'endpoint',
      id: 'shop/api-1',
      program: {
        ingress: [{ tier: 'default', policies: ['NetworkPolicy:shop/api', longId], endOfTier: 'deny' }],
        egress: [],
      },
    },
  ]);
  flows.setEndpoints([{ id: 'shop/api-1', interfaceName: 'pop1', addresses: ['10.1.0.1' as IpAddress] }]);
  /** A TCP SYN, logged. */
  const packet = (from: string, port = 80, prefix = endOfTier, inIndex = 0): void =>
    source.options!.onPacket({
      prefix,
      inIndex,
      outIndex: 0,
      timeMs: undefined,
      sequence: undefined,
      packet: Buffer.from([
        ...[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0],
        ...parseIp(from)!,
        ...[10, 1, 0, 1, 0x9c, 0x40, port >> 8, port & 0xff],
      ]),
    });
  return { clock, state, limits, source, flows, packet };
}

const pod = (name: string, podIPs: readonly string[], extra: Partial<PodObject> = {}) =>
  ({
    type: 'upsert',
    kind: 'Pod',
    key: name,
    object: { phase: 'Running', hostNetwork: false, podIPs, ...extra },
  }) as never;

test('names of pods and nodes, of the policies of a tier that denied, of a policy that stands as its hash', async () => {
  const { flows, packet } = fake();
  await flows.start();
  flows.note(pod('shop/web-1', ['10.1.1.1']));
  flows.note(pod('shop/host', ['192.0.2.7'], { hostNetwork: true }));
  flows.note({
    type: 'upsert',
    kind: 'Node',
    key: 'n2',
    object: { internalIPs: ['192.0.2.7'], otherIPs: [] },
  } as never);
  packet('10.1.1.1', 80);
  packet('192.0.2.7', 81, denied({ type: 'rule', policy: longId, rule: 1 }));
  packet('203.0.113.9', 82, denied({ type: 'rule', policy: 'NetworkPolicy:shop/gone', rule: 2 }));
  const [first, second, third] = (await flows.flows(all)).flows;
  assert.deepEqual(first, {
    sequence: 1,
    time: '2026-01-01T00:00:00.000Z',
    lastTime: '2026-01-01T00:00:00.000Z',
    packets: 1,
    node: 'n1',
    verdict: 'denied',
    direction: 'ingress',
    source: { address: '10.1.1.1', port: 40_000, pod: 'shop/web-1' },
    destination: { address: '10.1.0.1', port: 80, pod: 'shop/api-1' },
    protocol: 'TCP',
    by: { type: 'endOfTier', tier: 'default', policies: ['NetworkPolicy:shop/api', longId] },
  });
  assert.deepEqual(second!.source, { address: '192.0.2.7', port: 40_000, node: 'n2' });
  assert.deepEqual(second!.by, { type: 'rule', policy: longId, rule: 1, text: 'deny TCP from anywhere' });
  assert.deepEqual(third!.by, { type: 'rule', policy: 'NetworkPolicy:shop/gone', rule: 2 });
});

test('what is dropped whatever policy says: why, and by whose interface it came in', async () => {
  const { flows, packet } = fake();
  await flows.start();
  const dropped = (reason: string): string =>
    flowPrefix({ verdict: 'dropped', direction: 'egress', by: { type: 'dataplane', reason } });
  packet('203.0.113.5', 80, dropped('not an address of this pod'), 7);
  packet('203.0.113.6', 80, dropped('invalid'), 9);
  const [sent, invalid] = (await flows.flows({ ...all, verdict: 'dropped' })).flows;
  assert.deepEqual(
    [sent!.direction, sent!.by],
    ['egress', { type: 'dataplane', reason: 'not an address of this pod', pod: 'shop/api-1' }],
  );
  assert.deepEqual([invalid!.direction, invalid!.by], ['ingress', { type: 'dataplane', reason: 'invalid' }]);
  assert.deepEqual(
    flows.counts().map(({ verdict, namespace, rule }) => [verdict, namespace, rule]),
    [
      ['dropped', 'shop', 'not an address of this pod'],
      ['dropped', 'shop', 'invalid'],
    ],
  );
});

const stagedId = 'StagedNetworkPolicy:shop/lock';
const accepted = flowPrefix({ verdict: 'allowed', direction: 'ingress', by: { type: 'staged' } });

/** shop/api-1, where a staged policy would allow what comes from 10.1.1.1, and port 81. */
function fakeStaged(verdicts: 'denied' | 'all' = 'denied') {
  const world = fake({ flowLog: verdicts });
  const open = 'NetworkPolicy:shop/open';
  const port = (action: PolicyRule['action'], first: number): PolicyRule => ({
    action,
    protocol: 6,
    destinationPorts: [{ first, last: first }],
  });
  const fromWeb: PolicyRule = { action: 'allow', source: { type: 'cidr', cidr: '10.1.1.1/32' as Cidr, except: [] } };
  world.state.apply([
    { type: 'policy', id: open, program: { ingress: [port('deny', 22), { action: 'allow' }], egress: [] } },
    { type: 'policy', id: stagedId, staged: true, program: { ingress: [port('allow', 81), fromWeb], egress: [] } },
    {
      type: 'endpoint',
      id: 'shop/api-1',
      program: {
        ingress: [{ tier: 'default', policies: [open], endOfTier: 'deny' }],
        egress: [],
        staged: { ingress: [{ tier: 'default', policies: [stagedId], endOfTier: 'deny' }] },
      },
    },
  ]);
  return { ...world, open };
}

test('what staged policies would deny is kept though it was allowed, with what allowed it and what would deny it', async () => {
  const { flows, packet, open } = fakeStaged();
  await flows.start();
  packet('10.1.1.1', 80, accepted);
  packet('10.1.1.2', 80, accepted);
  packet('10.1.1.2', 80, accepted);
  const { flows: seen } = await flows.flows(all);
  assert.equal(seen.length, 1, 'what they would allow is nobody asked for');
  const { verdict, packets, source, by, staged } = seen[0]!;
  assert.deepEqual([verdict, packets, source.address], ['allowed', 2, '10.1.1.2']);
  assert.deepEqual(by, { type: 'rule', policy: open, rule: 2, text: 'allow all traffic from anywhere' });
  assert.deepEqual(staged, {
    verdict: 'denied',
    by: { type: 'endOfTier', tier: 'default', policies: [stagedId] },
  });
  const common = { direction: 'ingress', namespace: 'shop', staged: true } as const;
  assert.deepEqual(flows.counts(), [
    { ...common, verdict: 'allowed', policy: stagedId, rule: '2', tier: '', packets: 1 },
    { ...common, verdict: 'denied', policy: '', rule: 'end of tier', tier: 'default', packets: 2 },
  ]);
});

test('what was denied says what it would have been; --staged is where the two differ', async () => {
  const { flows, packet, open } = fakeStaged();
  await flows.start();
  const byRule = denied({ type: 'rule', policy: open, rule: 1 });
  packet('10.1.1.1', 22, byRule);
  packet('10.1.1.2', 22, byRule);
  packet('10.1.1.2', 23, accepted);
  const of = async (query: Partial<FlowsQuery>) =>
    (await flows.flows({ ...all, ...query })).flows.map((flow) => [flow.verdict, flow.staged?.verdict]);
  assert.deepEqual(await of({}), [
    ['denied', 'allowed'],
    ['denied', 'denied'],
    ['allowed', 'denied'],
  ]);
  assert.deepEqual(await of({ staged: true }), [
    ['denied', 'allowed'],
    ['allowed', 'denied'],
  ]);
  assert.deepEqual(
    flows.counts().map(({ verdict, staged = false, packets }) => [verdict, staged, packets]),
    [
      ['denied', false, 2],
      ['allowed', true, 1],
      ['denied', true, 2],
    ],
  );
});

test('where all flows are told of, allowed ones say what they would have been; of pods without staged policies nothing is said', async () => {
  const { flows, packet, state } = fakeStaged('all');
  await flows.start();
  const allowedByRule = flowPrefix({
    verdict: 'allowed',
    direction: 'ingress',
    by: { type: 'rule', policy: 'NetworkPolicy:shop/open', rule: 2 },
  });
  packet('10.1.1.1', 81, allowedByRule);
  const [flow] = (await flows.flows(all)).flows;
  assert.deepEqual(flow!.staged, {
    verdict: 'allowed',
    by: { type: 'rule', policy: stagedId, rule: 1, text: 'allow TCP 81 from anywhere' },
  });
  const { ingress, egress } = state.endpoints.get('shop/api-1')!;
  state.apply([{ type: 'endpoint', id: 'shop/api-1', program: { ingress, egress } }]);
  packet('10.1.1.2', 82, allowedByRule);
  packet('10.1.1.2', 83, accepted);
  const after = (await flows.flows({ ...all, after: 1 })).flows;
  assert.deepEqual(
    after.map(({ destination, staged }) => [destination.port, staged]),
    [[82, undefined]],
    'a packet that was told of before the policy went is nothing',
  );
});

test('staged policies judge a bounded number of packets a second, and what is over it is said', async () => {
  const { flows, packet, clock, limits } = fakeStaged();
  await flows.start();
  for (let port = 1; port <= 600; port++) packet('10.1.1.2', port, accepted);
  const counted = (): number => flows.counts().reduce((sum, { packets }) => sum + packets, 0);
  assert.deepEqual([counted(), limits.length, new Set(limits)], [500, 100, new Set(['staged_flows'])]);
  clock.advance(1_000);
  packet('10.1.1.2', 700, accepted);
  assert.equal(counted(), 501);
});

test('a pod that is gone or completed names nothing; its successor at the address does', async () => {
  const { flows, packet } = fake();
  await flows.start();
  const nameNow = async (port: number): Promise<string | undefined> => {
    packet('10.1.1.1', port);
    return (await flows.flows(all)).flows.at(-1)!.source.pod;
  };
  flows.note(pod('a/old', ['10.1.1.1']));
  assert.equal(await nameNow(1), 'a/old');
  flows.note(pod('a/new', ['10.1.1.1']));
  assert.equal(await nameNow(2), 'a/new');
  flows.note(pod('a/new', ['10.1.1.1'], { phase: 'Succeeded' }));
  assert.equal(await nameNow(3), 'a/old');
  flows.note({ type: 'delete', kind: 'Pod', key: 'a/old' } as never);
  assert.equal(await nameNow(4), undefined);
});

test('packets of one flow are one entry for a while; what others log is not taken', async () => {
  const { flows, packet, clock } = fake();
  await flows.start();
  packet('10.1.1.1');
  clock.advance(3_000);
  packet('10.1.1.1');
  packet('10.1.1.1', 80, 'calico-drop');
  packet('10.1.1.1', 81);
  clock.advance(7_000);
  packet('10.1.1.1');
  const { flows: seen } = await flows.flows(all);
  assert.deepEqual(
    seen.map(({ packets, time, lastTime }) => [packets, time.slice(17, 19), lastTime.slice(17, 19)]),
    [
      [2, '00', '03'],
      [1, '03', '03'],
      [1, '10', '10'],
    ],
  );
  flows.setWindow(60_000);
  clock.advance(50_000);
  packet('10.1.1.1');
  assert.equal((await flows.flows(all)).flows.at(-1)?.packets, 2, 'another window counts at once');
  assert.deepEqual(flows.counts(), [
    {
      verdict: 'denied',
      direction: 'ingress',
      namespace: 'shop',
      policy: '',
      rule: 'end of tier',
      tier: 'default',
      packets: 5,
    },
  ]);
});

test('the ring is bounded: what it does not keep any more is counted as missed', async () => {
  const { flows, packet } = fake();
  await flows.start();
  const many = 5_000;
  for (let i = 1; i <= many; i++) packet('10.1.1.1', i);
  const { flows: newest, next, missed } = await flows.flows(all);
  assert.deepEqual([newest.length, next, missed], [1000, many, many - 4096]);
  assert.deepEqual(newest.at(-1)!.destination.port, many);
  const behind = await flows.flows({ ...all, after: many - 3 });
  assert.deepEqual([behind.flows.map(({ sequence }) => sequence), behind.missed], [[many - 2, many - 1, many], 0]);
  // Of an earlier agent.
  assert.equal((await flows.flows({ ...all, after: many * 2 })).flows.length, 1000);
});

test('only what is asked for: verdict, pod, namespace', async () => {
  const { flows, packet } = fake();
  await flows.start();
  flows.note(pod('shop/web-1', ['10.1.1.1']));
  flows.note(pod('shopping/web-1', ['10.1.1.2']));
  packet('10.1.1.1', 1);
  packet('10.1.1.2', 2);
  const ports = async (query: Partial<FlowsQuery>): Promise<(number | undefined)[]> =>
    (await flows.flows({ ...all, ...query })).flows.map(({ destination }) => destination.port);
  assert.deepEqual(await ports({ pod: 'shop/web-1' }), [1]);
  assert.deepEqual(await ports({ pod: 'shop/api-1' }), [1, 2]);
  assert.deepEqual(await ports({ namespace: 'shopping' }), [2]);
  assert.deepEqual(await ports({ namespace: 'sho' }), []);
  assert.deepEqual(await ports({ verdict: 'allowed' }), []);
});

test('who follows is answered with the next packet, at the end of the wait, or when the agent stops', async () => {
  const { flows, packet, source, clock } = fake();
  await flows.start();
  let answers = 0;
  const ask = (): Promise<void> =>
    flows.flows({ ...all, waitSec: 5 }).then(() => {
      answers++;
    });
  const settled = async (): Promise<number> => {
    await new Promise((resolve) => setImmediate(resolve));
    return answers;
  };
  const waiting = [ask()];
  assert.equal(await settled(), 0);
  clock.advance(5_000);
  assert.equal(await settled(), 1);
  waiting.push(ask());
  packet('10.1.1.1');
  assert.equal(await settled(), 1, 'once a turn of the loop');
  source.options!.onTurn!();
  assert.equal(await settled(), 2);
  const idle = flows.flows({ ...all, after: 1, waitSec: 5 });
  await flows.stop();
  assert.deepEqual((await idle).flows, []);
  await Promise.all(waiting);
});

test('a group that another program reads: the problem says what to do, and it is tried again', async () => {
  const { flows, source, clock, packet } = fake();
  source.fails = new SysError('NFLOG group 1179', 1);
  await flows.start();
  assert.match(flows.status().problem!, /another program reads NFLOG group 1179.*flowLogGroup/);
  delete source.fails;
  clock.advance(30_000);
  assert.equal(flows.status().problem, undefined);
  packet('10.1.1.1');
  assert.equal((await flows.flows(all)).flows.length, 1);
  source.options!.onLost(7);
  assert.equal(flows.status().lost, 7);
});

test('rules that the kernel refused are told of; with flowLog off nothing is read and nothing is wrong', async () => {
  assert.match(fake({ refused: 'no NFLOG here' }).flows.status().problem!, /no NFLOG here/);
  const off = fake({ flowLog: 'off', refused: 'no NFLOG here' });
  await off.flows.start();
  assert.equal(off.source.opened, 0);
  assert.deepEqual(off.flows.status(), { verdicts: 'off', ratePerSec: 10, lost: 0 });
  assert.deepEqual((await off.flows.flows({ ...all, waitSec: 5 })).flows, []);
});

test('series are bounded: rules of policies that are gone make room, what has none is counted as others', async () => {
  const { flows, packet, limits, state } = fake();
  await flows.start();
  const rule = (policy: string, n: number): string => denied({ type: 'rule', policy, rule: n });
  state.apply([{ type: 'policy', id: 'NetworkPolicy:shop/p', program: { ingress: [], egress: [] } }]);
  for (let i = 1; i <= 1_000; i++)
    packet('10.1.1.1', 80, rule(i % 2 ? 'NetworkPolicy:shop/p' : 'NetworkPolicy:gone/p', i));
  assert.equal(flows.counts().length, 1_000);
  packet('10.1.1.1', 80, rule('NetworkPolicy:shop/p', 2_000));
  assert.equal(flows.counts().length, 501, 'half of them were of a policy that is gone');
  for (let i = 3_001; i <= 3_600; i++) packet('10.1.1.1', 80, rule('NetworkPolicy:shop/p', i));
  const counts = flows.counts();
  assert.ok(counts.length <= 1_001);
  assert.equal(counts.find(({ policy }) => policy === 'others')?.packets, limits.length);
  assert.equal(limits.length, 101);
});
