/** What outlives a session, as speakers see it of each other: RFC 4724, 8538, 9494, 8326. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AttributeText } from '../wire/index.ts';
import type { PeerConfig, SpeakerConfig } from './config.ts';
import { drainSettleMs, drainTellMsMax } from './limits.ts';
import type { Speaker } from './speaker.ts';
import { config, fresh, Network, peer } from './test-network.ts';
import type { PeerStatus } from './types.ts';

const [me, other] = ['10.0.0.1', '10.0.0.2'] as const;

function attributes(speaker: Speaker, prefix: string): AttributeText | undefined {
  return speaker.routes({ prefix }).routes[0]?.paths.find((path) => path.best)?.attributes;
}
const withdrawn = (network: Network, address: string): string[] =>
  network.changes.get(address)!.flatMap((change) => (change.type === 'withdraw' ? [change.prefix] : []));

/** Two speakers with a session, a route each way, and whatever each says of the other. */
function pair(mine: Partial<PeerConfig> = {}, theirs: Partial<PeerConfig> = {}, more: Partial<SpeakerConfig> = {}) {
  const network = new Network();
  const ours = (change: Partial<PeerConfig>, all: Partial<SpeakerConfig> = more): SpeakerConfig =>
    config(me, 65001, [peer(other, 65002, change)], ['10.1.0.0/16', 'fd01::/64'], all);
  const speaker = network.add(me, ours(mine));
  const there = network.add(other, config(other, 65002, [peer(me, 65001, theirs)], ['10.2.0.0/16', 'fd02::/64']));
  network.advance(3000);
  const status = (): PeerStatus => speaker.peerStatuses()[0]!;
  const their = (): PeerStatus => there.peerStatuses()[0]!;
  assert.equal(status().state, 'Established');
  return { network, speaker, there, ours, status, their };
}

test('RFC 8538 4: a change that needs a new session takes no route from either side; without N it takes all', () => {
  for (const keeps of [true, false]) {
    const { network, speaker, ours, their } = pair({ notificationKeepsRoutes: keeps });
    speaker.configure(ours({ notificationKeepsRoutes: keeps, holdTimeSec: 30 }));
    network.run();
    assert.match(their().lastError, /received Cease\/Other Configuration Change/);
    network.advance(5000);
    assert.equal(their().state, 'Established');
    assert.equal(their().establishedCount, 2);
    for (const [address, prefixes] of [
      [me, ['10.2.0.0/16', 'fd02::/64']],
      [other, ['10.1.0.0/16', 'fd01::/64']],
    ] as const) {
      assert.deepEqual(withdrawn(network, address), keeps ? [] : prefixes, `${address} ${keeps}`);
      assert.deepEqual([...network.routesOf(address).keys()].sort(), prefixes);
    }
    const { gracefulRestart } = their().negotiated!;
    assert.deepEqual([gracefulRestart?.restarting, gracefulRestart?.notification], [false, keeps]);
    if (keeps)
      assert.ok(
        gracefulRestart?.families.every(({ forwarding }) => forwarding),
        'RFC 8538 4: F is set',
      );
    for (const status of [speaker.peerStatuses()[0]!, their()]) {
      assert.ok(status.families.every((family) => family.stale === 0 && family.stalePhase === undefined));
    }
  }
});

test('sessions are counted on over changes of settings, whether routes stay or go, and anew for another address or after removal', () => {
  const { network, speaker, ours, status } = pair();
  let settings: Partial<PeerConfig> = {};
  const changes: readonly Partial<PeerConfig>[] = [{ holdTimeSec: 30 }, { holdTimeSec: 60, import: 'reject' }];
  for (const [i, change] of changes.entries()) {
    settings = { ...settings, ...change };
    speaker.configure(ours(settings));
    network.advance(5000);
    assert.deepEqual([status().state, status().establishedCount], ['Established', i + 2]);
  }
  speaker.configure(ours({ ...settings, role: 'peer' }));
  assert.equal(status().establishedCount, 3, 'one that is the peer of another identity is still there');
  speaker.configure(ours({ ...settings, address: '10.9.9.9' }));
  assert.equal(status().establishedCount, 0);
  speaker.configure({ ...ours({}), peers: [] });
  speaker.configure(ours({}));
  assert.equal(status().establishedCount, 0);
  network.advance(5000);
  assert.equal(status().establishedCount, 1);
});

test('RFC 8538 5: the end of a peer, of ourselves, and another identity are Hard Resets that say why; the routes go', () => {
  const cases: readonly [string, (world: ReturnType<typeof pair>) => void, RegExp][] = [
    ['deconfigured', ({ speaker, ours }) => speaker.configure({ ...ours({}), peers: [] }), /Peer De-configured/],
    ['held down', ({ speaker, ours }) => speaker.configure(ours({ heldDown: 'x' })), /Administrative Shutdown/],
    ['drain', ({ speaker }) => speaker.stop('drain'), /Administrative Shutdown: "drained"/],
    [
      'router id',
      ({ speaker, ours }) => speaker.configure({ ...ours({}), routerId: '10.9.9.9' }),
      /Configuration Change/,
    ],
    ['AS', ({ speaker, ours }) => speaker.configure({ ...ours({}), asn: 65077 }), /Configuration Change/],
    ['role', ({ speaker, ours }) => speaker.configure(ours({ role: 'peer' })), /Configuration Change/],
    ['password', ({ speaker, ours }) => speaker.configure(ours({ password: 'x' })), /Configuration Change/],
  ];
  for (const [what, change, why] of cases) {
    const world = pair();
    change(world);
    world.network.run();
    const said = world.network.errors.get(other)!.find((text) => text.startsWith('received Cease/Hard Reset (Cease/'));
    assert.match(said ?? '', why, what);
    assert.deepEqual(withdrawn(world.network, other), ['10.1.0.0/16', 'fd01::/64'], what);
    if (what !== 'drain') assert.deepEqual(withdrawn(world.network, me), ['10.2.0.0/16', 'fd02::/64'], what);
  }
});

test('RFC 8538 5.1: too many prefixes, and a reset by hand, are Hard Resets', () => {
  const { network, speaker, there } = pair({ maxPrefixes: { 'ipv4-unicast': { limit: 1 } } });
  const hardResets = (): string[] =>
    network.errors.get(other)!.filter((text) => text.startsWith('received Cease/Hard Reset (Cease/'));
  speaker.resetPeer(other, 'anew');
  network.run();
  assert.match(hardResets().at(-1) ?? '', /Administrative Reset: "anew"/);
  assert.deepEqual(withdrawn(network, other), ['10.1.0.0/16', 'fd01::/64']);
  network.advance(5_000);
  assert.equal(network.routesOf(other).size, 2);
  there.configure(config(other, 65002, [peer(me, 65001)], ['10.2.0.0/16', '10.3.0.0/16']));
  network.run();
  assert.match(hardResets().at(-1) ?? '', /Maximum Number of Prefixes Reached/);
  assert.deepEqual([network.routesOf(me).size, network.routesOf(other).size], [0, 0]);
});

test('RFC 8538 4: an expired hold timer keeps routes; a family that is dropped meanwhile keeps none', () => {
  const { network, speaker, ours, status, their } = pair();
  for (const pipe of network.pipes) pipe.cut = true;
  network.advance(12_000);
  assert.match(status().lastError + their().lastError, /hold timer|Hold Timer/i);
  network.advance(5_000);
  assert.deepEqual([status().state, status().establishedCount], ['Established', 2]);
  assert.deepEqual([withdrawn(network, me), withdrawn(network, other)], [[], []]);
  speaker.configure(ours({ families: ['ipv4-unicast'] }));
  network.run();
  assert.deepEqual([...network.routesOf(me).keys()], ['10.2.0.0/16'], 'nobody is asked for IPv6 any more');
  network.advance(5_000);
  assert.deepEqual([...network.routesOf(other).keys()], ['10.1.0.0/16']);
  assert.deepEqual(withdrawn(network, other), ['fd01::/64']);
});

test('RFC 4724 4.2: a peer that comes back with fewer families loses the routes of the others at once', () => {
  const { network } = pair();
  network.kill(other);
  network.advance(500);
  assert.equal(network.routesOf(me).size, 2);
  const gracefulRestart = {
    ...fresh,
    restarting: true,
    forwardingPreserved: ['ipv4-unicast', 'ipv6-unicast'] as const,
  };
  // It waits for a peer of its own, so that its End-of-RIB is not what takes them.
  const peers = [peer(me, 65001, { families: ['ipv4-unicast'] }), peer('10.0.0.8', 65008, { passive: true })];
  network.add(other, config(other, 65002, peers, [], { gracefulRestart }));
  network.advance(2_500);
  assert.deepEqual([...network.routesOf(me).keys()], ['10.2.0.0/16']);
  network.advance(10_000);
  assert.equal(network.routesOf(me).size, 0, 'and this one at End-of-RIB');
});

test('RFC 4724 4.1: R and F on the first OPEN; R is off once End-of-RIB went out; killed twice within 5 s, no route is lost', () => {
  const { network } = pair();
  const gracefulRestart = { ...fresh, restarting: true, forwardingPreserved: ['ipv4-unicast' as const] };
  const again = (): Speaker =>
    network.add(me, config(me, 65001, [peer(other, 65002)], ['10.1.0.0/16'], { gracefulRestart }));
  const said = () => network.speakers.get(other)!.peerStatuses()[0]!.negotiated?.gracefulRestart;
  for (let round = 0; round < 2; round++) {
    network.kill(me);
    network.advance(200);
    again();
    network.advance(1800);
    const { restarting, families } = said()!;
    assert.equal(restarting, true);
    assert.deepEqual(
      families.map(({ forwarding }) => forwarding),
      [true, false],
    );
  }
  assert.equal(network.speakers.get(me)!.status().deferring, false);
  assert.deepEqual(withdrawn(network, other), ['fd01::/64'], 'IPv6 was not preserved');
  for (const pipe of network.pipes) {
    const { handlers } = pipe;
    if (pipe.localAddress !== me) continue;
    pipe.close();
    handlers?.onClosed('reset');
  }
  network.advance(5000);
  assert.equal(said()?.restarting, false);
  assert.deepEqual(
    said()?.families.map(({ forwarding }) => forwarding),
    [true, true],
    'what was told in this run has been forwarded since',
  );
  assert.deepEqual(withdrawn(network, other), ['fd01::/64']);
});

// ------------------------------------------------------------------------------------------------------------- RFC 9494

/** We relay what 10.0.0.2 has to four others, each of which knows LLGR or not; 10.0.0.2 can die. */
function relay(alternative = false) {
  const network = new Network();
  const llgr = { longLivedStaleTimeSec: 60 };
  const source = (more = {}) =>
    network.add(other, config(other, 65002, [peer(me, 65001, { ...llgr, restartTimeSec: 10 })], ['10.2.0.0/16'], more));
  const others: readonly [string, number, Partial<PeerConfig>, Partial<PeerConfig>][] = [
    ['10.0.0.3', 65003, llgr, llgr],
    ['10.0.0.4', 65004, llgr, {}],
    ['10.0.0.5', 65001, llgr, {}],
    ['10.0.0.6', 65001, { ...llgr, longLivedToAllInternal: true }, {}],
    ['10.0.0.7', 65007, llgr, {}],
  ];
  const peers = others.map(([address, asn, mine]) => peer(address, asn, mine));
  const speaker = network.add(me, config(me, 65001, [peer(other, 65002, llgr), ...peers]));
  source();
  for (const [address, asn, , theirs] of others) {
    // A longer path to the same prefix.
    const far = {
      ipv4: [{ action: 'accept', changes: [{ type: 'prepend', asns: [65007, 65007] }] }],
      ipv6: [],
    } as const;
    const own = address === '10.0.0.7' && alternative ? ['10.2.0.0/16'] : [];
    network.add(address, config(address, asn, [peer(me, 65001, { ...theirs, exportFilter: far })], own));
  }
  network.advance(3000);
  const at = (number: number): AttributeText | undefined =>
    attributes(network.speakers.get(`10.0.0.${number}`)!, '10.2.0.0/16');
  return { network, speaker, source, at };
}

test('RFC 9494 4.3: a route of last resort goes to peers that know LLGR, with LLGR_STALE, and is withdrawn from all others', () => {
  const { network, speaker, source, at } = relay();
  for (const number of [3, 4, 5, 6]) assert.equal(at(number)?.communities, undefined, `${number}`);
  network.kill(other);
  network.advance(9_000);
  for (const number of [1, 3, 4, 5, 6]) assert.equal(at(number)?.communities, undefined, 'RFC 4724: not marked before');
  network.advance(2_000);
  assert.deepEqual(at(1)?.communities, ['llgr-stale']);
  assert.equal(speaker.peerStatuses()[0]!.families[0]!.stalePhase, 'longLived');
  assert.deepEqual(at(3)?.communities, ['llgr-stale'], 'not removed when it is passed on');
  assert.equal(at(4), undefined, 'external, without LLGR');
  assert.equal(at(5), undefined, 'internal, without LLGR');
  // RFC 9494 4.6, which is asked for.
  assert.deepEqual([...(at(6)?.communities ?? [])].sort(), ['llgr-stale', 'no-export']);
  assert.equal(at(6)?.localPref, 0);
  assert.deepEqual(network.routesOf(me).get('10.2.0.0/16'), [other], 'still forwarded');
  // Back before the stale time is over: fresh everywhere.
  const forwardingPreserved = ['ipv4-unicast', 'ipv6-unicast'] as const;
  source({ gracefulRestart: { ...fresh, restarting: true, forwardingPreserved } });
  network.advance(20_000);
  for (const number of [1, 3, 4, 5, 6]) {
    assert.ok(at(number), `${number} has it`);
    assert.equal(at(number)?.communities, undefined, `${number}`);
  }
  assert.deepEqual(withdrawn(network, me), []);
  assert.equal(speaker.status().attributeSets, 2, 'the sets with marks are given back');
});

test('RFC 9494 4.2: when the stale time is over, the route goes everywhere', () => {
  const { network, at } = relay();
  network.kill(other);
  network.advance(69_000);
  assert.ok(at(3));
  network.advance(2_000);
  for (const number of [1, 3, 6]) assert.equal(at(number), undefined);
});

test('RFC 9494 4.4: a route of last resort loses to any other, however good it is', () => {
  const { network, speaker, at } = relay(true);
  assert.equal(at(1)?.asPath, '65002');
  network.kill(other);
  network.advance(9_000);
  assert.equal(at(1)?.asPath, '65002', 'RFC 4724 4.2: stale is no worse than fresh');
  network.advance(2_000);
  assert.equal(at(1)?.asPath, '65007 65007 65007');
  const paths = speaker.routes({ prefix: '10.2.0.0/16' }).routes[0]!.paths;
  assert.deepEqual(
    paths.map((path) => [path.best, path.multipath, path.stale]),
    [
      [true, true, false],
      [false, false, true],
    ],
  );
  network.kill('10.0.0.7');
  network.advance(70_000);
  assert.equal(at(1), undefined);
});

test('RFC 9494 4.3: another import policy takes no LLGR_STALE away', () => {
  const mine = { longLivedStaleTimeSec: 60, adjRibIn: true };
  const { network, speaker, ours } = pair(mine, { longLivedStaleTimeSec: 60, restartTimeSec: 5 });
  network.kill(other);
  network.advance(7_000);
  const communities = (): string[] => [...(attributes(speaker, '10.2.0.0/16')?.communities ?? [])].sort();
  assert.deepEqual(communities(), ['llgr-stale']);
  const tagged = [{ action: 'accept', changes: [{ type: 'addCommunity', value: '65001:9' }] }] as const;
  speaker.configure(ours({ ...mine, importFilter: { ipv4: tagged, ipv6: [] } }));
  network.run();
  assert.deepEqual(communities(), ['65001:9', 'llgr-stale']);
  speaker.configure(ours(mine));
  network.run();
  assert.deepEqual(communities(), ['llgr-stale']);
});

test('RFC 9494 4.3: without it on our side nothing is offered, and nothing is kept beyond the restart time', () => {
  const { network, status } = pair({}, { longLivedStaleTimeSec: 600, restartTimeSec: 10 });
  assert.equal(status().negotiated?.longLived, undefined);
  network.kill(other);
  network.advance(9_000);
  assert.equal(network.routesOf(me).size, 2);
  network.advance(2_000);
  assert.equal(network.routesOf(me).size, 0);
});

// ------------------------------------------------------------------------------------------------------------- RFC 8326

test('RFC 8326 4: GRACEFUL_SHUTDOWN goes out and is taken back on the session that is there; received, it means LOCAL_PREF 0', () => {
  const { network, speaker, there, ours, status } = pair();
  const theirs = () => attributes(there, '10.1.0.0/16');
  assert.equal(theirs()?.communities, undefined);
  for (const set of [ours({ gracefulShutdown: true }), ours({}, { gracefulShutdown: true })]) {
    speaker.configure(set);
    network.run();
    assert.deepEqual([theirs()?.communities, theirs()?.localPref], [['graceful-shutdown'], 0]);
    assert.equal(status().gracefulShutdown, true);
    speaker.configure(ours({}));
    network.run();
    assert.deepEqual([theirs()?.communities, theirs()?.localPref], [undefined, undefined]);
    assert.equal(status().gracefulShutdown, undefined);
  }
  // RFC 8326 4.1: what comes in on a session that is about to end is left as soon as there is anything else.
  const inward = () => attributes(speaker, '10.2.0.0/16');
  assert.equal(inward()?.localPref, undefined);
  speaker.configure(ours({ gracefulShutdown: true }));
  network.run();
  assert.deepEqual([inward()?.communities, inward()?.localPref], [['graceful-shutdown'], 0]);
  speaker.configure(ours({}));
  network.run();
  assert.deepEqual([inward()?.communities, inward()?.localPref], [undefined, undefined]);
  assert.equal(status().establishedCount, 1);
  assert.deepEqual([withdrawn(network, me), withdrawn(network, other)], [[], []]);
});

test('RFC 8326 4: within the AS the LOCAL_PREF is told: 0 of what has the community, of ours and of what came from outside', () => {
  const network = new Network();
  const inside = '10.0.0.3';
  const ours = (more: Partial<SpeakerConfig> = {}): SpeakerConfig =>
    config(me, 65001, [peer(other, 65002), peer(inside, 65001)], ['10.1.0.0/16'], more);
  const speaker = network.add(me, ours());
  const outside = (gracefulShutdown: boolean): SpeakerConfig =>
    config(other, 65002, [peer(me, 65001, { gracefulShutdown })], ['10.2.0.0/16']);
  const source = network.add(other, outside(false));
  network.add(inside, config(inside, 65001, [peer(me, 65001)], []));
  network.advance(3000);
  const localPref = (prefix: string) => attributes(network.speakers.get(inside)!, prefix)?.localPref;
  assert.deepEqual([localPref('10.1.0.0/16'), localPref('10.2.0.0/16')], [100, 100]);
  source.configure(outside(true));
  network.run();
  assert.deepEqual([localPref('10.1.0.0/16'), localPref('10.2.0.0/16')], [100, 0]);
  source.configure(outside(false));
  speaker.configure(ours({ gracefulShutdown: true }));
  network.run();
  assert.deepEqual([localPref('10.1.0.0/16'), localPref('10.2.0.0/16')], [0, 0]);
});

test('a drain: peers hear GRACEFUL_SHUTDOWN, have their time, and only then the session ends; a peer that is stuck cannot hold it up', () => {
  for (const stuck of [false, true]) {
    const { network, speaker, there } = pair();
    if (stuck) for (const pipe of network.pipes) if (pipe.localAddress === me) pipe.stuckBytes = 1 << 24;
    let doneAtMs: number | undefined;
    const startMs = network.clock.nowMs();
    speaker.announceShutdown(() => {
      doneAtMs = network.clock.nowMs();
      speaker.stop('drain');
    });
    network.advance(drainSettleMs / 2);
    if (!stuck) assert.deepEqual(attributes(there, '10.1.0.0/16')?.communities, ['graceful-shutdown']);
    assert.equal(network.routesOf(other).size, 2);
    assert.equal(doneAtMs, undefined);
    network.advance(5_000);
    const took = doneAtMs! - startMs;
    const atLeast = drainSettleMs + (stuck ? drainTellMsMax : 0);
    assert.ok(took >= atLeast && took <= atLeast + 200, `${took} ms`);
    assert.equal(network.routesOf(other).size, 0);
  }
  const alone = new Network();
  const speaker = alone.add(me, config(me, 65001, [peer(other, 65002)], ['10.1.0.0/16']));
  let done = false;
  speaker.announceShutdown(() => {
    done = true;
  });
  alone.advance(100);
  assert.ok(done, 'nobody has heard of us');
});
