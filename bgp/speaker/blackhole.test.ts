/** BLACKHOLE (RFC 7999) on sessions: obeyed where it is asked for, and an ordinary community elsewhere. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RouteChange } from '../rib/index.ts';
import { encodeRouteRefresh } from '../wire/index.ts';
import { asPath, attribute, localPref, mpReach, nextHop, origin, update } from '../wire/test-messages.ts';
import type { PeerConfig } from './config.ts';
import { config, Network, peer } from './test-network.ts';
import { RawPeer } from './test-raw-peer.ts';
import type { RoutePath } from './types.ts';

const [here, there, within, beyond] = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4'] as const;
const blackhole = [0xff, 0xff, 0x02, 0x9a];
const noAdvertise = [0xff, 0xff, 0xff, 0x02];
const host = [32, 192, 0, 2, 9];
const host6 = [128, 0x20, 1, 0xd, 0xb8, ...new Array<number>(11).fill(0), 9];
const net = [24, 192, 0, 2];

function session(mine: Partial<PeerConfig>) {
  const network = new Network();
  const settings = (more: Partial<PeerConfig>) =>
    config(here, 64512, [
      peer(there, 64513, { passive: true, ...mine, ...more }),
      peer(within, 64512, { passive: true }),
      peer(beyond, 64514, { passive: true }),
    ]);
  const speaker = network.add(here, settings({}));
  const [raw, internal, external] = [
    new RawPeer(network, there, here, { asn: 64513 }).establish(),
    new RawPeer(network, within, here, { asn: 64512 }).establish(),
    new RawPeer(network, beyond, here, { asn: 64514 }).establish(),
  ];
  network.run();
  const say = (nlri: readonly number[], ...communities: (readonly number[])[]): void => {
    const list = communities.length === 0 ? [] : [attribute(0xc0, 8, communities.flat())];
    const six = nlri[0]! > 32;
    const head = six ? [mpReach(nlri), origin, asPath] : [origin, asPath, nextHop];
    raw.say(update({ attributes: [...head, ...list], nlri: six ? [] : nlri }));
    network.run();
  };
  /** What the kernel is to do with a prefix. */
  const way = (prefix: string): 'drop' | readonly string[] | undefined => {
    const last = (network.changes.get(here) ?? []).findLast(
      (change): change is Exclude<RouteChange, { type: 'deferralEnded' }> =>
        change.type !== 'deferralEnded' && change.prefix === prefix,
    );
    if (last?.type !== 'upsert') return undefined;
    return last.blackhole ? 'drop' : last.nextHops;
  };
  const path = (prefix: string): RoutePath | undefined =>
    speaker.routes({ prefix, received: true }).routes[0]?.paths[0];
  const configure = (more: Partial<PeerConfig>): void => {
    speaker.configure(settings(more));
    network.run();
  };
  return { network, speaker, raw, internal, external, say, way, path, configure };
}

test('RFC 7999 3.3: without being asked for BLACKHOLE is a community as any other', () => {
  const { say, way, external, path } = session({});
  say(host, blackhole);
  assert.deepEqual(way('192.0.2.9/32'), ['192.0.2.1']);
  assert.deepEqual(external.attributes.get('192.0.2.9/32')?.communities, ['blackhole']);
  assert.equal(path('192.0.2.9/32')?.blackhole, undefined);
});

test('RFC 7999 3.2, 3.3: obeyed, its packets are dropped, it stays in the AS, and shorter prefixes with it are not taken', () => {
  const { say, way, internal, external, path, network } = session({ blackhole: {} });
  say(net);
  say(host, blackhole);
  say(host6, blackhole);
  assert.deepEqual([way('192.0.2.0/24'), way('192.0.2.9/32'), way('2001:db8::9/128')], [['192.0.2.1'], 'drop', 'drop']);
  assert.deepEqual(internal.attributes.get('192.0.2.9/32')?.communities, ['blackhole', 'no-export']);
  assert.equal(external.attributes.get('192.0.2.9/32'), undefined);
  assert.ok(external.attributes.has('192.0.2.0/24'));
  assert.equal(path('192.0.2.9/32')?.blackhole, true);
  say(net, blackhole);
  assert.equal(way('192.0.2.0/24'), undefined, 'what was there before goes: it is another route now');
  say([25, 192, 0, 2, 0], blackhole);
  assert.equal(way('192.0.2.0/25'), undefined);
  // The same prefix without it is forwarded again.
  say(host);
  assert.deepEqual(way('192.0.2.9/32'), ['192.0.2.1']);
  assert.ok(external.attributes.has('192.0.2.9/32'));
  network.run();
});

test('RFC 7999 3.2: NO_ADVERTISE is enough, and NO_EXPORT is not added twice', () => {
  const { say, way, path, internal } = session({ blackhole: {} });
  say(host, blackhole, noAdvertise);
  assert.equal(way('192.0.2.9/32'), 'drop');
  assert.deepEqual(path('192.0.2.9/32')?.attributes.communities, ['blackhole', 'no-advertise']);
  assert.equal(internal.attributes.get('192.0.2.9/32'), undefined);
  say(host, blackhole, [0xff, 0xff, 0xff, 0x01]);
  assert.deepEqual(path('192.0.2.9/32')?.attributes.communities, ['blackhole', 'no-export']);
});

test('RFC 7999 3.3: the length from which it is obeyed, by family; a filter may say more', () => {
  const importFilter = {
    ipv4: [{ action: 'reject' as const, prefix: { operator: 'in' as const, cidr: '192.0.2.0/29' } }],
    ipv6: [],
  };
  const { say, way, speaker } = session({ blackhole: { minLength4: 29, minLength6: 127 }, importFilter });
  for (const [nlri, prefix, expected] of [
    [[28, 192, 0, 2, 16], '192.0.2.16/28', undefined],
    [[29, 192, 0, 2, 16], '192.0.2.16/29', 'drop'],
    [[32, 192, 0, 2, 1], '192.0.2.1/32', undefined],
    [[127, ...host6.slice(1, 16), 8], '2001:db8::8/127', 'drop'],
    [[126, ...host6.slice(1, 16), 4], '2001:db8::4/126', undefined],
  ] as const) {
    say([...nlri], blackhole);
    assert.equal(way(prefix), expected, prefix);
  }
  const [status] = speaker.peerStatuses();
  assert.equal(status?.families[0]?.accepted, 1);
});

test('RFC 7999 3.3: what is too short is kept as rejected with adjRibIn, and says why', () => {
  const { say, way, path } = session({ blackhole: {}, adjRibIn: true });
  say(net, blackhole);
  say(host, blackhole);
  assert.equal(way('192.0.2.0/24'), undefined);
  assert.deepEqual(path('192.0.2.0/24')?.rejected, { by: 'blackhole' });
  assert.equal(way('192.0.2.9/32'), 'drop');
});

test('RFC 7999: switched on and off on the session that is there; the peer is asked again', () => {
  const { say, way, raw, configure, external, speaker, internal } = session({});
  const both = (): void => {
    say(net, blackhole);
    say(host, blackhole);
  };
  both();
  raw.take();
  configure({ blackhole: {} });
  assert.deepEqual(raw.take(), ['refresh 4', 'refresh 6']);
  both();
  assert.deepEqual([way('192.0.2.0/24'), way('192.0.2.9/32')], [undefined, 'drop']);
  assert.equal(external.attributes.get('192.0.2.9/32'), undefined);
  internal.say(encodeRouteRefresh('ipv4-unicast'));
  configure({});
  both();
  assert.deepEqual([way('192.0.2.0/24'), way('192.0.2.9/32')], [['192.0.2.1'], ['192.0.2.1']]);
  assert.ok(external.attributes.has('192.0.2.9/32'));
  assert.equal(speaker.peerStatuses()[0]?.establishedCount, 1);
});

test('RFC 7999 3.3: of several paths the best one says whether packets are dropped', () => {
  const { say, way, internal, network } = session({ blackhole: {} });
  say(host, blackhole);
  const plain = update({ attributes: [origin, attribute(0x40, 2, []), nextHop, localPref], nlri: host });
  internal.say(plain);
  network.run();
  assert.deepEqual(way('192.0.2.9/32'), ['192.0.2.1'], 'LOCAL_PREF 200 of one without it');
  internal.say(update({ withdrawn: host }));
  network.run();
  assert.equal(way('192.0.2.9/32'), 'drop');
});
