/** Single requirements that have no table of their own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  canonicalAttributes,
  canonicalAttributesBytesMax,
  createExportedAttributes,
  createUpdateView,
  decodeUpdate,
  describeAttributes,
  describeNotification,
  exportAttributes,
  originatedAttributes,
} from './index.ts';
import {
  asPath,
  attribute,
  ebgp,
  hexOf,
  mpReach,
  nextHop,
  origin,
  prefix4,
  sequence,
  u32,
  update,
} from './test-messages.ts';
import type { ExportContext, UpdateContext } from './types.ts';

const view = createUpdateView();
function canonical(attributes: readonly (readonly number[])[], context: UpdateContext = ebgp): Uint8Array {
  const bytes = update({ attributes, nlri: prefix4 });
  assert.equal(decodeUpdate(view, context, bytes, 0, bytes.length), 'accept', view.error?.reason);
  const out = new Uint8Array(canonicalAttributesBytesMax);
  return out.slice(0, canonicalAttributes(view, out, 0));
}
function exported(bytes: Uint8Array, more: Partial<ExportContext>): Uint8Array {
  const out = createExportedAttributes();
  const context = { ebgp: true, asn4: true, localAsn: 64512, keepMed: false, ...more };
  assert.ok(exportAttributes(bytes, 0, bytes.length, context, out));
  return out.bytes.slice(0, out.length);
}

test('RFC 4760 3, 5: IPv4 routes inside MP_REACH are taken, whatever its reserved octet', () => {
  for (const reserved of [0, 1, 255]) {
    const reach = mpReach(prefix4, [192, 0, 2, 9], 1);
    reach[reach.length - prefix4.length - 1] = reserved;
    const bytes = update({ attributes: [reach, origin, asPath] });
    assert.equal(decodeUpdate(view, ebgp, bytes, 0, bytes.length), 'accept', view.error?.reason);
    assert.deepEqual([view.mpReachFamily, view.mpNextHopLength], [4, 4]);
  }
});

test('RFC 5701 2, RFC 4360 6: communities that are not transitive stay in the AS, the others pass, of any type', () => {
  const six = (type: number, last: number): number[] => [type, 2, ...new Array<number>(17).fill(0), last];
  const four = (type: number, last: number): number[] => [type, 0x99, 0, 0, 0, 0, 0, last];
  const bytes = canonical([
    origin,
    asPath,
    nextHop,
    attribute(0xc0, 16, [...four(0x40, 1), ...four(0x3f, 2), ...four(0x7f, 3), ...four(0x80, 4)]),
    attribute(0xc0, 25, [...six(0x40, 1), ...six(0x00, 2)]),
  ]);
  const [outside, inside] = [hexOf(exported(bytes, {})), hexOf(exported(bytes, { ebgp: false }))];
  for (const [kept, list] of [
    [true, [four(0x3f, 2), four(0x80, 4), six(0x00, 2)]],
    [false, [four(0x40, 1), four(0x7f, 3), six(0x40, 1)]],
  ] as const) {
    for (const community of list) {
      assert.equal(outside.includes(hexOf(Uint8Array.from(community))), kept);
      assert.ok(inside.includes(hexOf(Uint8Array.from(community))), 'within the AS all are told');
    }
  }
  const none = canonical([
    origin,
    asPath,
    nextHop,
    attribute(0xc0, 16, four(0x40, 1)),
    attribute(0xc0, 25, six(0x40, 1)),
  ]);
  assert.doesNotMatch(hexOf(exported(none, {})), /c010|c019/, 'an attribute of which nothing is left goes as a whole');
});

test('RFC 8092 5: what goes out has every large community once', () => {
  const one = [...u32(64513), ...u32(1), ...u32(2)];
  const bytes = canonical([
    origin,
    asPath,
    nextHop,
    attribute(0xc0, 32, [...one, ...one, ...u32(1), ...u32(1), ...u32(1), ...one]),
  ]);
  const { largeCommunities } = describeAttributes(exported(bytes, {}), 0, exported(bytes, {}).length);
  assert.deepEqual(largeCommunities, ['64513:1:2', '1:1:1']);
});

test('RFC 4271 5.1.4: MED that was learned does not cross the border, ours does', () => {
  const med = (keepMed: boolean): number | undefined => {
    const bytes = exported(originatedAttributes({ med: 7 }), { keepMed });
    return describeAttributes(bytes, 0, bytes.length).med;
  };
  assert.deepEqual([med(false), med(true)], [undefined, 7]);
});

test('RFC 4271 5.1.2: the 256th AS in front begins a segment of its own', () => {
  for (const [count, segments] of [
    [254, [255]],
    [255, [1, 255]],
  ] as const) {
    const bytes = canonical([origin, attribute(0x40, 2, sequence(...new Array<number>(count).fill(64513))), nextHop]);
    const out = exported(bytes, {});
    // ORIGIN takes four octets; AS_PATH is in its long form.
    const found: number[] = [];
    const end = 8 + ((out[6]! << 8) | out[7]!);
    for (let at = 8; at < end; at += 2 + 4 * out[at + 1]!) found.push(out[at + 1]!);
    assert.deepEqual(found, segments);
  }
});

test('RFC 9774 3: what we originate has no AS_SET', () => {
  assert.equal(describeAttributes(originatedAttributes({}), 0, originatedAttributes({}).length).asPath, '');
});

test('RFC 4486 3, RFC 9384 3, RFC 8538 3: every subcode of Cease has its name', () => {
  const names = [
    'Maximum Number of Prefixes Reached',
    'Administrative Shutdown',
    'Peer De-configured',
    'Administrative Reset',
    'Connection Rejected',
    'Other Configuration Change',
    'Connection Collision Resolution',
    'Out of Resources',
    'Hard Reset',
    'BFD Down',
  ];
  for (const [i, name] of names.entries()) {
    assert.equal(describeNotification({ code: 6, subcode: i + 1, data: new Uint8Array(0) }), `Cease/${name}`);
  }
});

test('RFC 4486 4: the limit in Cease/1 is shown; data of another length as octets', () => {
  const text = (...data: number[]): string =>
    describeNotification({ code: 6, subcode: 1, data: Uint8Array.from(data) });
  assert.equal(
    text(0, 2, 1, 0xff, 0, 0, 1),
    'Cease/Maximum Number of Prefixes Reached: ipv6-unicast, limit 4278190081',
  );
  assert.equal(text(0, 25, 70, 0, 0, 0, 1), 'Cease/Maximum Number of Prefixes Reached: another family, limit 1');
  assert.equal(text(0, 1), 'Cease/Maximum Number of Prefixes Reached: 0x0001');
});
