import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeAdvertisement, encodeSolicitation, routerMessageKind } from './router-messages.ts';

const mac = Uint8Array.of(2, 0, 0, 0, 0, 9);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const kind = (bytes: Uint8Array, source = 'fe80::1', hopLimit = 255) => routerMessageKind(source, hopLimit, bytes);

test('RFC 4861 4.2: our advertisement says that we are a router and nobody default one', () => {
  // Type, code, checksum; hop limit, flags, router lifetime 0; reachable time; retransmission timer; option 1.
  assert.equal(hex(encodeAdvertisement(mac)), '86000000' + '00000000' + '00000000' + '00000000' + '0101020000000009');
  assert.equal(hex(encodeSolicitation(mac)), '85000000' + '00000000' + '0101020000000009');
  assert.equal(encodeAdvertisement(new Uint8Array(0)).length, 16, 'a link without MAC addresses');
});

test('RFC 4861 6.1.2: advertisements that are not valid are ignored', () => {
  const good = encodeAdvertisement(mac);
  assert.equal(kind(good), 'advertisement');
  assert.equal(kind(good, '2001:db8::1'), undefined, 'source is not link-local');
  assert.equal(kind(good, 'fe80::1', 254), undefined, 'hop limit');
  assert.equal(kind(good.with(1, 1)), undefined, 'code');
  assert.equal(kind(good.slice(0, 15)), undefined, 'length');
  assert.equal(kind(good.with(17, 0)), undefined, 'an option of length 0');
  assert.equal(kind(good.slice(0, 23)), undefined, 'an option cut short');
  assert.equal(kind(good.slice(0, 16)), 'advertisement', 'no options');
});

test('RFC 4861 6.1.1: solicitations that are not valid are ignored', () => {
  const good = encodeSolicitation(mac);
  assert.equal(kind(good), 'solicitation');
  assert.equal(kind(good, '::'), undefined, 'a link-layer address without an address');
  assert.equal(kind(encodeSolicitation(new Uint8Array(0)), '::'), 'solicitation');
  assert.equal(kind(good, 'fe80::1', 64), undefined, 'hop limit');
  assert.equal(kind(good.slice(0, 7)), undefined, 'length');
});

test('any octets are judged, none throws', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => void kind(bytes)));
});
