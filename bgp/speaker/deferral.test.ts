/** Route selection deferral of a restarted speaker (RFC 4724 4.1). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeEndOfRib } from '../wire/index.ts';
import { asPath, nextHop, origin, update } from '../wire/test-messages.ts';
import type { PeerConfig, SpeakerConfig } from './config.ts';
import { type DeferralPeer, deferralState } from './deferral.ts';
import type { Speaker } from './speaker.ts';
import { config, fresh, Network, peer } from './test-network.ts';
import { RawPeer } from './test-raw-peer.ts';

const restarting = { ...fresh, restarting: true, forwardingPreserved: ['ipv4-unicast' as const] };

/** Us at 10.0.0.1 after a restart, with peers 10.0.0.2 and up, of which some run. */
function restarted(peers: PeerConfig[], more: Partial<SpeakerConfig> = {}) {
  const network = new Network();
  const speaker: Speaker = network.add(
    '10.0.0.1',
    config('10.0.0.1', 65001, peers, ['10.1.0.0/16'], { gracefulRestart: restarting, ...more }),
  );
  const told = (): string[] => network.changes.get('10.0.0.1')!.map((change) => change.type);
  return { network, speaker, told };
}
const running = (network: Network, number: number, more: Partial<PeerConfig> = {}): Speaker => {
  const own = peer('10.0.0.1', 65001, { passive: true, ...more });
  return network.add(`10.0.0.${number}`, config(`10.0.0.${number}`, 65000 + number, [own], [`10.${number}.0.0/16`]));
};
/** Milliseconds until the end of deferral, in steps of 50. */
function untilOver(network: Network, speaker: Speaker, limitMs: number): number {
  for (let ms = 0; ms <= limitMs; ms += 50) {
    network.run();
    if (!speaker.status().deferring) return ms;
    network.clock.advance(50);
  }
  return Number.POSITIVE_INFINITY;
}

test('RFC 4724 4.1: nothing is told before the live peers sent End-of-RIB, then all of it, then the mark', () => {
  const { network, speaker, told } = restarted([peer('10.0.0.2', 65002), peer('10.0.0.3', 65003)]);
  network.stuck.add('10.0.0.2');
  running(network, 2);
  network.run();
  assert.deepEqual(told(), []);
  assert.deepEqual(speaker.status().waitingFor, ['10.0.0.2', '10.0.0.3']);
  network.advance(300);
  network.unstick('10.0.0.2');
  network.advance(300);
  assert.deepEqual(told(), []);
  assert.deepEqual(speaker.status().waitingFor, ['10.0.0.3']);
  assert.deepEqual([...network.routesOf('10.0.0.2').keys()], ['10.1.0.0/16'], 'what we originate goes out at once');
  network.advance(2000);
  assert.deepEqual(told(), ['upsert', 'deferralEnded']);
});

test('RFC 4724 4.1: two of three peers dead at our restart: selection begins within 1 s of the End-of-RIB of the third', () => {
  const peers = [2, 3, 4].map((number) => peer(`10.0.0.${number}`, 65000 + number));
  const { network, speaker } = restarted(peers);
  // A table that takes a while: End-of-RIB is what counts, not the time since the start.
  network.stuck.add('10.0.0.3');
  running(network, 3);
  network.advance(9_000);
  assert.equal(speaker.status().deferring, true);
  assert.deepEqual(speaker.status().waitingFor, ['10.0.0.3']);
  network.unstick('10.0.0.3');
  const took = untilOver(network, speaker, 5_000);
  assert.ok(took <= 1000, `${took} ms`);
});

test('RFC 4724 4.1: an End-of-RIB at once, and two peers that are dead: over within 1 s, whichever is the live one', () => {
  for (const number of [2, 3, 4]) {
    const { network, speaker } = restarted([2, 3, 4].map((n) => peer(`10.0.0.${n}`, 65000 + n)));
    running(network, number);
    const took = untilOver(network, speaker, 5_000);
    assert.ok(took <= 1000, `${took} ms with 10.0.0.${number}`);
    assert.equal(network.routesOf('10.0.0.1').size, 1);
  }
});

test('all peers live and done: it is over at once; nobody there: after the grace; capped by deferralTimeSec', () => {
  const both = restarted([peer('10.0.0.2', 65002), peer('10.0.0.3', 65003)]);
  running(both.network, 2);
  running(both.network, 3);
  assert.ok(untilOver(both.network, both.speaker, 1000) <= 100);

  const nobody = restarted([peer('10.0.0.2', 65002)]);
  const took = untilOver(nobody.network, nobody.speaker, 20_000);
  assert.ok(took >= 5_000 && took <= 5_500, `${took}`);

  const capped = restarted([peer('10.0.0.2', 65002)], { gracefulRestart: { ...restarting, deferralTimeSec: 2 } });
  const atMost = untilOver(capped.network, capped.speaker, 20_000);
  assert.ok(atMost >= 2_000 && atMost <= 2_300, `${atMost}`);
});

test('a peer that is Established and never sends End-of-RIB is waited for deferralTimeSec and no longer', () => {
  const { network, speaker } = restarted([peer('10.0.0.2', 65002)]);
  network.stuck.add('10.0.0.2');
  running(network, 2);
  const took = untilOver(network, speaker, 60_000);
  assert.ok(took >= 19_900 && took <= 20_500, `${took}`);
});

test('RFC 4724 4.1: a peer that restarts as well (R) is waited for a short while only: two of them would wait for each other', () => {
  const { network, speaker } = restarted([peer('10.0.0.2', 65002)]);
  const theirs = config('10.0.0.2', 65002, [peer('10.0.0.1', 65001), peer('10.0.0.7', 65007)], ['10.2.0.0/16']);
  const other = network.add('10.0.0.2', { ...theirs, gracefulRestart: restarting });
  const took = untilOver(network, speaker, 10_000);
  assert.ok(took > 2000 && took <= 3500, `${took} ms`);
  assert.ok(untilOver(network, other, 10_000) <= 3500);
});

test('RFC 4724 4.1: a peer that says R, and its routes a second later: nothing is told before', () => {
  const { network, told } = restarted([peer('10.0.0.2', 64513, { passive: true })]);
  const gracefulRestart = { restarting: true, notification: false, restartTimeSec: 120, families: [] };
  const frr = new RawPeer(network, '10.0.0.2', '10.0.0.1', { asn: 64513, gracefulRestart }).establish();
  network.advance(1_200);
  assert.deepEqual(told(), []);
  frr.say(update({ attributes: [origin, asPath, nextHop], nlri: [16, 10, 2] }), encodeEndOfRib(4), encodeEndOfRib(6));
  network.advance(1_000);
  assert.deepEqual(told(), ['upsert', 'deferralEnded']);
});

test('RFC 4724 4.1: the only peer takes connections and closes them for 8 s, as GoBGP does after it lost us: it is waited for', () => {
  const { network, told, speaker } = restarted([peer('10.0.0.2', 65002)]);
  network.others.set('10.0.0.2', (there) => there.close());
  network.advance(8_000);
  assert.deepEqual(told(), []);
  network.others.delete('10.0.0.2');
  running(network, 2);
  assert.ok(untilOver(network, speaker, 11_000) <= 11_000);
  assert.deepEqual(told(), ['upsert', 'deferralEnded']);
});

test('deferral: who is waited for', () => {
  const times = { settleMs: 600, graceMs: 5000, maxMs: 20_000 };
  const base: DeferralPeer = {
    name: 'down',
    passive: false,
    held: false,
    opening: false,
    established: false,
    answered: false,
    stateForMs: 0,
    done: false,
  };
  const down = base;
  const passive = { ...base, name: 'passive', passive: true };
  const refuses = { ...base, name: 'refuses', answered: true };
  const busy = { ...base, name: 'busy', established: true };
  const done = { ...base, name: 'done', established: true, done: true };
  const opening = { ...base, name: 'opening', opening: true };
  const mute = { ...opening, name: 'mute', stateForMs: 5000 };
  const none = undefined;
  assert.deepEqual(deferralState([done, done], 100, 0, times), { over: true, waitingFor: [] });
  assert.equal(deferralState([], 100, none, times).over, false);
  assert.equal(deferralState([], 5000, none, times).over, true);
  assert.deepEqual(deferralState([done, down], 599, 599, times), { over: false, waitingFor: ['down'] });
  assert.equal(deferralState([done, down], 600, 600, times).over, true);
  const held = { ...base, name: 'held', held: true };
  assert.deepEqual(deferralState([done, held], 19_999, 19_999, times), { over: false, waitingFor: ['held'] });
  assert.equal(deferralState([done, held], 20_000, 20_000, times).over, true);
  assert.deepEqual(deferralState([down], 4999, none, times).waitingFor, ['down'], 'nobody is done');
  assert.equal(deferralState([down], 5000, none, times).over, true);
  assert.deepEqual(deferralState([down, refuses], 19_999, none, times).waitingFor, ['refuses'], 'it is alive');
  assert.equal(deferralState([refuses], 20_000, none, times).over, true);
  assert.equal(deferralState([done, refuses], 9000, 600, times).over, true, 'others have told what there is');
  assert.deepEqual(deferralState([done, passive], 4999, 4000, times).waitingFor, ['passive']);
  assert.equal(deferralState([done, passive], 5000, 4000, times).over, true);
  assert.deepEqual(deferralState([done, busy, opening], 19_999, 9000, times).waitingFor, ['busy', 'opening']);
  assert.equal(deferralState([done, mute], 9000, 8000, times).over, true, 'a connection without an OPEN is no peer');
  assert.equal(deferralState([busy], 20_000, none, times).over, true);
});
