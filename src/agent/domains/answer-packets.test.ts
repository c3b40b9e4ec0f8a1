import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseIp } from '#kit';
import { AnswerPackets } from './answer-packets.ts';

const ipv4 = (protocol: number, rest: readonly number[] | Buffer): Buffer =>
  Buffer.from([0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 53, 10, 1, 0, 1, ...rest]);
const ipv6 = (next: number, rest: readonly number[] | Buffer): Buffer =>
  Buffer.from([0x60, 0, 0, 0, 0, 0, next, 64, ...parseIp('2001:db8::53')!, ...parseIp('fd00::1')!, ...rest]);
const ports = [0, 53, 0x9c, 0x40];
const udp = (text: string): Buffer => Buffer.from([...ports, 0, 0, 0, 0, ...Buffer.from(text)]);
function tcp(sequence: number, payload: Buffer | string, flags = 0x18, port = 40_000): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt16BE(53, 0);
  header.writeUInt16BE(port, 2);
  header.writeUInt32BE(sequence >>> 0, 4);
  header[12] = 6 << 4;
  header[13] = flags;
  return Buffer.concat([header, Buffer.from(payload)]);
}
const framed = (text: string, length = text.length): Buffer =>
  Buffer.concat([Buffer.from([length >> 8, length & 0xff]), Buffer.from(text)]);
const texts = (packets: AnswerPackets, packet: Uint8Array): string[] =>
  packets.messages(packet).map(({ bytes, partial }) => `${Buffer.from(bytes)}${partial ? '…' : ''}`);
const SYN_ACK = 0x12;

test('a datagram is one message, of either family', () => {
  const packets = new AnswerPackets();
  assert.deepEqual(texts(packets, ipv4(17, udp('message'))), ['message']);
  assert.deepEqual(texts(packets, ipv6(17, udp('message'))), ['message']);
  assert.deepEqual(texts(packets, ipv4(1, udp('message'))), [], 'ICMP');
});

test('a connection is followed by the lengths of its messages, over the turn of sequence numbers too', () => {
  for (const ip of [ipv4, ipv6]) {
    const packets = new AnswerPackets();
    let at = 0xfffffff0;
    const segment = (payload: Buffer): string[] => {
      const found = texts(packets, ip(6, tcp(at, payload)));
      at += payload.length;
      return found;
    };
    assert.deepEqual(texts(packets, ip(6, tcp(at - 1, '', SYN_ACK))), []);
    assert.deepEqual(segment(framed('one')), ['one']);
    assert.deepEqual(segment(Buffer.concat([framed('two'), framed('three')])), ['two', 'three']);
    assert.deepEqual(segment(framed('four', 14)), ['four…']);
    assert.deepEqual(segment(framed('forgery')).length, 0, 'within a message, however much it looks like one');
    assert.deepEqual(segment(Buffer.from('x')).length, 0);
    assert.deepEqual(segment(framed('five')), ['five']);
  }
});

test('a connection whose begin nobody saw, or that is over, says nothing', () => {
  const packets = new AnswerPackets();
  assert.deepEqual(texts(packets, ipv4(6, tcp(1, framed('one')))), []);
  packets.messages(ipv4(6, tcp(0, '', SYN_ACK)));
  assert.deepEqual(texts(packets, ipv4(6, tcp(1, framed('one'), 0x19))), ['one'], 'with the FIN');
  assert.deepEqual(texts(packets, ipv4(6, tcp(6, framed('two')))), []);
});

test('bounded: the connections that came last are followed', () => {
  const packets = new AnswerPackets(2);
  for (const port of [1, 2, 3]) packets.messages(ipv4(6, tcp(0, '', SYN_ACK, port)));
  const said = [1, 2, 3].map((port) => texts(packets, ipv4(6, tcp(1, framed('x'), 0x18, port))).length);
  assert.deepEqual(said, [0, 1, 1]);
});

test('any octets: total', () => {
  const packets = new AnswerPackets();
  const anything = fc.uint8Array({ maxLength: 120 });
  const looksRight = fc
    .tuple(fc.constantFrom(0x45, 0x60), fc.constantFrom(6, 17), anything)
    .map(([first, protocol, rest]) => (first === 0x45 ? ipv4 : ipv6)(protocol, [...rest]));
  fc.assert(
    fc.property(fc.oneof(anything, looksRight), (bytes) => void packets.messages(bytes)),
    { numRuns: 3_000 },
  );
});
