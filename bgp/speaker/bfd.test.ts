/** What BFD does to BGP: RFC 5882 and RFC 9384, over a BFD that says what it is told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '#kit';
import type { BfdSessionConfig, BfdSessionStatus } from '../bfd/index.ts';
import { BfdMonitor, bfdSession } from './bfd.ts';
import type { BfdConfig, PeerConfig } from './config.ts';
import type { Speaker } from './speaker.ts';
import { config, fresh, Network, peer } from './test-network.ts';

const [near, far] = ['10.0.0.1', '10.0.0.2'];
const bfd: BfdConfig = { minTxMs: 300, minRxMs: 300, multiplier: 3 };

function status(key: string, more: Partial<BfdSessionStatus> = {}): BfdSessionStatus {
  return {
    key,
    state: 'Up',
    remoteState: 'Up',
    diagnostic: 0,
    remoteDiagnostic: 0,
    remoteControlPlaneIndependent: false,
    txIntervalUs: 300_000,
    rxIntervalUs: 300_000,
    detectionTimeUs: 900_000,
    remoteMultiplier: 3,
    flaps: 0,
    ...more,
  };
}

/** Two speakers with a session and a route each, BFD at one of them. */
class Pair {
  readonly network = new Network();
  readonly near: Speaker;
  readonly asked: BfdSessionConfig[][] = [];
  readonly key: string;

  constructor(settings: Partial<BfdConfig> = {}, more: Partial<PeerConfig> = {}) {
    const own = peer(far, 65002, { holdTimeSec: 90, bfd: { ...bfd, ...settings }, ...more });
    this.key = bfdSession(own)!.key;
    this.near = this.network.add(near, config(near, 65001, [own], ['10.1.0.0/16']), {
      configure: (sessions) => void this.asked.push([...sessions]),
    });
    this.network.add(far, config(far, 65002, [peer(near, 65001, { holdTimeSec: 90, passive: true })], ['10.2.0.0/16']));
    this.network.advance(2_000);
    assert.equal(this.status.state, 'Established');
  }
  get status() {
    return this.near.status().peers[0]!;
  }
  get routes(): number {
    return this.network.routesOf(near).size;
  }
  tell(more: Partial<BfdSessionStatus> = {}): void {
    this.near.bfdChanged(status(this.key, more));
    this.network.run();
  }
  fall(more: Partial<BfdSessionStatus> = {}): void {
    this.tell();
    this.tell({ state: 'Down', remoteState: 'Down', diagnostic: 1, flaps: 1, ...more });
  }
  /** What the far end had from us in the end. */
  get lastErrorFar(): string {
    return this.network.speakers.get(far)!.status().peers[0]!.lastError;
  }
}

test('RFC 5882 2, RFC 5880 6.8: the session that a peer asks for: port, hops, link, intervals', () => {
  const of = (more: Partial<PeerConfig>) => bfdSession(peer(far, 65002, { bfd, ...more }));
  assert.deepEqual(of({}), {
    key: 'link 10.0.0.2  ',
    peerAddress: far,
    multihop: false,
    maxHops: 1,
    minTxUs: 300_000,
    minRxUs: 300_000,
    multiplier: 3,
  });
  const linkLocal = of({ address: 'fe80::2%eth0', localAddress: 'fe80::1%eth0' });
  assert.deepEqual(
    [linkLocal?.peerAddress, linkLocal?.interface, linkLocal?.localAddress],
    ['fe80::2', 'eth0', 'fe80::1'],
  );
  const multihop = of({ bfd: { ...bfd, multihop: true }, ttlSecurityHops: 4, localAddress: near });
  assert.deepEqual([multihop?.multihop, multihop?.maxHops, multihop?.localAddress], [true, 4, near]);
  assert.equal(of({ bfd: { ...bfd, multihop: true } })?.maxHops, 255);
  assert.equal(of({ heldDown: 'no secret' }), undefined);
});

test('RFC 5882 2, 4.4: peers at one address share a session, with the quicker demands', () => {
  const pair = new Pair();
  const others = [
    peer(far, 65002, { name: far, bfd: { minTxMs: 500, minRxMs: 500, multiplier: 9 } }),
    peer(far, 65002, { name: 'slow', bfd: { minTxMs: 1_000, minRxMs: 100, multiplier: 5 } }),
    peer(far, 65002, { name: 'quick', bfd: { minTxMs: 50, minRxMs: 1_000, multiplier: 4 } }),
    peer('10.0.0.3', 65003, { bfd }),
  ];
  pair.near.configure(config(near, 65001, others));
  pair.network.advance(20_000);
  assert.deepEqual(
    pair.asked
      .at(-1)!
      .map(({ peerAddress, minTxUs, minRxUs, multiplier }) => [peerAddress, minTxUs, minRxUs, multiplier]),
    [
      [far, 50_000, 100_000, 4],
      ['10.0.0.3', 300_000, 300_000, 3],
    ],
  );
});

test('RFC 5882 4.1: BGP comes up and stays while BFD has not been up', () => {
  const pair = new Pair();
  const { bfd: unheard } = pair.status;
  assert.equal(unheard, undefined);
  pair.tell({ state: 'Down', remoteState: 'Down' });
  pair.tell({ state: 'Init', remoteState: 'Down' });
  pair.tell({ state: 'Down', remoteState: 'Down', diagnostic: 1 });
  assert.deepEqual([pair.status.state, pair.status.establishedCount], ['Established', 1]);
  assert.deepEqual([pair.status.bfd?.state, pair.status.bfd?.diagnostic], ['Down', 'Control Detection Time Expired']);
});

test('RFC 5882 4.2.1, 10.2, RFC 9384 3, RFC 8538 4: BFD that falls ends the session with Cease/10 as a Hard Reset; routes go at once; dialled again', () => {
  const pair = new Pair();
  assert.equal(pair.routes, 1);
  pair.fall();
  assert.notEqual(pair.status.state, 'Established');
  assert.match(
    pair.status.lastError,
    /^sent Cease\/Hard Reset \(Cease\/BFD Down\): BFD: Control Detection Time Expired$/,
  );
  assert.match(pair.lastErrorFar, /^received Cease\/Hard Reset \(Cease\/BFD Down\)/);
  assert.equal(pair.routes, 0, 'graceful restart or not');
  pair.network.advance(5_000);
  assert.deepEqual([pair.status.state, pair.status.establishedCount, pair.routes], ['Established', 2, 1]);
  // BFD is still down: that is no news.
  pair.tell({ state: 'Down', remoteState: 'Down', diagnostic: 1, flaps: 1, txIntervalUs: 1_000_000 });
  assert.equal(pair.status.state, 'Established');
});

test('RFC 9384 3: a peer that knows no Hard Reset (RFC 8538) gets Cease/10 itself', () => {
  const pair = new Pair({}, { notificationKeepsRoutes: false });
  pair.fall();
  assert.match(pair.status.lastError, /^sent Cease\/BFD Down: BFD: Control Detection Time Expired$/);
  assert.match(pair.lastErrorFar, /^received Cease\/BFD Down/);
  assert.equal(pair.routes, 0);
});

test('RFC 5882 3.2, 4.2: AdminDown at the peer, or at us, is no failure', () => {
  const pair = new Pair();
  pair.fall({ remoteState: 'AdminDown', diagnostic: 3, remoteDiagnostic: 7 });
  pair.tell({ state: 'Down', remoteState: 'Down', flaps: 1 });
  assert.equal(pair.status.state, 'Established');
  pair.tell();
  pair.tell({ state: 'AdminDown', diagnostic: 7 });
  assert.equal(pair.status.state, 'Established');
});

test('RFC 5882 4.3.2: with `graceful` a peer whose C bit is 0 counts as restarting: no NOTIFICATION, routes stay stale', () => {
  const pair = new Pair({ graceful: true });
  pair.fall();
  assert.match(pair.status.lastError, /^closed without a NOTIFICATION: BFD: /);
  assert.doesNotMatch(pair.lastErrorFar, /Cease/);
  assert.deepEqual([pair.routes, pair.status.families[0]!.stale], [1, 1]);
  pair.network.advance(5_000);
  assert.deepEqual([pair.status.state, pair.routes, pair.status.families[0]!.stale], ['Established', 1, 0]);
});

test('RFC 5882 4.3.1: with `graceful`, but the C bit set, or the peer not hearing us: nothing is forwarded, routes go', () => {
  for (const more of [
    { remoteControlPlaneIndependent: true },
    { diagnostic: 3, remoteDiagnostic: 1 },
  ] satisfies Partial<BfdSessionStatus>[]) {
    const pair = new Pair({ graceful: true });
    pair.fall(more);
    assert.match(pair.status.lastError, /^sent Cease\/Hard Reset \(Cease\/BFD Down\)/);
    assert.equal(pair.routes, 0, JSON.stringify(more));
  }
});

test('RFC 5882 4.3.2: BFD that falls during a restart leaves it alone when the C bit is 0, and ends it when it is 1 (4.3.1)', () => {
  for (const [remoteControlPlaneIndependent, left] of [
    [false, 1],
    [true, 0],
  ] as const) {
    const pair = new Pair();
    pair.tell();
    pair.network.kill(far);
    pair.network.run();
    assert.deepEqual([pair.routes, pair.status.families[0]!.stale], [1, 1]);
    pair.tell({ state: 'Down', remoteState: 'Down', diagnostic: 1, flaps: 1, remoteControlPlaneIndependent });
    assert.equal(pair.routes, left);
  }
});

test('RFC 5882 4.3.2.2: after our restart BFD is silent towards a peer until that has a session, or the deferral is over', () => {
  const network = new Network();
  const asked: string[][] = [];
  const peers = [peer(far, 65002, { bfd }), peer('10.0.0.3', 65003, { bfd })];
  const restarting = { gracefulRestart: { ...fresh, restarting: true, deferralTimeSec: 20 } };
  network.add(near, config(near, 65001, peers, [], restarting), {
    configure: (sessions) => void asked.push(sessions.map(({ peerAddress }) => peerAddress)),
  });
  network.run();
  assert.deepEqual(asked, [], 'nobody knows of the restart');
  network.add(far, config(far, 65002, [peer(near, 65001)]));
  network.advance(2_000);
  assert.deepEqual(asked, [[far]]);
  network.advance(40_000);
  assert.deepEqual(asked.at(-1), [far, '10.0.0.3']);
});

test('BFD begins with the first BGP session of a peer, or after a while: a peer in strict mode waits for it', () => {
  const network = new Network();
  const asked: string[][] = [];
  const peers = [peer(far, 65002, { bfd }), peer('10.0.0.3', 65003, { bfd })];
  const speaker = network.add(near, config(near, 65001, peers), {
    configure: (sessions) => void asked.push(sessions.map(({ peerAddress }) => peerAddress)),
  });
  network.advance(500);
  assert.deepEqual(asked, []);
  network.add(far, config(far, 65002, [peer(near, 65001)]));
  network.advance(3_000);
  assert.deepEqual(asked, [[far]]);
  network.kill(far);
  network.advance(10_000);
  assert.deepEqual(asked, [[far]], 'and goes on when BGP is down');
  network.advance(5_000);
  assert.deepEqual(asked.at(-1), [far, '10.0.0.3']);
  speaker.configure(config(near, 65001, [peers[0]!]));
  assert.deepEqual(asked.at(-1), [far]);
});

test('RFC 5882 4.3.2: after our restart BGP waits until the BFD of the peer has noticed; who has none is dialled at once, and selection waits', () => {
  const network = new Network();
  const other = '10.0.0.3';
  const asked: string[][] = [];
  for (const [address, asn] of [
    [far, 65002],
    [other, 65003],
  ] as const)
    network.add(address, config(address, asn, [peer(near, 65001)], [`10.${asn - 65000}.0.0/16`]));
  network.advance(5_000);
  // Four seconds, and what a peer takes to note it.
  const peers = [peer(far, 65002, { bfd: { minTxMs: 200, minRxMs: 400, multiplier: 10 } }), peer(other, 65003)];
  const restarting = { gracefulRestart: { ...fresh, restarting: true, deferralTimeSec: 20 } };
  const speaker = network.add(near, config(near, 65001, peers, [], restarting), {
    configure: (sessions) => void asked.push(sessions.map(({ peerAddress }) => peerAddress)),
  });
  const states = (): string[] => speaker.status().peers.map(({ state }) => state);
  network.advance(4_000);
  assert.deepEqual(states(), ['Idle', 'Established'], 'the far end dialled all the time');
  assert.deepEqual([speaker.status().waitingFor, asked], [[far], []]);
  network.advance(400);
  assert.deepEqual(states(), ['Established', 'Established']);
  assert.deepEqual(asked, [[far]]);
  network.advance(2_000);
  assert.equal(speaker.status().deferring, false);
  assert.deepEqual([...network.routesOf(near).keys()].sort(), ['10.2.0.0/16', '10.3.0.0/16']);
});

for (const [what, more, expectedMs] of [
  ['for no longer than half of the restart time', { bfd: { ...bfd, multiplier: 250 } }, 15_000],
  ['not for a peer that must connect to us', { bfd: { ...bfd, multiplier: 250 }, passive: true }, 0],
  ['nor when the path to it was lost', { bfd: { ...bfd, multiplier: 20 }, lost: true }, 0],
] as const) {
  test(`RFC 5882 4.3.2: after our restart BGP waits for the BFD of the peer, ${what}`, () => {
    const network = new Network();
    network.add(far, config(far, 65002, [peer(near, 65001)]));
    const { bfd: settings, ...rest } = { passive: false, lost: false, ...more };
    const gracefulRestart = { ...fresh, restarting: true, restartTimeSec: 30, deferralTimeSec: 60 };
    const own = peer(far, 65002, { bfd: settings, passive: rest.passive });
    const speaker = network.add(near, config(near, 65001, [own], [], { gracefulRestart }), {
      configure: () => undefined,
    });
    if (rest.lost) speaker.pathLost({ address: far });
    const established = (): boolean => speaker.status().peers[0]!.state === 'Established';
    network.advance(Math.max(0, expectedMs - 100));
    assert.equal(established(), false);
    network.advance(2_500);
    assert.equal(established(), true);
  });
}

test('RFC 5882 4.3.2.2: and no patience runs out while the restart goes on', () => {
  const clock = new FakeClock();
  const asked: number[] = [];
  let restartGoesOn = true;
  const peers = [{ config: peer(far, 65002, { bfd }), wasEstablished: false }];
  const configure = (): void => monitor.configure(peers, restartGoesOn);
  const monitor: BfdMonitor = new BfdMonitor(
    { configure: (sessions) => void asked.push(sessions.length) },
    clock,
    configure,
  );
  configure();
  clock.advance(600_000);
  configure();
  assert.deepEqual(asked, []);
  restartGoesOn = false;
  configure();
  assert.deepEqual(asked, [1]);
});

test('live: BFD is switched on, changed and off without touching the BGP session; the status goes with it', () => {
  const pair = new Pair();
  const configure = (more: Partial<PeerConfig>): void => {
    pair.near.configure(config(near, 65001, [peer(far, 65002, { holdTimeSec: 90, ...more })], ['10.1.0.0/16']));
    pair.network.run();
  };
  const count = pair.asked.length;
  configure({ bfd });
  assert.equal(pair.asked.length, count, 'nothing changed');
  configure({ bfd: { ...bfd, minTxMs: 50 } });
  assert.equal(pair.asked.at(-1)![0]!.minTxUs, 50_000);
  pair.tell({ txIntervalUs: 50_000, detectionTimeUs: 150_000 });
  assert.deepEqual([pair.status.bfd?.txIntervalMs, pair.status.bfd?.detectionTimeMs], [50, 150]);
  configure({});
  assert.deepEqual([pair.asked.at(-1), pair.status.bfd], [[], undefined]);
  configure({ bfd });
  pair.tell({ state: 'Down', remoteState: 'Down' });
  assert.deepEqual([pair.status.state, pair.status.establishedCount], ['Established', 1]);
});
