import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AttributePool, NextHopPool, NextHopSetPool, PeerTable, Rib } from '../rib/index.ts';
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
  for (const rib of ribs) rib.removePeer(row);
  assert.deepEqual([received.ribs[0].pathCount[row], attributes.size], [3, sets + 1]);
  received.clear();
  assert.deepEqual([received.ribs[0].pathCount[row], attributes.size], [0, sets]);
});
