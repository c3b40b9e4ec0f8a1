import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalAttributes, readCanonical } from './canonical.ts';
import { encodeLinkBandwidth, isLinkBandwidth, linkBandwidthAt } from './link-bandwidth.ts';
import { asPath, attribute, bytesOf, ebgp, hexOf, nextHop, origin, prefix4, update } from './test-messages.ts';
import { canonicalAttributesBytesMax } from './types.ts';
import { createUpdateView, decodeUpdate } from './update.ts';
import { emptyAttributeValues } from './values.ts';

/** As decoded, and as read again from the canonical form. */
function bandwidthOf(...communities: string[]): number {
  const list = attribute(0xc0, 16, [...bytesOf(communities.join(''))]);
  const view = createUpdateView();
  const bytes = update({ attributes: [origin, asPath, nextHop, list], nlri: prefix4 });
  assert.equal(decodeUpdate(view, ebgp, bytes, 0, bytes.length), 'accept');
  const canonical = new Uint8Array(canonicalAttributesBytesMax);
  const values = emptyAttributeValues();
  readCanonical(canonical, 0, canonicalAttributes(view, canonical, 0), 64512, 1, values);
  assert.equal(values.linkBandwidth, view.linkBandwidth);
  return view.linkBandwidth;
}

test('RFC 10005: both types, two octets of AS, a float of bytes per second', () => {
  // 10 Gbit/s: 1.25e9 bytes.
  assert.equal(hexOf(encodeLinkBandwidth(64512, 1.25e9, true)), '0004fc004e9502f9');
  assert.equal(hexOf(encodeLinkBandwidth(64512, 1.25e9, false)), '4004fc004e9502f9');
  assert.equal(hexOf(encodeLinkBandwidth(4_200_000_000, 1.25e9, false)), '40045ba04e9502f9', 'AS_TRANS');
  assert.equal(bandwidthOf('0004fc004e9502f9'), 1.25e9);
  assert.equal(bandwidthOf('4004fc004e9502f9'), 1.25e9);
  assert.equal(bandwidthOf('0002fc0000000064', '0204fc004e9502f9', '4304fc004e9502f9'), -1, 'others are not');
});

test('RFC 10005: of several the lowest counts, zero included, whatever its type', () => {
  const [low, high] = ['0004fc0042c80000', '4004fc004e9502f9'];
  assert.equal(bandwidthOf(high, low), 100);
  assert.equal(bandwidthOf(low, high), 100);
  assert.equal(bandwidthOf(low, '4004fc0000000000'), 0);
});

test('RFC 10005: what is no number of bytes says nothing: NaN, infinite, negative', () => {
  for (const value of ['7fc00000', 'ffc00001', '7f800000', 'ff800000', 'c2c80000']) {
    assert.equal(bandwidthOf(`4004fc00${value}`), -1, value);
    assert.equal(bandwidthOf(`4004fc00${value}`, '0004fc0042c80000'), 100, value);
  }
  assert.equal(bandwidthOf('4004fc0080000000'), -0, 'zero has two forms');
});

test('what is written is read', () => {
  const value = fc.float({ min: 0, noNaN: true, noDefaultInfinity: true });
  fc.assert(
    fc.property(fc.nat(0xffff), value, fc.boolean(), (asn, bytesPerSec, transitive) => {
      const community = encodeLinkBandwidth(asn, bytesPerSec, transitive);
      assert.ok(isLinkBandwidth(community, 0));
      assert.equal(linkBandwidthAt(community, 0), bytesPerSec);
      assert.equal(community[0], transitive ? 0 : 0x40);
    }),
  );
});
