/**
 * Hostile and broken UPDATEs, row by row: what is wrong, and what the RFC wants done about it. The rows are the project's
 * list of required behaviour; a descriptor without its row here fails the last test.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attributeTable } from './attribute-table.ts';
import {
  asPath,
  attribute,
  ebgp,
  global6,
  ibgp,
  localPref,
  message,
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
import type { UpdateContext } from './types.ts';
import { createUpdateView, decodeUpdate } from './update.ts';

/** `keep`: accepted, nothing dropped. `discard`: accepted, one attribute dropped. `3/x`: reset. */
type Expected = 'keep' | 'discard' | 'withdraw' | `3/${number}`;

const good = [origin, asPath, nextHop];
/** An otherwise good announcement of 10.1.2.0/24 with these attributes added. */
const withMore = (...more: number[][]) => update({ attributes: [...good, ...more], nlri: prefix4 });
const withPath = (value: number[], flags = 0x40) =>
  update({ attributes: [origin, attribute(flags, 2, value), nextHop], nlri: prefix4 });
const withNextHop = (...value: number[]) =>
  update({ attributes: [origin, asPath, attribute(0x40, 3, value)], nlri: prefix4 });
const withOrigin = (...value: number[]) =>
  update({ attributes: [attribute(0x40, 1, value), asPath, nextHop], nlri: prefix4 });
const v6 = (reach: number[], ...more: number[][]) => update({ attributes: [reach, origin, asPath, ...more] });
const address6 = (...head: number[]) => [...head, ...new Array<number>(16 - head.length).fill(0)];
const raw = (withdrawnLength: number, attributesLength: number, rest: number[] = []) =>
  message(2, [0, withdrawnLength, 0, attributesLength, ...rest]);

const extended: UpdateContext = { ...ebgp, extendedNextHop: true };

type Case = readonly [clause: string, what: string, Uint8Array, Expected, UpdateContext?];
const rows: readonly Case[] = [
  ['-', 'a good update', withMore(), 'keep'],
  ['RFC 7606 7.1', 'ORIGIN length 0', withOrigin(), 'withdraw'],
  ['RFC 7606 7.1', 'ORIGIN length 2', withOrigin(0, 0), 'withdraw'],
  ['RFC 7606 7.1', 'ORIGIN value 3', withOrigin(3), 'withdraw'],
  ['RFC 7606 7.3', 'NEXT_HOP length 3', withNextHop(1, 2, 3), 'withdraw'],
  ['RFC 7606 7.3', 'NEXT_HOP length 16', withNextHop(...global6), 'withdraw'],
  ['RFC 7606 7.4', 'MULTI_EXIT_DISC length 3', withMore(attribute(0x80, 4, [0, 0, 1])), 'withdraw'],
  ['RFC 7606 7.5', 'LOCAL_PREF length 3 from iBGP', withMore(attribute(0x40, 5, [0, 0, 1])), 'withdraw', ibgp],
  ['RFC 7606 7.5', 'LOCAL_PREF from eBGP', withMore(localPref), 'discard'],
  [
    'RFC 7606 7.5',
    'LOCAL_PREF length 9 from eBGP',
    withMore(attribute(0x40, 5, u32(1).concat(1, 2, 3, 4, 5))),
    'discard',
  ],
  ['RFC 7606 7.6', 'ATOMIC_AGGREGATE length 1', withMore(attribute(0x40, 6, [1])), 'discard'],
  [
    'RFC 7606 7.7',
    'AGGREGATOR length 6 from a 4-octet peer',
    withMore(attribute(0xc0, 7, [1, 2, 1, 1, 1, 1])),
    'discard',
  ],
  [
    'RFC 7606 7.7',
    'AGGREGATOR length 8 from a 2-octet peer',
    update({
      attributes: [origin, attribute(0x40, 2, [2, 1, 252, 1]), nextHop, attribute(0xc0, 7, [...u32(1), 1, 1, 1, 1])],
      nlri: prefix4,
    }),
    'discard',
    oldPeer,
  ],
  ['RFC 7607 2', 'AGGREGATOR with AS 0', withMore(attribute(0xc0, 7, [...u32(0), 1, 1, 1, 1])), 'discard'],
  ['RFC 7606 7.8', 'COMMUNITIES length 0', withMore(attribute(0xc0, 8, [])), 'withdraw'],
  ['RFC 7606 7.8', 'COMMUNITIES length 5', withMore(attribute(0xc0, 8, [1, 2, 3, 4, 5])), 'withdraw'],
  ['RFC 7606 7.9', 'ORIGINATOR_ID from eBGP', withMore(attribute(0x80, 9, [1])), 'discard'],
  ['RFC 7606 7.9', 'ORIGINATOR_ID length 5 from iBGP', withMore(attribute(0x80, 9, [1, 2, 3, 4, 5])), 'withdraw', ibgp],
  ['RFC 7606 7.10', 'CLUSTER_LIST from eBGP', withMore(attribute(0x80, 10, [1])), 'discard'],
  ['RFC 7606 7.10', 'CLUSTER_LIST length 0 from iBGP', withMore(attribute(0x80, 10, [])), 'withdraw', ibgp],
  [
    'RFC 7606 7.10',
    'CLUSTER_LIST length 6 from iBGP',
    withMore(attribute(0x80, 10, [1, 2, 3, 4, 5, 6])),
    'withdraw',
    ibgp,
  ],
  ['RFC 7606 7.14', 'EXTENDED COMMUNITIES length 0', withMore(attribute(0xc0, 16, [])), 'withdraw'],
  [
    'RFC 7606 7.14',
    'EXTENDED COMMUNITIES length 9',
    withMore(attribute(0xc0, 16, [0, 2, 0, 0, 0, 0, 0, 1, 1])),
    'withdraw',
  ],
  [
    'RFC 7606 7.15',
    'IPv6 EXTENDED COMMUNITIES length 8',
    withMore(attribute(0xc0, 25, [0, 2, 0, 0, 0, 0, 0, 1])),
    'withdraw',
  ],
  ['RFC 8092 6', 'LARGE_COMMUNITY length 0', withMore(attribute(0xc0, 32, [])), 'withdraw'],
  ['RFC 8092 6', 'LARGE_COMMUNITY length 13', withMore(attribute(0xc0, 32, new Array(13).fill(1))), 'withdraw'],
  ['RFC 9234 5', 'ONLY_TO_CUSTOMER length 1024', withMore(attribute(0xc0, 35, new Array(1024).fill(0))), 'withdraw'],
  ['RFC 6793 6', 'AS4_PATH from a 4-octet peer', withMore(attribute(0xc0, 17, sequence(64513))), 'discard'],
  ['RFC 6793 6', 'AS4_PATH from a 4-octet peer with wrong flags', withMore(attribute(0x40, 17, [])), 'discard'],
  [
    'RFC 6793 6',
    'AS4_AGGREGATOR from a 4-octet peer',
    withMore(attribute(0xc0, 18, [...u32(1), 1, 1, 1, 1])),
    'discard',
  ],
  [
    'RFC 6793 6',
    'AS4_PATH malformed from a 2-octet peer',
    update({
      attributes: [origin, attribute(0x40, 2, [2, 1, 252, 1]), nextHop, attribute(0xc0, 17, [2, 2, 0])],
      nlri: prefix4,
    }),
    'discard',
    oldPeer,
  ],
  [
    'RFC 7606 3c',
    'ORIGIN flagged optional',
    update({ attributes: [attribute(0xc0, 1, [0]), asPath, nextHop], nlri: prefix4 }),
    'withdraw',
  ],
  ['RFC 7606 3c', 'COMMUNITIES flagged non-transitive', withMore(attribute(0x80, 8, [1, 2, 3, 4])), 'withdraw'],
  ['RFC 7606 3c', 'MP_REACH flagged transitive', v6([0xc0, ...mpReach().slice(1)]), 'withdraw'],
  ['RFC 4271 4.3', 'low four bits and Partial set', withMore(attribute(0xef, 8, [1, 2, 3, 4])), 'keep'],
  ['RFC 7606 3d', 'no ORIGIN', update({ attributes: [asPath, nextHop], nlri: prefix4 }), 'withdraw'],
  ['RFC 7606 3d', 'no AS_PATH', update({ attributes: [origin, nextHop], nlri: prefix4 }), 'withdraw'],
  ['RFC 7606 3d', 'no NEXT_HOP', update({ attributes: [origin, asPath], nlri: prefix4 }), 'withdraw'],
  ['RFC 7606 3d', 'no attributes at all', update({ nlri: prefix4 }), 'withdraw'],
  ['RFC 7606 3d', 'MP_REACH without ORIGIN', update({ attributes: [mpReach(), asPath] }), 'withdraw'],
  ['RFC 7606 7.2', 'AS_PATH segment of type 9', withPath([9, 1, ...u32(64513)]), 'withdraw'],
  ['RFC 7606 7.2', 'AS_PATH segment without AS', withPath([...sequence(64513), 2, 0]), 'withdraw'],
  ['RFC 7606 7.2', 'AS_PATH segment overrunning', withPath([2, 2, ...u32(64513)]), 'withdraw'],
  ['RFC 7606 7.2', 'AS_PATH with one octet left', withPath([...sequence(64513), 2]), 'withdraw'],
  ['RFC 5065 5', 'confederation segment', withPath([3, 1, ...u32(64513)]), 'withdraw'],
  ['RFC 7607 2', 'AS 0 in AS_PATH', withPath(sequence(64513, 0)), 'withdraw'],
  ['RFC 7607 2', 'AS 0 in AS_PATH from iBGP', withPath(sequence(1, 0)), 'withdraw', ibgp],
  ['RFC 9774 3', 'AS_SET', withPath([...sequence(64513), 1, 1, ...u32(5)]), 'withdraw'],
  ['RFC 4271 6.3', 'leftmost AS is not the peer', withPath(sequence(64999, 64513)), 'withdraw'],
  ['RFC 4271 6.3', 'empty AS_PATH from eBGP', withPath([]), 'withdraw'],
  ['RFC 4271 5.1.2', 'empty AS_PATH from iBGP', withPath([]), 'keep', ibgp],
  ['RFC 4271 6.3', 'NEXT_HOP 0.0.0.0', withNextHop(0, 0, 0, 0), 'withdraw'],
  ['RFC 4271 6.3', 'NEXT_HOP 127.0.0.1', withNextHop(127, 0, 0, 1), 'withdraw'],
  ['RFC 4271 6.3', 'NEXT_HOP 224.0.0.5', withNextHop(224, 0, 0, 5), 'withdraw'],
  ['RFC 4271 6.3', 'NEXT_HOP 255.255.255.255', withNextHop(255, 255, 255, 255), 'withdraw'],
  ['RFC 7606 3e', 'IPv6 next hop ::', v6(mpReach(prefix6, address6())), 'withdraw'],
  ['RFC 7606 3e', 'IPv6 next hop ::1', v6(mpReach(prefix6, [...new Array(15).fill(0), 1])), 'withdraw'],
  ['RFC 7606 3e', 'IPv6 next hop ff02::', v6(mpReach(prefix6, address6(0xff, 2))), 'withdraw'],
  ['RFC 7606 3g', 'COMMUNITIES twice', withMore(attribute(0xc0, 8, [1, 2, 3, 4]), attribute(0xc0, 8, [9])), 'discard'],
  ['RFC 7606 3g', 'MP_REACH twice', v6(mpReach(), mpReach()), '3/1'],
  ['RFC 7606 3g', 'MP_UNREACH twice', update({ attributes: [mpUnreach(), mpUnreach()] }), '3/1'],
  ['RFC 7606 4', 'attribute overruns the list', withMore([0xc0, 8, 200, 1, 2, 3, 4]), 'withdraw'],
  ['RFC 7606 4', '1 octet left over', withMore([0xc0]), 'withdraw'],
  ['RFC 7606 4', '2 octets left over', withMore([0xc0, 8]), 'withdraw'],
  ['RFC 7606 4', '3 octets left over, extended length', withMore([0xd0, 8, 0]), 'withdraw'],
  ['RFC 7606 3b', 'withdrawn length beyond the message', raw(5, 0), '3/1'],
  ['RFC 7606 3b', 'attribute length beyond the message', raw(0, 1), '3/1'],
  [
    'RFC 7606 5.2',
    'bad ORIGIN, nothing reachable',
    update({ withdrawn: prefix4, attributes: [attribute(0x40, 1, [9])] }),
    '3/6',
  ],
  ['RFC 7606 5.2', 'overrun hides what there was', update({ attributes: [[0xc0, 8, 200, 1]] }), '3/5'],
  [
    'RFC 7606 5.2',
    'AS_SET in AS4_PATH, nothing reachable',
    update({ attributes: [attribute(0x40, 2, [2, 1, 252, 1]), attribute(0xc0, 17, [1, 1, ...u32(5)])] }),
    '3/11',
    oldPeer,
  ],
  ['RFC 7606 5.2', 'left-over octets only', update({ attributes: [[0xc0]] }), '3/1'],
  ['RFC 7606 5.3', 'NLRI of 33 bits', update({ attributes: good, nlri: [33, 1, 2, 3, 4, 5] }), '3/10'],
  ['RFC 7606 5.3', 'NLRI cut short', update({ attributes: good, nlri: [24, 1, 2] }), '3/10'],
  ['RFC 7606 5.3', 'withdrawn prefix of 33 bits', update({ withdrawn: [33, 1, 2, 3, 4, 5] }), '3/10'],
  ['RFC 7606 5.3', 'IPv6 NLRI of 129 bits', v6(mpReach([129, ...address6(), 1])), '3/9'],
  ['RFC 7606 5.3', 'IPv6 NLRI cut short', v6(mpReach([64, 0x20])), '3/9'],
  ['RFC 7606 5.3', 'IPv6 withdrawn prefix cut short', update({ attributes: [mpUnreach([64, 0x20])] }), '3/9'],
  ['RFC 7606 7.11', 'MP_REACH next hop of 15', v6(mpReach(prefix6, new Array(15).fill(1))), '3/9'],
  ['RFC 7606 7.11', 'MP_REACH next hop beyond the attribute', v6(attribute(0x80, 14, [0, 2, 1, 16, 1, 2])), '3/9'],
  ['RFC 7606 7.11', 'MP_REACH of 4 octets', v6(attribute(0x80, 14, [0, 2, 1, 16])), '3/9'],
  ['RFC 7606 7.12', 'MP_UNREACH of 2 octets', update({ attributes: [attribute(0x80, 15, [0, 2])] }), '3/9'],
  ['RFC 8950 4', 'IPv4 with a 16 octet next hop, not negotiated', v6(mpReach(prefix4, global6, 1)), '3/9'],
  ...[5, 8, 15, 24, 31, 33, 48].map((length): Case => {
    const message = v6(mpReach(prefix4, new Array(length).fill(9), 1));
    return ['RFC 8950 4, RFC 7606 7.11', `IPv4 with a next hop of ${length} octets`, message, '3/9', extended];
  }),
  [
    'RFC 8950 4, RFC 7606 3e',
    'IPv4 with the next hop ::',
    v6(mpReach(prefix4, new Array(16).fill(0), 1)),
    'withdraw',
    extended,
  ],
  ['RFC 8950 4, RFC 7606 7.11', 'IPv6 with a 4 octet next hop', v6(mpReach(prefix6, [192, 0, 2, 1])), '3/9', extended],
  ['RFC 4271 6.3', 'unknown well-known attribute', withMore(attribute(0x40, 99, [1])), '3/2'],
  ['RFC 4271 5', 'unknown optional transitive, empty', withMore(attribute(0xc0, 99, [])), 'keep'],
  ['RFC 4271 5', 'unknown optional transitive, 2 kB', withMore(attribute(0xc0, 99, new Array(2048).fill(7))), 'keep'],
  ['RFC 4271 5', 'attributes of type 0 and 255', withMore(attribute(0xc0, 0, [1]), attribute(0xc0, 255, [1])), 'keep'],
  ['RFC 4271 5', 'unknown optional non-transitive', withMore(attribute(0x80, 99, [1])), 'keep'],
  ['RFC 8669 6', 'Prefix-SID of zeros', withMore(attribute(0xc0, 40, new Array(11).fill(0))), 'keep'],
  ['RFC 4760 6', 'family not negotiated: EVPN', v6(mpReach([1, 2, 3], [1, 2, 3, 4], 25, 70)), 'discard'],
  ['RFC 4760 6', 'family not negotiated: flowspec length 0', v6(mpReach([0], [], 1, 133)), 'discard'],
  ['RFC 4760 6', 'AFI 99 withdrawn', update({ attributes: [mpUnreach([200, 1], 99, 9)] }), 'discard'],
  ['RFC 4724 2', 'End-of-RIB of a family not negotiated', update({ attributes: [mpUnreach([], 25, 70)] }), 'discard'],
  ['RFC 4760 6', 'IPv6 when only IPv4 was negotiated', v6(mpReach([255])), 'discard', { ...ebgp, ipv6: false }],
  [
    'RFC 4760 6',
    'IPv4 NLRI when only IPv6 was negotiated',
    update({ attributes: good, nlri: [99, 1] }),
    'keep',
    { ...ebgp, ipv4: false },
  ],
];

const view = createUpdateView();

for (const [clause, what, bytes, expected, context = ebgp] of rows) {
  test(`${clause}: ${what}: ${expected}`, () => {
    const disposition = decodeUpdate(view, context, bytes, 0, bytes.length);
    const error = view.error ? `3/${view.error.subcode}` : '';
    if (expected === 'keep') assert.deepEqual([disposition, view.discardedCount, error], ['accept', 0, '']);
    else if (expected === 'discard') assert.deepEqual([disposition, view.discardedCount, error], ['accept', 1, '']);
    else if (expected === 'withdraw') assert.equal(disposition, 'withdraw', view.error?.reason);
    else assert.deepEqual([disposition, error], ['reset', expected], view.error?.reason);
    if (disposition !== 'accept') assert.equal(view.error?.code, 3);
  });
}

test('treat-as-withdraw still knows the prefixes: NLRI is found by the total attribute length (RFC 7606 4)', () => {
  const bytes = withMore([0xc0, 8, 200, 1, 2, 3, 4]);
  decodeUpdate(view, ebgp, bytes, 0, bytes.length);
  assert.deepEqual([...bytes.subarray(view.nlriStart, view.nlriEnd)], prefix4);
  const reach = v6(mpReach(), attribute(0xc0, 8, []));
  assert.equal(decodeUpdate(view, ebgp, reach, 0, reach.length), 'withdraw');
  assert.deepEqual([...reach.subarray(view.mpReachNlriStart, view.mpReachNlriEnd)], prefix6);
});

test('the NOTIFICATION carries the attribute (RFC 4271 6.3)', () => {
  const bad = attribute(0x40, 99, [1, 2]);
  const bytes = withMore(bad);
  decodeUpdate(view, ebgp, bytes, 0, bytes.length);
  assert.deepEqual([...(view.error?.data ?? [])], bad);
});

test('every attribute in the table has wrong flags and a wrong value judged', () => {
  const wrongValues: Readonly<Record<number, number[]>> = { 6: [1] };
  for (const [type, descriptor] of attributeTable.entries()) {
    if (!descriptor) continue;
    const name = descriptor.name;
    const context = type === 17 || type === 18 ? oldPeer : ibgp;
    const path = type === 17 || type === 18 ? attribute(0x40, 2, [2, 1, 252, 1]) : asPath;
    const others = [origin, path, nextHop].filter((a) => a[1] !== type);
    const judge = (flags: number, value: number[]) => {
      const bytes = update({ attributes: [...others, attribute(flags, type, value)], nlri: prefix4 });
      const disposition = decodeUpdate(view, context, bytes, 0, bytes.length);
      return disposition === 'accept' && view.discardedCount === 0 ? 'keep' : disposition;
    };
    const value = wrongValues[type] ?? [1, 2, 3, 4, 5];
    if (type !== 14 && type !== 15) assert.notEqual(judge(descriptor.flags, value), 'keep', `${name}: wrong value`);
    assert.notEqual(judge(descriptor.flags ^ 0x80, value), 'keep', `${name}: wrong flags`);
    assert.ok(
      rows.some(([, what]) => what.startsWith(name) || what.includes(name.replace('_NLRI', ''))),
      `${name} has a row above`,
    );
  }
});
