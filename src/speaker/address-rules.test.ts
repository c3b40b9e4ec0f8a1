import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerConfig, PeerRange } from '#bgp';
import { addressRules } from './address-rules.ts';

const peer = (address: string, more: Partial<PeerConfig> = {}): PeerConfig => ({
  name: address,
  address,
  port: 179,
  asn: 1,
  families: ['ipv4-unicast'],
  holdTimeSec: 90,
  passive: false,
  connectRetrySec: 1,
  import: 'accept',
  export: 'accept',
  ...more,
});
const range = (prefix: string, more: Partial<PeerRange> = {}): PeerRange => {
  const { name: _, address: __, port: ___, passive: ____, connectRetrySec: _____, ...common } = peer('');
  return { ...common, prefix, limit: 1, ...more };
};

test('RFC 2385, RFC 5082: the peer counts before its range, the longer prefix before the shorter', () => {
  const rules = addressRules(
    [peer('10.1.0.1', { password: 'a' }), peer('10.1.0.9', { range: '10.1.0.0/16', password: 'not its own' })],
    [range('10.0.0.0/8', { password: 'b', ttlSecurityHops: 3 }), range('10.1.0.0/16', { password: 'c' })],
  );
  const subject = (address: string) => rules.of(address)?.subject;
  assert.equal(subject('10.1.0.1'), '10.1.0.1');
  assert.equal(subject('10.1.0.9'), '10.1.0.0/16');
  assert.equal(subject('10.2.0.1'), '10.0.0.0/8');
  assert.equal(rules.of('10.2.0.1')?.ttlSecurityHops, 3);
  assert.equal(subject('192.0.2.1'), undefined);
  assert.equal(subject('2001:db8::1'), undefined);
  assert.deepEqual(
    [...rules.keys(4).md5],
    [
      ['10.1.0.1', 'a'],
      ['10.0.0.0/8', 'b'],
      ['10.1.0.0/16', 'c'],
    ],
  );
  assert.equal(rules.keys(6).md5.size, 0);
});

test('RFC 2385: link-local peers have their key without the interface, and one that is not found yet none', () => {
  const rules = addressRules(
    [
      peer('fe80::1%eth0', { password: 'a' }),
      peer('fe80::1%eth1', { password: 'b' }),
      peer('', { interface: 'eth2', password: 'c' }),
    ],
    [],
  );
  assert.deepEqual([...rules.keys(6).md5], [['fe80::1', 'b']]);
  assert.deepEqual(rules.ambiguous, ['fe80::1']);
  assert.equal(rules.of('fe80::1%eth0')?.password, 'a');
  assert.equal(rules.of('fe80::1%eth2'), undefined, 'RFC 4007: another link');
});

test('RFC 5925: an address has keys of one kind, the last ones; a peer that is held down has none', () => {
  const tcpAo = [{ sendId: 1, recvId: 1, algorithm: 'hmac-sha-1-96', secret: 'x' }] as const;
  const rules = addressRules(
    [
      peer('10.1.0.1', { tcpAo }),
      peer('10.1.0.2', { tcpAo, heldDown: 'no TCP-AO' }),
      peer('fe80::1%eth0', { password: 'a' }),
      peer('fe80::1%eth1', { tcpAo }),
    ],
    [range('10.0.0.0/8', { tcpAo })],
  );
  assert.deepEqual([...rules.keys(4).ao.keys()], ['10.1.0.1', '10.0.0.0/8']);
  assert.deepEqual([[...rules.keys(6).ao.keys()], rules.keys(6).md5.size], [['fe80::1'], 0]);
  assert.deepEqual(rules.ambiguous, ['fe80::1']);
  assert.deepEqual(rules.of('10.1.0.2')?.tcpAo, tcpAo, 'who connects there must be signed all the same');
});
