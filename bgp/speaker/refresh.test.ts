/** ROUTE-REFRESH both ways: RFC 2918, and RFC 7313's BoRR and EoRR. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeEndOfRib, encodeRouteRefresh, type OpenMessage } from '../wire/index.ts';
import { asPath, attribute, global6, message, mpReach, nextHop, origin, update } from '../wire/test-messages.ts';
import type { PeerConfig } from './config.ts';
import { refreshSecMax } from './limits.ts';
import { config, fresh, Network, peer } from './test-network.ts';
import { RawPeer } from './test-raw-peer.ts';

const [here, there] = ['10.0.0.1', '10.0.0.2'] as const;
const enhanced = { asn: 64513, enhancedRouteRefresh: true };
const graceful: Partial<OpenMessage> = {
  gracefulRestart: { restarting: false, notification: false, restartTimeSec: 60, families: [] },
};

function session(open: Partial<OpenMessage> & Pick<OpenMessage, 'asn'>, mine: Partial<PeerConfig> = {}) {
  const network = new Network();
  const settings = (more: Partial<PeerConfig>, originate = ['10.1.0.0/16', '10.2.0.0/16', 'fd01::/64']) =>
    config(here, 64512, [peer(there, 64513, { passive: true, ...more })], originate);
  const speaker = network.add(here, settings(mine));
  const raw = new RawPeer(network, there, here, open).establish();
  network.run();
  const say = (...messages: Uint8Array[]): string[] => {
    raw.say(...messages);
    network.run();
    return raw.take();
  };
  const learned = (): string[] => [...network.routesOf(here).keys()].sort();
  return { network, speaker, settings, raw, say, learned };
}
/** 10.N.0.0/16 */
const announce = (...n: number[]): Uint8Array =>
  update({ attributes: [origin, asPath, nextHop], nlri: n.flatMap((each) => [16, 10, each]) });
const [borr, eorr] = [encodeRouteRefresh('ipv4-unicast', 1), encodeRouteRefresh('ipv4-unicast', 2)];

test('a request is answered with everything of that family, between BoRR and EoRR where both know them (RFC 2918 4, RFC 7313 4.1)', () => {
  for (const [open, wrap] of [
    [enhanced, true],
    [{ asn: 64513 }, false],
  ] as const) {
    const { say, raw } = session(open);
    assert.deepEqual(raw.take().slice(1).sort(), ['+10.1.0.0/16', '+10.2.0.0/16', '+fd01::/64', 'EoR 4', 'EoR 6']);
    const answer = say(encodeRouteRefresh('ipv4-unicast'));
    assert.deepEqual(answer.slice(wrap ? 1 : 0, 3).filter((e) => e.startsWith('+')).length, 2);
    if (wrap) assert.deepEqual([answer[0], answer.at(-1), answer.length], ['BoRR 4', 'EoRR 4', 4]);
    else assert.equal(answer.length, 2);
    assert.deepEqual(
      say(encodeRouteRefresh('ipv6-unicast')),
      wrap ? ['BoRR 6', '+fd01::/64', 'EoRR 6'] : ['+fd01::/64'],
    );
  }
});

test('with nothing to announce the answer is BoRR and EoRR (RFC 7313 4.1)', () => {
  for (const mine of [{ export: 'reject' }, { nextHop4: 'fd00::1' }] as const) {
    const { say, raw } = session(enhanced, mine);
    raw.take();
    assert.deepEqual(say(encodeRouteRefresh('ipv4-unicast')), ['BoRR 4', 'EoRR 4'], JSON.stringify(mine));
  }
});

test('BoRR waits for our End-of-RIB (RFC 7313 4.1)', () => {
  const network = new Network();
  // Our own restart: learned routes, and End-of-RIB with them, wait for the other peer.
  const peers = [peer(there, 64513, { passive: true }), peer('10.0.0.3', 64514, { passive: true })];
  network.add(here, config(here, 64512, peers, ['10.1.0.0/16'], { gracefulRestart: { ...fresh, restarting: true } }));
  const raw = new RawPeer(network, there, here, { ...enhanced, ...graceful }).establish();
  network.run();
  raw.take();
  raw.say(encodeRouteRefresh('ipv4-unicast'), encodeRouteRefresh('ipv4-unicast'));
  network.run();
  assert.deepEqual(raw.take(), []);
  network.advance(21_000);
  const heard = raw.take().filter((event) => event.endsWith(' 4') || event.startsWith('+10'));
  assert.deepEqual(heard, ['EoR 4', 'BoRR 4', '+10.1.0.0/16', 'EoRR 4']);
});

test('requests while an answer is under way are answered by one more (RFC 7313 4.1)', () => {
  const { say, raw, network } = session(enhanced);
  raw.take();
  raw.pipe.other.stuckBytes = 1 << 24;
  const ask = encodeRouteRefresh('ipv4-unicast');
  assert.deepEqual(say(ask, ask, ask, ask), ['BoRR 4'], 'the socket takes nothing');
  raw.pipe.other.stuckBytes = 0;
  raw.pipe.other.handlers!.onDrained();
  network.run();
  const answer = raw.take();
  assert.deepEqual(
    answer.map((event) => (event.startsWith('+') ? '+' : event)),
    ['+', '+', 'EoRR 4', 'BoRR 4', '+', '+', 'EoRR 4'],
  );
});

test('an answer under way goes on in another update group', () => {
  const { say, raw, network, speaker, settings } = session(enhanced);
  raw.take();
  raw.pipe.other.stuckBytes = 1 << 24;
  say(encodeRouteRefresh('ipv4-unicast'));
  speaker.configure(settings({ nextHop4: '10.0.0.77' }));
  raw.pipe.other.stuckBytes = 0;
  raw.pipe.other.handlers!.onDrained();
  network.run();
  const heard = raw.take().filter((event) => !event.includes('fd01'));
  assert.deepEqual([heard.length, heard.at(-1)], [3, 'EoRR 4']);
  assert.equal(raw.nextHops.get('10.1.0.0/16'), '10.0.0.77');
});

test('what a refresh did not announce again goes at EoRR, of that family alone (RFC 7313 4.2)', () => {
  const { say, learned, speaker, network } = session(enhanced);
  say(
    announce(60, 61, 62),
    update({ attributes: [mpReach([64, 0xfd, 0x60, 0, 0, 0, 0, 0, 0], global6), origin, asPath] }),
  );
  const all = ['10.60.0.0/16', '10.61.0.0/16', '10.62.0.0/16', 'fd60::/64'];
  assert.deepEqual(learned(), all);
  say(borr, announce(60));
  assert.deepEqual(learned(), all, 'in use until EoRR');
  const before = network.changes.get(here)!.length;
  say(announce(62), eorr);
  assert.deepEqual(learned(), ['10.60.0.0/16', '10.62.0.0/16', 'fd60::/64']);
  const withdrawn = network.changes.get(here)!.slice(before);
  assert.deepEqual(withdrawn.length, 1, 'nothing else is touched');
  assert.equal(speaker.peerStatuses()[0]!.families[0]!.accepted, 2);
  assert.equal(speaker.peerStatuses()[0]!.negotiated!.enhancedRouteRefresh, true);
});

test('EoRR without BoRR, and markers that were not negotiated, drop nothing (RFC 7313 4.2)', () => {
  for (const open of [enhanced, { asn: 64513 }]) {
    const { say, learned } = session(open);
    say(announce(60), eorr);
    assert.deepEqual(learned(), ['10.60.0.0/16']);
    if (open === enhanced) continue;
    say(borr, eorr);
    assert.deepEqual(learned(), ['10.60.0.0/16']);
  }
});

test('a second BoRR begins anew (RFC 7313 4.2)', () => {
  const { say, learned, network } = session(enhanced);
  say(announce(60, 61), borr, announce(60));
  network.advance(1000);
  say(borr, announce(61), eorr);
  assert.deepEqual(learned(), ['10.61.0.0/16']);
});

test('without EoRR the time for it is bounded (RFC 7313 4.2)', () => {
  const { say, learned, network } = session(enhanced);
  say(announce(60, 61), borr, announce(60));
  network.advance((refreshSecMax - 1) * 1000);
  assert.equal(learned().length, 2);
  network.advance(2000);
  assert.deepEqual(learned(), ['10.60.0.0/16']);
});

test('BoRR before End-of-RIB of a peer with graceful restart is ignored (RFC 7313 4.2)', () => {
  const { say, learned } = session({ ...enhanced, ...graceful });
  say(announce(60, 61), borr, announce(60), eorr);
  assert.equal(learned().length, 2);
  say(encodeEndOfRib(4), borr, announce(60), eorr);
  assert.deepEqual(learned(), ['10.60.0.0/16']);
});

test('a session that ends within a refresh takes its marks along', () => {
  const { say, learned, network, speaker } = session(enhanced);
  say(announce(60, 61), borr);
  speaker.pathLost({ peer: there });
  network.run();
  assert.deepEqual(learned(), []);
  network.advance((refreshSecMax + 1) * 1000);
  const again = new RawPeer(network, there, here, enhanced).establish().say(announce(60, 61), eorr);
  network.run();
  assert.deepEqual(learned(), ['10.60.0.0/16', '10.61.0.0/16']);
  assert.equal(again.closed, false);
});

test('subtypes over 2 and families that are not ours are ignored (RFC 7313 5)', () => {
  const { say, raw, learned, network } = session(enhanced);
  say(announce(60));
  raw.take();
  assert.deepEqual(say(message(5, [0, 1, 3, 1]), message(5, [0, 1, 255, 1]), message(5, [0, 1, 9, 1, 1, 2, 3])), []);
  assert.deepEqual(say(message(5, [0, 25, 0, 65]), message(5, [0, 1, 1, 2]), message(5, [0, 1, 2, 2])), []);
  assert.deepEqual(learned(), ['10.60.0.0/16']);
  network.run();
  assert.equal(raw.closed, false);
  assert.deepEqual(say(message(5, [0, 1, 1])), [
    'ROUTE-REFRESH Message Error/Invalid Message Length: 0xffffffffffffffffffffffffffffffff001605000101',
  ]);
});

test('a change of the import policy asks for the routes again, and takes them between the markers (RFC 2918 3)', () => {
  const { say, raw, learned, network, speaker, settings } = session(enhanced);
  const marked = attribute(0xc0, 8, [0xfc, 1, 0, 7]);
  say(update({ attributes: [origin, asPath, nextHop, marked], nlri: [16, 10, 60] }), announce(61));
  raw.take();
  const reject = { importFilter: { ipv4: [{ action: 'reject', community: '64513:7' }], ipv6: [] } } as const;
  speaker.configure(settings(reject));
  network.run();
  assert.deepEqual(raw.take(), ['refresh 4', 'refresh 6']);
  say(borr, announce(61), eorr);
  assert.deepEqual(learned(), ['10.61.0.0/16']);
  speaker.configure(settings({}));
  network.advance(1000);
  assert.deepEqual(raw.take(), ['refresh 4', 'refresh 6']);
  say(borr, announce(60), announce(61), eorr);
  assert.deepEqual(learned(), ['10.60.0.0/16', '10.61.0.0/16']);
});

test('a flood of markers costs no pass over the table each', () => {
  const { say, learned, network } = session(enhanced);
  say(announce(60, 61));
  network.advance(1000);
  say(borr, announce(60), announce(61), eorr, ...Array.from({ length: 500 }, () => [borr, eorr]).flat());
  assert.deepEqual(learned(), ['10.60.0.0/16', '10.61.0.0/16'], 'those that follow at once are part of the first');
});
