/** Denied and allowed packets from the kernel's rules to names: both back ends, both families. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { FlowView } from '#api';
import type { PolicyRule } from '#model';
import { inNetns, SysError, watchPacketLog } from '#sys';
import { until } from '../support/wait.ts';
import { flowLogWorld } from './flow-log-world.ts';
import { families, PacketWorld, packetsNeed } from './packet-world.ts';
import { endpoint, policy, tier } from './programs.ts';

const port = (action: PolicyRule['action'], protocol: number, number: number): PolicyRule => ({
  action,
  protocol,
  destinationPorts: [{ first: number, last: number }],
});

for (const backend of ['nft', 'legacy'] as const) {
  suite(`flows, iptables-${backend}`, packetsNeed, () => {
    test('a denied packet shows up with its pods, policy and rule, and what is allowed does not', async () => {
      await using w = await flowLogWorld(backend, ['a', 'b']);
      const id = 'NetworkPolicy:ns/web';
      await w.apply([
        policy(id, [port('deny', 6, 81), port('allow', 6, 80), port('deny', 17, 53)]),
        endpoint('a'),
        endpoint('b', { ingress: tier(id) }),
      ]);
      assert.equal(w.flows.status().problem, undefined);
      for (const family of families) {
        const [from, to] = [w.packets.pod('a').addresses[family], w.packets.pod('b').addresses[family]];
        await w.packets.expectReach('a', 'b', 80, family);
        await w.packets.expectSilence('a', 'b', 81, family);
        const tcp = await w.seen((flow) => flow.source.address === from && flow.destination.port === 81);
        assert.deepEqual(
          [tcp.verdict, tcp.direction, tcp.protocol, tcp.node, tcp.source.pod, tcp.destination.pod],
          ['denied', 'ingress', 'TCP', 'n1', 'ns/a', 'ns/b'],
        );
        assert.deepEqual(tcp.by, { type: 'rule', policy: id, rule: 1, text: 'deny TCP 81 from anywhere' });
        assert.ok((tcp.source.port ?? 0) > 0);
        await w.packets.expectSilence('a', 'b', 53, family, 'udp');
        const udp = await w.seen((flow) => flow.protocol === 'UDP' && flow.source.address === from);
        assert.equal(udp.by.type === 'rule' && udp.by.rule, 3);
        await w.packets.expectSilence('a', 'b', 443, family);
        const rest = await w.seen((flow) => flow.destination.address === to && flow.destination.port === 443);
        assert.deepEqual(rest.by, { type: 'endOfTier', tier: 'default', policies: [id] });
        assert.equal(await w.packets.pings('a', 'b', family), false);
        const ping = await w.seen((flow) => flow.icmp !== undefined && flow.source.address === from);
        assert.deepEqual(
          [ping.protocol, ping.icmp],
          family === 4 ? ['ICMP', { type: 8, code: 0 }] : ['ICMPv6', { type: 128, code: 0 }],
        );
      }
      const flows = await w.told();
      assert.equal(flows.filter((flow) => flow.destination.port === 80).length, 0);
      const counts = w.flows.counts();
      const rules = counts.filter((count) => count.policy === id).map(({ rule }) => rule);
      assert.deepEqual(rules.toSorted(), ['1', '3']);
      assert.ok(
        counts.some(({ tier, namespace, packets }) => tier === 'default' && namespace === 'ns' && packets >= 4),
      );
    });

    test('egress of the source, to outside; a name that does not fit in the prefix is whole', async () => {
      await using w = await flowLogWorld(backend, ['a']);
      const id = `NetworkPolicy:ns/${'long-'.repeat(40)}name`;
      await w.apply([policy(id, [], [port('deny', 6, 81)]), endpoint('a', { egress: tier(id) })]);
      for (const family of families) {
        await w.packets.expectSilence('a', 'outside', 81, family);
        const flow = await w.seen(({ source }) => source.address === w.packets.pod('a').addresses[family]);
        assert.equal(flow.direction, 'egress');
        assert.deepEqual(
          [flow.source.pod, flow.destination],
          ['ns/a', { address: w.packets.outside.addresses[family], port: 81 }],
        );
        assert.equal(flow.by.type === 'rule' && flow.by.policy, id);
      }
    });

    test('allowed flows when asked for: by the rule, and where no policy decides', async () => {
      await using w = await flowLogWorld(backend, ['a', 'b'], { verdicts: 'all' });
      const id = 'NetworkPolicy:ns/web';
      await w.apply([policy(id, [port('allow', 6, 80)]), endpoint('a'), endpoint('b', { ingress: tier(id) })]);
      for (const family of families) {
        await w.packets.expectReach('a', 'b', 80, family);
        const of = (direction: string) => (flow: FlowView) =>
          flow.verdict === 'allowed' &&
          flow.direction === direction &&
          flow.source.address === w.packets.pod('a').addresses[family];
        assert.deepEqual((await w.seen(of('egress'))).by, { type: 'none' });
        const { by } = await w.seen(of('ingress'));
        assert.equal(by.type === 'rule' && by.policy === id && by.rule, 1);
      }
    });

    test('what is dropped whatever policy says: a strange source with its pod, a guarded port', async () => {
      await using w = await flowLogWorld(backend, ['a']);
      await w.apply([endpoint('a')]);
      w.dataplane.setGuard({ nodeAddresses: [], tcp: [179], udp: [] });
      await w.dataplane.whenApplied();
      for (const family of families) {
        await w.packets.expectSilence('a', 'node', 179, family);
        const guarded = await w.seen(
          ({ destination }) => destination.port === 179 && destination.address === w.packets.node.addresses[family],
        );
        assert.equal(guarded.verdict, 'dropped');
        assert.equal(guarded.source.pod, 'ns/a');
        const strange = family === 4 ? '10.66.0.1' : 'fd00:66::1';
        await w.packets.ip(
          w.packets.pod('a'),
          `addr add ${strange}/${family === 4 ? '32 dev eth0' : '128 dev eth0 nodad'}`,
        );
        assert.equal(await w.packets.reaches('a', 'outside', 80, family, 'udp', strange), false);
        const spoofed = await w.seen(({ source }) => source.address === strange);
        assert.deepEqual(
          [spoofed.verdict, spoofed.direction, spoofed.by],
          [
            'dropped',
            'egress',
            { type: 'dataplane', reason: 'not an address of this pod, or unknown interface', pod: 'ns/a' },
          ],
        );
      }
    });

    test('over the rate of a rule the kernel keeps silent', async () => {
      await using w = await flowLogWorld(backend, ['a', 'b'], { ratePerSec: 1 });
      const id = 'NetworkPolicy:ns/web';
      await w.apply([policy(id, [port('deny', 17, 53)]), endpoint('a'), endpoint('b', { ingress: tier(id) })]);
      const flood = w.packets.hammer('a', 'b', 53, 4);
      const began = performance.now();
      await until(() => flood.sent() >= 500, { what: 'a flood', deadlineMs: 20_000 });
      flood.stop();
      const [told] = (await w.seen(() => true)) ? await w.told() : [];
      const most = 2 + Math.ceil((performance.now() - began) / 1000) + 1;
      assert.ok(
        told!.packets >= 1 && told!.packets <= most,
        `${told!.packets} of ${flood.sent()} told, at most ${most}`,
      );
      assert.equal(flood.received(), 0);
    });

    test('an agent that starts again finds the rules, and writes nothing', async () => {
      await using w = await flowLogWorld(backend, ['a']);
      const updates = [policy('NetworkPolicy:ns/web', []), endpoint('a', { ingress: tier('NetworkPolicy:ns/web') })];
      await w.apply(updates);
      await w.dataplane.stop();
      const before = w.packets.writes();
      const again = w.packets.dataplane({
        backend,
        flowLog: { verdicts: 'denied', group: 1179, ratePerSec: 100 },
      });
      await again.start();
      again.setEndpoint(w.packets.endpoint('a'));
      again.apply(updates);
      again.setInSync();
      await again.whenApplied();
      assert.equal(w.packets.writes(), before);
    });
  });
}

suite('reading an NFLOG group', packetsNeed, () => {
  test('a group has one reader, and is free again when that goes', async () => {
    await using packets = await PacketWorld.make([]);
    const open = (): { close(): void } =>
      inNetns(packets.node.netns, () =>
        watchPacketLog({ group: 1179, onPacket: () => undefined, onLost: () => undefined }),
      );
    const other = open();
    try {
      assert.throws(open, (error) => error instanceof SysError && error.failure.code === 'EPERM');
    } finally {
      other.close();
    }
    open().close();
  });
});
