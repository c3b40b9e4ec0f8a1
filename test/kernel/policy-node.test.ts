/** What a node does to packets beside the rules of policies, and for whom these count: both back ends, both families. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Cidr, IpAddress, IpFamily } from '#kit';
import { libc } from '#sys';
import { until } from '../support/wait.ts';
import { connect, families, PacketWorld, packetsNeed } from './packet-world.ts';
import { endpoint, policy, startOpen, tier } from './programs.ts';

for (const backend of ['nft', 'legacy'] as const) {
  suite(`policy and its node, iptables-${backend}`, packetsNeed, () => {
    test('no pod reaches a guarded port of its own or of another node, others do', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const dataplane = await startOpen(world, { backend });
      const nodeAddresses = families.map((family) => world.outside.addresses[family]);
      for (const family of families) await world.expectReach('a', 'outside', 179, family);
      dataplane.setGuard({ nodeAddresses, tcp: [179], udp: [3784] });
      await dataplane.whenApplied();
      for (const family of families) {
        for (const host of ['outside', 'node']) {
          await world.expectSilence('a', host, 179, family);
          await world.expectSilence('a', host, 3784, family, 'udp');
          await world.expectReach('a', host, 180, family);
        }
        // Pods may speak BGP with each other.
        await world.expectReach('a', 'b', 179, family);
      }
      dataplane.setGuard({ nodeAddresses: [], tcp: [], udp: [] });
      await dataplane.whenApplied();
      for (const family of families) await world.expectReach('a', 'node', 179, family);
    });

    test('a connection is cut only when somebody judges it: rules alone let it go on; ICMP is policed', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const dataplane = await startOpen(world, { backend });
      const clients = families.map((family) => {
        const client = world.socket('b', family, 'tcp');
        return { family, client };
      });
      for (const { family, client } of clients) {
        await world.expectReach('b', 'a', 80, family);
        connect(client, world.pod('a').addresses[family], 80);
        await until(() => libc.send(client.number, Buffer.from('x'), 1, 0) === 1, { what: 'the connection' });
      }
      const ping = (family: IpFamily) => world.pings('b', 'a', family);
      for (const family of families) assert.equal(await ping(family), true);
      dataplane.apply([policy('none', []), endpoint('a', { ingress: tier('none'), egress: tier('none') })]);
      await dataplane.whenApplied();
      for (const { family, client } of clients) {
        await world.expectSilence('b', 'a', 80, family);
        assert.equal(await ping(family), false);
        const before = unacked(client.number);
        assert.equal(libc.send(client.number, Buffer.from('y'), 1, 0), 1);
        await until(() => unacked(client.number) === 0, {
          what: `the IPv${family} connection to go on (had ${before})`,
        });
      }
    });

    test("an interface without policy or wiring carries nothing, a source that is not the pod's neither", async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const dataplane = await startOpen(world, { backend });
      await world.addPod('late');
      for (const family of families) {
        await world.expectSilence('late', 'a', 80, family);
        await world.expectSilence('a', 'late', 80, family);
        await world.expectSilence('late', 'node', 80, family);
        await world.expectReach('node', 'late', 80, family, 'udp');
      }
      // Wiring alone is not enough.
      dataplane.setEndpoint(world.endpoint('late'));
      await dataplane.whenApplied();
      assert.equal(dataplane.endpointInForce('ns/late'), false);
      await world.expectSilence('late', 'a', 80, 4);
      dataplane.apply([endpoint('late')]);
      await dataplane.whenApplied();
      assert.equal(dataplane.endpointInForce('ns/late', world.pod('late').interfaceName), true);
      for (const family of families) {
        await world.expectReach('late', 'a', 80, family);
        await world.expectReach('late', 'node', 80, family);
      }
      await world.ip(world.pod('b'), 'addr add 10.1.0.200/32 dev eth0', 'addr add fd00:1::200/128 dev eth0 nodad');
      await world.ip(
        world.node,
        `route add 10.1.0.200/32 dev ${world.pod('b').interfaceName}`,
        `route add fd00:1::200/128 dev ${world.pod('b').interfaceName}`,
      );
      const spoof = async (to: string) => [
        await world.reaches('b', to, 80, 4, 'udp', '10.1.0.200'),
        await world.reaches('b', to, 80, 6, 'udp', 'fd00:1::200'),
      ];
      assert.deepEqual(await spoof('a'), [false, false]);
      assert.deepEqual(await spoof('node'), [false, false]);
      dataplane.setEndpoint({
        ...world.endpoint('b'),
        addresses: [...world.endpoint('b').addresses, '10.1.0.200' as IpAddress, 'fd00:1::200' as IpAddress],
      });
      await dataplane.whenApplied();
      assert.deepEqual(await spoof('a'), [true, true]);
      dataplane.removeEndpoint('ns/late', 'pop-of-another');
      dataplane.resync();
      await dataplane.whenApplied();
      await world.expectReach('late', 'a', 80, 4);
      dataplane.removeEndpoint('ns/late');
      await until(() => !dataplane.endpointInForce('ns/late'), { what: 'the endpoint to go' });
      await world.expectSilence('late', 'a', 80, 4);
    });

    test('a pod that comes obeys its policy from the first packet on, in and out', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const dataplane = await startOpen(world, { backend });
      dataplane.apply([
        policy('web', [{ action: 'allow', protocol: 17, destinationPorts: [{ first: 80, last: 80 }] }]),
      ]);
      await world.addPod('new');
      const hammers = families.flatMap((family) => [
        world.hammer('b', 'new', 81, family),
        world.hammer('new', 'b', 81, family),
        world.hammer('b', 'new', 80, family),
      ]);
      dataplane.setEndpoint(world.endpoint('new'));
      dataplane.apply([endpoint('new', { ingress: tier('web'), egress: tier() })]);
      await dataplane.whenApplied();
      // Once the allowed one gets through, the others had every chance.
      await until(() => hammers.every((hammer, index) => index % 3 !== 2 || hammer.received() > 20), {
        what: 'the allowed datagrams',
      });
      for (const hammer of hammers) hammer.stop();
      assert.deepEqual(
        hammers.map((hammer) => hammer.received() > 0),
        [false, false, true, false, false, true],
      );
      assert.ok(hammers.every((hammer) => hammer.sent() > 20));
    });

    test('egress policy holds towards the own node; neighbour discovery passes', async () => {
      await using world = await PacketWorld.make(['a']);
      const dataplane = await startOpen(world, { backend });
      dataplane.apply([
        policy('dns', [], [{ action: 'allow', protocol: 17, destinationPorts: [{ first: 53, last: 53 }] }]),
        endpoint('a', { ingress: tier('none'), egress: tier('dns') }),
        policy('none', []),
      ]);
      await dataplane.whenApplied();
      for (const family of families) {
        await world.expectReach('a', 'node', 53, family, 'udp');
        await world.expectSilence('a', 'node', 54, family, 'udp');
        await world.expectSilence('a', 'node', 53, family);
        await world.expectReach('node', 'a', 80, family);
      }
      await world.ip(world.pod('a'), 'neigh flush dev eth0', 'neigh del fe80::1 dev eth0');
      await world.expectReach('a', 'node', 53, 6, 'udp');
    });

    test('hosts that drop by default, and others who accept or mark before us', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const program = backend === 'nft' ? ['iptables-nft', 'ip6tables-nft'] : ['iptables-legacy', 'ip6tables-legacy'];
      for (const command of program) {
        await world.sh(command, '-P', 'FORWARD', 'DROP');
        await world.sh(command, '-N', 'KUBE-FORWARD');
        await world.sh(command, '-A', 'FORWARD', '-j', 'KUBE-FORWARD');
        await world.sh(command, '-A', 'FORWARD', '-j', 'DROP');
      }
      const dataplane = await startOpen(world, { backend });
      for (const family of families) await world.expectReach('b', 'a', 80, family);
      assert.match(await world.sh(program[0]!, '-S', 'FORWARD'), /KUBE-FORWARD\n.*poplin-accept\n.*DROP/);
      for (const command of program) {
        await world.sh(command, '-I', 'FORWARD', '-j', 'ACCEPT');
        await world.sh(command, '-t', 'mangle', '-A', 'PREROUTING', '-j', 'MARK', '--set-mark', '0x000f0001');
      }
      dataplane.apply([policy('none', []), endpoint('a', { ingress: tier('none'), egress: [] })]);
      await dataplane.whenApplied();
      for (const family of families) {
        await world.expectSilence('b', 'a', 80, family);
        await world.expectReach('a', 'b', 80, family);
      }
      dataplane.apply([endpoint('a', { ingress: [], egress: tier('none') })]);
      await dataplane.whenApplied();
      for (const family of families) {
        await world.expectReach('b', 'a', 80, family);
        for (const to of ['b', 'outside', 'node']) await world.expectSilence('a', to, 80, family);
      }
    });

    test('masquerade of a natOutgoing pool, to outside all pools only', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const dataplane = await startOpen(world, { backend });
      await world.ip(world.outside, 'route del 10.1.0.0/16', 'route del fd00:1::/64');
      for (const family of families) await world.expectSilence('a', 'outside', 80, family);
      dataplane.setPools([
        { cidr: '10.1.0.0/16' as Cidr, natOutgoing: true },
        { cidr: 'fd00:1::/64' as Cidr, natOutgoing: true },
      ]);
      await dataplane.whenApplied();
      for (const family of families) {
        await world.expectReach('a', 'outside', 80, family);
        assert.equal(await world.sourceSeen('a', 'outside', 90, family), world.node.addresses[family]);
        assert.equal(await world.sourceSeen('a', 'b', 90, family), world.pod('a').addresses[family]);
      }
      dataplane.setPools([
        { cidr: '10.1.0.0/16' as Cidr, natOutgoing: true },
        { cidr: '192.0.2.0/24' as Cidr, natOutgoing: false },
      ]);
      await dataplane.whenApplied();
      assert.equal(await world.sourceSeen('a', 'outside', 91, 4), world.pod('a').addresses[4]);
      assert.equal(await world.sourceSeen('a', 'outside', 91, 6), world.pod('a').addresses[6]);
    });
  });
}

/** Bytes that the peer has not acknowledged (SIOCOUTQ). */
function unacked(fd: number): number {
  const bytes = Buffer.alloc(4);
  assert.equal(libc.ioctl(fd, 0x5411, Number(libc.addressOf(bytes))), 0);
  return bytes.readInt32LE(0);
}
