import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseIp } from '#kit';
import { packetHeaders } from './packet.ts';

const v4 = (protocol: number, rest: readonly number[], { options = 0, offset = 0 } = {}): Buffer =>
  Buffer.from([
    ...[0x45 + options, 0, 0, 0, 0, 0, offset >> 8, offset & 0xff, 64, protocol, 0, 0],
    ...[10, 1, 0, 10, 192, 0, 2, 2],
    ...Array<number>(options * 4).fill(1),
    ...rest,
  ]);
const v6 = (next: number, ...rest: number[]): Buffer =>
  Buffer.from([0x60, 0, 0, 0, 0, 0, next, 64, ...parseIp('fd00:1::a')!, ...parseIp('2001:db8::2')!, ...rest]);
const http = [0x9c, 0x40, 0, 80];
const ports = { source: 40_000, destination: 80 };

test('IPv4 with and without options: TCP, UDP, SCTP, ICMP, others', () => {
  const addresses = { family: 4, source: '10.1.0.10', destination: '192.0.2.2' };
  for (const protocol of [6, 17, 132]) {
    for (const options of [0, 1, 10])
      assert.deepEqual(packetHeaders(v4(protocol, http, { options })), { ...addresses, protocol, ports });
  }
  assert.deepEqual(packetHeaders(v4(1, [8, 0, 0, 0])), { ...addresses, protocol: 1, icmp: { type: 8, code: 0 } });
  assert.deepEqual(packetHeaders(v4(47, http)), { ...addresses, protocol: 47 });
  // More fragments to come, and a first one: its ports are there. A later one has none.
  assert.deepEqual(packetHeaders(v4(17, http, { offset: 0x2000 })), { ...addresses, protocol: 17, ports });
  assert.deepEqual(packetHeaders(v4(17, http, { offset: 0x2001 })), { ...addresses, protocol: 17 });
});

test('IPv6: behind extension headers, in fragments', () => {
  const addresses = { family: 6, source: 'fd00:1::a', destination: '2001:db8::2' };
  const eight = (next: number, length = 0): number[] => [next, length, 0, 0, 0, 0, 0, 0];
  assert.deepEqual(packetHeaders(v6(6, ...http)), { ...addresses, protocol: 6, ports });
  assert.deepEqual(packetHeaders(v6(58, 128, 0)), { ...addresses, protocol: 58, icmp: { type: 128, code: 0 } });
  const long = [...eight(43, 1), ...Array<number>(8).fill(0)];
  const authentication = [...eight(17, 1), 0, 0, 0, 0];
  assert.deepEqual(packetHeaders(v6(0, ...long, ...eight(60), ...eight(51), ...authentication, ...http)), {
    ...addresses,
    protocol: 17,
    ports,
  });
  assert.deepEqual(packetHeaders(v6(44, ...eight(17), ...http)), { ...addresses, protocol: 17, ports });
  assert.deepEqual(packetHeaders(v6(44, 17, 0, 0, 8, 0, 0, 0, 0, ...http)), { ...addresses, protocol: 17 });
  // More of them than anybody sends: what is known is told, and the walk ends.
  const many = Array.from({ length: 20 }, () => eight(60)).flat();
  assert.deepEqual(packetHeaders(v6(60, ...many)), { ...addresses, protocol: 60 });
  assert.deepEqual(packetHeaders(v6(60, 6)), { ...addresses, protocol: 60 }, 'cut within an extension header');
});

test('cut anywhere: what is there is told, nothing throws', () => {
  for (const whole of [v4(6, http, { options: 2 }), v6(0, 60, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, ...http)]) {
    for (let length = 0; length < whole.length; length++) {
      const cut = packetHeaders(whole.subarray(0, length));
      assert.equal(cut === undefined, length < (whole[0]! >> 4 === 4 ? 20 : 40), `${length}`);
      assert.equal(cut?.ports, undefined);
    }
    assert.ok(packetHeaders(whole)?.ports);
  }
});

test('any octets: total, and what is told is in range', () => {
  const anything = fc.uint8Array({ maxLength: 256 });
  const looksRight = fc
    .tuple(fc.constantFrom(0x45, 0x4f, 0x60), anything)
    .map(([first, rest]) => Uint8Array.of(first, ...rest));
  fc.assert(
    fc.property(fc.oneof(anything, looksRight), (bytes) => {
      const headers = packetHeaders(bytes);
      if (!headers) return;
      assert.ok(parseIp(headers.source)?.length === (headers.family === 4 ? 4 : 16));
      assert.ok(headers.protocol >= 0 && headers.protocol <= 255);
      for (const port of Object.values(headers.ports ?? {})) assert.ok(port >= 0 && port <= 65_535);
    }),
    { numRuns: 5_000 },
  );
});
