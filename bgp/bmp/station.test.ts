/** Stations in a network in memory: what they are told equals what the speaker has, whatever happened on the way. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AttributePool, NextHopPool, NextHopSetPool, PeerTable, Rib } from '../rib/index.ts';
import type { SpeakerConfig } from '../speaker/config.ts';
import { config, Network, peer } from '../speaker/test-network.ts';
import { decodeOpen, dottedQuad, emptyAttributeValues } from '../wire/index.ts';
import { InitialDump } from './initial-dump.ts';
import { parseTlvs, TestStation } from './test-station.ts';
import { type BmpStationConfig, bmpTables } from './types.ts';

const stationAddress = '10.0.0.9';
const all: BmpStationConfig = { name: 'noc', address: stationAddress, port: 11019, monitor: bmpTables };

/** AS 1 (10.0.0.1), which is monitored, between AS 2 and AS 3. */
function world(more: Partial<SpeakerConfig> = {}, peers: { two?: object; three?: object } = {}) {
  const network = new Network();
  network.wallMs = 1_700_000_000_123;
  const middle = (changes: { two?: object; three?: object } = peers): SpeakerConfig =>
    config(
      '10.0.0.1',
      1,
      [peer('10.0.0.2', 2, changes.two ?? {}), peer('10.0.0.3', 3, changes.three ?? {})],
      ['10.1.0.0/16', 'fd01::/64'],
      more,
    );
  const monitored = network.add('10.0.0.1', middle());
  const two = network.add('10.0.0.2', config('10.0.0.2', 2, [peer('10.0.0.1', 1)], ['10.2.0.0/16', 'fd02::/64']));
  network.add('10.0.0.3', config('10.0.0.3', 3, [peer('10.0.0.1', 1)], ['10.3.0.0/16']));
  return { network, monitored, middle, two };
}

test('RFC 7854 4.6, RFC 8671, RFC 9069: every table is told as it is, both families', () => {
  const { network } = world({ bmp: [all] });
  const station = new TestStation(network, stationAddress);
  network.advance(40_000);
  assert.deepEqual(station.table('10.0.0.2 pre-policy'), {
    '10.2.0.0/16': '2 via 10.0.0.2',
    'fd02::/64': '2 via fd00::2',
  });
  assert.deepEqual(station.table('10.0.0.2 post-policy'), station.table('10.0.0.2 pre-policy'));
  assert.deepEqual(station.table('10.0.0.2 adj-rib-out'), {
    '10.1.0.0/16': '1 via 10.0.0.1',
    '10.3.0.0/16': '1 3 via 10.0.0.1',
    'fd01::/64': '1 via fd00::1',
  });
  assert.deepEqual(station.table('10.0.0.2 adj-rib-out-pre-policy'), station.table('10.0.0.2 adj-rib-out'));
  assert.deepEqual(station.table('loc-rib'), {
    '10.1.0.0/16': ' via 0.0.0.0',
    '10.2.0.0/16': '2 via 10.0.0.2',
    '10.3.0.0/16': '3 via 10.0.0.3',
    'fd01::/64': ' via ::',
    'fd02::/64': '2 via fd00::2',
  });
  const families = [4, 6];
  const expected = [
    'loc-rib',
    ...['10.0.0.2', '10.0.0.3'].flatMap((p) => bmpTables.slice(0, 4).map((t) => `${p} ${t}`)),
  ];
  assert.deepEqual(
    [...station.complete].sort(),
    expected.flatMap((table) => families.map((family) => `${table} ${family}`)).sort(),
    'End-of-RIB for each table and family (RFC 7854 5)',
  );
  assert.equal(station.messages[0]?.type, 'initiation');
  const tlvs = parseTlvs(station.messages[0]!.body).map(([type, value]) => [type, value.toString()]);
  assert.deepEqual(tlvs, [
    [1, 'test'],
    [2, 'router'],
  ]);
});

test('RFC 7854 4.10: Peer Up carries addresses, ports and both OPENs as they went over the wire', () => {
  const { network, monitored } = world({ bmp: [{ ...all, monitor: ['post-policy'] }] });
  const station = new TestStation(network, stationAddress);
  network.advance(40_000);
  assert.deepEqual([...station.up].sort(), ['10.0.0.2', '10.0.0.3']);
  const up = station.of('up').find((message) => message.peer?.address === '10.0.0.2')!;
  assert.deepEqual(up.peer, {
    type: 0,
    flags: 0,
    distinguisher: '0000000000000000',
    address: '10.0.0.2',
    asn: 2,
    routerId: '10.0.0.2',
    sec: 1_700_000_000,
    usec: 123_000,
  });
  assert.equal(up.body.toString('hex', 0, 16), `${'0'.repeat(24)}0a000001`, 'local address');
  assert.equal(up.body.readUInt16BE(18), 179, 'remote port');
  const sent = up.body.subarray(20, 20 + up.body.readUInt16BE(20 + 16));
  const received = up.body.subarray(20 + sent.length);
  assert.equal(received.length, received.readUInt16BE(16), 'two OPENs and no more');
  const opens = [sent, received].map((bytes) => decodeOpen(bytes, 0, bytes.length));
  assert.deepEqual(
    opens.map((open) => open.ok && [open.value.asn, dottedQuad(open.value.routerId)]),
    [
      [1, '10.0.0.1'],
      [2, '10.0.0.2'],
    ],
  );
  assert.equal(monitored.status().stations?.[0]?.state, 'connected');
});

test('RFC 7854 4.9: Peer Down says who ended the session and how', () => {
  const { network, monitored, middle, two } = world({ bmp: [{ ...all, monitor: ['post-policy', 'adj-rib-out'] }] });
  const station = new TestStation(network, stationAddress);
  network.advance(40_000);
  const down = (): { reason: number; data: string; address: string } => {
    const { body, peer: about } = station.of('down').at(-1)!;
    return { reason: body[0]!, data: body.toString('hex', 1), address: about!.address };
  };
  // We end it, with a Cease (within a Hard Reset, RFC 8538): 1 and the NOTIFICATION.
  monitored.configure({ ...middle(), peers: middle().peers.filter(({ name }) => name === '10.0.0.2') });
  network.advance(100);
  assert.deepEqual(down(), { reason: 1, data: `${'ff'.repeat(16)}00170306090603`, address: '10.0.0.3' });
  assert.deepEqual(station.table('10.0.0.3 post-policy'), {});
  // The link is gone: 2 and ManualStop.
  monitored.pathLost({ peer: '10.0.0.2' });
  assert.equal(station.of('down').length, 1);
  network.run();
  assert.deepEqual(down(), { reason: 2, data: '0002', address: '10.0.0.2' });
  network.advance(40_000);
  assert.ok(station.up.has('10.0.0.2'), 'and up again');
  // The peer ends it with a Cease: 3 and its NOTIFICATION.
  two.stop('drain');
  network.run();
  assert.equal(down().reason, 3);
  assert.match(down().data, /^f{32}....0306/);
  // The peer's process dies: 4, nothing else.
  network.kill('10.0.0.2');
  const again = network.add('10.0.0.2', config('10.0.0.2', 2, [peer('10.0.0.1', 1)], ['10.2.0.0/16']));
  network.advance(60_000);
  assert.ok(station.up.has('10.0.0.2'));
  assert.equal(again.status().peers[0]!.state, 'Established');
  network.kill('10.0.0.2');
  network.run();
  assert.deepEqual(down(), { reason: 4, data: '', address: '10.0.0.2' });
});

test('what changes is told, with its time; what stood there at the start has none (RFC 7854 4.2)', () => {
  const { network, two } = world({ bmp: [all] });
  network.advance(40_000);
  const station = new TestStation(network, stationAddress);
  network.advance(60_000);
  const routes = station.of('route');
  assert.ok(routes.length > 0);
  assert.ok(
    routes.every((message) => message.peer!.sec === 0),
    'the dump',
  );
  station.messages = [];
  network.wallMs = 1_800_000_000_007;
  two.configure(config('10.0.0.2', 2, [peer('10.0.0.1', 1)], ['10.2.0.0/16', '10.22.0.0/16']));
  network.advance(1000);
  const changed = station.of('route');
  const tables = new Set(changed.map(({ peer: about }) => `${about!.address} ${about!.flags}`));
  assert.deepEqual(
    [...tables].sort(),
    ['0.0.0.0 0', '10.0.0.2 0', '10.0.0.2 64', '10.0.0.3 16', '10.0.0.3 80'],
    'the Loc-RIB, the Adj-RIB-In of the peer, the Adj-RIB-Out of the other one',
  );
  assert.ok(changed.every(({ peer: about }) => about!.sec === 1_800_000_000 && about!.usec === 7000));
  assert.equal(station.table('loc-rib')['10.22.0.0/16'], '2 via 10.0.0.2');
  assert.ok(!('fd02::/64' in station.table('10.0.0.2 post-policy')), 'the withdrawal of the other family');
});

test('RFC 7854 4.2: what import policy rejects or changes is pre-policy as it was received', () => {
  const reject = { action: 'reject' as const, prefix: { operator: 'equal' as const, cidr: '10.22.0.0/16' } };
  const importFilter = { ipv4: [reject], ipv6: [] };
  const { network, two } = world({ bmp: [all] }, { two: { importFilter } });
  const station = new TestStation(network, stationAddress);
  two.configure(config('10.0.0.2', 2, [peer('10.0.0.1', 1)], ['10.2.0.0/16', '10.22.0.0/16']));
  network.advance(40_000);
  assert.deepEqual(Object.keys(station.table('10.0.0.2 pre-policy')), ['10.2.0.0/16', '10.22.0.0/16']);
  assert.deepEqual(Object.keys(station.table('10.0.0.2 post-policy')), ['10.2.0.0/16']);
  two.configure(config('10.0.0.2', 2, [peer('10.0.0.1', 1)], ['10.2.0.0/16']));
  network.advance(1000);
  assert.deepEqual(Object.keys(station.table('10.0.0.2 pre-policy')), ['10.2.0.0/16'], 'and withdrawn again');
});

test('RFC 8671 4: pre-policy Adj-RIB-Out is what export policy has not looked at', () => {
  const { network } = world({ bmp: [all] }, { two: { export: 'originated' } });
  const station = new TestStation(network, stationAddress);
  network.advance(40_000);
  assert.deepEqual(Object.keys(station.table('10.0.0.2 adj-rib-out')), ['10.1.0.0/16', 'fd01::/64']);
  assert.deepEqual(Object.keys(station.table('10.0.0.2 adj-rib-out-pre-policy')), [
    '10.1.0.0/16',
    '10.3.0.0/16',
    'fd01::/64',
  ]);
});

test('policy changes reach a station without a new session', () => {
  const { network, monitored, middle } = world({ bmp: [all] });
  const station = new TestStation(network, stationAddress);
  network.advance(40_000);
  monitored.configure(middle({ two: { export: 'reject' }, three: { import: 'reject' } }));
  network.advance(1000);
  assert.deepEqual(station.table('10.0.0.2 adj-rib-out'), {});
  assert.equal(Object.keys(station.table('10.0.0.2 adj-rib-out-pre-policy')).length, 2);
  assert.deepEqual(station.table('10.0.0.3 post-policy'), {});
  assert.deepEqual(Object.keys(station.table('10.0.0.3 pre-policy')), ['10.3.0.0/16']);
  assert.equal(station.of('down').length, 0);
});

test('a station that is added live gets everything, what was received before it included', () => {
  const { network, monitored, middle } = world();
  network.advance(40_000);
  const station = new TestStation(network, stationAddress);
  monitored.configure({ ...middle(), bmp: [all] });
  network.advance(1000);
  assert.deepEqual(Object.keys(station.table('10.0.0.2 pre-policy')), ['10.2.0.0/16', 'fd02::/64']);
  assert.deepEqual(Object.keys(station.table('10.0.0.2 post-policy')), ['10.2.0.0/16', 'fd02::/64']);
  assert.equal(Object.keys(station.table('loc-rib')).length, 5);
  const sessions = monitored.status().peers.map(({ establishedCount }) => establishedCount);
  assert.deepEqual(sessions, [1, 1], 'no session was touched');
  // And removed again: told so (RFC 7854 4.5, RFC 9069 5.3), and nothing is kept.
  monitored.configure(middle());
  network.advance(1000);
  const last = station.messages.slice(-2);
  assert.deepEqual(
    last.map(({ type }) => type),
    ['down', 'termination'],
  );
  assert.equal(last[0]!.body[0], 6);
  const tlvs = parseTlvs(last[1]!.body).map(([type, value]) => [type, value.toString('hex')]);
  assert.deepEqual(tlvs[1], [1, '0000']);
  assert.ok(station.pipes[0]!.closed);
  assert.equal(monitored.status().stations, undefined);
});

test('RFC 7854 3.2: attempts back off from 30 s to 720 s, a restarted station gets everything again', () => {
  const { network, monitored } = world({ bmp: [all] });
  network.advance(1000);
  const status = () => monitored.status().stations![0]!;
  assert.equal(status().state, 'waiting');
  assert.equal(status().lastError, 'refused');
  const waits: number[] = [];
  for (let last = 0, sec = 1; sec < 4000; sec++) {
    network.advance(1000);
    if (status().stateForMs < 1000 && sec - last > 1) {
      waits.push(sec - last);
      last = sec;
    }
  }
  // Jitter is 0.875 here.
  const nominal = [30, 60, 120, 240, 480, 720, 720];
  for (const [i, wait] of waits.slice(0, 6).entries()) {
    assert.ok(Math.abs(wait - 0.875 * nominal[i]!) <= 3, `${i}: ${wait}`);
  }
  const station = new TestStation(network, stationAddress);
  network.advance(720_000);
  assert.equal(status().state, 'connected');
  const before = station.table('loc-rib');
  assert.equal(Object.keys(before).length, 5);
  network.advance(60_000);
  station.pipes[0]!.close();
  network.advance(100);
  assert.equal(status().state, 'waiting');
  network.advance(31_000);
  assert.equal(station.pipes.length, 2);
  assert.deepEqual(station.table('loc-rib'), before);
  assert.equal(station.complete.size, 18);
  assert.equal(status().connectedCount, 2);
});

test('a station that never reads costs a bounded queue and disturbs nobody; one that reads again is told what is then', () => {
  const { network, monitored, two } = world({ bmp: [all] });
  const station = new TestStation(network, stationAddress);
  network.advance(40_000);
  const ours = network.pipes.find((pipe) => pipe.other === station.pipes[0])!;
  ours.stuckBytes = 2 * 1024 * 1024;
  const before = station.bytes;
  for (let i = 0; i < 500; i++) {
    two.configure(config('10.0.0.2', 2, [peer('10.0.0.1', 1)], ['10.2.0.0/16', `10.99.${i % 250}.0/24`]));
    network.advance(100);
  }
  assert.equal(station.bytes, before, 'no route is written to it');
  assert.equal(network.speakers.get('10.0.0.3')!.routes({ prefix: '10.99.249.0/24' }).routes.length, 1, 'BGP goes on');
  // It reads again: one message a table tells what 500 changes led to.
  ours.stuckBytes = 0;
  station.messages = [];
  ours.handlers!.onDrained();
  network.run();
  assert.deepEqual(Object.keys(station.table('10.0.0.2 post-policy')), ['10.2.0.0/16', '10.99.249.0/24']);
  assert.deepEqual(Object.keys(station.table('10.0.0.3 adj-rib-out')), [
    '10.1.0.0/16',
    '10.2.0.0/16',
    '10.99.249.0/24',
    'fd01::/64',
  ]);
  assert.equal(monitored.status().stations![0]!.overflowCount, 0);
});

test('a station that takes nothing for three minutes, or whose queue is full, is disconnected and dialled again', () => {
  const { network, monitored, middle } = world({ bmp: [all] });
  const station = new TestStation(network, stationAddress);
  network.advance(40_000);
  const stick = (bytes: number): void => {
    network.pipes.find((pipe) => pipe.other === station.pipes.at(-1))!.stuckBytes = bytes;
  };
  stick(1);
  network.advance(200_000);
  network.advance(200_000);
  const status = () => monitored.status().stations![0]!;
  assert.equal(status().overflowCount, 1);
  assert.equal(status().connectedCount, 2);
  // Ups and downs of peers are written whatever the queue: a full one ends it.
  stick(17 * 1024 * 1024);
  monitored.configure(middle({ two: { holdTimeSec: 30 } }));
  network.advance(100);
  assert.equal(status().overflowCount, 2);
  assert.equal(status().state, 'waiting');
  network.advance(60_000);
  assert.equal(status().state, 'connected');
  assert.equal(Object.keys(station.table('loc-rib')).length, 5);
});

test('the walk of the initial dump has its turns, and sees every prefix once', () => {
  const tables = { attributes: new AttributePool(), nextHops: new NextHopPool(), hopSets: new NextHopSetPool() };
  const rib = new Rib(4, { ...tables, peers: new PeerTable() }, { undecided: true });
  const values = emptyAttributeValues();
  for (let i = 0; i < 100; i++) {
    const set = tables.attributes.intern(Buffer.from(`${i}`), values);
    rib.announce(1, Int32Array.of(i << 8), 24, set, 0, 0);
  }
  for (let i = 0; i < 50; i++) rib.withdraw(1, Int32Array.of(i << 8), 24, 0);
  const seen: number[] = [];
  const walk = new InitialDump([rib, rib], (_, prefix) => void seen.push(prefix));
  let steps = 1;
  for (; !walk.step(30); steps++) assert.ok(seen.length <= 30 * steps);
  assert.equal(seen.length, 2 * 50);
  assert.ok(steps >= 6);
});

test('RFC 7911: several paths of a peer are told apart by their identifiers, and withdrawn by them', () => {
  const network = new Network();
  const station = new TestStation(network, stationAddress);
  const monitor = ['pre-policy', 'post-policy', 'loc-rib'] as const;
  const bmp = [{ ...all, monitor }];
  const receive = { addPath: { receive: true, send: 0 } };
  network.add('10.0.0.1', config('10.0.0.1', 1, [peer('10.0.0.2', 2, receive)], [], { bmp }));
  const send = { addPath: { receive: false, send: 4 } };
  network.add('10.0.0.2', config('10.0.0.2', 2, [peer('10.0.0.1', 1, send), peer('10.0.0.4', 4), peer('10.0.0.5', 5)]));
  for (const asn of [4, 5]) {
    network.add(`10.0.0.${asn}`, config(`10.0.0.${asn}`, asn, [peer('10.0.0.2', 2)], ['10.20.0.0/16', 'fd20::/64']));
  }
  network.advance(40_000);
  const paths = (table: string): string[] => Object.values(station.table(`10.0.0.2 ${table}`)).sort();
  const both = ['2 4 via 10.0.0.2', '2 4 via fd00::2', '2 5 via 10.0.0.2', '2 5 via fd00::2'];
  assert.deepEqual(paths('post-policy'), both);
  assert.deepEqual(paths('pre-policy'), both);
  assert.equal(Object.keys(station.table('loc-rib')).length, 2, 'one path a prefix, without identifiers');
  network.kill('10.0.0.4');
  network.advance(200_000);
  assert.deepEqual(paths('post-policy'), ['2 5 via 10.0.0.2', '2 5 via fd00::2']);
  assert.deepEqual(paths('pre-policy'), ['2 5 via 10.0.0.2', '2 5 via fd00::2']);
});

test('RFC 8654: attributes that fit no message of 4096 octets go out in a longer one', () => {
  const network = new Network();
  const station = new TestStation(network, stationAddress);
  const changes = Array.from({ length: 1500 }, (_, i) => ({ type: 'addCommunity' as const, value: `1:${i}` }));
  const importFilter = { ipv4: [{ action: 'accept' as const, changes }], ipv6: [] };
  network.add('10.0.0.1', config('10.0.0.1', 1, [peer('10.0.0.2', 2, { importFilter })], [], { bmp: [all] }));
  network.add('10.0.0.2', config('10.0.0.2', 2, [peer('10.0.0.1', 1)], ['10.2.0.0/16', 'fd02::/64']));
  network.advance(40_000);
  const long = station.of('route').filter(({ body }) => body.length > 4096);
  assert.ok(long.length >= 2, 'Adj-RIB-In and Loc-RIB');
  assert.deepEqual(Object.keys(station.table('10.0.0.2 post-policy')), ['10.2.0.0/16', 'fd02::/64']);
  assert.deepEqual(Object.keys(station.table('loc-rib')), ['10.2.0.0/16', 'fd02::/64']);
});
