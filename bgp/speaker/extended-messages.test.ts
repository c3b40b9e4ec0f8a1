/** RFC 8654 between speakers: who gets a route that 4096 octets cannot carry, and who must not keep an older one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asPath, attribute, global6, mpReach, nextHop, origin, u32, update } from '../wire/test-messages.ts';
import { config, Network, peer } from './test-network.ts';
import { RawPeer } from './test-raw-peer.ts';

const here = '10.0.0.1';

test('a route of more than 4096 octets reaches the peers that negotiated it and is withdrawn from the others (RFC 8654 5)', () => {
  const network = new Network();
  const settings = config(here, 64512, [
    peer('10.0.0.2', 64513, { passive: true }),
    peer('10.0.0.3', 64514, { passive: true }),
    peer('10.0.0.4', 64515, { passive: true }),
    peer('10.0.0.5', 64516, { passive: true, extendedMessages: false }),
  ]);
  const speaker = network.add(here, settings);
  const extended = { extendedMessages: true };
  const source = new RawPeer(network, '10.0.0.2', here, { asn: 64513, ...extended }).establish();
  const long = new RawPeer(network, '10.0.0.3', here, { asn: 64514, ...extended }).establish();
  const short = new RawPeer(network, '10.0.0.4', here, { asn: 64515 }).establish();
  const refused = new RawPeer(network, '10.0.0.5', here, { asn: 64516, ...extended }).establish();
  network.run();
  assert.deepEqual(
    speaker.peerStatuses().map(({ negotiated }) => negotiated?.extendedMessages),
    [true, true, false, false],
  );
  const say = (count: number): void => {
    const list = count === 0 ? [] : [attribute(0xc0, 8, Array.from({ length: count }, (_, i) => u32(i + 1)).flat())];
    source.say(
      update({ attributes: [origin, asPath, nextHop, ...list], nlri: [16, 10, 60] }),
      update({ attributes: [mpReach([64, 0xfd, 0x60, 0, 0, 0, 0, 0, 0], global6), origin, asPath, ...list] }),
    );
    network.run();
  };
  const both = (sign: string): string[] => [`${sign}10.60.0.0/16`, `${sign}fd60::/64`];
  say(3);
  for (const each of [long, short, refused]) assert.deepEqual(each.take().slice(-2).sort(), both('+'));
  say(12_000);
  assert.deepEqual(long.take().sort(), both('+'));
  assert.equal(long.attributes.get('10.60.0.0/16')!.communities!.length, 12_000);
  assert.ok(Math.max(...long.messageBytes) > 48_000);
  for (const each of [short, refused]) {
    assert.deepEqual(each.take().sort(), both('-'));
    assert.ok(Math.max(...each.messageBytes) <= 4096);
  }
  say(4);
  for (const each of [long, short, refused]) assert.deepEqual(each.take().sort(), both('+'));
});

test('4097 octets from a peer that did not negotiate them end the session with 1/2 (RFC 4271 6.1, RFC 8654 4)', () => {
  const network = new Network();
  network.add(here, config(here, 64512, [peer('10.0.0.2', 64513, { passive: true })]));
  const raw = new RawPeer(network, '10.0.0.2', here, { asn: 64513 }).establish();
  network.run();
  const list = attribute(0xc0, 8, Array.from({ length: 1100 }, (_, i) => u32(i + 1)).flat());
  raw.say(update({ attributes: [origin, asPath, nextHop, list], nlri: [16, 10, 60] }));
  network.run();
  assert.match(raw.heard.at(-1)!, /Bad Message Length/);
});

test('whether they are offered is decided by a new session', () => {
  const network = new Network();
  const settings = (extendedMessages?: boolean) =>
    config(here, 64512, [
      peer('10.0.0.2', 64513, { passive: true, ...(extendedMessages === undefined ? {} : { extendedMessages }) }),
    ]);
  const speaker = network.add(here, settings());
  const raw = new RawPeer(network, '10.0.0.2', here, { asn: 64513 }).establish();
  network.run();
  speaker.configure(settings(true));
  network.run();
  assert.equal(raw.closed, false, 'the default by name is no change');
  speaker.configure(settings(false));
  network.run();
  assert.match(raw.heard.at(-1)!, /Other Configuration Change/);
  const again = new RawPeer(network, '10.0.0.2', here, { asn: 64513 });
  network.run();
  assert.equal(again.theirOpen!.extendedMessages, undefined);
});
