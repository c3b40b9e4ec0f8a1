/** What passes while rules are being written: packets are sent when the first members of sets have changed and the rules have not. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { PolicyRule } from '#model';
import { libc } from '#sys';
import { until } from '../support/wait.ts';
import { connect, families, PacketWorld, packetsNeed } from './packet-world.ts';
import { endpoint, policy, setOf, tier } from './programs.ts';

const source = (action: PolicyRule['action'], set: string): PolicyRule => ({ action, source: { type: 'set', set } });
const deny: PolicyRule = { action: 'deny' };

for (const backend of ['nft', 'legacy'] as const) {
  suite(`policy while it changes, iptables-${backend}`, packetsNeed, () => {
    test('a pod that leaves a set of pass rules and joins one of allow rules passes at no moment', async () => {
      await using world = await PacketWorld.make(['a', 'b', 'c', 'd']);
      const dataplane = world.dataplane({ backend });
      await dataplane.start();
      const membersOf = (name: string): string[] => Object.values(world.pod(name).addresses);
      const later: PolicyRule = { action: 'allow', protocol: 6, destinationPorts: [{ first: 9, last: 9 }] };
      dataplane.apply([
        setOf('passing', 'ip', ...membersOf('a'), ...membersOf('d')),
        setOf('allowed', 'ip', ...membersOf('d')),
        policy('admin', [source('pass', 'passing'), deny]),
        policy('allow', [source('allow', 'allowed')]),
        policy('other', [later]),
        endpoint('b', {
          ingress: [{ tier: 'kube-admin', policies: ['admin'], endOfTier: 'pass' }, ...tier('allow', 'other')],
        }),
      ]);
      for (const name of world.pods.keys()) {
        dataplane.setEndpoint(world.endpoint(name));
        if (name !== 'b') dataplane.apply([endpoint(name)]);
      }
      dataplane.setInSync();
      await dataplane.whenApplied();
      const clients = families.map((family) => ({ family, client: world.socket('a', family, 'tcp') }));
      for (const { family, client } of clients) {
        await world.expectSilence('a', 'b', 80, family);
        await world.expectReach('d', 'b', 80, family);
        await world.expectReach('a', 'c', 80, family);
        connect(client, world.pod('c').addresses[family], 80);
        await until(() => libc.send(client.number, Buffer.from('x'), 1, 0) === 1, { what: 'the connection' });
      }

      const seen: string[] = [];
      world.before = async (argv) => {
        if (!argv[1]?.endsWith('tables-restore')) return;
        world.before = undefined;
        for (const { family, client } of clients) {
          if (await world.reaches('a', 'b', 80, family)) seen.push(`a passes to b by IPv${family}`);
          if (!(await world.reaches('d', 'b', 80, family))) seen.push(`d is held up to b by IPv${family}`);
          if (libc.send(client.number, Buffer.from('y'), 1, 0) !== 1) seen.push('the connection has ended');
        }
        seen.push('looked');
      };
      dataplane.apply([
        { type: 'setDelta', id: 'passing', added: [], removed: membersOf('a') },
        { type: 'setDelta', id: 'allowed', added: membersOf('a'), removed: [] },
        policy('other', [{ ...later, destinationPorts: [{ first: 10, last: 10 }] }]),
      ]);
      await dataplane.whenApplied();
      assert.deepEqual(seen, ['looked']);
      for (const family of families) {
        await world.expectSilence('a', 'b', 80, family);
        // Nobody is held any more.
        await world.expectReach('a', 'c', 81, family);
      }
    });
  });
}
