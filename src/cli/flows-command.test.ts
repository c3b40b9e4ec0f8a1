import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { AgentView, FlowsQuery, FlowsView, FlowView } from '#api';
import { cells, run, serve } from './cli-run.ts';

const flow: FlowView = {
  sequence: 1,
  time: '2026-01-01T00:00:00.000Z',
  lastTime: '2026-01-01T00:00:03.000Z',
  packets: 3,
  node: 'n1',
  verdict: 'denied',
  direction: 'ingress',
  source: { address: '10.1.0.2', port: 40_000, pod: 'shop/web-1' },
  destination: { address: '10.1.0.1', port: 5432, pod: 'shop/db-0' },
  protocol: 'TCP',
  by: { type: 'endOfTier', tier: 'default', policies: ['NetworkPolicy:shop/db'] },
};
const ping: FlowView = {
  ...flow,
  sequence: 2,
  source: { address: '192.0.2.7', node: 'n2' },
  destination: { address: '203.0.113.1' },
  protocol: 'ICMP',
  icmp: { type: 8, code: 0 },
  packets: 1,
  by: { type: 'rule', policy: 'ClusterNetworkPolicy:base', rule: 2, text: 'deny all traffic from anywhere' },
};
const log = { verdicts: 'denied', ratePerSec: 10, lost: 0 } as const;
const answer = (flows: readonly FlowView[], extra: Partial<FlowsView> = {}): FlowsView => ({
  flows,
  next: 2,
  missed: 0,
  log,
  ...extra,
});

/** Runs against an agent that answers as told. */
const runFlows = async (t: TestContext, args: readonly string[], view: Partial<AgentView>) =>
  run(['flows', ...args], await serve(t, view));

test('what a host endpoint decided says so', async (t) => {
  const { out } = await runFlows(t, [], { flows: async () => answer([{ ...ping, host: true }]) });
  assert.match(out, / {3}host endpoint: ClusterNetworkPolicy:base rule 2: /);
});

test('a table: who, to whom, what, and who decided', async (t) => {
  const { code, out } = await runFlows(t, [], { flows: async () => answer([flow, ping]) });
  assert.equal(code, 0);
  assert.deepEqual(cells(out), [
    ['TIME', 'VERDICT', 'FROM', 'TO', 'PROTOCOL', 'PACKETS', 'BY'],
    [
      ...['2026-01-01T00:00:00.000Z', 'denied ingress', 'shop/web-1', 'shop/db-0', 'TCP 5432', '3'],
      'end of tier default, not allowed by NetworkPolicy:shop/db',
    ],
    [
      ...['2026-01-01T00:00:00.000Z', 'denied ingress', 'node n2', '203.0.113.1', 'ICMP 8/0', '1'],
      'ClusterNetworkPolicy:base rule 2: deny all traffic from anywhere',
    ],
  ]);
});

test('JSON is one object a line; what is asked for goes to the agent', async (t) => {
  const asked: FlowsQuery[] = [];
  const flows = async (query: FlowsQuery): Promise<FlowsView> => {
    asked.push(query);
    return answer([flow, ping]);
  };
  const { out } = await runFlows(
    t,
    ['-o', 'json', '--pod', 'db-0', '-n', 'shop', '--last', '7', '--verdict', 'denied'],
    {
      flows,
    },
  );
  assert.deepEqual(
    out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
    [flow, ping],
  );
  assert.deepEqual(asked, [{ after: 0, limit: 7, waitSec: 0, verdict: 'denied', pod: 'shop/db-0' }]);
});

test('--follow asks for what is behind, says what was missed, and ends when the agent fails', async (t) => {
  const asked: FlowsQuery[] = [];
  const flows = async (query: FlowsQuery): Promise<FlowsView> => {
    asked.push(query);
    if (asked.length === 1) return answer([flow], { next: 1 });
    if (asked.length === 2) return answer([ping], { missed: 4, log: { ...log, lost: 9 } });
    throw new RangeError('enough');
  };
  const { out, err, code } = await runFlows(t, ['--follow', '-o', 'json'], { flows });
  assert.deepEqual(JSON.parse(out), ping, 'the past only when asked for');
  assert.deepEqual(
    asked.map(({ after, waitSec }) => [after, waitSec]),
    [
      [0, 0],
      [1, 5],
      [2, 5],
    ],
  );
  assert.match(err, /4 flows came too fast[\s\S]*9 packets/);
  assert.equal(code, 2);
});

test('flows that are not logged, or cannot be: why, and exit code 1', async (t) => {
  const off = await runFlows(t, ['--follow'], { flows: async () => answer([], { log: { ...log, verdicts: 'off' } }) });
  assert.deepEqual([off.code, off.err.includes('set flowLog')], [1, true]);
  const problem = await runFlows(t, [], { flows: async () => answer([], { log: { ...log, problem: 'no NFLOG' } }) });
  assert.deepEqual([problem.code, problem.err], [1, 'poplin: no NFLOG\n']);
});

test('--counts: packets by who decided, most first', async (t) => {
  const count = { verdict: 'denied', direction: 'egress', namespace: 'shop' } as const;
  const { out } = await runFlows(t, ['--counts'], {
    flowCounts: () => [
      { ...count, policy: 'NetworkPolicy:shop/a', rule: '3', tier: '', packets: 2 },
      { ...count, policy: '', rule: 'end of tier', tier: 'default', packets: 12 },
    ],
  });
  assert.deepEqual(cells(out).slice(1), [
    ['12', 'denied egress', 'shop', 'end of tier default'],
    ['2', 'denied egress', 'shop', 'NetworkPolicy:shop/a', '3'],
  ]);
});

test('staged policies: what they would have decided, beside what was; --staged asks for where the two differ', async (t) => {
  const asked: FlowsQuery[] = [];
  const policies = ['StagedNetworkPolicy:shop/lock'];
  const staged = { verdict: 'denied', by: { type: 'endOfTier', tier: 'default', policies } } as const;
  const { out } = await runFlows(t, ['--staged'], {
    flows: async (query) => {
      asked.push(query);
      return answer([{ ...flow, verdict: 'allowed', by: { type: 'none' }, staged }]);
    },
  });
  assert.deepEqual(asked, [{ after: 0, limit: 200, waitSec: 0, staged: true }]);
  assert.match(
    out,
    /allowed ingress .* no policy; staged: denied by end of tier default, not allowed by StagedNetworkPolicy:shop\/lock$/m,
  );
  const count = {
    verdict: 'denied',
    direction: 'ingress',
    namespace: 'shop',
    rule: '1',
    tier: '',
    packets: 4,
  } as const;
  const { out: counts } = await runFlows(t, ['--counts'], {
    flowCounts: () => [{ ...count, policy: policies[0]!, staged: true }],
  });
  assert.match(counts, /^4 +would be denied ingress +shop +StagedNetworkPolicy:shop\/lock +1$/m);
});

test('what makes no sense is said at once', async (t) => {
  for (const [args, message] of [
    [['--pod', 'db-0'], /write NAMESPACE\/NAME/],
    [['--verdict', 'odd'], /none of denied, allowed and dropped/],
    [['--last', '1001'], /0\.\.1000/],
    [['--counts', '--follow'], /exclude each other/],
  ] as const) {
    const { code, err } = await runFlows(t, args, {});
    assert.equal(code, 2);
    assert.match(err, message);
  }
});
