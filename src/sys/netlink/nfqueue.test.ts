import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MessageWriter, type NetlinkMessage, parseMessages } from './codec.ts';
import { decodeQueuedPacket } from './nfqueue.ts';

const message = (type: number, fill: (writer: MessageWriter) => void): NetlinkMessage => {
  const writer = new MessageWriter(64).begin(type, 0, 1).raw(2, 0, 4, 155);
  fill(writer);
  const bytes = Buffer.from(writer.end().written());
  return [...parseMessages(bytes, bytes.length)][0]!;
};
const header = Buffer.from([0, 0, 1, 2, 8, 0, 2]);

test('a queued packet: its number and the octets, where they are there', () => {
  const whole = message(0x300, (w) => w.attr(1, header).attr(10, Buffer.from([0x45, 1, 2])));
  assert.deepEqual(decodeQueuedPacket(whole), { id: 0x102, packet: Buffer.from([0x45, 1, 2]) });
  const bare = message(0x300, (w) => w.attr(1, header));
  assert.deepEqual(decodeQueuedPacket(bare), { id: 0x102, packet: undefined });
  assert.equal(decodeQueuedPacket(message(0x300, (w) => w.attr(10, header))), undefined, 'no number');
  assert.equal(decodeQueuedPacket(message(0x301, (w) => w.attr(1, header))), undefined);
});

test('any octets are decoded without a throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      decodeQueuedPacket({ type: 0x300, flags: 0, sequence: 0, port: 0, body: Buffer.from(bytes) });
    }),
    { numRuns: 2_000 },
  );
});
