import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseCidr, parseIp } from '#kit';
import { canonicalAttributes, createUpdateView, decodeUpdate, originatedAttributes } from '../wire/index.ts';
import { compileFilter, ownRoute } from './index.ts';
import type { AttributeChange, FilterTerm, PrefixMatch } from './types.ts';

function words(cidr: string): { words: Int32Array; bits: number } {
  const { bytes, length } = parseCidr(cidr)!;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { words: Int32Array.from({ length: bytes.length / 4 }, (_, i) => view.getInt32(4 * i)), bits: length };
}
/** Canonical attributes with these communities and this path. */
function attributes(options: { path?: readonly number[]; add?: readonly string[] } = {}): Uint8Array {
  return change(originatedAttributes({}), [
    ...(options.path ? [{ type: 'prepend' as const, asns: options.path }] : []),
    ...(options.add ?? []).map((value) => ({ type: 'addCommunity' as const, value })),
  ])!;
}
function change(bytes: Uint8Array, changes: readonly AttributeChange[]): Uint8Array | undefined {
  const filter = compileFilter([{ action: 'accept', changes }], 65000)!;
  filter.use(bytes, bytes.length, ownRoute);
  const state = filter.run(new Int32Array(4), 0, 0);
  return state?.bytes.subarray(0, state.end);
}
const accepts = (terms: readonly FilterTerm[], cidr: string, attribute = attributes()): boolean => {
  const filter = compileFilter(terms, 65000);
  if (!filter) return true;
  filter.use(attribute, attribute.length, ownRoute);
  const prefix = words(cidr);
  return filter.run(prefix.words, 0, prefix.bits) !== undefined;
};

/** Bit strings: slow and plain. */
function naive(prefix: PrefixMatch, cidr: string): boolean {
  const bits = (text: string): string => {
    const { bytes, length } = parseCidr(text)!;
    return [...bytes]
      .map((byte) => byte.toString(2).padStart(8, '0'))
      .join('')
      .slice(0, length);
  };
  const [outer, inner] = [bits(prefix.cidr), bits(cidr)];
  const exact = prefix.operator === 'equal' || prefix.operator === 'notEqual';
  const fits = inner.length >= (prefix.minLength ?? 0) && inner.length <= (prefix.maxLength ?? 128);
  const inside = (exact ? inner === outer : inner.startsWith(outer)) && fits;
  return inside !== prefix.operator.startsWith('not');
}

test('the first term that matches a prefix decides, as a naive reading says', () => {
  for (const family of [4, 6] as const) {
    const most = family === 4 ? 32 : 128;
    const cidr = fc.tuple(fc.nat(3), fc.nat(3), fc.nat(most)).map(([a, b, length]) => {
      const text = family === 4 ? `10.${a}.${64 * b}.128/${length}` : `fd0${a}:${b}::8000/${length}`;
      const { bytes } = parseCidr(text)!;
      return family === 4 ? `${bytes.join('.')}/${length}` : text;
    });
    const prefix = fc.record(
      {
        operator: fc.constantFrom('equal', 'notEqual', 'in', 'notIn'),
        cidr,
        minLength: fc.nat(most),
        maxLength: fc.nat(most),
      },
      { requiredKeys: ['operator', 'cidr'] },
    ) as fc.Arbitrary<PrefixMatch>;
    const term = fc.record({ action: fc.constantFrom('accept', 'reject'), prefix });
    fc.assert(
      fc.property(fc.array(term as fc.Arbitrary<FilterTerm>, { maxLength: 5 }), cidr, (terms, tested) => {
        const decided = terms.find((each) => naive(each.prefix!, tested));
        assert.equal(accepts(terms, tested), decided?.action !== 'reject');
      }),
      { numRuns: 400 },
    );
  }
});

test('conditions on attributes are joined by and with the prefix', () => {
  const reject = (more: Partial<FilterTerm>): FilterTerm[] => [{ action: 'reject', ...more }];
  const tagged = attributes({ add: ['64512:100', '64512:7:9'], path: [65001, 65002, 65003] });
  assert.equal(accepts(reject({}), '10.0.0.0/8'), false);
  assert.equal(accepts(reject({ community: '64512:100' }), '10.0.0.0/8', tagged), false);
  assert.equal(accepts(reject({ community: '64512:101' }), '10.0.0.0/8', tagged), true);
  assert.equal(accepts(reject({ community: '64512:7:9' }), '10.0.0.0/8', tagged), false);
  assert.equal(accepts(reject({ community: '64512:7:8' }), '10.0.0.0/8', tagged), true);
  assert.equal(accepts(reject({ community: 'no-export' }), '10.0.0.0/8', tagged), true);
  assert.equal(accepts(reject({ asPathPrefix: [65001, 65002] }), '10.0.0.0/8', tagged), false);
  assert.equal(accepts(reject({ asPathPrefix: [65002] }), '10.0.0.0/8', tagged), true);
  assert.equal(accepts(reject({ asPathPrefix: [65001, 65002, 65003, 65004] }), '10.0.0.0/8', tagged), true);
  const both = reject({ asPathPrefix: [65001], prefix: { operator: 'in', cidr: '10.0.0.0/8' } });
  assert.equal(accepts(both, '10.1.0.0/16', tagged), false);
  assert.equal(accepts(both, '11.1.0.0/16', tagged), true);
  assert.equal(accepts(both, '10.1.0.0/16'), true);
});

test('the interface of the longest way, the link of a link-local next hop, no name for our own routes', () => {
  const ways = [
    { cidr: '0.0.0.0/0', interface: 'eth0' },
    { cidr: '172.16.2.0/24', interface: 'eth1' },
    { cidr: '172.16.2.9/32', interface: '' },
    { cidr: '2001:db8::/32', interface: 'eth1' },
  ];
  const bytes = attributes();
  const matches = (pattern: string, nextHop: string, link = ''): boolean => {
    const filter = compileFilter([{ action: 'reject', interface: { pattern, ways } }], 65000)!;
    const learned = { peer: 'tor', kind: 'ebgp', nextHop: parseIp(nextHop)!, link } as const;
    filter.use(bytes, bytes.length, nextHop === '' ? ownRoute : learned);
    return filter.run(words('10.0.0.0/8').words, 0, 8) === undefined;
  };
  const cases: [string, string, string, boolean][] = [
    ['eth0', '10.0.0.1', '', true],
    ['eth1', '172.16.2.1', '', true],
    ['eth0', '172.16.2.1', '', false],
    ['eth*', '172.16.2.9', '', false],
    ['*', '172.16.2.9', '', true],
    ['eth1', '2001:db8::1', '', true],
    ['eth*', '2001:db9::1', '', false],
    ['eth2', 'fe80::1', 'eth2', true],
    ['eth2', '2001:db8::1', 'eth2', true],
    ['eth*', '', '', false],
    ['*', '', '', true],
  ];
  for (const [pattern, nextHop, link, expected] of cases) {
    assert.equal(matches(pattern, nextHop, link), expected, `${pattern} for ${nextHop}%${link}`);
  }
});

test('changed attributes are what a peer would have sent that way', () => {
  const changed = attributes({ path: [65001, 4200000000], add: ['64512:100', '64512:1', '64512:100', '1:2:3'] });
  // Sent as an UPDATE and read again: the canonical form is the same.
  const nextHop = Uint8Array.of(0x40, 3, 4, 10, 0, 0, 1);
  const nlri = Uint8Array.of(8, 10);
  const length = changed.length + nextHop.length;
  const body = [Uint8Array.of(0, 0, length >> 8, length & 255), changed, nextHop, nlri];
  const size = 19 + body.reduce((sum, part) => sum + part.length, 0);
  const header = Buffer.concat([Buffer.alloc(16, 255), Buffer.from([size >> 8, size & 255, 2])]);
  const message = Buffer.concat([header, ...body]);
  const view = createUpdateView();
  const context = { asn4: true, ipv4: true, ipv6: false, ebgp: true, localAsn: 1, peerAsn: 65001, localRouterId: 1 };
  assert.equal(decodeUpdate(view, context, message, 0, message.length), 'accept', view.error?.reason);
  assert.equal(view.asPathLength, 2);
  assert.equal(view.firstAsn, 65001);
  const out = new Uint8Array(8192);
  const end = canonicalAttributes(view, out, 0);
  assert.deepEqual(Buffer.from(out.subarray(0, end)), Buffer.from(changed));
  const endless = Array.from({ length: 70 }, () => ({ type: 'prepend' as const, asns: Array(255).fill(65001) }));
  assert.equal(change(changed, endless), undefined, 'longer than any message');
});
