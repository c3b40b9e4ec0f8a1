/** Random programs of a host endpoint and of a pod: what packets do in the kernel is what the explainer says. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import type { Cidr, IpFamily } from '#kit';
import { defaultFailsafe, type EndpointProgram, type PolicyRule, type PolicyUpdate, type TierProgram } from '#model';
import { evaluateConnection, explainConnection, PolicyStateStore } from '#policy';
import { PacketWorld, packetsNeed } from './packet-world.ts';

const rounds = 14;
/** The same cases every time: a failure here can be looked at. */
const seed = 20_261_126;
const host = 'HostEndpoint:up';
/** UDP: one datagram one way, so that doNotTrack needs no way back. 68 and 53 are failsafe ports. */
const ports = [80, 81, 68, 53];
const pairs = [
  ['outside', 'node'],
  ['outside', 'a'],
  ['node', 'outside'],
  ['a', 'outside'],
  ['node', 'a'],
  ['a', 'node'],
] as const;

const cidr = fc.constantFrom(
  ...([
    '0.0.0.0/0',
    '192.0.2.2/32',
    '10.1.0.0/16',
    '192.0.2.1/32',
    '::/0',
    'fd00:1::/64',
    '2001:db8:ff::/64',
  ] as Cidr[]),
);
const end = fc.record({ type: fc.constant('cidr' as const), cidr, except: fc.constant([]) });
const rule: fc.Arbitrary<PolicyRule> = fc.record(
  {
    action: fc.constantFrom<PolicyRule['action']>('allow', 'allow', 'deny', 'pass'),
    source: end,
    destination: end,
    protocol: fc.constant(17),
    destinationPorts: fc.constantFrom(
      [{ first: 80, last: 80 }],
      [{ first: 53, last: 80 }],
      [{ first: 1, last: 65535 }],
    ),
  },
  { requiredKeys: ['action', 'protocol'] },
);
const policies = ['P', 'Q', 'R', 'S', 'T', 'U'];
const programs = fc.record(
  Object.fromEntries(
    policies.map((id) => [
      id,
      fc.record({ ingress: fc.array(rule, { maxLength: 3 }), egress: fc.array(rule, { maxLength: 3 }) }),
    ]),
  ),
);
const tiersOf = (ids: readonly string[], ends: readonly TierProgram['endOfTier'][]): fc.Arbitrary<TierProgram[]> =>
  fc.array(
    fc.record({
      tier: fc.constantFrom('x', 'y'),
      policies: fc.shuffledSubarray([...ids], { minLength: 1 }),
      endOfTier: fc.constantFrom(...ends),
    }),
    { maxLength: 2 },
  );
const both = (ids: readonly string[], ends: readonly TierProgram['endOfTier'][]) =>
  fc.record({ ingress: tiersOf(ids, ends), egress: tiersOf(ids, ends) });
const any = ['deny', 'pass'] as const;
const hostProgram: fc.Arbitrary<EndpointProgram> = fc
  .record({
    local: both(['P', 'Q'], any),
    forward: both(['Q', 'R'], any),
    preDNAT: tiersOf(['S'], ['pass']),
    untracked: both(['T'], ['pass']),
    otherwise: fc.constantFrom('allow' as const, 'deny' as const),
    interfaceName: fc.constantFrom('up0', '*'),
  })
  .map(({ local, ...more }) => ({ ...local, host: { ...more, expectedIPs: [] } }));
const world = fc.record({ programs, host: hostProgram, pod: both(['U'], any) });

for (const backend of ['nft', 'legacy'] as const) {
  suite(`random host endpoints, iptables-${backend}`, packetsNeed, () => {
    test('the kernel, the evaluator and the explainer agree', async (t) => {
      await using packets = await PacketWorld.make(['a']);
      const dataplane = await packets.startDataplane({ backend });
      let denied = 0;
      let asked = 0;
      for (const { programs: rules, host: program, pod } of fc.sample(world, { numRuns: rounds, seed })) {
        const state = new PolicyStateStore();
        const updates: PolicyUpdate[] = [
          ...policies.map((id) => ({ type: 'policy' as const, id, program: rules[id]! })),
          { type: 'endpoint', id: host, program },
          { type: 'endpoint', id: 'ns/a', program: pod },
        ];
        state.apply(updates);
        dataplane.apply(updates);
        await dataplane.whenApplied();
        const cases = pairs.flatMap(([from, to]) =>
          ports.flatMap((port) => ([4, 6] as const).map((family) => ({ from, to, port, family }))),
        );
        const judged = cases.map((one) => {
          const connection = connectionOf(packets, one);
          const { verdict } = evaluateConnection(state, connection);
          assert.equal(explainConnection(state, connection).verdict, verdict);
          return { ...one, verdict };
        });
        const reached = await Promise.all(
          judged.map(({ from, to, port, family }) => packets.reaches(from, to, port, family, 'udp')),
        );
        asked += cases.length;
        denied += judged.filter(({ verdict }) => verdict === 'deny').length;
        const wrong = judged.filter(({ verdict }, index) => verdict === 'deny' && reached[index]);
        // Silence where something should arrive may be a slow packetsNeed.
        for (const [index, { from, to, port, family, verdict }] of judged.entries())
          if (verdict === 'allow' && !reached[index]) await packets.expectReach(from, to, port, family, 'udp');
        assert.deepEqual(wrong, [], JSON.stringify({ rules, program, pod }));
      }
      t.diagnostic(`${denied} of ${asked} denied`);
      assert.ok(denied > asked / 5 && denied < (asked * 4) / 5);
    });
  });
}

function connectionOf(
  packets: PacketWorld,
  { from, to, port, family }: { from: string; to: string; port: number; family: IpFamily },
) {
  const crosses = from === 'outside' || to === 'outside';
  const of = (name: string) => ({
    address: packets.host(name).addresses[family],
    ...(name === 'a' && { endpoint: 'ns/a' }),
    ...(crosses && name !== 'outside' && { host: { endpoint: host, failsafe: defaultFailsafe } }),
  });
  // A node always reaches its own pods.
  const target = from === 'node' && to === 'a' ? { address: of(to).address } : of(to);
  return { from: of(from), to: target, protocol: 'UDP' as const, port };
}
