import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LocalLinks } from './local-links.ts';

const six = (cidr: string, internal = false) => {
  const address = cidr.split('/')[0]!;
  return { address, cidr, family: 'IPv6' as const, internal, mac: '', netmask: '', scopeid: 0 };
};
const four = (cidr: string) => ({
  address: cidr.split('/')[0]!,
  cidr,
  family: 'IPv4' as const,
  internal: false,
  mac: '',
  netmask: '',
});
const interfaces = {
  lo: [six('::1/128', true), six('fd00::1/128', true)],
  eth0: [four('10.9.0.1/24'), six('fd09::1/64'), six('fe80::a/64')],
  eth1: [six('fe80::b/64')],
};

test('RFC 2545 3: a peer shares a link when the subnet of our address on it holds the peer', () => {
  const links = new LocalLinks(() => interfaces);
  const eth0 = { interface: 'eth0', linkLocal: 'fe80::a', global: ['fd09::1'] };
  assert.deepEqual(links.linkOf('fd09::1', 'fd09::2'), eth0);
  assert.deepEqual(links.linkOf('10.9.0.1', '10.9.0.2'), eth0);
  assert.equal(links.linkOf('fd09::1', 'fd10::2'), undefined, 'farther away');
  assert.equal(links.linkOf('fd00::1', 'fd00::2'), undefined, 'from a loopback address');
  assert.deepEqual(links.linkOf('fe80::b%eth1', 'fe80::2%eth1'), {
    interface: 'eth1',
    linkLocal: 'fe80::b',
    global: [],
  });
  assert.deepEqual(links.linkOf('fe80::c%eth9', 'fe80::2%eth9'), { interface: 'eth9', global: [] });
});

test('interfaces are read again when they changed, and once in a while', () => {
  let reads = 0;
  let now = 0;
  const links = new LocalLinks(
    () => {
      reads++;
      return interfaces;
    },
    () => now,
  );
  for (let i = 0; i < 100; i++) links.linkOf('fd09::1', 'fd09::2');
  assert.equal(reads, 1);
  links.forget();
  links.linkOf('fd09::1', 'fd09::2');
  assert.equal(reads, 2);
  now = 60_000;
  links.linkOf('fd09::1', 'fd09::2');
  assert.equal(reads, 3);
});
