/** What rules of Calico's policies ask of real packets: ICMP types, what must not match, ports of both sides; both back ends, both families. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { PolicyRule } from '#model';
import { families, PacketWorld, packetsNeed } from './packet-world.ts';
import { endpoint, policy, setOf, startOpen, tier } from './programs.ts';

const icmpOf = { 4: { protocol: 1, echo: 8 }, 6: { protocol: 58, echo: 128 } } as const;
/** Clients of these tests have a port of the kernel's choice. */
const everyPort = { first: 1024, last: 65_535 };
/** More than one match can hold. */
const manyPorts = Array.from({ length: 20 }, (_, i) => ({ first: 5_000 + 2 * i, last: 5_000 + 2 * i }));

for (const backend of ['nft', 'legacy'] as const) {
  suite(`matches of rules on packets, iptables-${backend}`, packetsNeed, () => {
    test('ICMP by type and code, and all but a type', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const under = await policed(world, backend);
      for (const family of families) {
        const { protocol, echo } = icmpOf[family];
        const rule = (match: Partial<PolicyRule>): PolicyRule => ({ action: 'allow', family, protocol, ...match });
        for (const [match, passes] of [
          [{ icmp: { type: echo } }, true],
          [{ icmp: { type: echo, code: 0 } }, true],
          [{ icmp: { type: echo, code: 1 } }, false],
          [{ icmp: { type: 3 } }, false],
          [{ notIcmp: { type: echo } }, false],
          [{ notIcmp: { type: echo, code: 1 } }, true],
          [{ notIcmp: { type: 3 } }, true],
        ] as const) {
          await under([rule(match)]);
          assert.equal(await world.pings('b', 'a', family), passes, JSON.stringify({ family, match }));
        }
        // Nothing of it is about others.
        await world.expectSilence('b', 'a', 80, family);
      }
    });

    test('any protocol but one; who is not in a set; ports that are none of many', async () => {
      await using world = await PacketWorld.make(['a', 'b', 'c']);
      const under = await policed(world, backend);
      const condition = { type: 'address', side: 'source', not: true, set: 'B' } as const;
      for (const family of families) {
        await under([{ action: 'allow', notProtocol: 17 }]);
        await world.expectReach('b', 'a', 80, family);
        await world.expectSilence('b', 'a', 80, family, 'udp');
        await under([{ action: 'allow', conditions: [condition] }]);
        await world.expectSilence('b', 'a', 80, family);
        await world.expectReach('c', 'a', 80, family);
        const none = { type: 'ports', side: 'destination', not: true, ports: manyPorts } as const;
        await under([{ action: 'allow', protocol: 6, conditions: [none] }]);
        await world.expectReach('b', 'a', 80, family);
        for (const { first } of [manyPorts[0]!, manyPorts.at(-1)!]) await world.expectSilence('b', 'a', first, family);
        await under([{ action: 'deny', conditions: [condition] }, { action: 'allow' }]);
        await world.expectReach('b', 'a', 80, family);
        await world.expectSilence('c', 'a', 80, family);
      }
    });

    test('source ports beside destination ports, each of many', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const under = await policed(world, backend);
      const from = (ports: readonly { first: number; last: number }[], not = false) =>
        ({ type: 'ports', side: 'source', not, ports }) as const;
      const many = [...manyPorts, everyPort];
      for (const family of families) {
        const rule: PolicyRule = { action: 'allow', protocol: 6, destinationPorts: manyPorts };
        await under([{ ...rule, conditions: [from(many)] }]);
        for (const { first } of [manyPorts[0]!, manyPorts.at(-1)!]) await world.expectReach('b', 'a', first, family);
        await world.expectSilence('b', 'a', 80, family);
        await under([{ ...rule, conditions: [from([{ first: 1, last: 1023 }])] }]);
        await world.expectSilence('b', 'a', manyPorts[0]!.first, family);
        await under([{ ...rule, conditions: [from([everyPort], true)] }]);
        await world.expectSilence('b', 'a', manyPorts[0]!.first, family);
      }
    });
  });
}

/** Puts rules for what comes to `a` in force; `B` is a set of b's addresses. */
async function policed(
  world: PacketWorld,
  backend: 'nft' | 'legacy',
): Promise<(ingress: readonly PolicyRule[]) => Promise<void>> {
  const dataplane = await startOpen(world, { backend });
  dataplane.apply([
    setOf('B', 'net', ...Object.values(world.pod('b').addresses)),
    policy('P', []),
    endpoint('a', { ingress: tier('P') }),
  ]);
  await dataplane.whenApplied();
  return async (ingress) => {
    dataplane.apply([policy('P', ingress)]);
    await dataplane.whenApplied();
  };
}
