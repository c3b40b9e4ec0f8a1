/**
 * Messages of others: real updates against two independent decodings, vectors of other implementations, their fuzzers'
 * finds, and mutations of all of them. Origins are in test/fixtures/bgp/SOURCES.md.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import zlib from 'node:zlib';
import fc from 'fast-check';
import { formatIp } from '#kit';
import {
  canonicalAttributes,
  createExportedAttributes,
  createFramer,
  createPrefixCursor,
  createUpdatePacker,
  createUpdateView,
  decodeNotification,
  decodeOpen,
  decodeRouteRefresh,
  decodeUpdate,
  describeAttributes,
  describeNotification,
  encodeNotification,
  encodeRouteRefresh,
  exportAttributes,
  type UpdateContext,
  type UpdateView,
} from './index.ts';
import { bytesOf, ebgp, hexOf, ibgp, oldPeer } from './test-messages.ts';

const fixtures = path.join(import.meta.dirname, '../../test/fixtures/bgp');
function fixture<T>(name: string): T[] {
  const text = zlib.gunzipSync(fs.readFileSync(path.join(fixtures, name))).toString();
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as T);
}

interface RealUpdate {
  readonly as4: boolean;
  readonly addpath: boolean;
  readonly hex: string;
  readonly bgpdump: Readonly<Record<string, string | readonly string[]>>;
}
const real = fixture<RealUpdate>('real-updates.jsonl.gz');
const contextOf = (message: RealUpdate): UpdateContext => ({ ...ibgp, asn4: message.as4, acceptAsSet: true });

const cursor = createPrefixCursor();
function prefixes(view: UpdateView, family: 4 | 6 | 0, start: number, end: number): string[] {
  if (family === 0) return [];
  const out: string[] = [];
  cursor.reset(family, view.bytes, start, end);
  while (cursor.next()) {
    const bytes = Uint8Array.from([...cursor.words].flatMap((w) => [w >>> 24, w >>> 16, w >>> 8, w]));
    out.push(`${formatIp(bytes, 0, family === 4 ? 4 : 16)}/${cursor.bits}`);
  }
  return out;
}
const announced = (view: UpdateView) => [
  ...prefixes(view, 4, view.nlriStart, view.nlriEnd),
  ...prefixes(view, view.mpReachFamily, view.mpReachNlriStart, view.mpReachNlriEnd),
];
const withdrawn = (view: UpdateView) => [
  ...prefixes(view, 4, view.withdrawnStart, view.withdrawnEnd),
  ...prefixes(view, view.mpUnreachFamily, view.mpUnreachStart, view.mpUnreachEnd),
];

/** bgpdump's reader takes a prefix that is cut short at the end of the message. */
const cutShort = '003c02000000214001010040020c02051b6a0ddd3065bc93c7644003040c00013fc008041b0b0d0b0d0b0d0b';

test('377 real updates decode as bgpdump decodes them', () => {
  const view = createUpdateView();
  const scratch = new Uint8Array(9000);
  let compared = 0;
  for (const message of real) {
    const bytes = bytesOf(message.hex);
    const disposition = decodeUpdate(view, contextOf(message), bytes, 0, bytes.length);
    if (message.hex.endsWith(cutShort)) {
      assert.deepEqual([disposition, view.error?.subcode], ['reset', 10]);
      continue;
    }
    assert.equal(disposition, 'accept', view.error?.reason);
    const end = canonicalAttributes(view, scratch, 0);
    const { asPath, origin, med, communities, aggregator } = describeAttributes(scratch, 0, end);
    const expected = message.bgpdump;
    if (message.addpath) continue;
    const sorted = (list: readonly string[] | string | undefined) => [...(list ?? [])].sort();
    assert.deepEqual(sorted(announced(view)), sorted(expected['ANNOUNCE']), message.hex);
    assert.deepEqual(sorted(withdrawn(view)), sorted(expected['WITHDRAW']), message.hex);
    if (!expected['ORIGIN']) continue;
    assert.equal(origin, expected['ORIGIN']);
    assert.equal(asPath, String(expected['ASPATH'] ?? '').trim());
    assert.equal(med, expected['MULTI_EXIT_DISC'] === undefined ? undefined : Number(expected['MULTI_EXIT_DISC']));
    assert.equal(communities?.join(' '), expected['COMMUNITY'] && String(expected['COMMUNITY']).trim());
    assert.equal(aggregator && `AS${aggregator}`, expected['AGGREGATOR']);
    compared++;
  }
  assert.ok(compared > 250, `${compared} compared with attributes`);
});

test('real updates survive canonical form, export, packing and decoding again', () => {
  const view = createUpdateView();
  const again = createUpdateView();
  const first = new Uint8Array(9000);
  const second = new Uint8Array(9000);
  const exported = createExportedAttributes();
  for (const message of real) {
    const bytes = bytesOf(message.hex);
    if (
      decodeUpdate(view, contextOf(message), bytes, 0, bytes.length) !== 'accept' ||
      view.attributesEnd === view.attributesStart
    )
      continue;
    const list = announced(view);
    if (list.length === 0) continue;
    const end = canonicalAttributes(view, first, 0);
    for (const asn4 of [true, false]) {
      assert.ok(exportAttributes(first, 0, end, { ebgp: false, asn4, localAsn: 1, keepMed: true }, exported));
      const packer = createUpdatePacker((chunk) => {
        const context = { ...ibgp, asn4, acceptAsSet: true };
        assert.equal(decodeUpdate(again, context, chunk, 0, chunk.length), 'accept', again.error?.reason);
      });
      const classic = view.nlriEnd > view.nlriStart;
      const family = classic ? 4 : 6;
      const next = classic
        ? bytes.subarray(view.nextHopStart, view.nextHopStart + 4)
        : bytes.subarray(view.mpNextHopStart, view.mpNextHopStart + view.mpNextHopLength);
      assert.ok(packer.startAnnounce(family, exported, next));
      cursor.reset(
        family,
        bytes,
        classic ? view.nlriStart : view.mpReachNlriStart,
        classic ? view.nlriEnd : view.mpReachNlriEnd,
      );
      while (cursor.next()) {
        const [w0, w1, w2, w3] = cursor.words as unknown as [number, number, number, number];
        if (classic) packer.add4(w0, cursor.bits);
        else packer.add6(w0, w1, w2, w3, cursor.bits);
      }
      packer.flush();
      assert.deepEqual(announced(again), list);
      const againEnd = canonicalAttributes(again, second, 0);
      const { localPref: _, ...same } = describeAttributes(second, 0, againEnd);
      const { localPref: _2, ...wanted } = describeAttributes(first, 0, end);
      assert.deepEqual(same, wanted);
    }
  }
});

interface Vector {
  readonly hex: string;
  readonly name?: string;
  readonly file: string;
}

/** Decodes whatever comes, as a speaker would; the point is that nothing throws and nothing else comes out. */
function decodeAnything(bytes: Uint8Array, context: UpdateContext, view: UpdateView, scratch: Uint8Array): void {
  createFramer().push(bytes, (type, frame, start, end) => {
    if (type === 1) decodeOpen(frame, start, end);
    else if (type === 3) assert.equal(typeof describeNotification(decodeNotification(frame, start, end)), 'string');
    else if (type === 5) decodeRouteRefresh(frame, start, end);
    else if (type === 2) decodeUpdateWhole(frame, start, end, context, view, scratch);
    return true;
  });
}

const exportScratch = createExportedAttributes();

function decodeUpdateWhole(
  frame: Uint8Array,
  start: number,
  end: number,
  context: UpdateContext,
  view: UpdateView,
  scratch: Uint8Array,
): void {
  const disposition = decodeUpdate(view, context, frame, start, end);
  assert.equal(view.error === undefined, disposition === 'accept');
  if (disposition === 'reset') return;
  announced(view);
  withdrawn(view);
  if (disposition !== 'accept') return;
  const length = canonicalAttributes(view, scratch, 0);
  assert.ok(length <= 8192);
  describeAttributes(scratch, 0, length);
  for (const external of [true, false]) {
    exportAttributes(
      scratch,
      0,
      length,
      { ebgp: external, asn4: context.asn4, localAsn: 70000, keepMed: true },
      exportScratch,
    );
  }
}

const contexts: readonly UpdateContext[] = [
  ebgp,
  ibgp,
  oldPeer,
  { ...ibgp, acceptAsSet: true },
  { ...ebgp, ipv4: false },
];

test("the finds of another implementation's fuzzer, its decoders' test inputs, and captures of what broke others", () => {
  const view = createUpdateView();
  const scratch = new Uint8Array(9000);
  const all = [
    ...fixture<Vector>('gobgp-fuzz.jsonl.gz'),
    ...fixture<Vector>('gobgp.jsonl.gz'),
    ...fixture<Vector>('exabgp.jsonl.gz'),
    ...fixture<Vector>('captures.jsonl.gz'),
  ];
  assert.ok(all.length > 900);
  for (const { hex } of all) {
    const bytes = bytesOf(hex);
    for (const context of contexts) {
      decodeAnything(bytes, context, view, scratch);
      // Bare bodies: the framer would refuse them; the decoders must bear them too.
      const framed = Uint8Array.from([...new Array<number>(19).fill(0), ...bytes]);
      decodeUpdateWhole(framed, 0, framed.length, context, view, scratch);
      decodeOpen(framed, 0, framed.length);
      decodeRouteRefresh(framed, 0, framed.length);
    }
  }
});

interface Decoding {
  readonly hex: string;
  readonly decoded?: {
    readonly update?: {
      readonly announce?: Readonly<Record<string, Readonly<Record<string, readonly { readonly nlri?: string }[]>>>>;
      readonly withdraw?: Readonly<Record<string, readonly { readonly nlri?: string }[]>>;
    };
  };
}

test('unicast UPDATEs decode to the prefixes that ExaBGP finds in them', () => {
  const view = createUpdateView();
  let compared = 0;
  for (const { hex, decoded } of fixture<Decoding>('exabgp.jsonl.gz')) {
    const bytes = bytesOf(hex);
    const { announce = {}, withdraw = {} } = decoded?.update ?? {};
    const families = [...Object.keys(announce), ...Object.keys(withdraw)];
    const unicast = families.length > 0 && families.every((family) => /^ipv[46] unicast$/.test(family));
    // Bare bodies, and those that the receiver of the session in question would not take as we do: ADD-PATH, RFC 8950.
    if (!unicast || bytes[0] !== 0xff || JSON.stringify(decoded).includes('path-information')) continue;
    if (decodeUpdate(view, { ...ibgp, acceptAsSet: true }, bytes, 0, bytes.length) !== 'accept') continue;
    const theirs = (list: readonly { readonly nlri?: string }[]): string[] => list.map(({ nlri }) => nlri ?? '').sort();
    assert.deepEqual(
      announced(view).sort(),
      theirs(Object.values(announce).flatMap((hops) => Object.values(hops).flat())),
      hex,
    );
    assert.deepEqual(withdrawn(view).sort(), theirs(Object.values(withdraw).flat()), hex);
    compared++;
  }
  assert.ok(compared > 40, `${compared} compared`);
});

test('well-formed vectors of another implementation decode, and encode to the same octets', () => {
  const view = createUpdateView();
  for (const { hex, name } of fixture<Vector>('holo.jsonl.gz')) {
    const bytes = bytesOf(hex);
    const error = createFramer().push(bytes, (type, frame, start, end) => {
      if (type === 1) assert.ok(decodeOpen(frame, start, end).ok, name);
      else if (type === 2) assert.equal(decodeUpdate(view, ibgp, frame, start, end), 'accept', name);
      else if (type === 3) assert.equal(hexOf(encodeNotification(decodeNotification(frame, start, end))), hex);
      else if (type === 5) {
        const refresh = decodeRouteRefresh(frame, start, end);
        assert.ok(refresh.ok && refresh.value.family);
        assert.equal(hexOf(encodeRouteRefresh(refresh.value.family)), hex);
      }
      return true;
    });
    assert.equal(error, undefined, name);
  }
});

test('an OPEN of another implementation', () => {
  const vector = fixture<Vector & { what?: string }>('exabgp.jsonl.gz').find((v) => v.what === 'open');
  const bytes = bytesOf(vector!.hex);
  assert.deepEqual(decodeOpen(bytes, 0, bytes.length), {
    ok: true,
    value: {
      asn: 65533,
      holdTimeSec: 180,
      routerId: 0x0a000002,
      families: ['ipv4-unicast'],
      asn4: true,
      routeRefresh: false,
      softwareVersion: 'ExaBGP/main-c2a2ea8ebd-20240715',
    },
  });
});

test('mutated real messages never throw', () => {
  const view = createUpdateView();
  const scratch = new Uint8Array(9000);
  const pool = [
    ...real.map((m) => m.hex),
    ...fixture<Vector>('holo.jsonl.gz').map((v) => v.hex),
    ...fixture<Vector>('exabgp.jsonl.gz').map((v) => v.hex),
  ].map(bytesOf);
  const mutation = fc.record({
    message: fc.constantFrom(...pool),
    context: fc.constantFrom(...contexts),
    // Position as a fraction of the message, so that it shrinks well; mostly lengths, types and flags are interesting.
    bytes: fc.array(
      fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 255))),
      { maxLength: 6 },
    ),
    cut: fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
  });
  fc.assert(
    fc.property(mutation, ({ message, context, bytes, cut }) => {
      const mutated = message.slice(0, cut === null ? message.length : 19 + Math.floor(cut * (message.length - 19)));
      for (const [at, value] of bytes) {
        const offset = 19 + Math.floor(at * (mutated.length - 19));
        if (offset < mutated.length) mutated[offset] = value;
      }
      if (mutated.length >= 19) {
        mutated[16] = mutated.length >> 8;
        mutated[17] = mutated.length & 255;
      }
      decodeAnything(mutated, context, view, scratch);
    }),
    { numRuns: 5000 },
  );
});

test('random octets in every place where a length counts never throw', () => {
  const view = createUpdateView();
  const scratch = new Uint8Array(9000);
  const body = fc.uint8Array({ maxLength: 400 });
  fc.assert(
    fc.property(body, fc.constantFrom(...contexts), (random, context) => {
      const framed = Uint8Array.from([...new Array<number>(19).fill(255), ...random]);
      decodeUpdateWhole(framed, 0, framed.length, context, view, scratch);
      decodeOpen(framed, 0, framed.length);
      const list = Uint8Array.from([
        ...new Array<number>(19).fill(255),
        0,
        0,
        random.length >> 8,
        random.length & 255,
        ...random,
      ]);
      decodeUpdateWhole(list, 0, list.length, context, view, scratch);
    }),
    { numRuns: 2000 },
  );
});
