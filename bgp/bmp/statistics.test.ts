/** Statistics count what happened and nothing else: a peer made of octets does each thing that is counted. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerConfig } from '../speaker/config.ts';
import { config, Network, peer } from '../speaker/test-network.ts';
import { RawPeer } from '../speaker/test-raw-peer.ts';
import { encodeEndOfRib, encodeRouteRefresh, type OpenMessage } from '../wire/index.ts';
import { asPath, attribute, localPref, nextHop, origin, sequence, u32, update } from '../wire/test-messages.ts';
import { parseStatistics, TestStation } from './test-station.ts';
import { type BmpStationConfig, type BmpTable, bmpTables } from './types.ts';

const [here, there, stationAddress] = ['10.0.0.1', '10.0.0.2', '10.0.0.9'] as const;
const station = (monitor: readonly BmpTable[] = bmpTables): BmpStationConfig[] => [
  { name: 'noc', address: stationAddress, port: 11019, monitor, statisticsSec: 10 },
];

/** AS 64512 and one peer, of AS 64513 unless the OPEN says otherwise. */
function world(mine: Partial<PeerConfig> = {}, open: Partial<OpenMessage> = {}, monitor?: readonly BmpTable[]) {
  const network = new Network();
  const noc = new TestStation(network, stationAddress);
  const asn = open.asn ?? 64513;
  const settings = (more: Partial<PeerConfig>) =>
    config(here, 64512, [peer(there, asn, { passive: true, ...more })], [], { bmp: station(monitor) });
  const speaker = network.add(here, settings(mine));
  network.run();
  const connect = (): RawPeer => {
    const raw = new RawPeer(network, there, here, { asn, ...open }).establish();
    network.run();
    return raw;
  };
  let raw = connect();
  return {
    network,
    say(...messages: Uint8Array[]): void {
      raw.say(...messages);
      network.run();
    },
    reconnect(): void {
      raw.pipe.close();
      network.run();
      raw = connect();
    },
    configure(more: Partial<PeerConfig>): void {
      speaker.configure(settings(more));
      network.run();
    },
    /** Of the next report about the peer: the values of these types, those that are 0 left out. */
    report(...types: number[]): Record<string, number> {
      noc.messages = [];
      network.advance(10_000);
      const [latest] = noc.of('statistics').filter(({ peer: about }) => about!.address === there);
      const wanted = [...parseStatistics(latest!.body)].filter(([type]) => types.includes(Number(type.split('/')[0])));
      return Object.fromEntries(wanted.filter(([, value]) => value !== 0));
    },
  };
}
const [duplicate, rejected] = [
  [1, 2, 13],
  [0, 1, 2, 13],
] as const;
const invalid = [3, 4, 5, 6, 11, 12];

/** 10.N.0.0/16 */
const nlri = (...n: number[]): number[] => n.flatMap((each) => [16, 10, each]);
const med = (value: number): number[] => attribute(0x80, 4, u32(value));
const announce = (n: readonly number[], ...more: number[][]): Uint8Array =>
  update({ attributes: [origin, asPath, nextHop, ...more], nlri: nlri(...n) });
const withdraw = (...n: number[]): Uint8Array => update({ withdrawn: nlri(...n) });

test('RFC 7854 4.8, RFC 8671 6.2, RFC 9069 5.4: statistics of each peer and of the Loc-RIB, as often as asked for', () => {
  const filter = {
    ipv4: [{ action: 'reject' as const, prefix: { operator: 'equal' as const, cidr: '10.3.0.0/16' } }],
    ipv6: [],
  };
  const network = new Network();
  const noc = new TestStation(network, stationAddress);
  const peers = [peer('10.0.0.2', 2), peer('10.0.0.3', 3, { importFilter: filter, export: 'originated' })];
  const [bmp] = station();
  const originate = ['10.1.0.0/16', 'fd01::/64'];
  network.add(here, config(here, 1, peers, originate, { bmp: [{ ...bmp, statisticsSec: 60 }] }));
  network.add('10.0.0.2', config('10.0.0.2', 2, [peer(here, 1)], ['10.2.0.0/16', 'fd02::/64']));
  network.add('10.0.0.3', config('10.0.0.3', 3, [peer(here, 1)], ['10.3.0.0/16']));
  network.advance(40_000);
  noc.messages = [];
  network.advance(120_000);
  const reports = noc.of('statistics');
  assert.equal(reports.length, 2 * 3);
  const of = (address: string) => parseStatistics(reports.find(({ peer: about }) => about!.address === address)!.body);
  const none = { 0: 0, 1: 0, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0, 11: 0, 12: 0, 13: 0 };
  const out = (before: number, after: number) => ({
    ...{ 14: 2 * before, '16/1': before, '16/2': before },
    ...{ 15: 2 * after, '17/1': after, '17/2': after },
  });
  const expected: Record<string, Record<string, number>> = {
    '10.0.0.2': { ...none, 7: 2, '9/1': 1, '9/2': 1, ...out(1, 1) },
    // What export policy holds back is in the Adj-RIB-Out before it.
    '10.0.0.3': { ...none, 0: 1, 7: 1, '9/1': 1, '9/2': 0, ...out(2, 1) },
    '0.0.0.0': { 8: 4, '10/1': 2, '10/2': 2 },
  };
  for (const [address, values] of Object.entries(expected)) {
    assert.deepEqual(Object.fromEntries(of(address)), values, address);
  }
});

test('RFC 8671 6.2: types 14 and 16 are told to stations that ask for that table', () => {
  const { report } = world({}, {}, ['adj-rib-out', 'post-policy']);
  assert.deepEqual(Object.keys(report(14, 16)), []);
});

test('RFC 7854 4.8, types 1, 2, 13: what is announced or withdrawn twice, and messages of nothing else', () => {
  const { say, report, reconnect } = world();
  say(announce([1, 2]));
  say(withdraw(2));
  assert.deepEqual(report(...duplicate), {});
  say(announce([1]));
  assert.deepEqual(report(...duplicate), { 1: 1, 13: 1 });
  say(announce([1], med(5)));
  assert.deepEqual(report(...duplicate), { 1: 1, 13: 1 }, 'other attributes');
  say(announce([1, 3], med(5)));
  assert.deepEqual(report(...duplicate), { 1: 2, 13: 1 }, 'a message that says something as well');
  say(withdraw(9, 2));
  assert.deepEqual(report(...duplicate), { 1: 2, 2: 2, 13: 2 });
  say(withdraw(3, 2));
  assert.deepEqual(report(...duplicate), { 1: 2, 2: 3, 13: 2 });
  say(update({ withdrawn: nlri(9), attributes: [origin, asPath, nextHop, med(5)], nlri: nlri(1) }));
  assert.deepEqual(report(...duplicate), { 1: 3, 2: 4, 13: 3 });
  say(encodeEndOfRib(4), encodeEndOfRib(4));
  assert.deepEqual(report(...duplicate), { 1: 3, 2: 4, 13: 3 }, 'an End-of-RIB is no duplicate');
  reconnect();
  assert.deepEqual(report(...duplicate), {}, 'a session begins at zero');
});

test('RFC 7854 4.8, types 1 and 2 with several paths of a prefix (RFC 7911): each by its identifier', () => {
  const family = 'ipv4-unicast' as const;
  const open = { addPath: [{ family, receive: false, send: true }] };
  const { say, report } = world({ addPath: { receive: true, send: 0 } }, open);
  const path = (id: number, n: number): number[] => [...u32(id), ...nlri(n)];
  say(update({ attributes: [origin, asPath, nextHop], nlri: [...path(1, 1), ...path(2, 1)] }));
  assert.deepEqual(report(...duplicate), {});
  say(update({ attributes: [origin, asPath, nextHop], nlri: path(2, 1) }));
  assert.deepEqual(report(...duplicate), { 1: 1, 13: 1 });
  say(update({ withdrawn: [...path(3, 1), ...path(1, 1)] }));
  assert.deepEqual(report(...duplicate), { 1: 1, 2: 1, 13: 1 });
});

test('RFC 7854 4.8, type 1: what a refresh (RFC 7313) or a restart (RFC 4724) asked for again is no duplicate', () => {
  const gracefulRestart = {
    restarting: false,
    notification: false,
    restartTimeSec: 60,
    families: [{ family: 'ipv4-unicast' as const, forwarding: true }],
  };
  const { say, report, reconnect } = world({}, { enhancedRouteRefresh: true, gracefulRestart });
  const endOfRibs = [encodeEndOfRib(4), encodeEndOfRib(6)];
  say(announce([1]), ...endOfRibs);
  say(encodeRouteRefresh('ipv4-unicast', 1), announce([1]));
  assert.deepEqual(report(...duplicate), {});
  say(announce([1]));
  assert.deepEqual(report(...duplicate), { 1: 1, 13: 1 }, 'once was enough');
  say(encodeRouteRefresh('ipv4-unicast', 2));
  reconnect();
  say(announce([1]), ...endOfRibs);
  assert.deepEqual(report(...duplicate), {});
});

const rejectOne: PeerConfig['importFilter'] = {
  ipv4: [{ action: 'reject', prefix: { operator: 'equal', cidr: '10.1.0.0/16' } }],
  ipv6: [],
};
const setMed: PeerConfig['importFilter'] = {
  ipv4: [{ action: 'accept', changes: [{ type: 'setMed', value: 7 }] }],
  ipv6: [],
};

test('RFC 7854 4.8, "(known) duplicate": what import policy left nothing of is not guessed at', () => {
  const { say, report, configure } = world({ importFilter: rejectOne });
  say(withdraw(5));
  assert.deepEqual(report(...rejected), { 2: 1, 13: 1 });
  say(announce([1]));
  say(announce([1]));
  say(withdraw(1));
  say(withdraw(1), withdraw(5));
  assert.deepEqual(report(...rejected), { 0: 2, 2: 1, 13: 1 }, 'the first withdrawal was none');
  // Nor what a filter changes, which may have been different before.
  configure({ importFilter: setMed });
  say(announce([2], med(1)));
  say(announce([2], med(2)));
  assert.deepEqual(report(1, 13), { 13: 1 });
});

test('RFC 7854 4.8, types 1 and 2: with a policy that is taken back live nothing is guessed at either', () => {
  const { say, report, configure } = world();
  say(announce([1]));
  configure({ importFilter: rejectOne });
  say(withdraw(1));
  assert.deepEqual(report(...duplicate), {}, 'it was announced, and removed by the new filter');
});

test('RFC 7854 4.8, types 1 and 2: with adjRibIn all that was announced is known', () => {
  for (const importFilter of [rejectOne, setMed]) {
    const { say, report } = world({ importFilter, adjRibIn: true });
    say(announce([1], med(1)));
    say(announce([1], med(2)));
    assert.deepEqual(report(...duplicate), {});
    say(announce([1], med(2)));
    assert.deepEqual(report(...duplicate), { 1: 1, 13: 1 });
    say(withdraw(1));
    assert.deepEqual(report(...duplicate), { 1: 1, 13: 1 });
    say(withdraw(1));
    assert.deepEqual(report(...duplicate), { 1: 1, 2: 1, 13: 2 });
  }
});

test('RFC 7854 4.8, types 3 to 6: loops by AS_PATH, ORIGINATOR_ID and CLUSTER_LIST (RFC 4456 8), each by its own', () => {
  const { say, report } = world({}, { asn: 64512 });
  const originator = (id: number): number[] => attribute(0x80, 9, u32(id));
  const clusters = (...ids: number[]): number[] => attribute(0x80, 10, ids.flatMap(u32));
  const [us, other] = [0x0a00_0001, 0x0a00_0063];
  const internal = (...more: number[][]): Uint8Array =>
    update({ attributes: [origin, attribute(0x40, 2, sequence(65001)), nextHop, localPref, ...more], nlri: nlri(1) });
  say(internal(originator(other), clusters(other)));
  assert.deepEqual(report(...invalid), {});
  say(internal(originator(us), clusters(other)));
  assert.deepEqual(report(...invalid), { 5: 1 });
  say(internal(originator(other), clusters(other, us)));
  assert.deepEqual(report(...invalid), { 3: 1, 5: 1 });
  say(internal(originator(us), clusters(us)));
  assert.deepEqual(report(...invalid), { 3: 1, 5: 2 }, 'one of them is enough');
  const looped = attribute(0x40, 2, sequence(65001, 64512));
  say(update({ attributes: [origin, looped, nextHop, localPref], nlri: nlri(1, 2) }));
  assert.deepEqual(report(...invalid), { 3: 1, 4: 1, 5: 2 }, 'UPDATEs are counted, not prefixes');
  // AS_CONFED_SEQUENCE: we are in no confederation, so that it is malformed (RFC 7606 7.2) and no loop.
  const confederation = attribute(0x40, 2, [3, 1, ...u32(64512)]);
  say(update({ attributes: [origin, confederation, nextHop, localPref], nlri: nlri(1, 2) }));
  assert.deepEqual(report(...invalid), { 3: 1, 4: 1, 5: 2, 11: 1, 12: 2 });
});
