/** Real packets through the policy dataplane: both back ends, both families. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Backend, PolicyDataplane } from '#felix';
import type { Cidr, IpAddress, IpFamily } from '#kit';
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
async function started(world: PacketWorld, backend: Backend, markMask?: number): Promise<PolicyDataplane> {
  const dataplane = world.dataplane({ backend, ...(markMask !== undefined && { markMask }) });
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
    test('no pod reaches a guarded port of its own or of another node, others do', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const dataplane = await started(world, backend);
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

    test('named ports, many ports and ranges', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const dataplane = await started(world, backend);
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
      const dataplane = await started(world, backend);
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
        endpoint('a', open),
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
      const dataplane = await started(world, backend);
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
      const dataplane = await started(world, backend, markMask);
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

    test('a connection is cut only when somebody judges it: rules alone let it go on; ICMP is policed', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const dataplane = await started(world, backend);
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
      const dataplane = await started(world, backend);
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
      dataplane.apply([endpoint('late', open)]);
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
      const dataplane = await started(world, backend);
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
      const dataplane = await started(world, backend);
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
      const dataplane = await started(world, backend);
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
      const dataplane = await started(world, backend);
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
