/** The codec under fuzz: each target makes one input and holds what comes of it against what must be true of any. */
import assert from 'node:assert/strict';
import { wire } from '#bgp';
import type { Corpus } from './corpus.ts';
import {
  type Dialect,
  generateNotification,
  generateOpen,
  generateRefresh,
  generateUpdate,
  mutate,
} from './generate.ts';
import type { Random } from './random.ts';
import { referenceVerdict } from './reference.ts';

export interface Target {
  readonly name: string;
  /** Of 100 cases how many are this target's. */
  readonly share: number;
  /** One case, or several in a row; throws when something is wrong. @returns how many. */
  run(random: Random): number;
}

const ebgp: wire.UpdateContext = {
  asn4: true,
  ipv4: true,
  ipv6: true,
  ebgp: true,
  localAsn: 64512,
  peerAsn: 64513,
  localRouterId: 0x0a0a0a0a,
};
const contexts: readonly wire.UpdateContext[] = [
  ebgp,
  { ...ebgp, ebgp: false, peerAsn: 64512 },
  { ...ebgp, asn4: false },
  { ...ebgp, asn4: false, acceptAsSet: true },
  { ...ebgp, ebgp: false, peerAsn: 64512, acceptAsSet: true },
  { ...ebgp, ipv4: false },
  { ...ebgp, ipv6: false },
  { ...ebgp, addPath4: true, addPath6: true },
  { ...ebgp, ebgp: false, peerAsn: 64512, addPath4: true },
  { ...ebgp, asn4: false, addPath6: true, extendedNextHop: true },
  { ...ebgp, extendedNextHop: true },
  { ...ebgp, ebgp: false, peerAsn: 64512, addPath4: true, addPath6: true, extendedNextHop: true },
];
/** Of what we encoded ourselves: an internal peer that may say all that we do, in the dialect of whom it came from. */
const ownFor = ({ addPath4 = false, addPath6 = false }: wire.UpdateContext): wire.UpdateContext => ({
  ...{ ...ebgp, ebgp: false, peerAsn: 64512, acceptAsSet: true, extendedNextHop: true },
  ...{ addPath4, addPath6 },
});
const hasIds = (family: 4 | 6, { addPath4, addPath6 }: wire.UpdateContext): boolean =>
  (family === 4 ? addPath4 : addPath6) === true;

const view = wire.createUpdateView();
const again = wire.createUpdateView();
const cursor = wire.createPrefixCursor();
const first = new Uint8Array(wire.canonicalAttributesBytesMax);
const second = new Uint8Array(wire.canonicalAttributesBytesMax);
const exported = wire.createExportedAttributes();

function prefixesOf(of: wire.UpdateView, agreed: wire.UpdateContext, family: 4 | 6 | 0, range: Range): string[] {
  const out: string[] = [];
  if (family === 0) return out;
  const withIds = hasIds(family, agreed);
  cursor.reset(family, of.bytes, ...range, withIds);
  while (cursor.next()) {
    const { words, bits } = cursor;
    let digits = '';
    for (let i = 0; i < (family === 4 ? 1 : 4); i++) digits += (words[i]! >>> 0).toString(2).padStart(32, '0');
    assert.ok(!digits.slice(bits).includes('1'), 'host bits are clear');
    out.push(`${withIds ? `#${cursor.pathId} ` : ''}${bits}/${digits.slice(0, bits)}`);
  }
  return out;
}
type Range = readonly [start: number, end: number];
const nlri = (of: wire.UpdateView): Range => [of.nlriStart, of.nlriEnd];
const mpReach = (of: wire.UpdateView): Range => [of.mpReachNlriStart, of.mpReachNlriEnd];
const announced = (of: wire.UpdateView, agreed: wire.UpdateContext): string[] => [
  ...prefixesOf(of, agreed, 4, nlri(of)),
  ...prefixesOf(of, agreed, of.mpReachFamily, mpReach(of)),
];
const withdrawn = (of: wire.UpdateView, agreed: wire.UpdateContext): string[] => [
  ...prefixesOf(of, agreed, 4, [of.withdrawnStart, of.withdrawnEnd]),
  ...prefixesOf(of, agreed, of.mpUnreachFamily, [of.mpUnreachStart, of.mpUnreachEnd]),
];

/** What is true of every UPDATE in every context. */
function checkUpdate(bytes: Uint8Array, context: wire.UpdateContext): void {
  if (bytes.length < 23) return; // never leaves the framer
  const disposition = wire.decodeUpdate(view, context, bytes, 0, bytes.length);
  assert.equal(view.error === undefined, disposition === 'accept');
  const wanted = referenceVerdict(context, bytes);
  assert.equal(disposition, wanted.disposition, view.error?.reason);
  if (disposition === 'reset') return;
  assert.equal(announced(view, context).join(), wanted.announced.join());
  assert.equal(withdrawn(view, context).join(), wanted.withdrawn.join());
  if (view.mpReachNlriEnd > view.mpReachNlriStart) {
    const { mpNextHopStart: at, mpNextHopLength: length } = view;
    assert.equal(Buffer.from(bytes.subarray(at, at + length)).toString('hex'), wanted.multiprotocolNextHop);
  }
  assert.equal(view.discardedCount, wanted.discarded, 'attributes discarded');
  if (disposition === 'accept' && view.attributesEnd > view.attributesStart) checkRoundTrip(context);
  checkWithdrawals(context);
}

/** Canonical form, what a peer inside is told of it, and that read back, say the same. */
function checkRoundTrip(context: wire.UpdateContext): void {
  const length = wire.canonicalAttributes(view, first, 0);
  assert.ok(length <= wire.canonicalAttributesBytesMax);
  wire.describeAttributes(first, 0, length);
  const multiprotocol = view.mpReachFamily !== 0 && view.mpReachNlriEnd > view.mpReachNlriStart;
  if (!multiprotocol && view.nlriEnd === view.nlriStart) return;
  const family = (multiprotocol ? view.mpReachFamily : 4) as 4 | 6;
  const own = ownFor(context);
  const next = multiprotocol
    ? view.bytes.slice(view.mpNextHopStart, view.mpNextHopStart + view.mpNextHopLength)
    : view.bytes.slice(view.nextHopStart, view.nextHopStart + 4);
  const sent = pack(first, length, family, next, view, own);
  if (!sent) return;
  const told: string[] = [];
  for (const chunk of sent) {
    assert.equal(wire.decodeUpdate(again, own, chunk, 0, chunk.length), 'accept', again.error?.reason);
    assert.equal(again.discardedCount, 0);
    told.push(...announced(again, own));
    const back = wire.canonicalAttributes(again, second, 0);
    const once = pack(second, back, family, next, again, own);
    assert.ok(once && once.length === 1);
    assert.ok(Buffer.from(once[0]!).equals(chunk), 'encode(decode(x)) is x');
  }
  const wanted = prefixesOf(view, own, family, packed(view, family));
  assert.equal(told.join(), wanted.join(), 'each prefix, with its identifier');
}

/** Packers are large; these two serve all cases, one after the other. */
const chunks: Uint8Array[] = [];
const [plainPacker, idPacker] = [false, true].map((withIds) =>
  wire.createUpdatePacker((chunk) => void chunks.push(chunk.slice()), wire.messageBytesMax, withIds),
) as [wire.UpdatePacker, wire.UpdatePacker];
function packerFor(family: 4 | 6, agreed: wire.UpdateContext): wire.UpdatePacker {
  chunks.length = 0;
  return hasIds(family, agreed) ? idPacker : plainPacker;
}
/** The messages, one each. */
function finish(packer: wire.UpdatePacker): Uint8Array[] {
  packer.flush();
  return chunks.splice(0).flatMap(split);
}

/** What was withdrawn, in the form of RFC 4271 and in that of RFC 4760, comes back as it was. */
function checkWithdrawals(context: wire.UpdateContext): void {
  const own = ownFor(context);
  for (const [family, range] of [
    [4, [view.withdrawnStart, view.withdrawnEnd]],
    [view.mpUnreachFamily, [view.mpUnreachStart, view.mpUnreachEnd]],
  ] as const) {
    if (family === 0 || range[0] === range[1]) continue;
    const wanted = prefixesOf(view, own, family as 4 | 6, range);
    for (const multiprotocol of family === 4 ? [false, true] : [true]) {
      const packer = packerFor(family as 4 | 6, own);
      packer.startWithdraw(family as 4 | 6, multiprotocol);
      addPrefixes(packer, view, own, family as 4 | 6, range);
      const back = finish(packer).flatMap((chunk) => {
        assert.equal(wire.decodeUpdate(again, own, chunk, 0, chunk.length), 'accept', again.error?.reason);
        return withdrawn(again, own);
      });
      assert.equal(back.join(), wanted.join(), 'withdrawn as it was');
    }
  }
}

function addPrefixes(
  packer: wire.UpdatePacker,
  of: wire.UpdateView,
  agreed: wire.UpdateContext,
  family: 4 | 6,
  range: Range,
): void {
  cursor.reset(family, of.bytes, ...range, hasIds(family, agreed));
  while (cursor.next()) {
    const { words, bits } = cursor;
    packer.pathId = cursor.pathId;
    if (family === 4) packer.add4(words[0]!, bits);
    else packer.add6(words[0]!, words[1]!, words[2]!, words[3]!, bits);
  }
}

/** The prefixes that `pack` takes. */
const packed = (of: wire.UpdateView, family: 4 | 6): Range =>
  family === 4 && of.nlriEnd > of.nlriStart ? nlri(of) : mpReach(of);

/** Messages for an internal peer; undefined when no message holds these attributes. */
function pack(
  attributes: Uint8Array,
  length: number,
  family: 4 | 6,
  next: Uint8Array,
  of: wire.UpdateView,
  agreed: wire.UpdateContext,
): Uint8Array[] | undefined {
  const context = { ebgp: false, asn4: true, localAsn: 64512, keepMed: true };
  if (!wire.exportAttributes(attributes, 0, length, context, exported)) return undefined;
  const packer = packerFor(family, agreed);
  if (!packer.startAnnounce(family, exported, next)) return undefined;
  addPrefixes(packer, of, agreed, family, packed(of, family));
  return finish(packer);
}

function split(chunk: Uint8Array): Uint8Array[] {
  const out: Uint8Array[] = [];
  for (let at = 0; at < chunk.length; ) {
    const end = at + ((chunk[at + 16]! << 8) | chunk[at + 17]!);
    assert.ok(end > at + 18 && end <= chunk.length, 'whole messages');
    out.push(chunk.slice(at, end));
    at = end;
  }
  return out;
}

function checkOpen(bytes: Uint8Array): void {
  if (bytes.length < 29) return;
  const decoded = wire.decodeOpen(bytes, 0, bytes.length);
  if (!decoded.ok) {
    assert.equal(decoded.error.code, 2);
    return;
  }
  const open = decoded.value;
  assert.ok(open.asn > 0 && open.routerId > 0 && open.holdTimeSec !== 1 && open.holdTimeSec !== 2);
  const encoded = wire.encodeOpen(open);
  assert.ok(encoded.length <= 4096, 'no OPEN is longer (RFC 8654 4)');
  const back = wire.decodeOpen(encoded, 0, encoded.length);
  assert.ok(back.ok, 'what we encode we decode');
  // One that offers families of others alone is no OPEN of ours.
  if (open.families.length > 0 && textsAreShort(open)) assert.deepEqual(back.value, open);
  const negotiated = wire.negotiate(open, open);
  assert.equal(negotiated.asn4, open.asn4);
}

/** Longer ones than the drafts allow are cut when they are sent, and what is no UTF-8 is replaced. */
function textsAreShort(open: wire.OpenMessage): boolean {
  const texts = [open.hostName?.host, open.hostName?.domain, open.softwareVersion];
  return texts.every((text) => text === undefined || Buffer.byteLength(text) <= 64);
}

const shownMax = 4096;

function checkNotification(bytes: Uint8Array): void {
  if (bytes.length < 21) return;
  const decoded = wire.decodeNotification(bytes, 0, bytes.length);
  const text = wire.describeNotification(decoded);
  assert.ok(text.length <= shownMax, 'bounded');
  assert.doesNotMatch(text, /\p{Cc}/u, 'no control characters reach a terminal');
  assert.ok(Buffer.from(wire.encodeNotification(decoded)).equals(bytes), 'encode(decode(x)) is x');
}

function checkRefresh(bytes: Uint8Array): void {
  if (bytes.length < 19) return;
  const decoded = wire.decodeRouteRefresh(bytes, 0, bytes.length);
  if (!decoded.ok) {
    assert.deepEqual([decoded.error.code, decoded.error.subcode], [7, 1]);
    assert.notEqual(bytes.length, 23);
  } else if (decoded.value.family && decoded.value.subtype === 0 && bytes.length === 23) {
    assert.ok(Buffer.from(wire.encodeRouteRefresh(decoded.value.family)).equals(bytes), 'encode(decode(x)) is x');
  }
}

/** Messages of a stream, as text, then the error that ended it. */
function read(chunks: readonly Uint8Array[], extended: boolean): string[] {
  const framer = wire.createFramer();
  if (extended) framer.allowExtended();
  const out: string[] = [];
  for (const chunk of chunks) {
    const error = framer.push(chunk, (type, bytes, start, end) => {
      assert.equal(end - start, (bytes[start + 16]! << 8) | bytes[start + 17]!);
      out.push(`${type}:${end - start}:${bytes[end - 1]}`);
      return true;
    });
    if (error) return [...out, `${error.code}/${error.subcode}`];
    assert.ok(framer.pendingBytes < (extended ? 65_535 : 4096), 'less than a message is held');
  }
  return out;
}

/** The message with octets behind it that its header counts: over 4096 in most (RFC 8654). */
function longer(message: Uint8Array, random: Random): Uint8Array {
  const bytes = new Uint8Array(Math.min(65_535, message.length + random.below(20_000)));
  bytes.set(message);
  bytes[16] = bytes.length >> 8;
  bytes[17] = bytes.length;
  return bytes;
}

/** A stream in one piece and the same in pieces give the same messages and the same error. */
function framerTarget(corpus: Corpus): Target {
  return {
    name: 'framer',
    share: 3,
    run(random) {
      const extended = random.oneIn(4);
      const parts = Array.from({ length: 1 + random.below(5) }, () => {
        const bytes = random.oneIn(12) ? longer(anything(random, corpus), random) : anything(random, corpus);
        if (random.oneIn(8) && bytes.length > 19) bytes[random.below(19)] = random.below(256);
        return bytes;
      });
      const stream = Uint8Array.from(Buffer.concat(parts));
      const chunks: Uint8Array[] = [];
      const single = random.oneIn(50);
      for (let at = 0; at < stream.length; ) {
        const size = single ? 1 : 1 + random.below(random.oneIn(3) ? 30 : 2000);
        chunks.push(stream.slice(at, at + size));
        at += size;
      }
      try {
        assert.deepEqual(read(chunks, extended), read([stream], extended));
      } catch (error) {
        throw new CaseError(stream, error);
      }
      return 1;
    },
  };
}

/** A message of any type, made, recorded or mutated. */
export function anything(random: Random, corpus: Corpus): Uint8Array {
  const wide = !random.oneIn(3);
  switch (random.below(8)) {
    case 0:
      return generateOpen(random);
    case 1:
      return generateNotification(random);
    case 2:
      return generateRefresh(random);
    case 3:
      return mutate(random, random.pick(corpus.all));
    case 4: {
      const bytes = generateUpdate(random, wide);
      return mutate(random, bytes);
    }
    default:
      return generateUpdate(random, wide);
  }
}

export function codecTargets(corpus: Corpus): Target[] {
  const target = (
    name: string,
    share: number,
    make: (random: Random) => Uint8Array,
    check: (bytes: Uint8Array) => void,
  ): Target => ({
    name,
    share,
    run(random) {
      const bytes = make(random);
      try {
        check(bytes);
      } catch (error) {
        throw new CaseError(bytes, error);
      }
      return 1;
    },
  });
  type Make = (random: Random, wide: boolean, agreed: Dialect) => Uint8Array;
  const updates = (name: string, share: number, make: Make): Target => {
    let context = ebgp;
    const makeFor = (random: Random): Uint8Array => {
      context = random.pick(contexts);
      return make(random, context.asn4, context);
    };
    return target(name, share, makeFor, (bytes) => checkUpdate(bytes, context));
  };
  return [
    updates('update', 42, generateUpdate),
    updates('update-mutated', 15, (random, ...how) => mutate(random, generateUpdate(random, ...how))),
    updates('update-recorded', 10, (random) => mutate(random, random.pick(corpus.updates))),
    updates('update-octets', 5, (random) => octets(random, 2)),
    target('open', 6, generateOpen, checkOpen),
    target('open-mutated', 2, (random) => mutate(random, generateOpen(random)), checkOpen),
    target('open-octets', 2, (random) => octets(random, 1), checkOpen),
    target('notification', 2, generateNotification, checkNotification),
    target('notification-octets', 1, (random) => octets(random, 3), checkNotification),
    target('route-refresh', 2, generateRefresh, checkRefresh),
    framerTarget(corpus),
  ];
}

/** A header and anything behind it. */
function octets(random: Random, type: number): Uint8Array {
  const length = 19 + random.below(random.oneIn(10) ? 400 : 60);
  const bytes = new Uint8Array(length).fill(0xff, 0, 16);
  bytes[16] = length >> 8;
  bytes[17] = length;
  bytes[18] = type;
  for (let at = 19; at < length; at++) bytes[at] = random.oneIn(3) ? random.below(8) : random.below(256);
  return bytes;
}

/** What went wrong, with the octets that did it. */
export class CaseError extends Error {
  constructor(bytes: Uint8Array, cause: unknown) {
    const why = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    super(`${Buffer.from(bytes).toString('hex')}\n${why}`, { cause });
  }
}
