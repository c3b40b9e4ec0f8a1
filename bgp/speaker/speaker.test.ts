/** The pure speaker over connections in memory and a clock that is moved by hand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { GracefulRestartConfig, SpeakerConfig } from './config.ts';
import { nextHopsSweepMin } from './limits.ts';
import type { Speaker } from './speaker.ts';
import { config, fresh, Network, peer } from './test-network.ts';

const relay = '10.0.0.9';
const leaves = ['10.0.0.1', '10.0.0.2', '10.0.0.3'] as const;
const pool = ['10.1.0.0/16', '10.2.0.0/16', '10.2.1.0/24', 'fd01::/64', 'fd02::/64'];

test('a relay tells every peer what others have and nothing of its own, whatever the order and however slow a peer is', () => {
  const originate = fc.record({
    leaf: fc.nat(2),
    prefixes: fc.subarray(pool),
    stuck: fc.array(fc.nat(2), { maxLength: 2 }),
    run: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(originate, { minLength: 1, maxLength: 12 }), (steps) => {
      const network = new Network();
      network.add(
        relay,
        config(
          relay,
          65000,
          leaves.map((leaf, i) => peer(leaf, 65001 + i, { passive: true })),
        ),
      );
      const own = new Map<string, string[]>();
      const leafConfig = (i: number): SpeakerConfig =>
        config(leaves[i]!, 65001 + i, [peer(relay, 65000, { export: 'originated' })], own.get(leaves[i]!) ?? []);
      const speakers = leaves.map((leaf, i) => network.add(leaf, leafConfig(i)));
      network.advance(3000);
      const toLeaf = (leaf: string) =>
        network.pipes.filter((p) => p.localAddress === relay && p.remoteAddress === leaf && !p.closed);
      for (const { leaf, prefixes, stuck, run } of steps) {
        for (const [i, address] of leaves.entries()) {
          for (const pipe of toLeaf(address)) pipe.stuckBytes = stuck.includes(i) ? 1 << 24 : 0;
        }
        own.set(leaves[leaf]!, prefixes);
        speakers[leaf]!.configure(leafConfig(leaf));
        if (run) network.run();
      }
      network.run();
      for (const address of leaves) {
        for (const pipe of toLeaf(address)) {
          pipe.stuckBytes = 0;
          pipe.handlers?.onDrained();
        }
      }
      network.run();
      for (const me of leaves) {
        const expected = new Set<string>();
        for (const prefix of pool) {
          // All else is equal, so the lowest router id is best, and the relay does not send a route back to where it is from.
          const best = leaves.find((leaf) => own.get(leaf)?.includes(prefix));
          if (best && best !== me && !own.get(me)?.includes(prefix)) expected.add(prefix);
        }
        assert.deepEqual([...network.routesOf(me).keys()].sort(), [...expected].sort(), me);
        const sent = network.speakers
          .get(relay)!
          .peerStatuses()
          .find((p) => p.name === me)!;
        const best = pool.filter((prefix) => leaves.some((l) => own.get(l)?.includes(prefix)));
        const told = best.filter((prefix) => leaves.find((l) => own.get(l)?.includes(prefix)) !== me);
        assert.equal(
          sent.families.reduce((sum, f) => sum + f.sent, 0),
          told.length,
          `sent to ${me}`,
        );
      }
    }),
    { numRuns: 60 },
  );
});

test('peers that keep up are told first, whoever programs routes afterwards; of a speaker that was stopped meanwhile nobody', () => {
  const network = new Network();
  const [from, to] = leaves;
  network.add(relay, config(relay, 65000, [peer(from, 65001), peer(to, 65002)]));
  const origin = (prefixes: string[]) => config(from, 65001, [peer(relay, 65000, { passive: true })], prefixes);
  const speaker = network.add(from, origin([]));
  const hearer = network.add(to, config(to, 65002, [peer(relay, 65000, { passive: true })]));
  network.advance(3000);
  const rests: (() => void)[] = [];
  network.rests = rests;
  const say = (...prefixes: string[]): void => {
    speaker.configure(origin(prefixes));
    network.run();
  };
  const heard = (): number => hearer.peerStatuses()[0]!.families.reduce((sum, { accepted }) => sum + accepted, 0);
  say('10.1.0.0/16');
  assert.equal(heard(), 1);
  assert.deepEqual([...network.routesOf(relay).keys()], []);
  for (const fn of rests.splice(0)) fn();
  network.run();
  assert.deepEqual([...network.routesOf(relay).keys()], ['10.1.0.0/16']);
  say('10.1.0.0/16', '10.2.0.0/16');
  assert.equal(heard(), 2);
  network.speakers.get(relay)!.stop('graceful');
  for (const fn of rests.splice(0)) fn();
  network.run();
  assert.deepEqual([...network.routesOf(relay).keys()], ['10.1.0.0/16']);
});

test('both ToRs announce a default route: one route with both next hops; the loss of one leaves the other', () => {
  const network = new Network();
  const node = '10.0.0.1';
  const tors = ['10.0.0.2', '10.0.0.3'];
  const speaker = network.add(
    node,
    config(
      node,
      65001,
      tors.map((tor) => peer(tor, 65002, { export: 'originated' })),
    ),
  );
  for (const tor of tors) network.add(tor, config(tor, 65002, [peer(node, 65001)], ['0.0.0.0/0']));
  network.advance(3000);
  assert.deepEqual(network.routesOf(node).get('0.0.0.0/0'), tors);
  // The link is cut: packets neither come nor go, and nothing answers a redial.
  network.speakers.delete(tors[0]!);
  speaker.pathLost({ peer: tors[0]! });
  network.run();
  assert.deepEqual(network.routesOf(node).get('0.0.0.0/0'), [tors[1]]);
});

test('helper: routes of a peer that died are kept for its restart time, then dropped', () => {
  const network = new Network();
  network.add('10.0.0.1', config('10.0.0.1', 65001, [peer('10.0.0.2', 65002)]));
  network.add('10.0.0.2', config('10.0.0.2', 65002, [peer('10.0.0.1', 65001)], ['10.2.0.0/16']));
  network.advance(3000);
  assert.equal(network.routesOf('10.0.0.1').size, 1);
  network.kill('10.0.0.2');
  network.advance(29_000);
  assert.equal(network.routesOf('10.0.0.1').size, 1, 'within the restart time');
  network.advance(2_000);
  assert.equal(network.routesOf('10.0.0.1').size, 0, 'after it');
});

test('helper: a peer back without its forwarding state loses its stale routes at once; with it they stay until End-of-RIB', () => {
  for (const preserved of [false, true]) {
    const network = new Network();
    network.add('10.0.0.1', config('10.0.0.1', 65001, [peer('10.0.0.2', 65002)]));
    const other = (originate: string[], gracefulRestart: GracefulRestartConfig) =>
      network.add('10.0.0.2', config('10.0.0.2', 65002, [peer('10.0.0.1', 65001)], originate, { gracefulRestart }));
    other(['10.2.0.0/16', '10.3.0.0/16'], fresh);
    network.advance(3000);
    network.kill('10.0.0.2');
    network.advance(1000);
    const before = network.changes.get('10.0.0.1')!.length;
    other(['10.2.0.0/16'], {
      ...fresh,
      restarting: true,
      forwardingPreserved: preserved ? ['ipv4-unicast', 'ipv6-unicast'] : [],
    });
    network.advance(5000);
    assert.deepEqual([...network.routesOf('10.0.0.1').keys()], ['10.2.0.0/16']);
    const since = network.changes.get('10.0.0.1')!.slice(before);
    const withdrawn = since.flatMap((change) => (change.type === 'withdraw' ? [change.prefix] : []));
    // What is announced again is never withdrawn when forwarding went on.
    if (preserved) assert.deepEqual(withdrawn, ['10.3.0.0/16']);
  }
});

test('helper: a peer that dies a second time before its End-of-RIB loses what it did not announce again (RFC 4724 4.2)', () => {
  const network = new Network();
  network.add('10.0.0.1', config('10.0.0.1', 65001, [peer('10.0.0.2', 65002)]));
  const gracefulRestart = { ...fresh, restarting: true, forwardingPreserved: ['ipv4-unicast' as const] };
  // A second peer that should connect there and never comes: selection, and with it End-of-RIB to a relay's peers, waits.
  const peers = [peer('10.0.0.1', 65001), peer('10.0.0.8', 65008, { passive: true })];
  network.add('10.0.0.2', config('10.0.0.2', 65002, peers, ['10.2.0.0/16', '10.3.0.0/16']));
  network.advance(3000);
  network.kill('10.0.0.2');
  network.advance(1000);
  assert.equal(network.routesOf('10.0.0.1').size, 2);
  network.add('10.0.0.2', config('10.0.0.2', 65002, peers, ['10.2.0.0/16'], { gracefulRestart }));
  network.advance(2500);
  const status = (): ReturnType<Speaker['status']> => network.speakers.get('10.0.0.1')!.status();
  assert.equal(status().peers[0]!.state, 'Established');
  assert.equal(status().peers[0]!.families[0]!.endOfRibReceived, false);
  assert.equal(network.routesOf('10.0.0.1').size, 2, 'the one not announced again is stale');
  network.kill('10.0.0.2');
  network.advance(500);
  assert.deepEqual([...network.routesOf('10.0.0.1').keys()], ['10.2.0.0/16']);
  network.add('10.0.0.2', config('10.0.0.2', 65002, peers, ['10.2.0.0/16'], { gracefulRestart }));
  network.advance(8000);
  assert.deepEqual([...network.routesOf('10.0.0.1').keys()], ['10.2.0.0/16']);
  assert.equal(status().peers[0]!.families[0]!.stale, 0);
});

test('a next hop that was our own address is like any other once it is not ours', () => {
  const network = new Network();
  const moved = '10.0.0.77';
  network.add('10.0.0.2', config('10.0.0.2', 65002, [peer('10.0.0.1', 65001)], ['10.2.0.0/16']));
  const ours = (nextHop4: string): SpeakerConfig => config('10.0.0.1', 65001, [peer('10.0.0.2', 65002, { nextHop4 })]);
  const speaker = network.add('10.0.0.1', ours(moved));
  network.advance(3000);
  const other = network.speakers.get('10.0.0.2')!;
  const announce = (originate: string[]): void =>
    other.configure(config('10.0.0.2', 65002, [peer('10.0.0.1', 65001, { nextHop4: moved })], originate));
  announce(['10.2.0.0/16']);
  network.run();
  assert.equal(network.routesOf('10.0.0.1').size, 0, 'not through ourselves (RFC 4271 6.3)');
  speaker.configure(ours('10.0.0.1'));
  announce(['10.3.0.0/16']);
  network.run();
  assert.deepEqual(network.routesOf('10.0.0.1').get('10.3.0.0/16'), [moved]);
});

test('next hops that a peer makes up do not add up; those in use keep their routes', () => {
  const network = new Network();
  const prefixes = ['10.2.0.0/16', '10.3.0.0/16'];
  const told = (i: number): string => `10.${200 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`;
  network.add('10.0.0.1', config('10.0.0.1', 65001, [peer('10.0.0.2', 65002), peer('10.0.0.4', 65004)]));
  network.add('10.0.0.4', config('10.0.0.4', 65004, [peer('10.0.0.1', 65001)], ['10.4.0.0/16']));
  const other = (i: number): SpeakerConfig =>
    config('10.0.0.2', 65002, [peer('10.0.0.1', 65001, { nextHop4: told(i) })], prefixes);
  const speaker = network.add('10.0.0.2', other(0));
  network.advance(3000);
  const rounds = nextHopsSweepMin + 100;
  for (let i = 1; i <= rounds; i++) {
    speaker.configure(other(i));
    network.run();
  }
  assert.ok(network.speakers.get('10.0.0.1')!.status().nextHops <= 200);
  const expected = [
    ['10.2.0.0/16', [told(rounds)]],
    ['10.3.0.0/16', [told(rounds)]],
    ['10.4.0.0/16', ['10.0.0.4']],
  ];
  assert.deepEqual([...network.routesOf('10.0.0.1')].sort(), expected);
  // An identifier that is used again is not taken for what it was.
  speaker.configure(other(7));
  network.run();
  assert.deepEqual(network.routesOf('10.0.0.1').get('10.3.0.0/16'), [told(7)]);
});

test('a peer changed, removed, or added touches its own session only', () => {
  const network = new Network();
  const me = '10.0.0.1';
  for (const [i, address] of ['10.0.0.2', '10.0.0.3', '10.0.0.4'].entries()) {
    network.add(address, config(address, 65002 + i, [peer(me, 65001)], [`10.${i + 2}.0.0/16`]));
  }
  const [a, b, c] = [peer('10.0.0.2', 65002), peer('10.0.0.3', 65003), peer('10.0.0.4', 65004)];
  const speaker = network.add(me, config(me, 65001, [a, b]));
  /** How often each was Established; 0: is not now. */
  const sessions = (): Record<string, number> =>
    Object.fromEntries(speaker.peerStatuses().map((p) => [p.name, p.state === 'Established' ? p.establishedCount : 0]));
  network.advance(3000);
  assert.deepEqual(sessions(), { '10.0.0.2': 1, '10.0.0.3': 1 });
  const withdrawn = (): readonly string[] =>
    network.changes.get(me)!.flatMap((change) => (change.type === 'withdraw' ? [change.prefix] : []));
  speaker.configure(config(me, 65001, [{ ...a, password: 'new' }, b]));
  assert.deepEqual(sessions(), { '10.0.0.2': 0, '10.0.0.3': 1 }, 'a new password means a new session');
  network.advance(5000);
  assert.deepEqual(sessions(), { '10.0.0.2': 2, '10.0.0.3': 1 });
  speaker.configure(config(me, 65001, [b, c]));
  network.advance(5000);
  assert.deepEqual(sessions(), { '10.0.0.3': 1, '10.0.0.4': 1 });
  assert.ok(!withdrawn().includes('10.3.0.0/16'));
  assert.deepEqual([...network.routesOf(me).keys()].sort(), ['10.3.0.0/16', '10.4.0.0/16']);
});
