import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyAttributeValues } from '../wire/index.ts';
import { AttributePool, NextHopPool, NextHopSetPool, PeerTable, pathFlag, Rib } from './index.ts';

const many = 120_000;

/** Two peers with `many` prefixes each, the same ones. */
function world() {
  const attributes = new AttributePool();
  const tables = { attributes, nextHops: new NextHopPool(), hopSets: new NextHopSetPool(), peers: new PeerTable() };
  const hop = tables.nextHops.intern('10.9.9.9', Uint8Array.of(10, 9, 9, 9), 0, 4);
  const rib = new Rib(4, tables);
  const [lost, other] = [tables.peers.make(), tables.peers.make()];
  const set = attributes.intern(Uint8Array.of(0x40, 1, 1, 0), emptyAttributeValues());
  const words = new Int32Array(1);
  const say = (peer: number, from = 0, to = many): void => {
    for (let n = from; n < to; n++) {
      words[0] = (10 << 24) | (n << 6);
      rib.announce(peer, words, 26, set, hop, 0);
    }
  };
  return { rib, lost, other, say };
}

test('paths of a peer go a slice at a time, and those of others stay', () => {
  const { rib, lost, other, say } = world();
  for (const peer of [lost, other]) say(peer);
  rib.removals.begin(lost, 0);
  let slices = 1;
  for (let before = rib.pathCount[lost]!; rib.removals.waiting; slices++) {
    assert.ok(before > 0);
    assert.equal(rib.decided, false);
    rib.removals.step();
    assert.ok(rib.pathCount[lost]! < before && rib.pathCount[other] === many);
    before = rib.pathCount[lost]!;
  }
  assert.ok(slices >= 3, `${slices} slices`);
  assert.deepEqual([rib.pathCount[lost], rib.pathCount[other]], [0, many]);
});

test('a peer that is back before all of its paths are gone loses none of the new ones, and nobody waits for the rest', () => {
  const { rib, lost, say } = world();
  say(lost);
  rib.removals.begin(lost, 0);
  const left = rib.pathCount[lost]!;
  rib.removals.setApart(lost);
  assert.deepEqual([rib.pathCount[lost], rib.goingCount[lost]], [left, left], 'none went at once');
  // One of those that are there still, and one that is gone.
  for (const n of [many - 1, 0]) say(lost, n, n + 1);
  assert.deepEqual([rib.goingCount[lost], rib.heldOf(lost)], [left - 1, 2]);
  while (rib.removals.waiting) rib.removals.step();
  assert.deepEqual([rib.pathCount[lost], rib.goingCount[lost]], [2, 0]);
  say(lost);
  assert.deepEqual([rib.pathCount[lost], rib.removals.waiting], [many, false]);
});

test('stale paths that are announced again while the others go stay; lost once more, all that are stale go all the same', () => {
  const { rib, lost, say } = world();
  say(lost);
  rib.markStale(lost);
  rib.removals.begin(lost, pathFlag.stale);
  assert.ok(rib.removals.waiting);
  say(lost);
  while (rib.removals.waiting) rib.removals.step();
  assert.deepEqual([rib.pathCount[lost], rib.staleCount[lost]], [many, 0]);
  rib.markStale(lost);
  rib.removals.begin(lost, pathFlag.stale);
  say(lost, many - 3);
  rib.markStale(lost);
  assert.deepEqual([rib.staleCount[lost], rib.removals.waiting], [3, true]);
  while (rib.removals.waiting) rib.removals.step();
  assert.deepEqual([rib.pathCount[lost], rib.staleCount[lost], rib.goingCount[lost]], [3, 3, 0]);
  say(lost);
  rib.markStale(lost);
  rib.removals.begin(lost, pathFlag.stale);
  rib.removals.begin(lost, 0);
  rib.markStale(lost);
  assert.deepEqual([rib.staleCount[lost], rib.heldOf(lost)], [0, 0]);
  while (rib.removals.waiting) rib.removals.step();
  assert.deepEqual([rib.pathCount[lost], rib.goingCount[lost]], [0, 0]);
});

test('RFC 7313 4.2: what a refresh did not confirm goes a slice at a time, and stays where it is announced again meanwhile', () => {
  const { rib, lost, other, say } = world();
  for (const peer of [lost, other]) say(peer);
  rib.beginRefresh(lost);
  assert.equal(rib.endRefresh(lost), many);
  const left = rib.pathCount[lost]!;
  assert.ok(rib.removals.waiting && left > many / 2, `${left} left`);
  say(lost);
  while (rib.removals.waiting) rib.removals.step();
  assert.deepEqual([rib.pathCount[lost], rib.pathCount[other], rib.unconfirmedCount[lost]], [many, many, 0]);
  rib.beginRefresh(lost);
  assert.equal(rib.endRefresh(lost), many);
  say(lost, many - 3);
  rib.beginRefresh(lost);
  assert.deepEqual(
    [rib.unconfirmedCount[lost], rib.removals.waiting],
    [3, true],
    'those of the refresh before go all the same',
  );
  say(lost, many - 1);
  assert.equal(rib.endRefresh(lost), 2);
  while (rib.removals.waiting) rib.removals.step();
  assert.deepEqual([rib.pathCount[lost], rib.pathCount[other], rib.goingCount[lost]], [1, many, 0]);
});

test('stale and unconfirmed paths go at a time', () => {
  const { rib, lost, say } = world();
  say(lost);
  rib.markStale(lost);
  say(lost, many / 2);
  rib.beginRefresh(lost);
  say(lost, many - 1);
  rib.removals.begin(lost, pathFlag.stale);
  assert.equal(rib.endRefresh(lost), rib.pathCount[lost]! - 1);
  while (rib.removals.waiting) rib.removals.step();
  assert.deepEqual([rib.pathCount[lost], rib.staleCount[lost], rib.unconfirmedCount[lost]], [1, 0, 0]);
});

test('few go at once', () => {
  const { rib, lost, other, say } = world();
  say(other);
  rib.announce(lost, Int32Array.of(1 << 24), 8, rib.paths.attributes[0]!, 1, 0);
  rib.removals.begin(lost, 0);
  assert.deepEqual([rib.pathCount[lost], rib.removals.waiting], [0, false]);
});
