import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MessageWriter, type NetlinkMessage, parseMessages } from './codec.ts';
import { decodeLoggedPacket } from './nflog.ts';

const message = (type: number, fill: (writer: MessageWriter) => void): NetlinkMessage => {
  const writer = new MessageWriter(64).begin(type, 0, 1).raw(2, 0, 4, 155);
  fill(writer);
  const bytes = Buffer.from(writer.end().written());
  return [...parseMessages(bytes, bytes.length)][0]!;
};

test('a logged packet: prefix, interfaces, time, order and the octets', () => {
  const time = Buffer.alloc(16);
  time.writeBigUInt64BE(1_700_000_000n, 0);
  time.writeBigUInt64BE(250_000n, 8);
  const logged = decodeLoggedPacket(
    message(0x400, (w) =>
      w
        .attr(1, Buffer.from([8, 0, 2, 0]))
        .attr(3, time)
        .attrU32be(4, 7)
        .attrU32be(5, 9)
        .attrU32be(12, 0xffffffff)
        .attrString(10, 'DIR3|NetworkPolicy:shop/api')
        .attr(9, Buffer.from([0x45, 1, 2])),
    ),
  );
  assert.deepEqual(logged, {
    prefix: 'DIR3|NetworkPolicy:shop/api',
    inIndex: 7,
    outIndex: 9,
    timeMs: 1_700_000_000_250,
    sequence: 0xffffffff,
    packet: Buffer.from([0x45, 1, 2]),
  });
});

test('what is absent is absent; other messages and packets without octets are none', () => {
  const bare = decodeLoggedPacket(message(0x400, (w) => w.attr(9, Buffer.from([0x45]))));
  assert.deepEqual(bare, {
    prefix: '',
    inIndex: 0,
    outIndex: 0,
    timeMs: undefined,
    sequence: undefined,
    packet: Buffer.from([0x45]),
  });
  assert.equal(decodeLoggedPacket(message(0x400, (w) => w.attrString(10, 'DIN|'))), undefined);
  assert.equal(decodeLoggedPacket(message(0x401, (w) => w.attr(9, Buffer.from([0x45])))), undefined);
});

test('any octets are decoded without a throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      decodeLoggedPacket({ type: 0x400, flags: 0, sequence: 0, port: 0, body: Buffer.from(bytes) });
    }),
    { numRuns: 2_000 },
  );
});
