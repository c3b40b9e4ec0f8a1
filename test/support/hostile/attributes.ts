/** Path attributes, right and wrong: RFC 7606 3 and 7, and what hurt others. */
import {
  asPath,
  asPath2,
  attribute,
  fill,
  type HostileInput,
  input,
  localAsn,
  localRouterId,
  nextHop,
  type Outcome,
  origin,
  peerAsn,
  prefix4,
  sequence,
  sequence2,
  u16,
  u32,
  update,
  withMore,
} from './build.ts';

const withPath = (value: readonly number[], flags = 0x40): Uint8Array =>
  update({ attributes: [origin, attribute(flags, 2, value), nextHop], nlri: prefix4 });
const withOrigin = (flags: number, ...value: number[]): Uint8Array =>
  update({ attributes: [attribute(flags, 1, value), asPath, nextHop], nlri: prefix4 });
const withNextHop = (value: readonly number[], flags = 0x40): Uint8Array =>
  update({ attributes: [origin, asPath, attribute(flags, 3, value)], nlri: prefix4 });
const more = (id: string, clause: string, attributeBytes: readonly number[], outcome: Outcome): HostileInput =>
  input(id, clause, withMore('ebgp', attributeBytes), outcome);
const moreInside = (id: string, clause: string, attributeBytes: readonly number[], outcome: Outcome): HostileInput =>
  input(id, clause, withMore('ibgp', attributeBytes), outcome, { peer: 'ibgp' });
const moreOld = (id: string, clause: string, attributeBytes: readonly number[], outcome: Outcome): HostileInput =>
  input(id, clause, withMore('old', attributeBytes), outcome, { peer: 'old' });
const path = (
  id: string,
  clause: string,
  value: readonly number[],
  outcome: Outcome,
  peer: 'ebgp' | 'ibgp' | 'old' = 'ebgp',
): HostileInput => input(`aspath-${id}`, clause, withPath(value), outcome, { peer });

/** The same attribute with lengths that are wrong for it. */
const lengths = (
  id: string,
  clause: string,
  flags: number,
  type: number,
  wrong: readonly number[],
  outcome: Outcome,
  make: typeof more = more,
): HostileInput[] =>
  wrong.map((length) => make(`${id}-len-${length}`, clause, attribute(flags, type, fill(length, 1)), outcome));

/** A long AS_SEQUENCE, in segments of 255. */
function longPath(count: number): number[] {
  const out: number[] = [];
  for (let left = count; left > 0; left -= 255) {
    const size = Math.min(left, 255);
    out.push(2, size, ...Array.from({ length: size }, () => u32(peerAsn)).flat());
  }
  return out;
}

const mandatory: readonly HostileInput[] = [
  ...[0, 2].map((n) => input(`origin-len-${n}`, 'RFC 7606 7.1', withOrigin(0x40, ...fill(n)), 'withdraw')),
  ...[3, 255].map((value) => input(`origin-value-${value}`, 'RFC 7606 7.1', withOrigin(0x40, value), 'withdraw')),
  input('origin-flag-optional', 'RFC 7606 3c', withOrigin(0xc0, 0), 'withdraw'),
  input('origin-flag-non-transitive', 'RFC 7606 3c', withOrigin(0, 0), 'withdraw'),
  input('origin-flag-low-bits', 'RFC 4271 4.3', withOrigin(0x4f, 0), 'accept'),
  input('origin-flag-partial', 'RFC 7606 3c', withOrigin(0x60, 0), 'accept'),
  input(
    'origin-extended-length',
    'RFC 4271 4.3',
    update({ attributes: [[0x50, 1, 0, 1, 0], asPath, nextHop], nlri: prefix4 }),
    'accept',
  ),
  input('origin-value-9-ibgp', 'RFC 7606 7.1', withOrigin(0x40, 9), 'withdraw', { peer: 'ibgp' }),
  input('origin-missing', 'RFC 7606 3d', update({ attributes: [asPath, nextHop], nlri: prefix4 }), 'withdraw'),
  input('aspath-missing', 'RFC 7606 3d', update({ attributes: [origin, nextHop], nlri: prefix4 }), 'withdraw'),
  input('nexthop-missing', 'RFC 7606 3d', update({ attributes: [origin, asPath], nlri: prefix4 }), 'withdraw'),
  input('attributes-missing', 'RFC 7606 3d', update({ nlri: prefix4 }), 'withdraw'),
  input(
    'attributes-unknown-alone',
    'RFC 7606 3d',
    update({ attributes: [attribute(0xc0, 99, [1])], nlri: prefix4 }),
    'withdraw',
  ),
  ...[0, 3, 5, 16].map((n) => input(`nexthop-len-${n}`, 'RFC 7606 7.3', withNextHop(fill(n, 1)), 'withdraw')),
  input('nexthop-flag-optional', 'RFC 7606 3c', withNextHop([192, 0, 2, 1], 0xc0), 'withdraw'),
  ...(
    [
      ['0.0.0.0', [0, 0, 0, 0]],
      ['127.0.0.1', [127, 0, 0, 1]],
      ['224.0.0.5', [224, 0, 0, 5]],
      ['240.0.0.1', [240, 0, 0, 1]],
      ['255.255.255.255', [255, 255, 255, 255]],
    ] as const
  ).map(([name, value]) => input(`nexthop-${name}`, 'RFC 4271 6.3', withNextHop(value), 'withdraw')),
  input('nexthop-127.0.0.1-ibgp', 'RFC 4271 6.3', withNextHop([127, 0, 0, 1]), 'withdraw', { peer: 'ibgp' }),
];

const asPaths: readonly HostileInput[] = [
  ...[0, 5, 9, 255].map((type) => path(`segment-type-${type}`, 'RFC 7606 7.2', [type, 1, ...u32(peerAsn)], 'withdraw')),
  path('segment-empty', 'RFC 7606 7.2', [...sequence(peerAsn), 2, 0], 'withdraw'),
  path('segment-empty-alone', 'RFC 7606 7.2', [2, 0], 'withdraw'),
  path('segment-overrun', 'RFC 7606 7.2', [2, 2, ...u32(peerAsn)], 'withdraw'),
  path('segment-overrun-255', 'RFC 7606 7.2', [2, 255, ...u32(peerAsn)], 'withdraw'),
  path('octet-left', 'RFC 7606 7.2', [...sequence(peerAsn), 2], 'withdraw'),
  path('asn-cut', 'RFC 7606 7.2', sequence(peerAsn).slice(0, -1), 'withdraw'),
  path('segment-type-9-ibgp', 'RFC 7606 7.2', [9, 1, ...u32(peerAsn)], 'withdraw', 'ibgp'),
  path('confed-sequence', 'RFC 5065 5', [3, 1, ...u32(peerAsn)], 'withdraw'),
  path('confed-set', 'RFC 5065 5', [...sequence(peerAsn), 4, 1, ...u32(1)], 'withdraw'),
  path('confed-sequence-ibgp', 'RFC 5065 5', [3, 1, ...u32(peerAsn)], 'withdraw', 'ibgp'),
  path('as0', 'RFC 7607 2', sequence(peerAsn, 0), 'withdraw'),
  path('as0-first', 'RFC 7607 2', sequence(0, peerAsn), 'withdraw'),
  path('as0-ibgp', 'RFC 7607 2', sequence(1, 0), 'withdraw', 'ibgp'),
  path('as0-old', 'RFC 7607 2', sequence2(peerAsn, 0), 'withdraw', 'old'),
  path('as-set', 'RFC 9774 3', [...sequence(peerAsn), 1, 1, ...u32(5)], 'withdraw'),
  path('as-set-alone', 'RFC 9774 3', [1, 1, ...u32(peerAsn)], 'withdraw'),
  path('as-set-ibgp', 'RFC 9774 3', [1, 2, ...u32(5), ...u32(6)], 'withdraw', 'ibgp'),
  path('first-as-not-the-peer', 'RFC 4271 6.3', sequence(64999, peerAsn), 'withdraw'),
  path('empty', 'RFC 4271 6.3', [], 'withdraw'),
  path('empty-ibgp', 'RFC 4271 5.1.2', [], 'accept', 'ibgp'),
  path('own-as', 'RFC 4271 9.1.2', sequence(peerAsn, localAsn), 'unused'),
  path('own-as-ibgp', 'RFC 4271 9.1.2', sequence(peerAsn, localAsn), 'unused', 'ibgp'),
  path('width-2-from-a-4-octet-peer', 'RFC 6793 4.1', sequence2(peerAsn), 'withdraw'),
  path('width-4-from-a-2-octet-peer', 'RFC 6793 4.1', sequence(peerAsn), 'withdraw', 'old'),
  path('255-long', 'RFC 4271 4.3', longPath(255), 'accept'),
  path('400-long', 'RFC 4271 4.3', longPath(400), 'accept'),
  path('1000-long', 'RFC 4271 4.3', longPath(1000), 'accept'),
  input('aspath-flag-optional', 'RFC 7606 3c', withPath(sequence(peerAsn), 0xc0), 'withdraw'),
  input('aspath-flag-non-transitive', 'RFC 7606 3c', withPath(sequence(peerAsn), 0), 'withdraw'),
];

const numbers: readonly HostileInput[] = [
  ...lengths('med', 'RFC 7606 7.4', 0x80, 4, [0, 3, 5], 'withdraw'),
  ...lengths('med-ibgp', 'RFC 7606 7.4', 0x80, 4, [3], 'withdraw', moreInside),
  more('med-flag-transitive', 'RFC 7606 3c', attribute(0xc0, 4, u32(1)), 'withdraw'),
  more('med-flag-well-known', 'RFC 7606 3c', attribute(0x40, 4, u32(1)), 'withdraw'),
  ...lengths('localpref-ebgp', 'RFC 7606 7.5', 0x40, 5, [0, 4, 9], 'discard'),
  more('localpref-ebgp-flag-optional', 'RFC 7606 7.5', attribute(0xc0, 5, u32(1)), 'discard'),
  ...lengths('localpref-ibgp', 'RFC 7606 7.5', 0x40, 5, [0, 3, 5], 'withdraw', moreInside),
  moreInside('localpref-ibgp-flag-optional', 'RFC 7606 3c', attribute(0xc0, 5, u32(1)), 'withdraw'),
  ...lengths('atomic-aggregate', 'RFC 7606 7.6', 0x40, 6, [1, 4], 'discard'),
  more('atomic-aggregate-flag-optional', 'RFC 7606 3c', attribute(0xc0, 6, []), 'withdraw'),
  ...lengths('aggregator', 'RFC 7606 7.7', 0xc0, 7, [0, 6, 7, 9], 'discard'),
  ...lengths('aggregator-old', 'RFC 7606 7.7', 0xc0, 7, [5, 8], 'discard', moreOld),
  more('aggregator-as0', 'RFC 7607 2', attribute(0xc0, 7, [...u32(0), 1, 1, 1, 1]), 'discard'),
  moreOld('aggregator-as0-old', 'RFC 7607 2', attribute(0xc0, 7, [0, 0, 1, 1, 1, 1]), 'discard'),
  more('aggregator-flag-non-transitive', 'RFC 7606 3c', attribute(0x80, 7, [...u32(5), 1, 1, 1, 1]), 'withdraw'),
  more('aggregator-flag-low-bits', 'RFC 4271 4.3', attribute(0xcf, 7, [...u32(5), 1, 1, 1, 1]), 'accept'),
  ...lengths('originator-id-ebgp', 'RFC 7606 7.9', 0x80, 9, [1, 4], 'discard'),
  more('originator-id-ebgp-flag-transitive', 'RFC 7606 7.9', attribute(0xc0, 9, u32(1)), 'discard'),
  ...lengths('originator-id-ibgp', 'RFC 7606 7.9', 0x80, 9, [0, 3, 5], 'withdraw', moreInside),
  moreInside('originator-id-ibgp-ours', 'RFC 4456 8', attribute(0x80, 9, u32(localRouterId)), 'unused'),
  ...lengths('cluster-list-ebgp', 'RFC 7606 7.10', 0x80, 10, [1, 4], 'discard'),
  ...lengths('cluster-list-ibgp', 'RFC 7606 7.10', 0x80, 10, [0, 3, 6], 'withdraw', moreInside),
  moreInside('cluster-list-ibgp-ours', 'RFC 4456 8', attribute(0x80, 10, [...u32(9), ...u32(localRouterId)]), 'unused'),
];

const lists: readonly HostileInput[] = [
  ...lengths('communities', 'RFC 7606 7.8', 0xc0, 8, [0, 3, 5, 6], 'withdraw'),
  ...lengths('communities-ibgp', 'RFC 7606 7.8', 0xc0, 8, [0, 5], 'withdraw', moreInside),
  more('communities-flag-non-transitive', 'RFC 7606 3c', attribute(0x80, 8, u32(1)), 'withdraw'),
  more('communities-flag-low-bits', 'RFC 4271 4.3', [0xef, 8, 4, ...u32(1)], 'accept'),
  more(
    'communities-900',
    'RFC 1997',
    attribute(0xc0, 8, Array.from({ length: 900 }, (_, i) => u32(i)).flat()),
    'accept',
  ),
  ...lengths('extended-communities', 'RFC 7606 7.14', 0xc0, 16, [0, 7, 9], 'withdraw'),
  more('extended-communities-unknown', 'RFC 4360 6', attribute(0xc0, 16, [0x3f, 0x77, ...fill(6, 9)]), 'accept'),
  ...lengths('ipv6-extended-communities', 'RFC 7606 7.15', 0xc0, 25, [0, 8, 21], 'withdraw'),
  ...lengths('large-community', 'RFC 8092 6', 0xc0, 32, [0, 11, 13], 'withdraw'),
  more('large-community-twice-the-same', 'RFC 8092 5', attribute(0xc0, 32, fill(24, 1)), 'accept'),
  ...lengths('otc', 'RFC 9234 5', 0xc0, 35, [0, 3, 5, 1024], 'withdraw'),
  more('otc-flag-non-transitive', 'RFC 7606 3c', attribute(0x80, 35, u32(5)), 'withdraw'),
];

const as4: readonly HostileInput[] = [
  more('as4path-new', 'RFC 6793 4.1', attribute(0xc0, 17, sequence(peerAsn)), 'discard'),
  more('as4path-new-flag-well-known', 'RFC 6793 4.1', attribute(0x40, 17, []), 'discard'),
  more('as4aggregator-new', 'RFC 6793 4.1', attribute(0xc0, 18, [...u32(5), 1, 1, 1, 1]), 'discard'),
  ...(
    [
      ['empty', []],
      ['odd', [2, 2, 0]],
      ['overrun', [2, 2, ...u32(peerAsn)]],
      ['segment-empty', [2, 0]],
      ['segment-type-9', [9, 1, ...u32(peerAsn)]],
      ['as0', sequence(0)],
    ] as const
  ).map(([name, value]) => moreOld(`as4path-old-${name}`, 'RFC 6793 6', attribute(0xc0, 17, value), 'discard')),
  moreOld('as4path-confed-old', 'RFC 6793 6', attribute(0xc0, 17, [3, 1, ...u32(7), ...sequence(peerAsn)]), 'accept'),
  moreOld('as4path-old-longer', 'RFC 6793 4.2.3', attribute(0xc0, 17, sequence(peerAsn, 1, 2, 3)), 'accept'),
  moreOld('as4path-old-flag-well-known', 'RFC 7606 3c', attribute(0x40, 17, sequence(peerAsn)), 'withdraw'),
  moreOld('as4aggregator-old-len-6', 'RFC 6793 6', attribute(0xc0, 18, fill(6, 1)), 'discard'),
  moreOld('as4aggregator-old-as0', 'RFC 7607 2', attribute(0xc0, 18, [...u32(0), 1, 1, 1, 1]), 'discard'),
];

/** Those that reset sessions all over the Internet, and their kin: none is understood here, so that none is looked into. */
const corrupt: readonly (readonly [
  id: string,
  clause: string,
  flags: number,
  type: number,
  value: readonly number[],
])[] = [
  ['prefix-sid-zeros', 'RFC 8669 6', 0xc0, 40, fill(11)],
  ['prefix-sid-len-1', 'RFC 8669 6', 0xc0, 40, [1]],
  ['prefix-sid-overrun', 'RFC 8669 6', 0xc0, 40, [1, 0, 200, 0]],
  ['prefix-sid-empty', 'RFC 8669 6', 0xc0, 40, []],
  ['tunnel-encap-overrun', 'RFC 9012 13', 0xc0, 23, [0, 13, 255, 255, 1]],
  ['tunnel-encap-empty', 'RFC 9012 13', 0xc0, 23, []],
  ['entropy-label-corrupt', 'RFC 6790 5.2', 0xc0, 28, [0xff]],
  ['attr-set-corrupt', 'RFC 6368 5', 0xc0, 128, [0, 0, 0]],
  ['pmsi-corrupt', 'RFC 6514 5', 0xc0, 22, [0]],
  ['bfd-discriminator-corrupt', 'RFC 9026 3.1.6', 0xc0, 38, [1]],
  ['bgp-ls-corrupt', 'RFC 9552 8.2.2', 0x80, 29, [4, 0, 0xff, 0xff]],
  ['aigp-corrupt', 'RFC 7311 3.2', 0x80, 26, [1, 0, 2]],
  ['aigp-len-0', 'RFC 7311 3.2', 0x80, 26, []],
  ['bgpsec-path-corrupt', 'RFC 8205 5.2', 0x80, 33, [0, 1]],
  ['unknown-transitive-empty', 'RFC 4271 5', 0xc0, 99, []],
  ['unknown-transitive-2k', 'RFC 4271 5', 0xc0, 99, fill(2048, 7)],
  ['unknown-transitive-type-0', 'RFC 4271 5', 0xc0, 0, [1]],
  ['unknown-transitive-type-255', 'RFC 4271 5', 0xc0, 255, [1]],
  ['unknown-transitive-partial', 'RFC 4271 5', 0xe0, 99, [1, 2, 3]],
  ['unknown-non-transitive', 'RFC 4271 5', 0x80, 99, [1]],
  ['unknown-non-transitive-2k', 'RFC 4271 5', 0x80, 99, fill(2048, 7)],
];

const whole: readonly HostileInput[] = [
  ...corrupt.map(([id, clause, flags, type, value]) => more(id, clause, attribute(flags, type, value), 'accept')),
  more('unknown-well-known', 'RFC 4271 6.3', attribute(0x40, 99, [1]), '3/2'),
  more('unknown-well-known-type-0', 'RFC 4271 6.3', attribute(0, 0, [1]), '3/2'),
  input(
    'twice-communities',
    'RFC 7606 3g',
    withMore('ebgp', attribute(0xc0, 8, u32(1)), attribute(0xc0, 8, [9])),
    'discard',
  ),
  input('twice-origin', 'RFC 7606 3g', withMore('ebgp', attribute(0x40, 1, [9])), 'discard'),
  input('twice-aspath-old', 'RFC 7606 3g', withMore('old', asPath2), 'discard', { peer: 'old' }),
  input(
    'twice-unknown',
    'RFC 7606 3g',
    withMore('ebgp', attribute(0xc0, 99, [1]), attribute(0xc0, 99, [2])),
    'discard',
  ),
  more('list-overrun', 'RFC 7606 4', [0xc0, 8, 200, 1, 2, 3, 4], 'withdraw'),
  more('list-overrun-by-one', 'RFC 7606 4', [0xc0, 8, 5, 1, 2, 3, 4], 'withdraw'),
  more('list-overrun-extended', 'RFC 7606 4', [0xd0, 8, ...u16(0xffff), 1, 2, 3, 4], 'withdraw'),
  input(
    'list-overrun-first',
    'RFC 7606 4',
    update({ attributes: [[0x40, 1, 255, 0], asPath, nextHop], nlri: prefix4 }),
    'withdraw',
  ),
  more('list-left-1', 'RFC 7606 4', [0xc0], 'withdraw'),
  more('list-left-2', 'RFC 7606 4', [0xc0, 8], 'withdraw'),
  more('list-left-3-extended', 'RFC 7606 4', [0xd0, 8, 0], 'withdraw'),
];

export const attributeInputs: readonly HostileInput[] = [
  ...mandatory,
  ...asPaths,
  ...numbers,
  ...lists,
  ...as4,
  ...whole,
];
