/** What rules ask of real packets: both back ends, both families. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Cidr } from '#kit';
import type { EndpointProgram } from '#model';
import { until } from '../support/wait.ts';
import { families, PacketWorld, packetsNeed } from './packet-world.ts';
import { endpoint, policy, setOf, startOpen, tier } from './programs.ts';

for (const backend of ['nft', 'legacy'] as const) {
  suite(`policy on packets, iptables-${backend}`, packetsNeed, () => {
    test('who is in the set gets in on the allowed port, others and other ports do not', async () => {
      await using world = await PacketWorld.make(['a', 'b', 'c']);
      const dataplane = await startOpen(world, { backend });
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

    test('named ports, many ports and ranges', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const dataplane = await startOpen(world, { backend });
      const { addresses } = world.pod('a');
      const many = Array.from({ length: 20 }, (_, i) => ({ first: 1000 + 10 * i, last: 1000 + 10 * i + (i % 2) }));
      dataplane.apply([
        setOf('web', 'ip,port', `${addresses[4]},tcp:8080`, `${addresses[6]},tcp:8080`, `${addresses[4]},udp:53`),
        policy('P', [
          { action: 'allow', destinationNamedPorts: 'web' },
          { action: 'allow', protocol: 17, destinationPorts: many },
        ]),
        endpoint('a', { ingress: tier('P'), egress: [] }),
      ]);
      await dataplane.whenApplied();
      for (const family of families) {
        await world.expectReach('b', 'a', 8080, family);
        await world.expectSilence('b', 'a', 8080, family, 'udp');
        await world.expectSilence('b', 'a', 8081, family);
        for (const port of [1000, 1010, 1011, 1190, 1191]) await world.expectReach('b', 'a', port, family, 'udp');
        for (const port of [999, 1001, 1012, 1192]) await world.expectSilence('b', 'a', port, family, 'udp');
        await world.expectSilence('b', 'a', 1000, family, 'tcp');
      }
      await world.expectReach('b', 'a', 53, 4, 'udp');
      await world.expectSilence('b', 'a', 53, 6, 'udp');
    });

    test('address blocks with excepts, /0 and the other family', async () => {
      await using world = await PacketWorld.make(['a', 'b', 'c', 'd']);
      const dataplane = await startOpen(world, { backend });
      const cidr = (text: string, ...except: string[]) => ({
        type: 'cidr' as const,
        cidr: text as Cidr,
        except: except as Cidr[],
      });
      const [b, c] = [world.pod('b').addresses, world.pod('c').addresses];
      dataplane.apply([
        policy('in', [
          { action: 'allow', source: cidr('10.0.0.0/8', `${b[4]}/32`, `${c[4]}/32`) },
          { action: 'allow', source: cidr('fd00:1::/64', `${c[6]}/128`) },
        ]),
        // An except denies nothing: another rule may allow what it cut out.
        policy('in2', [
          { action: 'allow', protocol: 6, destinationPorts: [{ first: 80, last: 80 }], source: cidr(`${c[4]}/32`) },
        ]),
        policy('out', [], [{ action: 'allow', destination: cidr('0.0.0.0/0', '192.0.2.0/24', '198.51.100.0/24') }]),
        endpoint('a', { ingress: tier('in', 'in2'), egress: tier('out') }),
      ]);
      await dataplane.whenApplied();
      await world.expectReach('d', 'a', 80, 4);
      await world.expectSilence('b', 'a', 80, 4);
      await world.expectReach('c', 'a', 80, 4);
      await world.expectSilence('c', 'a', 81, 4);
      await world.expectReach('d', 'a', 80, 6);
      await world.expectReach('b', 'a', 80, 6);
      await world.expectSilence('c', 'a', 80, 6);
      await world.expectSilence('outside', 'a', 80, 4);
      await world.expectReach('a', 'd', 80, 4);
      await world.expectSilence('a', 'outside', 80, 4);
      await world.expectSilence('a', 'd', 80, 6);
      // The excepts' sets go with the policy.
      assert.match(await world.sh('ipset', 'list', '-n'), /poplin4-/);
      const before = (await world.sh('ipset', 'list', '-n')).split('\n').length;
      dataplane.apply([
        endpoint('a'),
        { type: 'policyRemove', id: 'in' },
        { type: 'policyRemove', id: 'in2' },
        { type: 'policyRemove', id: 'out' },
      ]);
      await dataplane.whenApplied();
      await until(async () => (await world.sh('ipset', 'list', '-n')).split('\n').length === before - 6, {
        what: 'three sets of excepts to go, both families',
      });
      await world.expectReach('b', 'a', 80, 4);
    });

    test('tiers: pass goes on to the next tier, what no tier decides is allowed', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const dataplane = await startOpen(world, { backend });
      const port = (n: number) => ({ protocol: 6, destinationPorts: [{ first: n, last: n }] });
      dataplane.apply([
        policy('admin', [
          { action: 'allow', ...port(1) },
          { action: 'deny', ...port(2) },
          { action: 'pass', ...port(3) },
          { action: 'pass', ...port(4) },
        ]),
        policy('np', [
          { action: 'allow', ...port(2) },
          { action: 'allow', ...port(3) },
        ]),
        policy('base', [{ action: 'deny', ...port(5) }]),
        endpoint('a', {
          ingress: [
            { tier: 'admin', policies: ['admin'], endOfTier: 'pass' },
            { tier: 'default', policies: ['np'], endOfTier: 'deny' },
          ],
          egress: [],
        }),
        endpoint('b', { ingress: [{ tier: 'baseline', policies: ['base'], endOfTier: 'pass' }], egress: [] }),
      ]);
      await dataplane.whenApplied();
      for (const family of families) {
        const verdicts = [];
        for (const n of [1, 2, 3, 4]) verdicts.push(await world.reaches('b', 'a', n, family));
        assert.deepEqual(verdicts, [true, false, true, false]);
        await world.expectSilence('a', 'b', 5, family);
        await world.expectReach('a', 'b', 6, family);
      }
    });

    test('many policies of two pods: any of them decides, with marks of another mask', async () => {
      await using world = await PacketWorld.make(['a', 'b', 'c']);
      const markMask = 0x00700000;
      const dataplane = await startOpen(world, { backend, markMask: markMask });
      const port = (n: number) => ({ protocol: 6, destinationPorts: [{ first: n, last: n }] });
      const ids = Array.from({ length: 40 }, (_, i) => `p${i}`);
      const program: EndpointProgram = { ingress: tier(...ids), egress: [] };
      dataplane.apply([
        ...ids.map((id, i) => policy(id, [{ action: i % 20 === 19 ? 'deny' : 'allow', ...port(1_000 + (i % 30)) }])),
        endpoint('a', program),
        endpoint('c', program),
      ]);
      await dataplane.whenApplied();
      for (const family of families) {
        for (const [n, passes] of [
          [1_000, true],
          [1_016, true],
          [1_029, true],
          [1_019, false],
          [1_030, false],
        ] as const)
          assert.equal(await world.reaches('b', 'a', n, family), passes, `${n}`);
        await world.expectReach('a', 'c', 1_005, family);
      }
      const rules = await world.sh(`xtables-${backend}-multi`, 'iptables-save', '-t', 'mangle');
      assert.equal(rules.match(/^:poplin-gi-/gm)?.length, 1, 'one chain calls them for both');
      const bits = [...rules.matchAll(/0x[0-9a-f]+/g)].map(([text]) => Number(text));
      assert.ok(bits.length > 40);
      for (const each of bits) assert.equal(each & ~markMask, 0, each.toString(16));
    });
  });
}
