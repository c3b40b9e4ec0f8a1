import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type ControlPacket, decodeControlPacket, emptyControlPacket, encodeControlPacket } from './packet.ts';
import { type BfdDropReason, diagnosticText, stateCode } from './types.ts';

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const fields = {
  diagnostic: fc.integer({ min: 0, max: 31 }),
  state: fc.integer({ min: 0, max: 3 }),
  poll: fc.boolean(),
  final: fc.boolean(),
  controlPlaneIndependent: fc.boolean(),
  demand: fc.boolean(),
  detectMult: fc.integer({ min: 1, max: 255 }),
  myDiscriminator: fc.integer({ min: 1, max: 0xffffffff }),
  yourDiscriminator: fc.integer({ min: 1, max: 0xffffffff }),
  desiredMinTxUs: u32,
  requiredMinRxUs: u32,
  requiredMinEchoRxUs: u32,
};
const anyPacket: fc.Arbitrary<ControlPacket> = fc.record(fields, { noNullPrototype: true });

function encoded(packet: ControlPacket): Uint8Array {
  const bytes = new Uint8Array(24);
  encodeControlPacket(packet, bytes);
  return bytes;
}
function reasonFor(change: (bytes: Uint8Array) => void, length = 24): BfdDropReason | undefined {
  const bytes = new Uint8Array(Math.max(length, 64));
  encodeControlPacket(
    { ...emptyControlPacket(), state: stateCode.up, myDiscriminator: 7, yourDiscriminator: 9 },
    bytes,
  );
  change(bytes);
  return decodeControlPacket(bytes, length, emptyControlPacket());
}

test('RFC 5880 4.1: a packet as it stands on the wire, both ways', () => {
  const bytes = Buffer.from('20c80318' + '00000001' + '0000002a' + '000493e0' + '0000c350' + '00000000', 'hex');
  const packet = emptyControlPacket();
  assert.equal(decodeControlPacket(bytes, bytes.length, packet), undefined);
  assert.deepEqual(packet, {
    diagnostic: 0,
    state: stateCode.up,
    poll: false,
    final: false,
    controlPlaneIndependent: true,
    demand: false,
    detectMult: 3,
    myDiscriminator: 1,
    yourDiscriminator: 42,
    desiredMinTxUs: 300_000,
    requiredMinRxUs: 50_000,
    requiredMinEchoRxUs: 0,
  });
  assert.deepEqual(Buffer.from(encoded(packet)), bytes);
});

test('RFC 5880 4.1: decode undoes encode for every packet', () => {
  fc.assert(
    fc.property(anyPacket, (packet) => {
      const bytes = encoded(packet);
      const back = emptyControlPacket();
      assert.equal(decodeControlPacket(bytes, bytes.length, back), undefined);
      assert.deepEqual(back, packet);
    }),
  );
});

test('RFC 5880 6.8.6: each check that needs no session, and what is dropped leaves no trace', () => {
  assert.equal(
    reasonFor(() => undefined),
    undefined,
  );
  assert.equal(
    reasonFor((b) => (b[0] = (2 << 5) | (b[0]! & 31))),
    'version',
  );
  assert.equal(
    reasonFor((b) => (b[0] = b[0]! & 31)),
    'version',
  );
  assert.equal(
    reasonFor(() => undefined, 23),
    'length',
  );
  assert.equal(
    reasonFor((b) => (b[3] = 23)),
    'length',
  );
  assert.equal(
    reasonFor((b) => (b[3] = 25)),
    'length',
    'more than the payload',
  );
  assert.equal(
    reasonFor((b) => (b[3] = 25), 40),
    undefined,
    'less than the payload is allowed',
  );
  assert.equal(
    reasonFor((b) => (b[1] = b[1]! | 4)),
    'length',
    'A bit: at least 26',
  );
  assert.equal(
    reasonFor((b) => (b[2] = 0)),
    'multiplier',
  );
  assert.equal(
    reasonFor((b) => (b[1] = b[1]! | 1)),
    'multipoint',
  );
  assert.equal(
    reasonFor((b) => b.fill(0, 4, 8)),
    'discriminator',
  );
  assert.equal(
    reasonFor((b) => b.fill(0, 8, 12)),
    'state',
    'Up without a discriminator of ours',
  );
  const withState = (state: number) =>
    reasonFor((b) => {
      b[1] = state << 6;
      b.fill(0, 8, 12);
    });
  assert.deepEqual([0, 1, 2, 3].map(withState), [undefined, undefined, 'state', 'state']);
  const authenticated = reasonFor((b) => {
    b[1] = b[1]! | 4;
    b[3] = 26;
  }, 26);
  assert.equal(authenticated, 'authentication', '6.8.6: A is set and no authentication is in use');
  const into = { ...emptyControlPacket(), myDiscriminator: 5 };
  decodeControlPacket(encoded({ ...emptyControlPacket(), myDiscriminator: 0 }), 24, into);
  assert.equal(into.myDiscriminator, 5);
});

test('RFC 5880 6.8.6: the decoder is total: no octets make it throw or read beyond them', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(100), (bytes, length) => {
      const packet = emptyControlPacket();
      const reason = decodeControlPacket(bytes, length, packet);
      if (length > bytes.length) assert.equal(reason, 'length');
      if (reason !== undefined) return;
      assert.ok(packet.myDiscriminator !== 0 && packet.detectMult !== 0 && bytes[3]! <= length);
    }),
    { numRuns: 2000 },
  );
});

test('RFC 5880 4.1: diagnostics in words, those to come as numbers', () => {
  assert.equal(diagnosticText(1), 'Control Detection Time Expired');
  assert.equal(diagnosticText(8), 'Reverse Concatenated Path Down');
  assert.equal(diagnosticText(31), 'Diagnostic 31');
});
