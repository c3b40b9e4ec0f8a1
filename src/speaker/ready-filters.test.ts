/** The filters that a file may name without writing them, run on routes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { filter, type PeerConfig, wire } from '#bgp';
import { parseCidr } from '#kit';
import { parseSpeakerFile } from './speaker-file.ts';

const head = 'asn: 64999\nrouterId: 10.0.0.1\noriginate: [10.1.0.0/16, "fd00:1::/48"]\n';
function peer(imports: string, filters = ''): PeerConfig {
  const text = `${head}${filters}peers: [{ address: 10.0.0.2, asn: 64513, families: [ipv4, ipv6], import: ${imports} }]\n`;
  return parseSpeakerFile('speaker.yaml', text, () => '').peers[0]!;
}
/** Name of the filter that rejects a route; undefined: it is taken. */
function rejects({ importFilter }: PeerConfig, prefix: string, path: readonly number[] = [3320]): string | undefined {
  const { family, bytes, length } = parseCidr(prefix)!;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const words = Int32Array.from({ length: bytes.length / 4 }, (_, i) => view.getInt32(4 * i));
  const attributes = wire.prependAsns(wire.originatedAttributes({}), path)!;
  const compiled = filter.compileFilter(importFilter![family === 4 ? 'ipv4' : 'ipv6'], 64999)!;
  compiled.use(attributes, attributes.length, filter.ownRoute);
  return compiled.run(words, 0, length) ? undefined : compiled.terms[compiled.decidedBy]?.from?.filter;
}
const all =
  '[bogon-prefixes, private-prefixes, long-prefixes, own-prefixes, default-route, bogon-asns, private-asns, accept]';

test('RFC 7454 6.1: prefixes that networks do not take from each other, by the filter that is named', () => {
  const strict = peer(all);
  for (const [prefix, by] of [
    ['8.8.8.0/24', undefined],
    ['2600::/48', undefined],
    ['1.0.0.0/8', undefined],
    ['0.0.0.0/0', 'default-route'],
    ['::/0', 'default-route'],
    ['0.0.0.0/8', 'bogon-prefixes'],
    ['127.0.0.1/32', 'bogon-prefixes'],
    ['169.254.0.0/16', 'bogon-prefixes'],
    ['192.0.0.0/24', 'bogon-prefixes'],
    ['192.0.1.0/24', undefined],
    ['198.18.0.0/15', 'bogon-prefixes'],
    ['198.20.0.0/16', undefined],
    ['203.0.113.128/25', 'bogon-prefixes'],
    ['233.252.0.0/24', 'bogon-prefixes'],
    ['255.255.255.255/32', 'bogon-prefixes'],
    ['::1/128', 'bogon-prefixes'],
    ['2001:db8:5::/48', 'bogon-prefixes'],
    ['2001:db9::/32', undefined],
    ['3fff::/20', 'bogon-prefixes'],
    ['fe80::/10', 'bogon-prefixes'],
    ['ff02::/16', 'bogon-prefixes'],
    ['10.200.0.0/16', 'private-prefixes'],
    ['172.31.0.0/16', 'private-prefixes'],
    ['172.32.0.0/16', undefined],
    ['100.127.0.0/16', 'private-prefixes'],
    ['fd12::/48', 'private-prefixes'],
    ['8.8.8.0/25', 'long-prefixes'],
    ['2600::/49', 'long-prefixes'],
  ] as const) {
    assert.equal(rejects(strict, prefix), by, prefix);
  }
});

test('RFC 7454 6.1.4: our own prefixes and parts of them do not come back; what holds them may', () => {
  const own = peer('own-prefixes');
  const cases = [
    '10.1.0.0/16',
    '10.1.7.0/24',
    '10.0.0.0/8',
    '10.2.0.0/16',
    'fd00:1::/48',
    'fd00:1:0:1::/64',
    'fd00::/32',
  ];
  assert.deepEqual(
    cases.filter((prefix) => rejects(own, prefix)),
    ['10.1.0.0/16', '10.1.7.0/24', 'fd00:1::/48', 'fd00:1:0:1::/64'],
  );
  const nothing = parseSpeakerFile(
    'speaker.yaml',
    'asn: 1\nrouterId: 10.0.0.1\npeers: [{ address: 10.0.0.2, asn: 2, import: own-prefixes }]\n',
    () => '',
  );
  assert.deepEqual(nothing.peers[0]!.importFilter, { ipv4: [], ipv6: [] });
});

test('RFC 7454 9: AS numbers that are nobody’s, wherever they stand in the path', () => {
  const strict = peer(all.replace('private-prefixes, ', ''));
  for (const [asns, by] of [
    [[3320, 174], undefined],
    [[3320, 0, 174], 'bogon-asns'],
    [[23456], 'bogon-asns'],
    [[3320, 64496], 'bogon-asns'],
    [[65535], 'bogon-asns'],
    [[131071], 'bogon-asns'],
    [[131072], undefined],
    [[4294967295], 'bogon-asns'],
    [[64512], 'private-asns'],
    [[3320, 65534], 'private-asns'],
    [[4200000000, 3320], 'private-asns'],
    [[4199999999], undefined],
  ] as const) {
    assert.equal(rejects(strict, '8.8.8.0/24', asns), by, asns.join(' '));
  }
});

test('one of the file takes the place of a ready one; an unknown name lists both', () => {
  const filters = 'filters:\n  private-prefixes:\n  - { match: { prefixes: 8.0.0.0/8+ }, then: reject }\n';
  const mine = peer('[bogon-prefixes, private-prefixes]', filters);
  assert.equal(rejects(mine, '10.2.0.0/16'), undefined);
  assert.equal(rejects(mine, '8.8.8.0/24'), 'private-prefixes');
  assert.equal(rejects(mine, '127.0.0.0/8'), 'bogon-prefixes');
  assert.throws(
    () => peer('bogons', filters),
    /bogons is neither accept nor reject nor a filter; known are .*bogon-asns/,
  );
});
