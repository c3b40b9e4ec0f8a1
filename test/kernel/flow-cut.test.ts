/** Flows that policy forbids later are cut, both ways and for good, and no other: both back ends, both families, real packets. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { IpFamily } from '#kit';
import { until } from '../support/wait.ts';
import { expectAlive, expectDead, expectWhole, type LiveFlow, openFlow } from './live-flow.ts';
import { named, networkPolicy, noPolicy, podObject } from './model-objects.ts';
import { type L4, PacketWorld, packetsNeed } from './packet-world.ts';
import { type PolicyAgent, startAgent } from './policy-agent.ts';

const kinds: readonly { readonly family: IpFamily; readonly protocol: L4 }[] = [
  { family: 4, protocol: 'tcp' },
  { family: 4, protocol: 'udp' },
  { family: 6, protocol: 'tcp' },
  { family: 6, protocol: 'udp' },
];
let nextPort = 2000;

/** One flow of every kind. */
const openAll = (world: PacketWorld, from: string, to: string): Promise<LiveFlow[]> =>
  Promise.all(kinds.map((kind) => openFlow(world, { from, to, ...kind, port: nextPort++ })));
const all = (flows: readonly LiveFlow[], check: (flow: LiveFlow) => Promise<void>): Promise<unknown> =>
  Promise.all(flows.map(check));
const cutSoFar = (agent: PolicyAgent) => agent.dataplane.status().flows.cut;
const untilCut = (agent: PolicyAgent, count: number): Promise<unknown> =>
  until(() => cutSoFar(agent) >= count, { what: `${count} flows to be cut` });

for (const backend of ['nft', 'legacy'] as const) {
  suite(`flows and policies that change, iptables-${backend}`, packetsNeed, () => {
    test('what an ingress policy forbids ends for as long as both ends try, other flows lose nothing; allowed again, it goes on', async () => {
      await using world = await PacketWorld.make(['a', 'b', 'c']);
      const agent = await startAgent(world, backend, ['a', 'b', 'c']);
      const [fromB, fromC, fromOutside, fromNode, toOutside] = [
        await openAll(world, 'b', 'a'),
        await openAll(world, 'c', 'a'),
        await openAll(world, 'outside', 'a'),
        await openAll(world, 'node', 'a'),
        await openAll(world, 'a', 'outside'),
      ];
      await agent.update(networkPolicy('only-c', 'a', { ingress: [{ peers: [named('c')], ports: [] }] }));
      await untilCut(agent, 8);
      await all([...fromB, ...fromOutside], (flow) => expectDead(flow));
      await all([...fromC, ...fromNode, ...toOutside], expectAlive);
      assert.deepEqual(agent.dataplane.status().flows, { cut: 8, restored: 0, failures: 0 });
      // c's label decides, and no policy changes with it.
      await agent.update(podObject('c', { name: 'nobody' }));
      await untilCut(agent, 12);
      await all(fromC, (flow) => expectDead(flow));
      await all([...fromNode, ...toOutside], expectWhole);
      await agent.update(noPolicy('only-c'));
      await all([...fromB, ...fromC, ...fromOutside], expectAlive);
      assert.deepEqual(agent.dataplane.status().flows, { cut: 12, restored: 12, failures: 0 });
    });

    test('what an egress policy forbids ends, towards the own node too', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const agent = await startAgent(world, backend, ['a', 'b']);
      const [toB, toNode, toOutside, toA] = [
        await openAll(world, 'a', 'b'),
        await openAll(world, 'a', 'node'),
        await openAll(world, 'a', 'outside'),
        await openAll(world, 'b', 'a'),
      ];
      await agent.update(networkPolicy('out', 'a', { egress: [{ peers: [named('b')], ports: [] }] }));
      await untilCut(agent, 8);
      await all([...toNode, ...toOutside], (flow) => expectDead(flow));
      await all([...toB, ...toA], expectAlive);
      await all([...toB, ...toA], expectWhole);
    });

    test('flows to a service are judged as flows to the pod and port behind it', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const agent = await startAgent(world, backend, ['a', 'b']);
      const [iptables, ip6tables] = ['iptables', 'ip6tables'].map((name) => `${name}-${backend}`);
      const nat = (command: string, from: string, to: string) =>
        ['tcp', 'udp'].map((l4) =>
          world.sh(command, ...`-t nat -A PREROUTING -d ${from} -p ${l4} --dport 53 -j DNAT --to ${to}`.split(' ')),
        );
      const { addresses } = world.pod('a');
      for (const done of [
        ...nat(iptables!, '10.96.0.10', `${addresses[4]}:5300`),
        ...nat(ip6tables!, 'fd00:96::10', `[${addresses[6]}]:5300`),
      ])
        await done;
      const flows: LiveFlow[] = [];
      for (const kind of kinds) {
        const address = kind.family === 4 ? '10.96.0.10' : 'fd00:96::10';
        flows.push(await openFlow(world, { from: 'b', to: 'a', ...kind, port: 53, address, serverPort: 5300 }));
      }
      const port = (number: number) => [
        { protocol: 'TCP' as const, port: number },
        { protocol: 'UDP' as const, port: number },
      ];
      const rules = (number: number) => ({
        ingress: [{ peers: [named('b')], ports: port(number) }],
      });
      await agent.update(networkPolicy('in', 'a', rules(5300)));
      await all(flows, expectAlive);
      await agent.update(networkPolicy('in', 'a', rules(53)));
      await untilCut(agent, 4);
      await all(flows, (flow) => expectDead(flow));
      assert.equal(cutSoFar(agent), 4);
    });

    test('what was forbidden while the agent was away ends when it is back; what was cut before stays so', async () => {
      await using world = await PacketWorld.make(['a', 'b', 'c', 'd']);
      const names = ['a', 'b', 'c', 'd'];
      const before = await startAgent(world, backend, names);
      const [fromB, fromC, fromD] = [
        await openAll(world, 'b', 'a'),
        await openAll(world, 'c', 'a'),
        await openAll(world, 'd', 'a'),
      ];
      const allow = (...peers: string[]) =>
        networkPolicy('in', 'a', { ingress: [{ peers: peers.map(named), ports: [] }] });
      await before.update(allow('c', 'd'));
      await untilCut(before, 4);
      await before.stop();
      await all(fromB, (flow) => expectDead(flow));
      await all([...fromC, ...fromD], expectAlive);
      const after = await startAgent(world, backend, names, allow('d'));
      await untilCut(after, 4);
      await all([...fromB, ...fromC], (flow) => expectDead(flow));
      await all(fromD, expectAlive);
      await all(fromD, expectWhole);
      assert.equal(cutSoFar(after), 4, 'those of b carry the bit of the first agent');
    });

    test('a pod that goes leaves no flow to whoever gets its address', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const agent = await startAgent(world, backend, ['a', 'b'], networkPolicy('closed', 'new', { ingress: [] }));
      const flows = await openAll(world, 'b', 'a');
      const old = world.endpoint('a');
      // b goes on to send to the address all the time.
      await world.ip(world.node, `link del ${old.interfaceName}`);
      await agent.pipeline.detach(old);
      const entries = () => world.trackedFlows(old.addresses, ({ destinationPort }) => destinationPort >= 2000);
      assert.deepEqual(await entries(), [], 'gone with the pod');
      await agent.update({ type: 'delete', kind: 'Pod', key: 'ns/a' }, podObject('new'));
      await world.addPod('new', undefined, world.pod('a').addresses);
      await agent.attach('new');
      await agent.pipeline.flushConntrack(world.endpoint('new').addresses);
      for (const { family, protocol } of kinds) await world.expectSilence('b', 'new', 80, family, protocol);
      assert.deepEqual(await entries(), [], 'nor one that the packets of b made');
      await all(flows, async (flow) => flow.stop());
    });

    test('pings and connections that nobody has answered yet are cut like others', async () => {
      await using world = await PacketWorld.make(['a', 'b']);
      const agent = await startAgent(world, backend, ['a', 'b']);
      for (const family of [4, 6] as const) {
        assert.equal(await world.pings('b', 'a', family), true);
        // Nobody has these addresses: the first SYN and the first datagram are never answered.
        const nobody = family === 4 ? '192.0.2.77' : '2001:db8:ff::77';
        world.send('b', nobody, 80, family, 'tcp');
        world.send('b', nobody, 80, family, 'udp');
      }
      const flowsOfB = () =>
        world.trackedFlows(
          world.endpoint('b').addresses,
          ({ destinationPort: port, protocol, icmp }) =>
            port === 80 || (protocol === 1 && icmp?.type === 8) || (protocol === 58 && icmp?.type === 128),
        );
      await until(async () => (await flowsOfB()).length === 6, { what: 'entries of six flows' });
      await agent.update(networkPolicy('none', 'b', { egress: [] }));
      await untilCut(agent, 6);
      assert.deepEqual([...new Set((await flowsOfB()).map(({ mark }) => mark))], [0x80000]);
      await agent.update(noPolicy('none'));
      await until(async () => (await flowsOfB()).every(({ mark }) => mark === 0), { what: 'the bits to be cleared' });
    });
  });
}
