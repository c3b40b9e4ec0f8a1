import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AttributePool, IntStack, NextHopPool, NextHopSetPool, PeerTable, Rib } from '../rib/index.ts';
import { removePeer } from '../rib/test-remove-peer.ts';
import { emptyAttributeValues } from '../wire/index.ts';
import { Groups } from './groups.ts';
import { prefixesPerMemberMin, prefixesPerSlice } from './limits.ts';

/** A table, and two external peers that may fill it. */
function world() {
  const attributes = new AttributePool();
  const tables = { attributes, nextHops: new NextHopPool(), hopSets: new NextHopSetPool(), peers: new PeerTable() };
  const [source, other] = [tables.peers.make(), tables.peers.make()];
  for (const row of [source, other]) tables.peers.ebgp[row] = 1;
  return { attributes, source, other, rib: new Rib(4, tables), groups: new Groups() };
}
const options = { export: 'accept', ebgp: true, asn4: true, localAsn: 64512 } as const;
const prefix = (n: number): Int32Array => Int32Array.of((20 << 24) | (n << 8));

test('a slice is shared by all who are behind: many peers that come at once stall nobody', () => {
  const { attributes, source, rib, groups } = world();
  const set = attributes.intern(Uint8Array.of(0x40, 1, 1, 0, 0x40, 2, 0), emptyAttributeValues());
  for (let n = 0; n < 5000; n++) rib.announce(source, prefix(n), 24, set, 0, 0);
  rib.decide(5000, false, new IntStack());
  let bytes = 0;
  const sink = {
    writable: true,
    write(_bytes: Uint8Array, length: number) {
      bytes += length;
    },
  };
  for (let peer = 2; peer < 102; peer++) {
    groups.join(rib, { ...options, nextHopSelf: Uint8Array.of(10, 0, peer % 2, 1) }, peer, sink, true);
  }
  let [turns, most] = [0, 0];
  for (let more = true; more; turns++) {
    const before = bytes;
    more = groups.pump(10_000);
    most = Math.max(most, bytes - before);
  }
  const bytesOfPrefix = 4;
  assert.ok(bytes >= 100 * 5000 * bytesOfPrefix, 'everybody has everything');
  assert.ok(most <= 2 * 10_000 * bytesOfPrefix, `${most} octets in a slice`);
  assert.ok(turns <= (100 * 5000) / (50 * prefixesPerMemberMin), `${turns} slices`);
});

test('what withdraws and announces routes of one source is one write, and nobody is told of his own', () => {
  const { attributes, source, other, rib, groups } = world();
  const sources = [source, other] as const;
  const set = attributes.intern(Uint8Array.of(0x40, 1, 1, 0, 0x40, 2, 0), emptyAttributeValues());
  const written = [...sources, 99].map((peer) => {
    const chunks: string[] = [];
    const write = (bytes: Uint8Array, length: number): void => void chunks.push(told(bytes.subarray(0, length)));
    const sink = { writable: true, write };
    groups.join(rib, { ...options, nextHopSelf: Uint8Array.of(10, 0, 0, 1) }, peer, sink, false);
    return chunks;
  });
  const apply = (): void => {
    const changed = new IntStack();
    rib.decide(100, false, changed);
    groups.apply(rib, changed);
    for (let i = 0; i < changed.length; i++) rib.settle(changed.items[i]!);
  };
  while (groups.pump(100));
  rib.announce(sources[0], prefix(1), 24, set, 0, 0);
  apply();
  for (const chunks of written) chunks.length = 0;
  rib.withdraw(sources[0], prefix(1), 24, 0);
  rib.announce(sources[0], prefix(2), 24, set, 0, 0);
  rib.announce(sources[1], prefix(3), 24, set, 0, 0);
  apply();
  assert.deepEqual(written, [['+20.0.3.0'], ['-20.0.1.0 +20.0.2.0'], ['-20.0.1.0 +20.0.2.0', '+20.0.3.0']]);
});

test('of a change that comes alone everybody is told what he is to have, and who has become its source forgets it', () => {
  const { attributes, source, other, rib, groups } = world();
  const pathOf = (asns: number): number =>
    attributes.intern(Uint8Array.of(0x40, 1, 1, 0, 0x40, 2, 0, asns), {
      ...emptyAttributeValues(),
      asPathLength: asns,
    });
  const [near, far] = [pathOf(1), pathOf(2)];
  const written = [source, other, 99].map((peer) => {
    const chunks: string[] = [];
    const write = (bytes: Uint8Array, length: number): void => void chunks.push(told(bytes.subarray(0, length)));
    groups.join(rib, { ...options, nextHopSelf: Uint8Array.of(10, 0, 0, 1) }, peer, { writable: true, write }, false);
    return chunks;
  });
  while (groups.pump(100));
  const after = (change: () => unknown): readonly string[][] => {
    for (const chunks of written) chunks.length = 0;
    change();
    const changed = new IntStack();
    rib.decide(100, false, changed);
    groups.apply(rib, changed);
    for (let i = 0; i < changed.length; i++) rib.settle(changed.items[i]!);
    return written;
  };
  const announced = (peer: number, n: number, set: number) => after(() => rib.announce(peer, prefix(n), 24, set, 0, 0));
  assert.deepEqual(announced(source, 1, far), [[], ['+20.0.1.0'], ['+20.0.1.0']]);
  assert.deepEqual(announced(other, 1, near), [['+20.0.1.0'], ['-20.0.1.0'], ['+20.0.1.0']]);
  assert.deepEqual(announced(source, 2, far), [[], ['+20.0.2.0'], ['+20.0.2.0']]);
  assert.deepEqual(announced(source, 2, far), [[], [], []]);
  const withdrawn = (peer: number, n: number) => after(() => rib.withdraw(peer, prefix(n), 24, 0));
  assert.deepEqual(withdrawn(other, 1), [['-20.0.1.0'], ['+20.0.1.0'], ['+20.0.1.0']]);
  assert.deepEqual(withdrawn(source, 1), [[], ['-20.0.1.0'], ['-20.0.1.0']]);
  assert.deepEqual(withdrawn(source, 2), [[], ['-20.0.2.0'], ['-20.0.2.0']]);
  assert.equal(rib.prefixes.size, 0);
});

test('what a group that nobody is in any more refers to goes a slice at a time, and all of it goes', () => {
  const { attributes, source, rib, groups } = world();
  const count = 3 * prefixesPerSlice;
  for (let n = 0; n < count; n++) {
    const set = attributes.intern(Uint8Array.of(0x40, 1, 1, 0, 0xe0, 200, 2, n >> 8, n), emptyAttributeValues());
    rib.announce(source, prefix(n), 24, set, 0, 0);
  }
  const sink = { writable: true, write: () => undefined };
  const joined = groups.join(rib, { ...options, nextHopSelf: Uint8Array.of(10, 0, 0, 1) }, 9, sink, false);
  const decide = (): void => {
    const changed = new IntStack();
    while (rib.dirtyCount > 0) rib.decide(count, false, changed);
    groups.apply(rib, changed);
    for (let i = 0; i < changed.length; i++) rib.settle(changed.items[i]!);
  };
  decide();
  while (groups.pump(count));
  groups.leave(joined);
  assert.equal(groups.size, 0);
  removePeer(rib, source);
  decide();
  // The group is the only one that refers to them now.
  const sizes = [attributes.size];
  while (groups.pump(prefixesPerSlice)) sizes.push(attributes.size);
  sizes.push(attributes.size);
  assert.deepEqual(sizes, [2 * prefixesPerSlice, prefixesPerSlice, 0]);
  assert.deepEqual([rib.prefixes.size, rib.setWeight], [0, 0]);
});

/** Prefixes withdrawn and announced by a chunk of UPDATEs with a prefix each. */
function told(chunk: Uint8Array): string {
  const out: string[] = [];
  for (let at = 0; at < chunk.length; at += (chunk[at + 16]! << 8) | chunk[at + 17]!) {
    const end = at + ((chunk[at + 16]! << 8) | chunk[at + 17]!);
    const withdraws = chunk[at + 20]! > 0;
    const octets = withdraws ? chunk.subarray(at + 22, at + 25) : chunk.subarray(end - 3, end);
    out.push(`${withdraws ? '-' : '+'}${octets.join('.')}.0`);
  }
  return out.join(' ');
}
