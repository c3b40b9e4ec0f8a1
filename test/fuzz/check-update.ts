/** What must be true of every UPDATE in every context: the codec's verdict is the reference's, and what it takes can be told on. */
import assert from 'node:assert/strict';
import { wire } from '#bgp';
import { referenceVerdict } from './reference.ts';

const ebgp: wire.UpdateContext = {
  asn4: true,
  ipv4: true,
  ipv6: true,
  ebgp: true,
  localAsn: 64512,
  peerAsn: 64513,
  localRouterId: 0x0a0a0a0a,
};
export const updateContexts: readonly [wire.UpdateContext, ...wire.UpdateContext[]] = [
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
export function checkUpdate(bytes: Uint8Array, context: wire.UpdateContext): void {
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
