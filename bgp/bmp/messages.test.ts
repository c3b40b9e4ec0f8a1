/** Octets of BMP messages against the layouts of the RFCs, written out by hand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SessionDownReason } from '../fsm/index.ts';
import { ByteWriter } from '../wire/byte-writer.ts';
import { encodeKeepalive } from '../wire/index.ts';
import {
  bmpStatistic,
  writeInitiation,
  writePeerDown,
  writePeerHeader,
  writePeerUp,
  writeRouteMonitoring,
  writeStatistics,
  writeTermination,
} from './messages.ts';
import { peerDownOf } from './peer-down.ts';

const hex = (write: (out: ByteWriter) => void): string => {
  const out = new ByteWriter(1);
  write(out);
  return Buffer.from(out.take()).toString('hex');
};
const lines = (...parts: string[]): string => parts.join('').replaceAll(' ', '');
const four = { type: 0, flags: 0x40, address: '192.0.2.1', asn: 64512, routerId: 0x0a000001 };
const zeros = (count: number): string => '00'.repeat(count);
const headerOf = {
  four: lines('00 40', zeros(8), zeros(12), 'c0000201', '0000fc00', '0a000001', '3b9aca00 000f423f'),
  wall: 1_000_000_000_999_999,
};
const common = (length: number, type: string): string => `03${length.toString(16).padStart(8, '0')}${type}`;

test('RFC 7854 4.2: per-peer header; an IPv4 address stands in the last octets, V is set for IPv6, zero time is unknown', () => {
  assert.equal(
    hex((out) => writePeerHeader(out, four, headerOf.wall)),
    headerOf.four,
  );
  const six = { ...four, flags: 0x10, address: '2001:db8::1' };
  assert.equal(
    hex((out) => writePeerHeader(out, six, 0)),
    lines('00 90', zeros(8), '20010db8000000000000000000000001', '0000fc00', '0a000001', zeros(8)),
  );
  assert.equal(
    hex((out) => writePeerHeader(out, { type: 3, flags: 0, asn: 1, routerId: 2 }, 0)),
    lines('03 00', zeros(8), zeros(16), '00000001', '00000002', zeros(8)),
    'RFC 9069 4.2: the Loc-RIB has no address',
  );
});

test('RFC 7854 4.3, 4.4: Initiation has sysDescr, sysName and free strings', () => {
  assert.equal(
    hex((out) => writeInitiation(out, { name: 'n', description: 'dd' }, ['s'])),
    lines(common(22, '04'), '0001 0002 6464', '0002 0001 6e', '0000 0001 73'),
  );
});

test('RFC 7854 4.5: Termination has a string and a reason', () => {
  assert.equal(
    hex((out) => writeTermination(out, 0, 'x')),
    lines(common(17, '05'), '0000 0001 78', '0001 0002 0000'),
  );
});

test('RFC 7854 4.10, RFC 9069 5.2: Peer Up', () => {
  const opens = { openSent: Uint8Array.of(1, 2), openReceived: Uint8Array.of(3) };
  assert.equal(
    hex((out) =>
      writePeerUp(out, four, headerOf.wall, { localAddress: '10.0.0.1', localPort: 179, remotePort: 40000, ...opens }),
    ),
    lines(common(71, '03'), headerOf.four, zeros(12), '0a000001', '00b3 9c40', '0102', '03'),
  );
  const locRib = { type: 3, flags: 0, asn: 1, routerId: 2 };
  const up = { localPort: 0, remotePort: 0, ...opens, tableName: 'global' };
  assert.match(
    hex((out) => writePeerUp(out, locRib, 0, up)),
    /00{16}0000000001020300030006676c6f62616c$/,
  );
});

test('RFC 7854 4.9: Peer Down carries what its reason asks for', () => {
  const notification = { code: 6, subcode: 2, data: new Uint8Array(0) };
  const message = `${'ff'.repeat(16)}0015030602`;
  const cases: [SessionDownReason, string][] = [
    [{ type: 'notificationSent', notification, text: '' }, `01${message}`],
    [{ type: 'stopped', notification, text: '' }, `01${message}`],
    [{ type: 'stopped', text: '' }, '020002'],
    [{ type: 'malformedNotification', text: '' }, '020019'],
    [{ type: 'peerRestarted', text: '' }, '020013'],
    [{ type: 'notificationReceived', notification, text: '' }, `03${message}`],
    [{ type: 'tcpClosed', text: '' }, '04'],
    [{ type: 'tcpFailed', text: '' }, '04'],
  ];
  for (const [reason, body] of cases) {
    const length = 48 + body.length / 2;
    assert.equal(
      hex((out) => writePeerDown(out, four, headerOf.wall, peerDownOf(reason))),
      lines(common(length, '02'), headerOf.four, body),
      reason.type,
    );
  }
  assert.equal(
    hex((out) => writePeerDown(out, four, headerOf.wall, { reason: 6, tableName: 't' })),
    lines(common(54, '02'), headerOf.four, '06 0003 0001 74'),
    'RFC 9069 5.3',
  );
});

test('RFC 7854 4.6: one Route Monitoring message for each UPDATE', () => {
  const one = Buffer.from(encodeKeepalive()).toString('hex');
  const count = { value: 0 };
  const two = hex((out) => {
    count.value = writeRouteMonitoring(out, four, headerOf.wall, Buffer.from(one + one, 'hex'));
  });
  assert.equal(count.value, 2);
  assert.equal(two, lines(common(67, '00'), headerOf.four, one).repeat(2));
});

test('RFC 7854 4.8: counters are 32 bits and wrap, gauges 64, those of a family name it', () => {
  const statistics = [
    { type: bmpStatistic.prefixesRejected, value: 0x1_0000_0002 },
    { type: bmpStatistic.adjRibIn, value: 0x1_0000_0002 },
    { type: bmpStatistic.adjRibInByFamily, value: 3, afi: 2 as const },
  ];
  assert.equal(
    hex((out) => writeStatistics(out, four, headerOf.wall, statistics)),
    lines(
      common(48 + 4 + 8 + 12 + 15, '01'),
      headerOf.four,
      '00000003',
      '0000 0004 00000002',
      '0007 0008 0000000100000002',
      '0009 000b 0002 01 0000000000000003',
    ),
  );
});
