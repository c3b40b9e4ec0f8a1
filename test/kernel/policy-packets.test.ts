/** Real packets through the policy dataplane: both back ends, both families. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Backend, PolicyDataplane } from '#felix';
import type { Cidr, IpFamily } from '#kit';
import type { EndpointProgram, PolicyRule, PolicyUpdate } from '#model';
import { libc } from '#sys';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { connect, PacketWorld } from './packet-world.ts';

const machine = needs({
  root: true,
  commands: ['xtables-nft-multi', 'xtables-legacy-multi', 'ipset', 'ip', 'nsenter'],
});
const families: readonly IpFamily[] = [4, 6];

const open: EndpointProgram = { ingress: [], egress: [] };
const tier = (...policies: string[]) => [{ tier: 'default', policies, endOfTier: 'deny' as const }];
const policy = (id: string, ingress: PolicyRule[], egress: PolicyRule[] = []): PolicyUpdate => ({
  type: 'policy',
  id,
  program: { ingress, egress },
});
const endpoint = (name: string, program: EndpointProgram): PolicyUpdate => ({
  type: 'endpoint',
  id: `ns/${name}`,
  program,
});
const setOf = (id: string, setType: 'ip' | 'net' | 'ip,port', ...members: string[]): PolicyUpdate => ({
  type: 'set',
  id,
  setType,
  members,
});

/** A started dataplane in which every pod of the world is known and open. */
async function started(world: PacketWorld, backend: Backend): Promise<PolicyDataplane> {
  const dataplane = world.dataplane({ backend });
  await dataplane.start();
  for (const name of world.pods.keys()) {
    dataplane.setEndpoint(world.endpoint(name));
    dataplane.apply([endpoint(name, open)]);
  }
  dataplane.setInSync();
  await dataplane.whenApplied();
  return dataplane;
}

for (const backend of ['nft', 'legacy'] as const) {
  suite(`policy on packets, iptables-${backend}`, machine, () => {
    test('who is in the set gets in on the allowed port, others and other ports do not', async () => {
      await using world = await PacketWorld.make(['a', 'b', 'c']);
      const dataplane = await started(world, backend);
      for (const family of families) await world.expectReach('b', 'a', 80, family);
      const { addresses } = world.pod('b');
      dataplane.apply([
        setOf('friends', 'ip', addresses[4], addresses[6]),
        policy('P', [
          {
            action: 'allow',
            protocol: 6,
            destinationPorts: [{ first: 80, last: 80 }],
            source: { type: 'set', set: 'friends' },
          },
        ]),
        endpoint('a', { ingress: tier('P'), egress: [] }),
      ]);
      await dataplane.whenApplied();
      assert.ok(dataplane.endpointInForce('ns/a'));
      for (const family of families) {
        await world.expectReach('b', 'a', 80, family);
        await world.expectSilence('b', 'a', 81, family);
        await world.expectSilence('b', 'a', 80, family, 'udp');
        await world.expectSilence('c', 'a', 80, family);
        await world.expectSilence('outside', 'a', 80, family);
        // The node's own packets always pass, and what a may send is not restricted.
        await world.expectReach('node', 'a', 81, family);
        await world.expectReach('a', 'c', 80, family);
        await world.expectReach('a', 'outside', 80, family, 'udp');
      }
      dataplane.apply([
        { type: 'setDelta', id: 'friends', added: Object.values(world.pod('c').addresses), removed: [addresses[4]] },
      ]);
      await dataplane.whenApplied();
      await world.expectReach('c', 'a', 80, 4);
      await world.expectReach('c', 'a', 80, 6);
      await world.expectSilence('b', 'a', 80, 4);
      await world.expectReach('b', 'a', 80, 6);
    });
  });
}
void libc;
void connect;
void until;
void ({} as Cidr);
