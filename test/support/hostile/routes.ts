/** NLRI, framing of UPDATE, and the multiprotocol attributes: RFC 4271 4.3 and 6.3, RFC 4760, RFC 7606 3b, 5 and 7.11. */
import {
  asPath,
  attribute,
  fill,
  global6,
  type HostileInput,
  input,
  message,
  mpReach,
  mpUnreach,
  nextHop,
  type Outcome,
  origin,
  prefix4,
  prefix6,
  u16,
  update,
  victim4,
  victim6,
} from './build.ts';

const good = [origin, asPath, nextHop];
const routes = (nlri: readonly number[], withdrawn: readonly number[] = []): Uint8Array =>
  update({ withdrawn, attributes: good, nlri });
const raw = (withdrawnLength: number, rest: readonly number[]): Uint8Array =>
  message(2, [...u16(withdrawnLength), ...rest]);
const reach = (...attributes: readonly (readonly number[])[]): Uint8Array =>
  update({ attributes: [...attributes, origin, asPath] });
const six = (id: string, clause: string, bytes: Uint8Array, outcome: Outcome): HostileInput =>
  input(`mp-${id}`, clause, bytes, outcome, { about: [victim6] });
const untouched = { has: [victim4, victim6] };

export const nlriInputs: readonly HostileInput[] = [
  input('nlri-bits-33', 'RFC 7606 5.3', routes([33, 1, 2, 3, 4, 5]), '3/10'),
  input('nlri-bits-255', 'RFC 7606 5.3', routes([255, ...fill(32, 1)]), '3/10'),
  input('nlri-cut', 'RFC 7606 5.3', routes([24, 10, 1]), '3/10'),
  input('nlri-cut-second', 'RFC 7606 5.3', routes([...prefix4, 32, 10]), '3/10'),
  input('nlri-bits-33-ibgp', 'RFC 7606 5.3', routes([33, 1, 2, 3, 4, 5]), '3/10', { peer: 'ibgp' }),
  input('withdrawn-bits-33', 'RFC 7606 5.3', update({ withdrawn: [33, 1, 2, 3, 4, 5] }), '3/10'),
  input('withdrawn-cut', 'RFC 7606 5.3', update({ withdrawn: [24, 10, 1] }), '3/10'),
  input('withdrawn-length-beyond', 'RFC 7606 3b', raw(5, [0, 0]), '3/1'),
  input('withdrawn-length-65535', 'RFC 7606 3b', raw(0xffff, [0, 0]), '3/1'),
  input('withdrawn-length-eats-attribute-length', 'RFC 7606 3b', raw(2, [0, 0]), '3/1'),
  input('attributes-length-beyond', 'RFC 7606 3b', raw(0, [0, 1]), '3/1'),
  input('attributes-length-65535', 'RFC 7606 3b', raw(0, [0xff, 0xff, ...origin]), '3/1'),
  input('update-bytes-22', 'RFC 4271 6.1', message(2, [0, 0, 0]), '1/2'),
  input('nlri-host-bits', 'RFC 4271 4.3', routes([20, 10, 1, 0xff]), 'accept', { has: ['10.1.240.0/20', victim6] }),
  input('nlri-multicast', 'RFC 4271 6.3', routes([8, 224, 4, 224, ...prefix4]), 'accept', {
    hasNot: ['224.0.0.0/8', '224.0.0.0/4'],
    has: [victim4],
  }),
  input('nlri-loopback', 'RFC 4271 6.3', routes([8, 127, 32, 127, 0, 0, 1, ...prefix4]), 'accept', {
    hasNot: ['127.0.0.0/8', '127.0.0.1/32'],
    has: [victim4],
  }),
  input('nlri-default', 'RFC 4271 4.3', routes([0]), 'accept', { has: ['0.0.0.0/0'] }),
  input('nlri-twice', 'RFC 4271 4.3', routes([...prefix4, ...prefix4]), 'accept'),
  input('nlri-and-withdrawn', 'RFC 4271 4.3', routes(prefix4, prefix4), 'accept'),
  input('withdrawn-host-bits', 'RFC 4271 4.3', update({ withdrawn: [23, 10, 1, 3, 24, 10, 1, 2] }), 'unused'),
  input('withdrawn-unknown', 'RFC 4271 4.3', update({ withdrawn: [24, 10, 77, 7] }), 'ignore'),
  input(
    'withdrawn-bad-origin',
    'RFC 7606 5.2',
    update({ withdrawn: prefix4, attributes: [attribute(0x40, 1, [9])] }),
    '3/6',
  ),
  input(
    'withdrawn-bad-communities',
    'RFC 7606 5.2',
    update({ withdrawn: prefix4, attributes: [attribute(0xc0, 8, [])] }),
    '3/5',
  ),
  input(
    'withdrawn-discarded-attribute',
    'RFC 7606 5.2',
    update({ withdrawn: prefix4, attributes: [attribute(0x40, 6, [1])] }),
    'unused',
  ),
  input('nothing-overrun', 'RFC 7606 5.2', update({ attributes: [[0xc0, 8, 200, 1]] }), '3/5'),
  input('nothing-left-over', 'RFC 7606 5.2', update({ attributes: [[0xc0]] }), '3/1'),
  input('nothing-bad-flags', 'RFC 7606 5.2', update({ attributes: [attribute(0xc0, 1, [0])] }), '3/4'),
  input('nothing-but-good-attributes', 'RFC 4271 4.3', update({ attributes: good }), 'ignore'),
];

const linkLocal = [0xfe, 0x80, ...fill(13), 2];
const nextHops: readonly HostileInput[] = [
  ...[0, 4, 15, 17, 31, 33].map((n) =>
    six(`next-hop-len-${n}`, 'RFC 7606 7.11', reach(mpReach(prefix6, fill(n, 0x20))), '3/9'),
  ),
  six('next-hop-overrun', 'RFC 7606 7.11', reach(attribute(0x80, 14, [0, 2, 1, 16, 1, 2])), '3/9'),
  six('next-hop-len-255', 'RFC 7606 7.11', reach(attribute(0x80, 14, [0, 2, 1, 255, ...global6, 0])), '3/9'),
  six('reach-len-0', 'RFC 7606 7.11', reach(attribute(0x80, 14, [])), '3/9'),
  six('reach-len-4', 'RFC 7606 7.11', reach(attribute(0x80, 14, [0, 2, 1, 16])), '3/9'),
  ...(
    [
      ['::', fill(16)],
      ['::1', [...fill(15), 1]],
      ['ff02::1', [0xff, 2, ...fill(13), 1]],
    ] as const
  ).map(([name, value]) => six(`next-hop-${name}`, 'RFC 7606 3e', reach(mpReach(prefix6, value)), 'withdraw')),
  six('next-hop-::-then-::', 'RFC 7606 3e', reach(mpReach(prefix6, fill(32))), 'withdraw'),
  six('next-hop-global-then-link-local', 'RFC 2545 3', reach(mpReach(prefix6, [...global6, ...linkLocal])), 'accept'),
  {
    ...six(
      'next-hop-link-local-alone',
      'draft-ietf-idr-linklocal-capability',
      reach(mpReach(prefix6, linkLocal)),
      'accept',
    ),
    onLink: true,
  },
  {
    ...six('next-hop-link-local-twice', 'RFC 2545 3', reach(mpReach(prefix6, [...linkLocal, ...linkLocal])), 'accept'),
    onLink: true,
  },
  {
    ...six('next-hop-::-then-link-local', 'RFC 2545 3', reach(mpReach(prefix6, [...fill(16), ...linkLocal])), 'accept'),
    onLink: true,
  },
  six(
    'reserved-octet',
    'RFC 4760 3',
    reach(attribute(0x80, 14, [0, 2, 1, 16, ...global6, 0xff, ...prefix6])),
    'accept',
  ),
];

const ipv4: readonly HostileInput[] = [
  input('mp-ipv4', 'RFC 4760 3', reach(mpReach(prefix4, [192, 0, 2, 9], 1)), 'accept'),
  input('mp-ipv4-next-hop-16', 'RFC 8950 4', reach(mpReach(prefix4, global6, 1)), '3/9'),
  input('mp-ipv4-next-hop-5', 'RFC 7606 7.11', reach(mpReach(prefix4, fill(5, 9), 1)), '3/9'),
  input('mp-ipv4-next-hop-0.0.0.0', 'RFC 7606 3e', reach(mpReach(prefix4, fill(4), 1)), 'withdraw'),
  input('mp-ipv4-bits-33', 'RFC 7606 5.3', reach(mpReach([33, 1, 2, 3, 4, 5], [192, 0, 2, 9], 1)), '3/9'),
  input('mp-ipv4-withdrawn', 'RFC 4760 4', update({ attributes: [mpUnreach(prefix4, 1)] }), 'unused'),
];

const prefixes: readonly HostileInput[] = [
  six('reach-bits-129', 'RFC 7606 5.3', reach(mpReach([129, ...fill(17, 1)])), '3/9'),
  six('reach-cut', 'RFC 7606 5.3', reach(mpReach([64, 0x20])), '3/9'),
  six('unreach-bits-129', 'RFC 7606 5.3', update({ attributes: [mpUnreach([129, ...fill(17, 1)])] }), '3/9'),
  six('unreach-cut', 'RFC 7606 5.3', update({ attributes: [mpUnreach([64, 0x20])] }), '3/9'),
  six('unreach-len-0', 'RFC 7606 7.12', update({ attributes: [attribute(0x80, 15, [])] }), '3/9'),
  six('unreach-len-2', 'RFC 7606 7.12', update({ attributes: [attribute(0x80, 15, [0, 2])] }), '3/9'),
  six('reach-twice', 'RFC 7606 3g', reach(mpReach(), mpReach()), '3/1'),
  six('unreach-twice', 'RFC 7606 3g', update({ attributes: [mpUnreach(), mpUnreach()] }), '3/1'),
  six('reach-and-unreach', 'RFC 4760 4', reach(mpReach(), mpUnreach()), 'accept'),
  six('unreach-then-reach', 'RFC 4760 4', reach(mpUnreach(), mpReach()), 'accept'),
  six('reach-last', 'RFC 7606 5.1', update({ attributes: [origin, asPath, mpReach()] }), 'accept'),
  six('reach-empty', 'RFC 4760 3', reach(mpReach([])), 'ignore'),
  input('mp-host-bits', 'RFC 4271 4.3', reach(mpReach([33, 0x20, 1, 0xd, 0xb8, 0xff])), 'accept', {
    about: [],
    has: ['2001:db8:8000::/33', victim4],
  }),
  input('mp-multicast', 'RFC 4271 6.3', reach(mpReach([8, 0xff, ...prefix6])), 'accept', {
    has: [victim6],
    hasNot: ['ff00::/8'],
  }),
  input('mp-link-local-prefix', 'RFC 4291 2.5.6', reach(mpReach([64, 0xfe, 0x80, ...fill(6), ...prefix6])), 'accept', {
    has: [victim6],
    hasNot: ['fe80::/64'],
  }),
  input('mp-and-nlri', 'RFC 4760 3', update({ attributes: [mpReach(), ...good], nlri: prefix4 }), 'accept', {
    has: [victim4, victim6],
  }),
];

const attributes: readonly HostileInput[] = [
  six('no-origin', 'RFC 7606 3d', update({ attributes: [mpReach(), asPath] }), 'withdraw'),
  six('no-aspath', 'RFC 7606 3d', update({ attributes: [mpReach(), origin] }), 'withdraw'),
  six('bad-origin', 'RFC 7606 7.1', update({ attributes: [mpReach(), attribute(0x40, 1, [9]), asPath] }), 'withdraw'),
  six('bad-communities', 'RFC 7606 7.8', reach(mpReach(), attribute(0xc0, 8, [])), 'withdraw'),
  six('bad-large-community', 'RFC 8092 6', reach(mpReach(), attribute(0xc0, 32, [1])), 'withdraw'),
  six('list-overrun', 'RFC 7606 4', update({ attributes: [mpReach(), origin, [0x40, 2, 99, 2]] }), 'withdraw'),
  six('reach-flag-transitive', 'RFC 7606 3c', reach([0xc0, ...mpReach().slice(1)]), 'withdraw'),
  six('unreach-flag-transitive', 'RFC 7606 5.2', update({ attributes: [[0xc0, ...mpUnreach().slice(1)]] }), '3/4'),
  six('localpref-ebgp', 'RFC 7606 7.5', reach(mpReach(), attribute(0x40, 5, [1])), 'discard'),
  input(
    'mp-bad-origin-withdraws-both',
    'RFC 7606 2',
    update({ attributes: [mpReach(), attribute(0x40, 1, [9]), asPath, nextHop], nlri: prefix4 }),
    'withdraw',
    { about: [victim4, victim6] },
  ),
];

const foreign: readonly HostileInput[] = [
  ...(
    [
      ['evpn', mpReach([1, 2, 3], [1, 2, 3, 4], 25, 70)],
      ['vpnv4', mpReach([120, ...fill(15, 1)], fill(12), 1, 128)],
      ['flowspec-length-0', mpReach([0], [], 1, 133)],
      ['flowspec-overrun', mpReach([0xf0], [], 1, 133)],
      ['afi-99', mpReach([200, 1], [], 99, 9)],
      ['ipv6-multicast', mpReach(prefix6, global6, 2, 2)],
      ['labelled', mpReach([24, 0, 0, 1], [192, 0, 2, 1], 1, 4)],
    ] as const
  ).map(([name, bytes]) => input(`family-${name}`, 'RFC 4760 6', reach(bytes), 'ignore', untouched)),
  ...(
    [
      ['evpn', mpUnreach([], 25, 70)],
      ['afi-99', mpUnreach([200, 1], 99, 9)],
      ['vpnv4', mpUnreach([], 1, 128)],
    ] as const
  ).map(([name, bytes]) =>
    input(`family-${name}-unreach`, 'RFC 4724 2', update({ attributes: [bytes] }), 'ignore', untouched),
  ),
  input('end-of-rib-ipv4', 'RFC 4724 2', update({}), 'ignore', untouched),
  input('end-of-rib-ipv6', 'RFC 4724 2', update({ attributes: [mpUnreach([])] }), 'ignore', untouched),
];

export const multiprotocolInputs: readonly HostileInput[] = [
  ...nextHops,
  ...ipv4,
  ...prefixes,
  ...attributes,
  ...foreign,
];
