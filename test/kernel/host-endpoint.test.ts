/** Host endpoints: real packets to, from and through a node, both back ends, both families. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { IpFamily } from '#kit';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { hostEndpoint, hostPolicy, makeHostWorld } from './host-endpoint-world.ts';
import { expectAlive, openFlow } from './live-flow.ts';
import { families } from './packet-world.ts';

const machine = needs({
  root: true,
  commands: ['xtables-nft-multi', 'xtables-legacy-multi', 'ipset', 'ip', 'nsenter', 'conntrack'],
});
const tcp = (port: number) => `{ action: Allow, protocol: TCP, destination: { ports: [${port}] } }`;
const noTcp = (port: number) => `{ action: Deny, protocol: TCP, destination: { ports: [${port}] } }`;

for (const backend of ['nft', 'legacy'] as const) {
  suite(`host endpoints, iptables-${backend}`, machine, () => {
    test('without a policy a named interface has its failsafe ports alone; pods and loopback are not concerned', async () => {
      await using host = await makeHostWorld(backend);
      const { world } = host;
      for (const family of families) await world.expectReach('outside', 'node', 8080, family);
      await host.apply(hostEndpoint('up', 'interfaceName: up0'));
      for (const family of families) {
        await world.expectSilence('outside', 'node', 8080, family);
        await world.expectReach('outside', 'node', 22, family);
        await world.expectSilence('node', 'outside', 8080, family);
        await world.expectReach('node', 'outside', 53, family, 'udp');
        await world.expectSilence('node', 'outside', 53, family);
        await world.expectReach('node', 'node', 8080, family);
        // What the kubelet asks of its pods, what pods ask of the node and of the world.
        await world.expectReach('node', 'a', 8080, family);
        await world.expectReach('a', 'node', 8080, family);
        await world.expectReach('a', 'outside', 8080, family);
        await world.expectReach('outside', 'a', 8080, family);
        await world.expectReach('a', 'b', 8080, family);
      }
      await host.remove('HostEndpoint', 'up');
      for (const family of families) await world.expectReach('outside', 'node', 8080, family);
      // Chains go in a pause.
      await until(async () => !/poplin-(host|hh)/.test(await world.sh(`iptables-${backend}-save`)), {
        what: 'every chain of host endpoints to go',
      });
    });

    test('policies decide what ends or begins at the node, by name of port and by profile too', async () => {
      await using host = await makeHostWorld(backend, ['a']);
      const { world } = host;
      await host.apply(
        [
          hostEndpoint(
            'up',
            'interfaceName: up0, expectedIPs: [192.0.2.1, "2001:db8:ff::1"], ports: [{ name: web, protocol: TCP, port: 8081 }]',
          ),
          hostPolicy('p', {
            ingress: [
              tcp(8080),
              "{ action: Allow, protocol: TCP, destination: { selector: role == 'node', ports: [web] } }",
            ],
            egress: [tcp(9090)],
          }),
        ].join('---\n'),
      );
      for (const family of families) {
        await world.expectReach('outside', 'node', 8080, family);
        await world.expectReach('outside', 'node', 8081, family);
        await world.expectSilence('outside', 'node', 8082, family);
        await world.expectReach('node', 'outside', 9090, family);
        await world.expectSilence('node', 'outside', 8080, family);
        assert.equal(await world.pings('outside', 'node', family), false);
        await world.expectReach('outside', 'a', 8082, family);
      }
      // Behind the tiers stands the profile.
      await host.remove('GlobalNetworkPolicy', 'p');
      for (const family of families) await world.expectSilence('outside', 'node', 8080, family);
      await host.apply(hostEndpoint('up', 'interfaceName: up0, profiles: [projectcalico-default-allow]'));
      for (const family of families) {
        await world.expectReach('outside', 'node', 8082, family);
        assert.equal(await world.pings('outside', 'node', family), true);
      }
    });

    test('what was established goes on, both ways', async () => {
      await using host = await makeHostWorld(backend, []);
      const { world } = host;
      const flows = await Promise.all(
        families.flatMap((family) => [
          openFlow(world, { from: 'outside', to: 'node', family, protocol: 'tcp', port: 8080 }),
          openFlow(world, { from: 'node', to: 'outside', family, protocol: 'tcp', port: 8080 }),
        ]),
      );
      await host.apply(hostEndpoint('up', 'interfaceName: up0'));
      await Promise.all(flows.map(expectAlive));
      for (const family of families) await world.expectSilence('outside', 'node', 8081, family);
      for (const flow of flows) flow.stop();
    });

    test("* is every interface that is neither a pod's nor of an endpoint of its own; expectedIPs find one", async () => {
      await using host = await makeHostWorld(backend, ['a']);
      const { world } = host;
      await host.apply(
        [hostEndpoint('all', 'interfaceName: "*"'), hostPolicy('p', { ingress: [tcp(8080)] })].join('---\n'),
      );
      for (const family of families) {
        await world.expectReach('outside', 'node', 8080, family);
        await world.expectSilence('outside', 'node', 8081, family);
        await world.expectReach('node', 'a', 8081, family);
        await world.expectReach('a', 'node', 8081, family);
        await world.expectReach('node', 'node', 8081, family);
      }
      const own = [
        hostEndpoint('found', 'expectedIPs: [192.0.2.1]', 'role: edge'),
        hostPolicy('q', { ingress: [tcp(8081)] }).replace("role == 'node'", "role == 'edge'"),
      ];
      await host.apply(own.join('---\n'));
      for (const family of families) {
        await world.expectSilence('outside', 'node', 8080, family);
        await world.expectReach('outside', 'node', 8081, family);
      }
      host.dataplane.setInterfaces(new Map([['up0', []]]));
      await host.dataplane.whenApplied();
      for (const family of families) await world.expectReach('outside', 'node', 8080, family);
      assert.deepEqual(
        host.dataplane.status().hostEndpoints.refused.map(({ id }) => id),
        ['HostEndpoint:found'],
      );
    });

    test("applyOnForward: forwarded packets too, both ways through the node, beside what pods' policies say", async () => {
      await using host = await makeHostWorld(backend, ['a']);
      const { world } = host;
      const forward = (name: string, rules: Parameters<typeof hostPolicy>[1]) =>
        hostPolicy(name, rules, ['applyOnForward: true']);
      await host.apply(
        [hostEndpoint('up', 'interfaceName: up0'), forward('f', { ingress: [tcp(8080)], egress: [tcp(9090)] })].join(
          '---\n',
        ),
      );
      for (const family of families) {
        await world.expectReach('outside', 'a', 8080, family);
        await world.expectSilence('outside', 'a', 8081, family);
        // Failsafe ports are the node's own.
        await world.expectSilence('outside', 'a', 22, family);
        await world.expectReach('a', 'outside', 9090, family);
        await world.expectSilence('a', 'outside', 8080, family);
        await world.expectReach('outside', 'node', 8080, family);
        await world.expectSilence('outside', 'node', 8081, family);
        await world.expectReach('node', 'a', 8081, family);
        await world.expectReach('a', 'node', 8081, family);
      }
      const pods = hostPolicy('pods', { ingress: [tcp(7070)] }).replace("role == 'node'", "name == 'a'");
      await host.apply(pods);
      for (const family of families) {
        await world.expectSilence('outside', 'a', 8080, family);
        await world.expectSilence('outside', 'a', 7070, family);
      }
    });

    test('preDNAT: what comes in by the port that it came to, before a service is translated', async () => {
      await using host = await makeHostWorld(backend, ['a']);
      const { world } = host;
      const { addresses } = world.pod('a');
      for (const [program, to] of [
        ['iptables', addresses[4]],
        ['ip6tables', `[${addresses[6]}]`],
      ]) {
        for (const [port, target] of [
          [30080, 80],
          [30081, 80],
        ])
          await world.sh(
            ...[`${program}-${backend}`, '-t', 'nat', '-A', 'PREROUTING', '-i', 'up0', '-p', 'tcp'],
            ...['--dport', `${port}`, '-j', 'DNAT', '--to-destination', `${to}:${target}`],
          );
      }
      const translated = async (port: number, family: IpFamily): Promise<boolean> => {
        // The pod listens on 80; the client speaks to the node's port.
        await world.expectReach('node', 'a', 80, family);
        return world.connects('outside', 'node', port, family);
      };
      for (const family of families) assert.equal(await translated(30080, family), true);
      const before = (name: string, ingress: readonly string[]) =>
        hostPolicy(name, { ingress }, ['preDNAT: true', 'applyOnForward: true']);
      await host.apply(
        [hostEndpoint('up', 'interfaceName: up0'), before('n', [noTcp(30080), tcp(8080)])].join('---\n'),
      );
      for (const family of families) {
        assert.equal(await translated(30080, family), false);
        // No tier ends here: what no rule is about goes on to the others.
        assert.equal(await translated(30081, family), true);
        // What is allowed here is asked of no other policy of the host.
        await world.expectReach('outside', 'node', 8080, family);
        await world.expectSilence('outside', 'node', 8081, family);
        await world.expectReach('outside', 'node', 22, family);
      }
      // But of the pod's.
      const pods = hostPolicy('pods', { types: '[Ingress]' }).replace("role == 'node'", "name == 'a'");
      await host.apply([pods, before('n', [tcp(30081)])].join('---\n'));
      for (const family of families) assert.equal(await world.connects('outside', 'node', 30081, family), false);
      await host.apply(before('n', ['{ action: Deny }']));
      for (const family of families) await world.expectReach('outside', 'node', 22, family);
    });

    test('doNotTrack: both ways are asked of every packet, and none is tracked', async () => {
      await using host = await makeHostWorld(backend, ['a']);
      const { world } = host;
      const stateless = (rules: Parameters<typeof hostPolicy>[1]) =>
        hostPolicy('u', rules, ['doNotTrack: true', 'applyOnForward: true']);
      const answer = '{ action: Allow, protocol: TCP, source: { ports: [8080] } }';
      await host.apply(
        [
          hostEndpoint('up', 'interfaceName: up0'),
          stateless({ ingress: [tcp(8080), noTcp(22), noTcp(9999)], egress: [answer] }),
        ].join('---\n'),
      );
      for (const family of families) {
        await world.expectReach('outside', 'node', 8080, family);
        await world.expectSilence('outside', 'node', 8081, family);
        // A failsafe port stays open, whatever is said.
        await world.expectReach('outside', 'node', 22, family);
        await world.expectReach('node', 'outside', 6443, family);
        await world.expectReach('node', 'a', 8081, family);
        // Every packet by the interface, those for pods too.
        await world.expectSilence('outside', 'a', 9999, family);
        await world.expectReach('outside', 'a', 8081, family);
      }
      assert.equal(await world.sh('conntrack', '-L', '-p', 'tcp', '--dport', '8080'), '');
      assert.notEqual(await world.sh('conntrack', '-L', '-p', 'tcp', '--dport', '22'), '');
      // Without the way back there is no connection.
      await host.apply(stateless({ ingress: [tcp(8080)] }));
      for (const family of families) await world.expectSilence('outside', 'node', 8080, family);
      await host.remove('GlobalNetworkPolicy', 'u');
      assert.doesNotMatch(await world.sh(`iptables-${backend}-save`, '-t', 'raw'), /^-A (PREROUTING|OUTPUT) .*poplin/m);
      await host.remove('HostEndpoint', 'up');
      for (const family of families) await world.expectReach('outside', 'node', 8081, family);
    });

    test('a policy that cannot be rendered leaves the failsafe ports open, and these are as they were set', async () => {
      await using host = await makeHostWorld(backend, []);
      const { world, dataplane } = host;
      await host.apply(
        [hostEndpoint('up', 'interfaceName: up0'), hostPolicy('p', { ingress: [tcp(8080)] })].join('---\n'),
      );
      dataplane.apply([
        {
          type: 'policy',
          id: 'GlobalNetworkPolicy:p',
          program: { ingress: [{ action: 'allow', source: { type: 'set', set: 'nowhere' } }], egress: [] },
        },
      ]);
      await dataplane.whenApplied();
      for (const family of families) {
        await world.expectSilence('outside', 'node', 8080, family);
        await world.expectReach('outside', 'node', 22, family);
      }
      dataplane.setFailsafe({
        inbound: [
          { protocol: 'tcp', port: 2222 },
          { protocol: 'tcp', port: 2223, net: '198.51.100.0/24' as never },
        ],
        outbound: [],
      });
      await dataplane.whenApplied();
      for (const family of families) {
        await world.expectReach('outside', 'node', 2222, family);
        await world.expectSilence('outside', 'node', 2223, family);
        await world.expectSilence('outside', 'node', 22, family);
        await world.expectSilence('node', 'outside', 53, family, 'udp');
      }
    });
  });
}
