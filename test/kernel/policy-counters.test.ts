/** What the kernel's rules counted, under the names of policies and rules: both back ends, both families. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { RuleCounter } from '#felix';
import type { IpFamily } from '#kit';
import { families, PacketWorld, packetsNeed } from './packet-world.ts';
import { endpoint, policy, startOpen, tier } from './programs.ts';

const id = 'NetworkPolicy:ns/p';

for (const backend of ['nft', 'legacy'] as const) {
  suite(`counters of rules, iptables-${backend}`, packetsNeed, () => {
    test('a rule counts what it allows, the end of a tier what it denies', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const dataplane = await startOpen(world, { backend });
      const ports = (port: number) => ({ protocol: 6, destinationPorts: [{ first: port, last: port }] });
      dataplane.apply([
        policy(id, [
          { action: 'allow', ...ports(81) },
          { action: 'allow', ...ports(80) },
        ]),
        endpoint('a', { ingress: tier(id) }),
      ]);
      await dataplane.whenApplied();
      const packets = async (family: IpFamily, of: Partial<RuleCounter>): Promise<number | undefined> => {
        const counters = (await dataplane.counters('ns/a'))!;
        const found = counters.filter((one) => one.family === family && one.direction === 'ingress');
        return found.find((one) => one.rule === of.rule && one.endOfTier === of.endOfTier)?.packets;
      };
      for (const family of families) {
        assert.equal(await packets(family, { rule: 1 }), 0);
        await world.expectReach('b', 'a', 80, family);
        await world.expectSilence('b', 'a', 82, family);
        assert.equal(await packets(family, { rule: 0 }), 0);
        assert.ok((await packets(family, { rule: 1 }))! >= 1);
        assert.ok((await packets(family, { endOfTier: 'default' }))! >= 1);
      }
      assert.deepEqual(await dataplane.counters('ns/b'), []);
      assert.equal(await dataplane.counters('ns/nobody'), undefined);
    });
  });
}
