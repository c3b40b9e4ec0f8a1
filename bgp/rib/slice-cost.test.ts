/** How much is done in one slice where attribute sets are long: RFC 8654 lets one have 64 kB, and peers mean it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyAttributeValues } from '../wire/index.ts';
import {
  AttributePool,
  IntStack,
  type MemberSink,
  NextHopPool,
  NextHopSetPool,
  PeerTable,
  Rib,
  UpdateGroup,
} from './index.ts';

const slice = 10_000;
const prefixes = 2000;
/** What one slice may write: some milliseconds of copying. */
const sliceBytesMax = 4 * 1024 * 1024;
const options = {
  export: 'accept',
  ebgp: true,
  asn4: true,
  extendedMessages: true,
  localAsn: 64512,
  nextHopSelf: Uint8Array.of(10, 0, 0, 1),
} as const;

/** @param sets attribute sets of 60 kB, which the prefixes have in turn. */
function filled(sets: number) {
  const attributes = new AttributePool();
  const nextHops = new NextHopPool();
  const tables = { attributes, nextHops, hopSets: new NextHopSetPool(), peers: new PeerTable() };
  const source = tables.peers.make();
  tables.peers.ebgp[source] = 1;
  const hop = nextHops.intern('\x0a\x00\x00\x02', Uint8Array.of(10, 0, 0, 2), 0, 4);
  const rib = new Rib(4, tables);
  const made = Array.from({ length: sets }, (_, n) => {
    const communities = new Uint8Array(60_000);
    new DataView(communities.buffer).setUint32(0, n + 1);
    const path = [0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfc, 0x01, 0xd0, 8, 60_000 >> 8, 60_000 & 255];
    return attributes.intern(Buffer.concat([Uint8Array.from(path), communities]), emptyAttributeValues());
  });
  for (let n = 0; n < prefixes; n++) {
    rib.announce(source, Int32Array.of((20 << 24) | (n << 8)), 24, made[n % sets]!, hop, 0);
  }
  return { rib, source };
}

class Sink implements MemberSink {
  writable = true;
  bytes = 0;
  write(_bytes: Uint8Array, length: number): void {
    this.bytes += length;
  }
}

/** Decides and applies all; the most that was written, and decided, in one slice. */
function decideAll(rib: Rib, group: UpdateGroup, sink: Sink): { bytes: number; decided: number; slices: number } {
  let [bytes, decided, slices] = [0, 0, 0];
  const changed = new IntStack();
  for (; rib.dirtyCount > 0; slices++) {
    const before = sink.bytes;
    changed.clear();
    rib.decide(slice, false, changed);
    group.apply(changed, 0, changed.length);
    bytes = Math.max(bytes, sink.bytes - before);
    decided = Math.max(decided, changed.length);
  }
  return { bytes, decided, slices };
}

test('RFC 8654: a slice of decisions is no more than what it makes the groups write', () => {
  const { rib } = filled(200);
  const group = new UpdateGroup(rib, options);
  const sink = new Sink();
  while (group.fill(slice));
  group.join(9, sink, false);
  const { bytes } = decideAll(rib, group, sink);
  assert.ok(bytes > 0 && bytes <= sliceBytesMax, `${bytes} octets`);
  assert.ok(sink.bytes > 200 * 60_000);
});

test('RFC 8654: a slice of a backlog, likewise', () => {
  const { rib } = filled(200);
  const group = new UpdateGroup(rib, options);
  const sink = new Sink();
  sink.writable = false;
  const member = group.join(9, sink, false);
  decideAll(rib, group, sink);
  let most = 0;
  for (let more = true; more; ) {
    const before = sink.bytes;
    more = group.pump(member, slice);
    most = Math.max(most, sink.bytes - before);
  }
  assert.ok(most <= sliceBytesMax, `${most} octets`);
  assert.ok(sink.bytes > 200 * 60_000);
});

test('a filter that looks for many communities in long sets gets fewer prefixes a slice, also where a group is new', () => {
  const terms = Array.from(
    { length: 50 },
    (_, n) => ({ action: 'reject', communities: { any: [`${n + 1}:65000`, `${n + 1}:*`] } }) as const,
  );
  const { rib } = filled(2);
  const group = new UpdateGroup(rib, { ...options, filter: terms });
  const { decided, slices } = decideAll(rib, group, new Sink());
  assert.ok(decided < 10, `${decided} prefixes a slice`);
  assert.ok(slices > prefixes / 10);
  const later = new UpdateGroup(rib, { ...options, filter: terms });
  let fills = 1;
  while (later.fill(slice)) fills++;
  assert.ok(fills > prefixes / 10, `${fills} slices`);
  // And none of it stays when the groups are gone.
  group.dispose(Number.POSITIVE_INFINITY);
  later.dispose(Number.POSITIVE_INFINITY);
  rib.markAllDirty();
  assert.equal(decideAll(rib, new UpdateGroup(rib, { ...options, export: 'reject' }), new Sink()).slices, 1);
});

test('sets of usual length cost nothing: a slice is as many prefixes as it may be', () => {
  const attributes = new AttributePool();
  const tables = { attributes, nextHops: new NextHopPool(), hopSets: new NextHopSetPool(), peers: new PeerTable() };
  const source = tables.peers.make();
  const rib = new Rib(4, tables);
  const group = new UpdateGroup(rib, options);
  for (let n = 0; n < prefixes; n++) {
    const octets = new Uint8Array(120);
    new DataView(octets.buffer).setUint32(0, n);
    const set = attributes.intern(octets, emptyAttributeValues());
    rib.announce(source, Int32Array.of((20 << 24) | (n << 8)), 24, set, 0, 0);
  }
  const changed = new IntStack();
  rib.decide(prefixes, false, changed);
  assert.equal(changed.length, prefixes);
  group.dispose(Number.POSITIVE_INFINITY);
});
