import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatIp } from '#kit';
import { nextHopSelf } from './next-hop-self.ts';
import type { LocalLink } from './types.ts';

const plain = { extendedNextHop: false, linkLocalNextHop: false };
const extended = { extendedNextHop: true, linkLocalNextHop: false };
const bare: LocalLink = { interface: 'e0', linkLocal: 'fe80::1', global: [] };
const both: LocalLink = { interface: 'e0', linkLocal: 'fe80::1', global: ['2001:db8::1'] };

function text(bytes: Uint8Array | undefined): string {
  if (!bytes) return 'none';
  if (bytes.length < 32) return formatIp(bytes);
  return `${formatIp(bytes, 0, 16)} ${formatIp(bytes, 16, 16)}`;
}

test('RFC 4271 5.1.3: IPv4 over IPv4, or as configured', () => {
  assert.equal(text(nextHopSelf(4, {}, plain, '192.0.2.1', undefined)), '192.0.2.1');
  assert.equal(text(nextHopSelf(4, {}, extended, '192.0.2.1', undefined)), '192.0.2.1');
  assert.equal(text(nextHopSelf(4, { nextHop4: '192.0.2.9' }, extended, '2001:db8::1', both)), '192.0.2.9');
  assert.equal(text(nextHopSelf(4, {}, plain, '2001:db8::1', both)), 'none');
});

test('RFC 8950 4: IPv4 over IPv6 where it is negotiated', () => {
  assert.equal(text(nextHopSelf(4, {}, extended, '2001:db8::1', undefined)), '2001:db8::1');
  assert.equal(text(nextHopSelf(4, {}, extended, 'fe80::1%e0', bare)), 'fe80::1 fe80::1');
});

test('RFC 2545 3: the link-local address goes along only where the peer shares the link of the global one', () => {
  assert.equal(text(nextHopSelf(6, {}, plain, '2001:db8::1', both)), '2001:db8::1 fe80::1');
  assert.equal(text(nextHopSelf(6, {}, plain, '2001:db8::1', undefined)), '2001:db8::1');
  assert.equal(text(nextHopSelf(6, { nextHop6: 'fd00::9' }, plain, '2001:db8::1', both)), 'fd00::9');
  assert.equal(text(nextHopSelf(6, { nextHop6: '2001:db8::1' }, plain, '192.0.2.1', both)), '2001:db8::1 fe80::1');
  assert.equal(text(nextHopSelf(6, {}, plain, 'fe80::1%e0', both)), '2001:db8::1 fe80::1');
  assert.equal(text(nextHopSelf(6, {}, plain, '192.0.2.1', undefined)), 'none');
});

test('draft-ietf-idr-linklocal-capability: without a global address it stands alone where that is negotiated, else as told', () => {
  const negotiated = { extendedNextHop: true, linkLocalNextHop: true };
  const form = (linkLocalNextHopFormat: 'native' | 'single' | 'double', agreed = negotiated) =>
    text(nextHopSelf(6, { linkLocalNextHopFormat }, agreed, 'fe80::1%e0', bare));
  assert.equal(text(nextHopSelf(6, {}, negotiated, 'fe80::1%e0', bare)), 'fe80::1');
  assert.equal(text(nextHopSelf(6, {}, plain, 'fe80::1%e0', bare)), 'fe80::1 fe80::1');
  assert.equal(form('native'), ':: fe80::1');
  assert.equal(form('single', extended), 'fe80::1');
  assert.equal(form('double'), 'fe80::1 fe80::1');
});
