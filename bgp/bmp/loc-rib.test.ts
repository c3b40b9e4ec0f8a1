/** The Loc-RIB at a station (RFC 9069), with all paths that share the load. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SpeakerConfig } from '../speaker/config.ts';
import { config, fresh, Network, peer } from '../speaker/test-network.ts';
import { decodeOpen } from '../wire/index.ts';
import { parseStatistics, parseTlvs, TestStation } from './test-station.ts';
import type { BmpStationConfig } from './types.ts';

const stationAddress = '10.0.0.9';
const locRib: BmpStationConfig = { name: 'noc', address: stationAddress, port: 11019, monitor: ['loc-rib'] };
const uplinks = [2, 3, 4] as const;

/** AS 1 (10.0.0.1), which is monitored, and three routers that announce the same, AS 2 to 4. */
function fabric(more: Partial<SpeakerConfig> = {}) {
  const network = new Network();
  const station = new TestStation(network, stationAddress);
  const middle = (changes: Partial<SpeakerConfig> = more): SpeakerConfig =>
    config(
      '10.0.0.1',
      1,
      uplinks.map((n) => peer(`10.0.0.${n}`, n)),
      ['10.1.0.0/16'],
      { bmp: [locRib], ...changes },
    );
  const monitored = network.add('10.0.0.1', middle());
  const outer = (n: number, tag: string, originate: string[], prepend = 0): SpeakerConfig => {
    const tagged = { type: 'addCommunity' as const, value: tag };
    const longer = { type: 'prependOwn' as const, times: prepend };
    const changes = prepend > 0 ? [tagged, longer] : [tagged];
    const term = { action: 'accept' as const, changes };
    return config(`10.0.0.${n}`, n, [peer('10.0.0.1', 1, { exportFilter: { ipv4: [term], ipv6: [] } })], originate);
  };
  const routers = uplinks.map((n) => network.add(`10.0.0.${n}`, outer(n, '1:1', ['10.20.0.0/16', 'fd20::/64'])));
  network.advance(20_000);
  const say = (n: (typeof uplinks)[number], tag: string, originate: string[], prepend = 0): void => {
    routers[n - 2]!.configure(outer(n, tag, originate, prepend));
    network.advance(1000);
  };
  return { network, station, monitored, middle, say };
}
const ours = { '10.1.0.0/16': ' via 0.0.0.0' };

test('RFC 9069 5.2: Peer Up of the Loc-RIB has no address, no ports, OPENs of its families, and the name of the table', () => {
  const { station } = fabric();
  assert.deepEqual([...station.up], ['loc-rib'], 'and no peer is told of');
  const up = station.of('up')[0]!;
  const { type, flags, address, asn, routerId } = up.peer!;
  assert.deepEqual(
    { type, flags, address, asn, routerId },
    { type: 3, flags: 0, address: '0.0.0.0', asn: 1, routerId: '10.0.0.1' },
  );
  assert.equal(up.body.toString('hex', 0, 20), '0'.repeat(40));
  const length = up.body.readUInt16BE(36);
  const open = decodeOpen(up.body.subarray(20, 20 + length), 0, length);
  assert.ok(open.ok);
  assert.deepEqual([open.value.families, open.value.asn4], [['ipv4-unicast', 'ipv6-unicast'], true]);
  assert.deepEqual(up.body.subarray(20, 20 + length), up.body.subarray(20 + length, 20 + 2 * length));
  const tlvs = parseTlvs(up.body.subarray(20 + 2 * length)).map(([kind, value]) => [kind, value.toString()]);
  assert.deepEqual(tlvs, [[3, 'global']]);
});

test('RFC 9069 4, 5.2: all paths that share the load are told with path identifiers, the best one first', () => {
  const { station } = fabric();
  assert.deepEqual(station.table('loc-rib'), {
    ...ours,
    '10.20.0.0/16': '2 via 10.0.0.2 [1:1]',
    '10.20.0.0/16 id 2': '3 via 10.0.0.3 [1:1]',
    '10.20.0.0/16 id 3': '4 via 10.0.0.4 [1:1]',
    'fd20::/64': '2 via fd00::2',
    'fd20::/64 id 2': '3 via fd00::3',
    'fd20::/64 id 3': '4 via fd00::4',
  });
  assert.deepEqual([...station.complete].sort(), ['loc-rib 4', 'loc-rib 6']);
});

test('RFC 9069 5.4: a prefix with several paths is one route of the Loc-RIB', () => {
  const { network, station } = fabric({ bmp: [{ ...locRib, statisticsSec: 10 }] });
  network.advance(10_000);
  const statistics = parseStatistics(station.of('statistics').at(-1)!.body);
  assert.deepEqual(Object.fromEntries(statistics), { 8: 3, '10/1': 2, '10/2': 1 });
});

test('RFC 9069 5.4.2: what changes of a path that shares the load is told, the best one or not, and nothing else', () => {
  const { station, say } = fabric();
  station.messages = [];
  say(4, '1:2', ['10.20.0.0/16', 'fd20::/64']);
  assert.equal(station.table('loc-rib')['10.20.0.0/16 id 3'], '4 via 10.0.0.4 [1:2]');
  say(4, '1:2', ['10.20.0.0/16', 'fd20::/64', '10.21.0.0/16']);
  assert.equal(station.table('loc-rib')['10.21.0.0/16'], '4 via 10.0.0.4 [1:2]');
  // The best one goes: the others move up.
  say(2, '1:1', ['fd20::/64']);
  const left = {
    ...ours,
    '10.20.0.0/16': '3 via 10.0.0.3 [1:1]',
    '10.20.0.0/16 id 2': '4 via 10.0.0.4 [1:2]',
    '10.21.0.0/16': '4 via 10.0.0.4 [1:2]',
  };
  const only4 = (): Record<string, string> =>
    Object.fromEntries(Object.entries(station.table('loc-rib')).filter(([prefix]) => !prefix.includes(':')));
  assert.deepEqual(only4(), left);
  say(3, '1:1', ['fd20::/64']);
  say(4, '1:2', ['10.20.0.0/16']);
  assert.deepEqual(only4(), { ...ours, '10.20.0.0/16': '4 via 10.0.0.4 [1:2]' });
  say(4, '1:2', []);
  assert.deepEqual(only4(), ours);
  assert.equal(station.pipes.length, 1);
  // A path that shares nothing is not told of.
  say(2, '1:1', ['10.30.0.0/16']);
  say(3, '1:1', []);
  station.messages = [];
  say(3, '1:1', ['10.30.0.0/16'], 2);
  say(3, '1:4', ['10.30.0.0/16'], 2);
  assert.deepEqual(station.of('route'), []);
});

test('RFC 9069 5.2: without paths that share the load, or with `multipath: false`, there are no path identifiers', () => {
  for (const more of [{ multipath: { max: 1, asPathRelax: true } }, { bmp: [{ ...locRib, multipath: false }] }]) {
    const { network, station, monitored, middle, say } = fabric(more);
    const best = { ...ours, '10.20.0.0/16': '2 via 10.0.0.2 [1:1]', 'fd20::/64': '2 via fd00::2' };
    assert.deepEqual(station.table('loc-rib'), best);
    station.messages = [];
    say(3, '1:3', ['10.20.0.0/16', 'fd20::/64']);
    assert.deepEqual(station.of('route'), []);
    // Live: told anew, as the OPENs of the Loc-RIB differ.
    monitored.configure(middle({}));
    network.advance(60_000);
    assert.equal(station.pipes.length, 2);
    assert.equal(Object.keys(station.table('loc-rib')).length, 7);
  }
});

test('RFC 7854 5 with RFC 4724 4.1: the Loc-RIB of a restarting speaker is not called complete before routes are selected', () => {
  const network = new Network();
  const station = new TestStation(network, stationAddress);
  const gracefulRestart = { ...fresh, restarting: true };
  network.add(
    '10.0.0.1',
    config('10.0.0.1', 1, [peer('10.0.0.2', 2)], ['10.1.0.0/16'], { bmp: [locRib], gracefulRestart }),
  );
  network.advance(2000);
  assert.ok(station.up.has('loc-rib'));
  assert.deepEqual([...station.complete], []);
  network.advance(30_000);
  assert.deepEqual([...station.complete].sort(), ['loc-rib 4', 'loc-rib 6']);
});
