/** What an accepted UPDATE says: numbers, prefixes, End-of-RIB, the two AS widths, canonical form, export. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatIp } from '#kit';
import {
  canonicalAttributes,
  createExportedAttributes,
  createPrefixCursor,
  createUpdateView,
  decodeUpdate,
  describeAttributes,
  type ExportContext,
  emptyAttributeValues,
  encodeEndOfRib,
  exportAttributes,
  originatedAttributes,
  readCanonical,
  type UpdateContext,
} from './index.ts';
import {
  asPath,
  attribute,
  ebgp,
  global6,
  hexOf,
  ibgp,
  localPref,
  mpReach,
  mpUnreach,
  nextHop,
  oldPeer,
  origin,
  prefix4,
  prefix6,
  sequence,
  u32,
  update,
} from './test-messages.ts';
import { communityFlag } from './types.ts';

const view = createUpdateView();
const good = [origin, asPath, nextHop];

function accept(bytes: Uint8Array, context: UpdateContext = ebgp) {
  assert.equal(decodeUpdate(view, context, bytes, 0, bytes.length), 'accept', view.error?.reason);
  return view;
}
function canonical(attributes: number[][], context: UpdateContext = ebgp): Uint8Array {
  accept(update({ attributes, nlri: prefix4 }), context);
  const out = new Uint8Array(9000);
  return out.slice(5, canonicalAttributes(view, out, 5));
}
function text(bytes: Uint8Array) {
  return describeAttributes(bytes, 0, bytes.length);
}
function exported(bytes: Uint8Array, context: Partial<ExportContext>) {
  const out = createExportedAttributes();
  const all: ExportContext = { ebgp: true, asn4: true, localAsn: 64512, keepMed: false, ...context };
  assert.ok(exportAttributes(bytes, 0, bytes.length, all, out));
  return out.bytes.slice(0, out.length);
}

test('numbers of the decision process', () => {
  const path = attribute(0x40, 2, [...sequence(64513, 64512, 64512, 7), 1, 3, ...u32(8), ...u32(9), ...u32(64512)]);
  const v = accept(
    update({
      attributes: [
        attribute(0x40, 1, [2]),
        path,
        nextHop,
        attribute(0x80, 4, u32(0xfffffffe)),
        attribute(0xc0, 8, [...u32(0xffffff01), ...u32(0xffff029a), ...u32(64512 * 65536)]),
      ],
      nlri: prefix4,
    }),
    { ...ebgp, acceptAsSet: true },
  );
  assert.equal(v.origin, 2);
  assert.equal(v.asPathLength, 5, 'a set counts as one (RFC 4271 9.1.2.2)');
  assert.equal(v.firstAsn, 64513);
  assert.equal(v.ownAsnCount, 3);
  assert.equal(v.med, 0xfffffffe);
  assert.equal(v.localPref, -1);
  assert.equal(v.communityFlags, communityFlag.noExport | communityFlag.blackhole);
  assert.equal(formatIp(v.bytes, v.nextHopStart, 4), '192.0.2.1');
});

test('numbers of iBGP: LOCAL_PREF, ORIGINATOR_ID, CLUSTER_LIST, reflection loops (RFC 4456 8)', () => {
  const cluster = (...ids: number[]) => attribute(0x80, 10, ids.flatMap(u32));
  const reflected = [...good, localPref, attribute(0x80, 9, u32(5)), cluster(1, 2)];
  let v = accept(update({ attributes: reflected, nlri: prefix4 }), ibgp);
  assert.deepEqual([v.localPref, v.originatorId, v.clusterListLength, v.reflectionLoop], [200, 5, 2, false]);
  v = accept(update({ attributes: [...good, cluster(1, ibgp.localRouterId)], nlri: prefix4 }), ibgp);
  assert.equal(v.reflectionLoop, true);
  v = accept(update({ attributes: [...good, attribute(0x80, 9, u32(ibgp.localRouterId))], nlri: prefix4 }), ibgp);
  assert.equal(v.reflectionLoop, true);
  v = accept(update({ attributes: good, nlri: prefix4 }), ibgp);
  assert.deepEqual([v.localPref, v.originatorId, v.clusterListLength, v.reflectionLoop], [-1, -1, 0, false], 'cleared');
});

test('End-of-RIB of both families, and what is none (RFC 4724 2)', () => {
  const eor = (bytes: Uint8Array, context = ebgp) => accept(bytes, context).endOfRib;
  assert.equal(eor(encodeEndOfRib(4)), 4);
  assert.equal(eor(encodeEndOfRib(6)), 6);
  assert.equal(eor(update({ attributes: [mpUnreach([], 1)] })), 4, 'IPv4 unicast in MP_UNREACH');
  assert.equal(eor(encodeEndOfRib(6), { ...ebgp, ipv6: false }), 0);
  assert.equal(eor(encodeEndOfRib(4), { ...ebgp, ipv4: false }), 0);
  assert.equal(eor(update({ attributes: [mpUnreach()] })), 0);
  assert.equal(eor(update({ withdrawn: prefix4, attributes: [mpUnreach([])] })), 0);
  assert.equal(eor(update({ attributes: [...good, mpUnreach([])], nlri: prefix4 })), 0);
});

test('the three forms of IPv6 next hops (RFC 2545 3, and unnumbered peers)', () => {
  const linkLocal = [0xfe, 0x80, ...new Array<number>(13).fill(0), 9];
  const next = (value: number[]) => {
    const v = accept(update({ attributes: [mpReach(prefix6, value), origin, asPath] }));
    return [v.mpNextHopLength, formatIp(v.bytes, v.mpNextHopStart, 16)];
  };
  assert.deepEqual(next(global6), [16, '2001:db8::1']);
  assert.deepEqual(next([...global6, ...linkLocal]), [32, '2001:db8::1']);
  assert.deepEqual(next(linkLocal), [16, 'fe80::9']);
  assert.deepEqual(next([...new Array<number>(16).fill(0), ...linkLocal]), [16, 'fe80::9']);
  assert.deepEqual(next([...linkLocal, ...linkLocal]), [16, 'fe80::9']);
  assert.deepEqual(next([...global6, ...global6]), [16, '2001:db8::1'], 'the second is no link-local address');
});

test('RFC 8950 4: IPv4 prefixes with an IPv6 next hop, where it is negotiated', () => {
  const extended: UpdateContext = { ...ebgp, extendedNextHop: true };
  const linkLocal = [0xfe, 0x80, ...new Array<number>(13).fill(0), 9];
  const next = (value: number[], context = extended) => {
    const v = accept(update({ attributes: [mpReach(prefix4, value, 1), origin, asPath] }), context);
    assert.equal(v.mpReachFamily, 4);
    return [v.mpNextHopLength, formatIp(v.bytes, v.mpNextHopStart, value.length === 4 ? 4 : 16)];
  };
  assert.deepEqual(next(global6), [16, '2001:db8::1']);
  assert.deepEqual(next([...global6, ...linkLocal]), [32, '2001:db8::1']);
  assert.deepEqual(next(linkLocal), [16, 'fe80::9']);
  assert.deepEqual(next([...linkLocal, ...linkLocal]), [16, 'fe80::9']);
  assert.deepEqual(next([...new Array<number>(16).fill(0), ...linkLocal]), [16, 'fe80::9']);
  assert.deepEqual(next([192, 0, 2, 1]), [4, '192.0.2.1'], 'RFC 4760: the old form stays');
  assert.deepEqual(next([192, 0, 2, 1], ebgp), [4, '192.0.2.1']);
});

test('prefixes: host bits masked, multicast and loopback ignored one by one (RFC 4271 4.3, 6.3)', () => {
  const cursor = createPrefixCursor();
  const list = (family: 4 | 6, octets: number[]) => {
    cursor.reset(family, Uint8Array.from([9, ...octets]), 1, 1 + octets.length);
    const out: string[] = [];
    while (cursor.next()) {
      const bytes = Uint8Array.from([...cursor.words].flatMap((w) => u32(w >>> 0)));
      out.push(`${formatIp(bytes, 0, family === 4 ? 4 : 16)}/${cursor.bits}`);
    }
    return out;
  };
  assert.deepEqual(list(4, [0, 9, 10, 0xff, 32, 192, 168, 1, 255, 24, 255, 1, 2]), [
    '0.0.0.0/0',
    '10.128.0.0/9',
    '192.168.1.255/32',
    '255.1.2.0/24',
  ]);
  assert.deepEqual(list(4, [4, 0xe0, 8, 127, 24, 224, 0, 1, 32, 127, 0, 0, 1, 3, 0xe0, 8, 128]), [
    '224.0.0.0/3',
    '128.0.0.0/8',
  ]);
  assert.equal(cursor.ignoredCount, 4);
  assert.deepEqual(list(6, [0, 33, 0x20, 1, 0xd, 0xb8, 0xff, 8, 0xff, 10, 0xfe, 0xbf, 7, 0xfe]), [
    '::/0',
    '2001:db8:8000::/33',
    'fe00::/7',
  ]);
  assert.deepEqual(list(6, [128, ...new Array(15).fill(0), 1, 128, ...new Array(15).fill(0), 2]), ['::2/128']);
});

test('what ignores the octets before and after it: decoding at an offset', () => {
  const bytes = update({ withdrawn: prefix4, attributes: good, nlri: prefix4 });
  const shifted = Uint8Array.from([255, 255, ...bytes, 255]);
  assert.equal(decodeUpdate(view, ebgp, shifted, 2, 2 + bytes.length), 'accept');
  assert.deepEqual([...shifted.subarray(view.nlriStart, view.nlriEnd)], prefix4);
  assert.deepEqual([...shifted.subarray(view.withdrawnStart, view.withdrawnEnd)], prefix4);
});

// ----------------------------------------------------------------------------------------------- canonical, AS widths

test('the same attributes give the same octets, whatever their order, flags and neighbours', () => {
  const communities = attribute(0xc0, 8, u32(64513 * 65536 + 1));
  const plain = canonical([...good, communities]);
  assert.equal(hexOf(plain), hexOf(Uint8Array.from([...origin, ...asPath, ...communities])), 'no NEXT_HOP');
  const longForm = [0xd0, 8, 0, 4, ...communities.slice(3)];
  const lowBits = [0x4f, ...origin.slice(1)];
  const others = [attribute(0x40, 3, [9, 9, 9, 9]), localPref, mpUnreach(), attribute(0x80, 99, [1])];
  assert.deepEqual(canonical([...others, longForm, asPath, lowBits]), plain);
  assert.notDeepEqual(canonical([...good, [0xe0, ...communities.slice(1)]]), plain, 'Partial is kept');
});

test('unknown optional transitive attributes pass with Partial set, octet for octet (RFC 4271 5)', () => {
  const value = Array.from({ length: 300 }, (_, i) => i & 255);
  const bytes = canonical([...good, attribute(0xc0, 99, value), attribute(0xc0, 98, [])]);
  assert.deepEqual(text(bytes).others, [
    { type: 98, flags: 0xe0, hex: '' },
    { type: 99, flags: 0xf0, hex: hexOf(Uint8Array.from(value)) },
  ]);
});

test('large communities: duplicates go (RFC 8092 5), also across the border of the length form', () => {
  const large = (n: number) => [...u32(64512), ...u32(n), ...u32(n)];
  const once = canonical([...good, attribute(0xc0, 32, large(1))]);
  const manyTimes = canonical([...good, attribute(0xc0, 32, new Array(30).fill(large(1)).flat())]);
  assert.deepEqual(manyTimes, once);
  assert.deepEqual(
    text(canonical([...good, attribute(0xc0, 32, [...large(1), ...large(2), ...large(1)])])).largeCommunities,
    ['64512:1:1', '64512:2:2'],
  );
});

/** [what, AS_PATH of 2 octets, AS4_PATH, path text] */
const as4: readonly [string, number[], number[] | undefined, string][] = [
  ['no AS4_PATH', [2, 2, 252, 1, 0x5b, 0xa0], undefined, '64513 23456'],
  ['same length', [2, 2, 252, 1, 0x5b, 0xa0], sequence(64513, 196613), '64513 196613'],
  ['shorter: the old part leads', [2, 3, 252, 1, 0, 7, 0x5b, 0xa0], sequence(196613), '64513 7 196613'],
  ['longer: ignored', [2, 1, 252, 1], sequence(64513, 196613), '64513'],
  [
    'confederation segments are dropped',
    [2, 2, 252, 1, 0x5b, 0xa0],
    [3, 1, ...u32(5), ...sequence(196613)],
    '64513 196613',
  ],
];
for (const [what, path, path4, expected] of as4) {
  test(`AS4_PATH merge (RFC 6793 4.2.3): ${what}`, () => {
    const more = path4 ? [attribute(0xc0, 17, path4)] : [];
    const bytes = canonical([origin, attribute(0x40, 2, path), nextHop, ...more], oldPeer);
    assert.equal(text(bytes).asPath, expected);
    assert.equal(view.asPathLength, expected.split(' ').length);
    assert.equal(text(bytes).others, undefined, 'AS4_PATH itself is gone');
  });
}

test('a merged AS_PATH is one segment, as if the peer had sent it whole', () => {
  const path = attribute(0x40, 2, [2, 3, 252, 1, 0, 7, 0x5b, 0xa0]);
  const merged = canonical([origin, path, nextHop, attribute(0xc0, 17, sequence(196613))], oldPeer);
  assert.deepEqual([...merged], [...origin, ...attribute(0x40, 2, sequence(64513, 7, 196613))]);
});

test('AGGREGATOR of a 2-octet peer is widened; one that is not AS_TRANS makes AS4_* stale (RFC 6793 4.2.3)', () => {
  const path = attribute(0x40, 2, [2, 2, 252, 1, 0x5b, 0xa0]);
  const as4Path = attribute(0xc0, 17, sequence(64513, 196613));
  const as4Aggregator = attribute(0xc0, 18, [...u32(196613), 1, 1, 1, 1]);
  const aggregator = (asn: number) => attribute(0xc0, 7, [asn >> 8, asn & 255, 1, 1, 1, 1]);
  const read = (...more: number[][]) => text(canonical([origin, path, nextHop, ...more], oldPeer));
  const merged = read(aggregator(23456), as4Path, as4Aggregator);
  assert.deepEqual([merged.aggregator, merged.asPath], ['196613 1.1.1.1', '64513 196613']);
  const stale = read(aggregator(7), as4Path, as4Aggregator);
  assert.deepEqual([stale.aggregator, stale.asPath], ['7 1.1.1.1', '64513 23456']);
  const alone = read(aggregator(7), as4Path);
  assert.deepEqual([alone.aggregator, alone.asPath], ['7 1.1.1.1', '64513 196613'], 'the rule needs both');
});

test('originated attributes read back', () => {
  const bytes = originatedAttributes({ origin: 2, med: 5, localPref: 300, communities: [0xffffff01, 65536 * 2 + 3] });
  assert.deepEqual(text(bytes), {
    origin: 'INCOMPLETE',
    asPath: '',
    med: 5,
    localPref: 300,
    communities: ['2:3', 'no-export'],
  });
  const values = emptyAttributeValues();
  readCanonical(bytes, 0, bytes.length, 64512, 1, values);
  assert.deepEqual(values, {
    ...emptyAttributeValues(),
    origin: 2,
    med: 5,
    localPref: 300,
    communityFlags: communityFlag.noExport,
  });
});

test('readCanonical gives the numbers that decoding gave', () => {
  const bytes = canonical(
    [
      ...good,
      localPref,
      attribute(0x80, 4, u32(9)),
      attribute(0x80, 9, u32(3)),
      attribute(0x80, 10, u32(ibgp.localRouterId)),
    ],
    ibgp,
  );
  const values = emptyAttributeValues();
  readCanonical(bytes, 0, bytes.length, ibgp.localAsn, ibgp.localRouterId, values);
  for (const key of Object.keys(values) as (keyof typeof values)[]) assert.equal(values[key], view[key], key);
});

// -------------------------------------------------------------------------------------------------------------- export

test('to eBGP: our AS in front, nothing internal crosses (RFC 4271 5.1, RFC 4456 8, RFC 4360 6)', () => {
  const extended = [0, 2, 0, 0, 0, 0, 0, 1];
  const bytes = canonical(
    [
      ...good,
      attribute(0x80, 4, u32(9)),
      localPref,
      attribute(0x40, 6, []),
      attribute(0xc0, 8, u32(5)),
      attribute(0x80, 9, u32(3)),
      attribute(0x80, 10, u32(4)),
      attribute(0xc0, 16, [...extended, 0x40, ...extended.slice(1)]),
    ],
    ibgp,
  );
  const out = exported(bytes, {});
  assert.deepEqual(text(out), {
    origin: 'IGP',
    asPath: '64512 64513',
    atomicAggregate: true,
    communities: ['0:5'],
    extendedCommunities: ['0002000000000001'],
  });
  assert.equal(text(exported(bytes, { keepMed: true })).med, 9);
});

test('to iBGP: as it is, with LOCAL_PREF 100 where there was none (RFC 4271 5.1.5)', () => {
  const bytes = canonical([...good, attribute(0x80, 4, u32(9)), attribute(0xc0, 8, u32(5))]);
  const out = exported(bytes, { ebgp: false });
  assert.deepEqual(text(out), { origin: 'IGP', asPath: '64513', med: 9, localPref: 100, communities: ['0:5'] });
  assert.equal(text(exported(canonical([...good, localPref], ibgp), { ebgp: false })).localPref, 200);
  assert.equal(text(exported(canonical(good), { ebgp: false })).localPref, 100, 'nothing after it');
});

test('prepending: a full segment gets a new one before it, a set is left alone (RFC 4271 5.1.2)', () => {
  const full = sequence(64513, ...new Array<number>(254).fill(7));
  const out = exported(canonical([origin, attribute(0x40, 2, full), nextHop]), {});
  assert.ok(text(out).asPath.startsWith('64512 64513 7'));
  assert.equal(
    hexOf(out.subarray(4 + 4, 4 + 4 + 8)),
    `0201${u32(64512)
      .map((b) => b.toString(16).padStart(2, '0'))
      .join('')}02ff`,
  );
  const empty = exported(originatedAttributes({}), {});
  assert.equal(text(empty).asPath, '64512');
});

test('to a 2-octet peer: AS_TRANS, AS4_PATH and AS4_AGGREGATOR, and it comes back whole (RFC 6793 4.2.2)', () => {
  const asns = fc.array(fc.oneof(fc.integer({ min: 1, max: 0xffffffff }), fc.integer({ min: 1, max: 70000 })), {
    maxLength: 30,
  });
  fc.assert(
    fc.property(asns, fc.integer({ min: 1, max: 0xffffffff }), (list, aggregator) => {
      const bytes = canonical([
        origin,
        attribute(0x40, 2, sequence(64513, ...list)),
        nextHop,
        attribute(0xc0, 7, [...u32(aggregator), 1, 1, 1, 1]),
      ]);
      const out = exported(bytes, { asn4: false, localAsn: 64513 });
      const back = canonical([[...out], nextHop], oldPeer);
      const aggregatorText = `${aggregator} 1.1.1.1`;
      assert.deepEqual(text(back), {
        origin: 'IGP',
        asPath: ['64513 64513', ...list].join(' '),
        aggregator: aggregatorText,
      });
    }),
  );
  const small = exported(canonical(good), { asn4: false });
  assert.deepEqual([...small], [...origin, 0x40, 2, 6, 2, 2, 252, 0, 252, 1], 'no AS4_PATH when nothing needs it');
});

test('attributes that no message can carry are refused', () => {
  const out = createExportedAttributes();
  const bytes = canonical([...good, attribute(0xc0, 99, new Array(4020).fill(1))]);
  const context: ExportContext = { ebgp: true, asn4: true, localAsn: 1, keepMed: false };
  assert.equal(exportAttributes(bytes, 0, bytes.length, context, out), true);
  const path = attribute(0x40, 2, [2, 255, ...new Array(510).fill(1)]);
  const widened = canonical(
    [
      origin,
      attribute(0x40, 2, [2, 1, 252, 1, ...path.slice(4)]),
      nextHop,
      attribute(0xc0, 99, new Array(3300).fill(1)),
    ],
    oldPeer,
  );
  assert.equal(exportAttributes(widened, 0, widened.length, context, out), false);
});
