/** What is written is read back; whatever is read, the reader ends and throws nothing. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import zlib from 'node:zlib';
import fc from 'fast-check';
import { formatIp, type IpAddress, type IpFamily } from '#kit';
import { AttributePool, NextHopPool, NextHopSetPool, PeerTable, Rib } from '../rib/index.ts';
import { config, Network, peer } from '../speaker/test-network.ts';
import { ByteWriter } from '../wire/byte-writer.ts';
import { describeAttributes, emptyAttributeValues, encodeKeepalive, originatedAttributes } from '../wire/index.ts';
import { mrtRecordBytesMax, readMrt } from './read.ts';
import { MrtRecorder } from './recorder.ts';
import { TableDump } from './table-dump.ts';
import type { MrtRecord, MrtSession } from './types.ts';
import {
  beginRib,
  beginRibEntry,
  endRib,
  endRibEntry,
  writeMessage,
  writePeerIndex,
  writeStateChange,
} from './write.ts';

const fixtures = path.join(import.meta.dirname, '../../test/fixtures/bgp/mrt');

const octets = (size: number) => fc.uint8Array({ minLength: size, maxLength: size });
const address = (family: IpFamily) => octets(family === 4 ? 4 : 16).map((bytes) => formatIp(bytes));
const anyAddress = fc.constantFrom(4 as const, 6 as const).chain(address);
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const plain = { noNullPrototype: true } as const;
const usec = fc.integer({ min: 0, max: 999_999 });
const session = (family: IpFamily): fc.Arbitrary<MrtSession> =>
  fc.record({
    peerAsn: u32,
    localAsn: u32,
    ifIndex: u16,
    peerAddress: address(family),
    localAddress: address(family),
  });
const anySession = fc.constantFrom(4 as const, 6 as const).chain(session);

const only = (out: ByteWriter): MrtRecord => {
  const records = [...readMrt(out.take())];
  assert.equal(records.length, 1);
  return records[0]!;
};

test('RFC 6396 4.4.1: STATE_CHANGE_AS4 comes back, with microseconds', () => {
  fc.assert(
    fc.property(u32, usec, anySession, u16, u16, (sec, micro, about, oldState, newState) => {
      const out = new ByteWriter(1);
      const time = { sec, usec: micro };
      writeStateChange(out, time, about, oldState, newState);
      assert.deepEqual(only(out), { type: 'stateChange', time, ...about, oldState, newState });
    }),
  );
});

test('RFC 6396 4.4.2, 4.4.3, 4.4.5, 4.4.6, RFC 8050 3: messages come back in all eight forms', () => {
  fc.assert(
    fc.property(
      u32,
      usec,
      anySession,
      fc.record({ asn4: fc.boolean(), addPath: fc.boolean(), local: fc.boolean() }),
      fc.uint8Array({ maxLength: 300 }),
      (sec, micro, about, kind, message) => {
        const out = new ByteWriter(1);
        const time = { sec, usec: micro };
        writeMessage(out, time, about, kind, Uint8Array.of(9, ...message, 9), 1, 1 + message.length);
        const read = only(out);
        // Without 4-octet AS numbers AS_TRANS stands for larger ones (RFC 6793 9).
        const narrow = (asn: number): number => (kind.asn4 || asn <= 0xffff ? asn : 23456);
        const { peerAsn, localAsn } = about;
        const expected = { ...about, peerAsn: narrow(peerAsn), localAsn: narrow(localAsn) };
        assert.deepEqual(read, { type: 'message', time, ...expected, ...kind, message });
      },
    ),
  );
});

test('RFC 6396 4.3.1: PEER_INDEX_TABLE comes back', () => {
  const peers = fc.array(fc.record({ routerId: u32, address: anyAddress, asn: u32 }, plain), { maxLength: 20 });
  fc.assert(
    fc.property(u32, u32, fc.string({ maxLength: 30 }), peers, (sec, collectorId, viewName, list) => {
      const out = new ByteWriter(1);
      writePeerIndex(out, sec, collectorId, viewName, list);
      const name = new TextDecoder().decode(new TextEncoder().encode(viewName));
      const expected = { type: 'peerIndex', time: { sec, usec: 0 }, collectorId, viewName: name, peers: list };
      assert.deepEqual(only(out), expected);
    }),
  );
});

test('RFC 6396 4.3.2, RFC 8050 4.1: RIB entries come back, with and without path identifiers', () => {
  const entry = fc.record({
    peerIndex: u16,
    originatedSec: u32,
    pathId: u32,
    attributes: fc.uint8Array({ maxLength: 400 }),
  });
  fc.assert(
    fc.property(
      fc.constantFrom(4 as const, 6 as const),
      fc.boolean(),
      u32,
      u32,
      fc.array(fc.integer({ min: -0x80000000, max: 0x7fffffff }), { minLength: 4, maxLength: 4 }),
      fc.nat({ max: 128 }),
      fc.array(entry, { maxLength: 10 }),
      (family, addPath, sec, sequence, random, length, entries) => {
        const bits = family === 4 ? length % 33 : length;
        const words = Int32Array.from(random, (word, i) => {
          const kept = Math.max(0, Math.min(32, bits - 32 * i));
          return kept === 0 ? 0 : word & (-1 << (32 - kept));
        });
        const out = new ByteWriter(1);
        const rib = beginRib(out, sec, family, addPath, sequence, words, 0, bits);
        for (const { peerIndex, originatedSec, pathId, attributes } of entries) {
          const at = beginRibEntry(out, rib, peerIndex, originatedSec, pathId);
          out.bytes(attributes);
          endRibEntry(out, at);
        }
        endRib(out, rib, entries.length);
        const bytes = Uint8Array.from([...words].flatMap((w) => [w >>> 24, w >>> 16, w >>> 8, w]));
        assert.deepEqual(only(out), {
          type: 'rib',
          time: { sec, usec: 0 },
          family,
          multicast: false,
          sequence,
          prefix: `${formatIp(bytes, 0, family === 4 ? 4 : 16)}/${bits}`,
          entries: entries.map(({ pathId, ...rest }) => (addPath ? { ...rest, pathId } : rest)),
        });
      },
    ),
  );
});

test('the reader is total: random bytes, and recorded files with octets changed, cut and repeated', () => {
  const files = fs
    .readdirSync(fixtures)
    .filter((name) => !name.includes('.bgpdump.'))
    .map((name) => zlib.gunzipSync(fs.readFileSync(path.join(fixtures, name))).subarray(0, 3000));
  const count = (bytes: Uint8Array): number => {
    let records = 0;
    for (const record of readMrt(bytes)) {
      records++;
      if (record.type === 'message') assert.ok(record.message.byteLength <= bytes.length);
    }
    // Each record takes a header at least.
    assert.ok(records <= 1 + bytes.length / 12);
    return records;
  };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void count(bytes)),
    { numRuns: 2000 },
  );
  const change = fc.tuple(fc.nat(), fc.nat({ max: 255 }));
  fc.assert(
    fc.property(fc.constantFrom(...files), fc.array(change, { maxLength: 8 }), fc.nat(), (file, changes, cut) => {
      const bytes = Uint8Array.from(file.subarray(0, 1 + (cut % file.length)));
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      count(bytes);
    }),
    { numRuns: 3000 },
  );
});

test('RFC 6396 2: a length that cannot be is the end, not an allocation', () => {
  const head = new ByteWriter()
    .u32(1)
    .u16(16)
    .u16(4)
    .u32(mrtRecordBytesMax + 1)
    .take();
  const records = [...readMrt(Uint8Array.from([...head, ...new Uint8Array(100)]))];
  assert.deepEqual(
    records.map(({ type }) => type),
    ['malformed'],
  );
});

test('a malformed record does not take the next one with it', () => {
  const out = new ByteWriter();
  const about = { peerAsn: 1, localAsn: 2, ifIndex: 0, peerAddress: '10.0.0.1', localAddress: '10.0.0.2' };
  const whole = {
    ...about,
    peerAddress: about.peerAddress as IpAddress,
    localAddress: about.localAddress as IpAddress,
  };
  out.u32(1).u16(16).u16(5).u32(3).u8(1).u8(2).u8(3);
  out.u32(1).u16(77).u16(5).u32(0);
  writeStateChange(out, { sec: 3, usec: 4 }, whole, 5, 6);
  assert.deepEqual(
    [...readMrt(out.take())].map(({ type }) => type),
    ['malformed', 'other', 'stateChange'],
  );
});

/** A speaker between two peers, as a table. */
function tableWorld(): { network: Network; dump: (limit: number) => Uint8Array } {
  const network = new Network();
  network.wallMs = 1_700_000_000_999;
  const middle = network.add(
    '10.0.0.1',
    config('10.0.0.1', 1, [peer('10.0.0.2', 2), peer('10.0.0.3', 3)], ['10.1.0.0/16', 'fd01::/64']),
  );
  const many = Array.from({ length: 300 }, (_, i) => `10.${100 + (i >> 8)}.${i & 255}.0/24`);
  network.add('10.0.0.2', config('10.0.0.2', 2, [peer('10.0.0.1', 1)], [...many, 'fd02::/64']));
  network.add('10.0.0.3', config('10.0.0.3', 3, [peer('10.0.0.1', 1)], [many[0]!, 'fd02::/64']));
  network.advance(40_000);
  return {
    network,
    dump: (limit) => {
      const table = middle.tableDump();
      const slices: Uint8Array[] = [];
      for (let slice = table.next(limit); slice; slice = table.next(limit)) slices.push(slice);
      return Buffer.concat(slices);
    },
  };
}

test('RFC 6396 4.3: a table dump has every path of every peer, whatever the slices', () => {
  const { dump } = tableWorld();
  const bytes = dump(10_000);
  for (const limit of [1, 7, 64]) assert.deepEqual(dump(limit), bytes, `slices of ${limit}`);
  const [index, ...ribs] = [...readMrt(bytes)];
  assert.deepEqual(index, {
    type: 'peerIndex',
    time: { sec: 1_700_000_000, usec: 0 },
    collectorId: 0x0a000001,
    viewName: '',
    peers: [
      { routerId: 0x0a000001, address: '0.0.0.0', asn: 1 },
      { routerId: 0x0a000002, address: '10.0.0.2', asn: 2 },
      { routerId: 0x0a000003, address: '10.0.0.3', asn: 3 },
    ],
  });
  const paths = ribs.flatMap((rib) => {
    assert.ok(rib.type === 'rib');
    return rib.entries.map(({ peerIndex, attributes }) => {
      const { asPath, others } = describeAttributes(attributes, 0, attributes.length);
      return `${rib.prefix} ${peerIndex} [${asPath}] ${others?.map(({ type, hex }) => `${type}:${hex}`)}`;
    });
  });
  assert.equal(paths.length, 300 + 2 + 1 + 1 + 1);
  for (const line of [
    '10.1.0.0/16 0 [] 3:00000000',
    'fd01::/64 0 [] 14:1000000000000000000000000000000000',
    '10.100.0.0/24 1 [2] 3:0a000002',
    '10.100.0.0/24 2 [3] 3:0a000003',
    // RFC 6396 4.3.4: MP_REACH is the length of the next hop and the next hop.
    'fd02::/64 1 [2] 14:10fd000000000000000000000000000002',
  ]) {
    assert.ok(paths.includes(line), `${line} in ${paths.slice(0, 4)}`);
  }
  const sequences = ribs.map((rib) => (rib.type === 'rib' ? rib.sequence : -1));
  assert.deepEqual(
    sequences,
    sequences.map((_, i) => i),
  );
});

test('a table that changes between slices: every record is whole, what stays is there once, peers that go are left out', () => {
  const { network } = tableWorld();
  const middle = network.speakers.get('10.0.0.1')!;
  const table = middle.tableDump();
  const slices = [table.next(50)!];
  network.kill('10.0.0.2');
  network.advance(200_000);
  const newcomer = network.add('10.0.0.4', config('10.0.0.4', 4, [peer('10.0.0.1', 1)], ['10.250.0.0/16']));
  middle.configure(config('10.0.0.1', 1, [peer('10.0.0.3', 3), peer('10.0.0.4', 4)], ['10.1.0.0/16', 'fd01::/64']));
  network.advance(40_000);
  assert.equal(newcomer.status().peers[0]?.state, 'Established');
  for (let slice = table.next(50); slice; slice = table.next(50)) slices.push(slice);
  const records = [...readMrt(Buffer.concat(slices))];
  assert.ok(records.every(({ type }) => type === 'peerIndex' || type === 'rib'));
  const of = (prefix: string) => records.filter((record) => record.type === 'rib' && record.prefix === prefix);
  assert.equal(of('fd01::/64').length, 1);
  assert.equal(of('10.250.0.0/16').length, 0, 'its peer has no place in the index');
});

test('RFC 6396 4.4: a session is recorded from its first state to its last message, as peers of 2-octet AS numbers send them, too', () => {
  const out: Uint8Array[] = [];
  const recorder = new MrtRecorder({ write: (records) => void out.push(records), wallUsec: () => 5_000_007 });
  recorder.recordSent = true;
  const about = {
    peer: 'p',
    peerAddress: 'fd00::2',
    peerAsn: 70_000,
    localAsn: 1,
    connection: undefined,
    addPathIn: true,
    addPathOut: false,
  };
  recorder.stateChanged({ ...about, asn4: true }, 'Idle', 'Connect');
  const bytes = encodeKeepalive();
  recorder.received({ ...about, asn4: false }, Uint8Array.of(0, ...bytes, 0), 1, 20);
  recorder.sent({ ...about, asn4: true }, Uint8Array.from([...bytes, ...bytes]));
  const records = [...readMrt(Buffer.concat(out))];
  const common = { time: { sec: 5, usec: 7 }, localAsn: 1, ifIndex: 0, peerAddress: 'fd00::2', localAddress: '::' };
  const message = { type: 'message', ...common, addPath: false, message: bytes };
  assert.deepEqual(
    records.map((record) => ('message' in record ? { ...record, message: Uint8Array.from(record.message) } : record)),
    [
      { type: 'stateChange', ...common, peerAsn: 70_000, oldState: 1, newState: 2 },
      { ...message, peerAsn: 23456, asn4: false, local: false, addPath: true },
      { ...message, peerAsn: 70_000, asn4: true, local: true },
      { ...message, peerAsn: 70_000, asn4: true, local: true },
    ],
  );
});

test('RFC 8050 4: a prefix with path identifiers is dumped with them, another one without', () => {
  const tables = { attributes: new AttributePool(), nextHops: new NextHopPool(), hopSets: new NextHopSetPool() };
  const rib = new Rib(4, { ...tables, peers: new PeerTable() });
  const bytes = originatedAttributes({});
  const set = tables.attributes.intern(bytes, emptyAttributeValues());
  const hop = tables.nextHops.intern('\n\0\0\u0002', Uint8Array.of(10, 0, 0, 2), 0, 4);
  rib.announce(1, Int32Array.of(10 << 24), 8, set, hop, 7);
  rib.announce(1, Int32Array.of(10 << 24), 8, set, hop, 9);
  rib.announce(1, Int32Array.of(11 << 24), 8, set, hop, 0);
  const one = { row: 1, routerId: 2, address: '10.0.0.2' as IpAddress, asn: 3, sinceSec: 4 };
  const dump = new TableDump({ ribs: [rib], routerId: 1, peers: () => [one], isStill: () => true }, 5);
  const records = [...readMrt(dump.next(100)!)].slice(1);
  assert.equal(dump.next(100), undefined);
  const entries = records.map(
    (record) => record.type === 'rib' && [record.prefix, record.entries.map(({ pathId }) => pathId)],
  );
  assert.deepEqual(entries, [
    ['10.0.0.0/8', [9, 7]],
    ['11.0.0.0/8', [undefined]],
  ]);
});
