import assert from 'node:assert/strict';
import { test } from 'node:test';
import { run } from './cli-run.ts';
import { agent } from './fake-agent.ts';

test('policy explain: by the agent, with counters, and where else to ask', async (t) => {
  const tiers = [
    {
      tier: 'default',
      policies: [
        { policy: 'NetworkPolicy:web/p', rules: [{ rule: 0, action: 'allow', text: 'allow TCP 80', matched: false }] },
      ],
      outcome: 'deny',
      byEndOfTier: true,
    },
  ] as const;
  const verdict = { verdict: 'deny', by: 'endOfTier', tier: 'default' } as const;
  const rule = { endpoint: 'web/a', family: 4, direction: 'ingress', chain: 'c' } as const;
  const asked: unknown[] = [];
  const env = await agent(t, {
    policyExplain: async (query) => {
      asked.push(query);
      if (query.from !== 'web/b') return { problem: `there is no pod ${query.from}` };
      return {
        connections: [
          {
            from: { id: 'web/b', address: '10.1.2.2' },
            to: { id: 'web/a', address: '10.1.1.2' },
            port: { protocol: query.protocol, port: query.port },
            family: 'ipv4',
            fromOwnNode: false,
            explanation: {
              verdict: 'deny',
              toItself: false,
              directions: [{ endpoint: 'web/a', direction: 'ingress', tiers, verdict }],
            },
            unknown: ['Egress of web/b: decided on node n2'],
          },
        ],
        counters: [
          { ...rule, policy: 'NetworkPolicy:web/p', rule: 0, packets: 8, bytes: 480 },
          { ...rule, endOfTier: 'default', packets: 3, bytes: 180 },
          { ...rule, family: 6, endOfTier: 'default', packets: 99, bytes: 1 },
        ],
      };
    },
  });
  const { code, out } = await run(['policy', 'explain', 'b', 'a', '81/udp', '-n', 'web'], env);
  assert.equal(code, 1);
  assert.deepEqual(asked, [{ from: 'web/b', to: 'web/a', protocol: 'UDP', port: 81 }]);
  assert.match(out, /^web\/b \(10\.1\.2\.2\) -> web\/a \(10\.1\.1\.2\) {2}UDP 81: DENIED$/m);
  assert.match(out, /1\. allow TCP 80 +no match {2}\[8 packets, 480 bytes\]$/m);
  assert.match(out, /what no rule decided +<= DENIED {2}\[3 packets, 180 bytes\]$/m);
  assert.match(out, /^Egress of web\/b: decided on node n2$/m);
  await run(['policy', 'explain', 'web/b', 'web/a', '80', '--staged'], env);
  assert.deepEqual(asked.at(-1), { from: 'web/b', to: 'web/a', protocol: 'TCP', port: 80, staged: true });
  const none = await run(['policy', 'explain', 'web/c', 'web/a', '80'], env);
  assert.equal(none.code, 2);
  assert.match(none.err, /there is no pod web\/c/);
});

test('policy show: by namespace/name or -n; elsewhere is exit code 1', async (t) => {
  const env = await agent(t);
  const shown = await run(['policy', 'show', 'web/a'], env);
  assert.equal(shown.code, 0);
  assert.match(
    shown.out,
    /Ingress: isolated\n {2}tier kube-admin\n {4}ClusterNetworkPolicy:c\n {6}1\. deny TCP 22 from everyone\n {4}otherwise: pass to the next tier\n {2}tier default\n {4}NetworkPolicy:web\/p\n {6}1\. allow TCP 80 from everyone\n {4}otherwise: deny/,
  );
  assert.match(
    shown.out,
    /Egress: not isolated, what is not denied is allowed\n {2}tier kube-baseline\n {4}x\n {6}no rules\n {4}otherwise: allow\n/,
  );
  assert.equal((await run(['policy', 'show', 'a', '-n', 'web'], env)).out, shown.out);
  const absent = await run(['policy', 'show', 'a'], env);
  assert.deepEqual([absent.code, absent.out], [1, '']);
  assert.match(absent.err, /pod default\/a is not on this node/);
  assert.equal((await run(['policy', 'show', 'a/b/c'], env)).code, 2);
});
