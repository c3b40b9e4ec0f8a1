import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { type Cidr, cidrContains, formatIp, type IpAddress, parseCidr, parseIp, toCidr, toIpAddress } from './ip.ts';

test('IPv6 text is RFC 5952, checked against ipaddr.js', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), { minLength: 8, maxLength: 8 }),
      (words) => {
        const bytes = Uint8Array.from(words.flatMap((w) => [w >> 8, w & 255]));
        const text = formatIp(bytes);
        assert.equal(text, new ipaddr.IPv6(words).toRFC5952String());
        assert.deepEqual(parseIp(text), bytes);
      },
    ),
  );
});

test('IPv4 round trip', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 4, maxLength: 4 }), (bytes) => {
      assert.deepEqual(parseIp(formatIp(bytes)), bytes);
    }),
  );
});

test('what is not an address is refused', () => {
  for (const text of [
    '',
    '1.2.3',
    '1.2.3.4.5',
    '256.1.1.1',
    '01.2.3.4',
    '1.2.3.4 ',
    ':',
    ':::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1::2::3',
    'fe80::1%eth0',
    '[::1]',
    '12345::',
    '::1.2.3',
    'g::',
  ]) {
    assert.equal(toIpAddress(text), undefined, text);
  }
  assert.equal(toIpAddress('::FFFF:1.2.3.4'), '::ffff:102:304');
});

test('prefixes are masked and bounded', () => {
  assert.equal(toCidr('10.1.2.3/8'), '10.0.0.0/8');
  assert.equal(toCidr('2001:db8::1/33'), '2001:db8::/33');
  assert.equal(toCidr('10.1.2.3'), '10.1.2.3/32');
  assert.equal(toCidr('0.0.0.0/0'), '0.0.0.0/0');
  for (const text of ['10.0.0.0/33', '::/129', '10.0.0.0/-1', '10.0.0.0/08', '10.0.0.0/', '/8'])
    assert.equal(toCidr(text), undefined, text);
});

test('containment agrees with ipaddr.js', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc.integer({ min: 0, max: 32 }),
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc.integer({ min: 0, max: 4 }),
      (net, length, other, keep) => {
        const address = Uint8Array.from(other);
        for (let i = 0; i < keep; i++) address[i] = net[i]!;
        const outer = toCidr(`${formatIp(net)}/${length}`) as Cidr;
        const expected = ipaddr
          .parse(formatIp(address))
          .match([ipaddr.parse(formatIp(parseCidr(outer)!.bytes)), length] as [ipaddr.IPv4, number]);
        assert.equal(cidrContains(outer, formatIp(address) as IpAddress), expected);
      },
    ),
  );
});
