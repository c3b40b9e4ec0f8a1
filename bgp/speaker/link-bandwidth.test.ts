/** Link bandwidth (RFC 10005) on sessions: into the weights of multipath, from a peer's setting, and through filters. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RouteFilter } from '../filter/index.ts';
import { encodeLinkBandwidth } from '../wire/index.ts';
import { asPath, attribute, mpReach, origin, update } from '../wire/test-messages.ts';
import type { PeerConfig, SpeakerConfig } from './config.ts';
import { config, Network, peer } from './test-network.ts';
import { RawPeer } from './test-raw-peer.ts';

const here = '10.0.0.1';
const routers = ['10.0.0.2', '10.0.0.3', '10.0.0.4'] as const;
const prefix = '10.1.0.0/16';
const net = [16, 10, 1];
const gigabit = 1.25e8;

function fabric(mine: readonly Partial<PeerConfig>[] = [], multipath?: SpeakerConfig['multipath']) {
  const network = new Network();
  const settings = (more: readonly Partial<PeerConfig>[]) =>
    config(
      here,
      64512,
      [
        ...routers.map((address, i) => peer(address, 64513, { passive: true, ...more[i] })),
        peer('10.0.0.9', 64512, { passive: true }),
        peer('10.0.0.10', 64600, { passive: true, ...more[3] }),
      ],
      [],
      multipath ? { multipath } : {},
    );
  const speaker = network.add(here, settings(mine));
  const raws = routers.map((address) => new RawPeer(network, address, here, { asn: 64513 }).establish());
  const internal = new RawPeer(network, '10.0.0.9', here, { asn: 64512 }).establish();
  const external = new RawPeer(network, '10.0.0.10', here, { asn: 64600 }).establish();
  network.run();
  const say = (i: number, ...communities: Uint8Array[]): void => {
    const list =
      communities.length === 0
        ? []
        : [
            attribute(
              0xc0,
              16,
              communities.flatMap((octets) => [...octets]),
            ),
          ];
    const nextHop = attribute(0x40, 3, [192, 0, 2, i]);
    raws[i]!.say(update({ attributes: [origin, asPath, nextHop, ...list], nlri: net }));
    network.run();
  };
  const gone = (i: number): void => {
    raws[i]!.say(update({ withdrawn: net }));
    network.run();
  };
  /** Last octet of each next hop, with its weight where there are any. */
  const ways = (): readonly (number | readonly [number, number])[] => {
    const last = network.changes.get(here)!.findLast((change) => change.type === 'upsert' && change.prefix === prefix);
    if (last?.type !== 'upsert') return [];
    const { nextHops, weights } = last;
    return nextHops.map((hop, i) => {
      const octet = Number(hop.split('.')[3]);
      return weights ? [octet, weights[i]!] : octet;
    });
  };
  const configure = (more: readonly Partial<PeerConfig>[]): void => {
    speaker.configure(settings(more));
    network.run();
  };
  return { network, speaker, raws, internal, external, say, gone, ways, configure };
}
const bandwidth = (bytesPerSec: number, transitive = false): Uint8Array =>
  encodeLinkBandwidth(64513, bytesPerSec, transitive);

test('RFC 10005: shares follow the bandwidths where every path of the multipath set says one, of either type', () => {
  const { say, gone, ways } = fabric();
  say(0, bandwidth(10 * gigabit));
  say(1, bandwidth(25 * gigabit, true));
  assert.deepEqual(ways(), [
    [0, 2],
    [1, 5],
  ]);
  say(2);
  assert.deepEqual(ways(), [0, 1, 2], 'one says none: equal shares');
  say(2, bandwidth(40 * gigabit));
  assert.deepEqual(ways(), [
    [0, 2],
    [1, 5],
    [2, 8],
  ]);
  gone(1);
  assert.deepEqual(ways(), [
    [0, 1],
    [2, 4],
  ]);
  say(0, bandwidth(40 * gigabit));
  assert.deepEqual(ways(), [0, 2], 'equal ones are no weights');
  gone(2);
  assert.deepEqual(ways(), [0]);
});

test('RFC 10005: a path that more than enough others leave no place has no say', () => {
  const { say, ways } = fabric([], { max: 2, asPathRelax: true });
  say(2);
  say(1, bandwidth(3 * gigabit));
  say(0, bandwidth(gigabit));
  assert.deepEqual(ways(), [
    [0, 1],
    [1, 3],
  ]);
});

test('RFC 10005: weights do not depend on the order of arrival', () => {
  const speeds = [3.7e8, 9.1e9, 123_456_789];
  const outcomes = [
    [0, 1, 2],
    [2, 1, 0],
    [1, 2, 0],
  ].map((order) => {
    const { say, ways } = fabric();
    for (const i of order) say(i, bandwidth(speeds[i]!));
    return ways();
  });
  assert.deepEqual(outcomes[0], [
    [0, 10],
    [1, 256],
    [2, 3],
  ]);
  assert.deepEqual(outcomes[1], outcomes[0]);
  assert.deepEqual(outcomes[2], outcomes[0]);
});

test('RFC 10005: who says zero gets nothing while others say more; all zero is equal', () => {
  const { say, ways } = fabric();
  for (const i of [0, 1, 2]) say(i, bandwidth(0));
  assert.deepEqual(ways(), [0, 1, 2]);
  say(1, bandwidth(gigabit));
  assert.deepEqual(ways(), [1]);
  say(2, bandwidth(2 * gigabit));
  assert.deepEqual(ways(), [
    [1, 1],
    [2, 2],
  ]);
});

test('RFC 10005: one of several paths by one next hop counts, the fastest; IPv6 as IPv4', () => {
  const { raws, network } = fabric();
  const six = (i: number, hop: number, bytesPerSec: number): void => {
    const next = [0xfd, ...new Array<number>(14).fill(0), hop];
    const list = attribute(0xc0, 16, [...bandwidth(bytesPerSec)]);
    raws[i]!.say(update({ attributes: [mpReach([16, 0xfd, 1], next), origin, asPath, list] }));
    network.run();
  };
  six(0, 5, gigabit);
  six(1, 5, 3 * gigabit);
  six(2, 6, gigabit);
  const last = network.changes.get(here)!.findLast((change) => change.type === 'upsert');
  assert.deepEqual(last, { type: 'upsert', prefix: 'fd01::/16', nextHops: ['fd00::5', 'fd00::6'], weights: [3, 1] });
});

test('RFC 10005: the setting of a peer stands for what its routes do not say, within our AS only, and changes live', () => {
  const links = [{ linkBandwidthBytesPerSec: gigabit }, { linkBandwidthBytesPerSec: 10 * gigabit }];
  const { say, ways, internal, external, configure, speaker } = fabric(links);
  say(0);
  say(1);
  assert.deepEqual(ways(), [
    [0, 1],
    [1, 10],
  ]);
  const told = () => internal.attributes.get(prefix)?.extendedCommunities;
  assert.deepEqual(told(), ['4004fc004cee6b28']);
  assert.equal(external.attributes.get(prefix)?.extendedCommunities, undefined);
  say(1, bandwidth(5 * gigabit));
  assert.deepEqual(ways()[1], [1, 5], 'what it says itself stays');
  configure([{ linkBandwidthBytesPerSec: 2 * gigabit }]);
  say(0);
  say(1, bandwidth(5 * gigabit));
  assert.deepEqual(ways(), [
    [0, 2],
    [1, 5],
  ]);
  assert.equal(speaker.peerStatuses()[0]?.establishedCount, 1);
});

test('RFC 10005: a filter sets it on the way in and out, one to a route, and matches either type', () => {
  const set = (value: string): RouteFilter => ({
    ipv4: [{ action: 'accept', changes: [{ type: 'addCommunity', value }] }],
    ipv6: [],
  });
  const slow: RouteFilter = {
    ipv4: [{ action: 'reject', communities: { any: ['bandwidth:*:0-200000000'] } }],
    ipv6: [],
  };
  const { say, ways, external, configure } = fabric([
    { importFilter: set('bandwidth:64512:500') },
    { importFilter: slow },
    {},
    { exportFilter: set('bandwidth:64512:125000000') },
  ]);
  say(0, bandwidth(10 * gigabit));
  say(1, bandwidth(1000 * gigabit));
  assert.deepEqual(ways()[0], [0, 1], 'the one that was there is replaced');
  say(1, bandwidth(gigabit));
  assert.deepEqual(ways(), [0], 'it is too slow');
  assert.deepEqual(external.attributes.get(prefix)?.extendedCommunities, ['0004fc004cee6b28']);
  configure([{}, {}, {}, {}]);
  say(0, bandwidth(gigabit, true));
  assert.deepEqual(
    external.attributes.get(prefix)?.extendedCommunities,
    ['0004fc014cee6b28'],
    'the transitive type goes on',
  );
  say(0, bandwidth(gigabit));
  assert.equal(external.attributes.get(prefix)?.extendedCommunities, undefined, 'the other stays');
});
