import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AttributePool, NextHopPool, NextHopSetPool, PeerTable, Rib } from '../rib/index.ts';
import { removePeer } from '../rib/test-remove-peer.ts';
import { emptyAttributeValues } from '../wire/index.ts';
import { ReceivedRoutes } from './received-routes.ts';

test('RFC 7911 3: what was kept of a peer with path identifiers is let go of with all else', () => {
  const attributes = new AttributePool();
  const peers = new PeerTable();
  const row = peers.make();
  const nextHops = new NextHopPool();
  const tables = { attributes, nextHops, hopSets: new NextHopSetPool(), peers };
  const ribs = [new Rib(4, tables), new Rib(6, tables)];
  const hop = nextHops.intern('hop', Uint8Array.of(10, 0, 0, 2), 0, 4);
  const sets = attributes.size;
  const set = attributes.intern(Uint8Array.of(0x40, 1, 1, 0), emptyAttributeValues());
  const words = Int32Array.of(0x0a000000);
  for (const pathId of [0, 1, 7]) ribs[0]!.announce(row, words, 8, set, hop, pathId);
  attributes.drop(set);
  const received = new ReceivedRoutes(tables);
  received.seed(row, ribs);
  for (const rib of ribs) removePeer(rib, row);
  assert.deepEqual([received.ribs[0].pathCount[row], attributes.size], [3, sets + 1]);
  received.clear();
  assert.deepEqual([received.ribs[0].pathCount[row], attributes.size], [0, sets]);
});

test('what a peer had said goes a slice at a time, and stays where it says it again', () => {
  const peers = new PeerTable();
  const [row, other] = [peers.make(), peers.make()];
  const attributes = new AttributePool();
  const nextHops = new NextHopPool();
  const received = new ReceivedRoutes({ attributes, nextHops, hopSets: new NextHopSetPool(), peers });
  const rib = received.ribs[0];
  const hop = nextHops.intern('hop', Uint8Array.of(10, 0, 0, 2), 0, 4);
  const set = attributes.intern(Uint8Array.of(0x40, 1, 1, 0), emptyAttributeValues());
  const words = new Int32Array(1);
  const say = (peer: number, from: number, to: number): void => {
    for (let n = from; n < to; n++) {
      words[0] = (10 << 24) | (n << 6);
      rib.announce(peer, words, 26, set, hop, 0);
    }
  };
  const many = 120_000;
  for (const peer of [row, other]) say(peer, 0, many);
  received.dropPeer(row);
  assert.ok(rib.pathCount[row]! > 0);
  received.peerUp(row);
  say(row, many - 2, many);
  let slices = 1;
  for (; received.step(); slices++);
  assert.ok(slices > 2, `${slices} slices`);
  assert.deepEqual([rib.pathCount[row], rib.pathCount[other], received.step()], [2, many, false]);
  for (const peer of [row, other]) received.dropPeer(peer);
  while (received.step());
  assert.deepEqual([rib.prefixes.size, attributes.size], [0, 0]);
});
