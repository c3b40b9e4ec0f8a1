import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AttributePool, NextHopPool, NextHopSetPool, PeerTable, Rib } from '../rib/index.ts';
import {
  addCommunity,
  emptyAttributeValues,
  originatedAttributes,
  readCanonical,
  type UpdateContext,
} from '../wire/index.ts';
import type { PeerConfig } from './config.ts';
import { ImportPolicy, ImportReview } from './import-policy.ts';
import { peer } from './test-network.ts';

const context: UpdateContext = {
  asn4: true,
  ipv4: true,
  ipv6: true,
  ebgp: true,
  localAsn: 65001,
  peerAsn: 65002,
  localRouterId: 1,
};

test('RFC 9494 4.2: a new policy takes LLGR_STALE from no route that is kept, and still rejects what it rejects', () => {
  const tables = {
    attributes: new AttributePool(),
    nextHops: new NextHopPool(),
    hopSets: new NextHopSetPool(),
    peers: new PeerTable(),
  };
  const rib = new Rib(4, tables);
  const add = (bytes: Uint8Array): number => {
    const values = emptyAttributeValues();
    readCanonical(bytes, 0, bytes.length, 0, 0, values);
    return tables.attributes.add(Buffer.from(bytes).toString('latin1'), values);
  };
  const row = tables.peers.make();
  const received = add(originatedAttributes({ med: 1 }));
  const marked = add(addCommunity(originatedAttributes({ med: 1 }), Uint8Array.of(0xff, 0xff, 0, 6))!);
  const hop = tables.nextHops.intern('a', Uint8Array.of(10, 0, 0, 1), 0, 4);
  const path = rib.announce(row, Int32Array.of(0x0a000000), 8, received, hop, 0);
  rib.received.note(path, received, hop);
  rib.markStale(row);
  rib.changeStale(row, () => marked);

  const policy = (more: Partial<PeerConfig>) =>
    new ImportPolicy(peer('10.0.0.2', 65002, { adjRibIn: true, ...more }), context, tables);
  const review = (more: Partial<PeerConfig>): void => {
    assert.equal(new ImportReview(row, policy(more), policy({}), [rib]).run(100), false);
  };
  review({ importFilter: { ipv4: [{ action: 'accept', changes: [{ type: 'setLocalPref', value: 7 }] }], ipv6: [] } });
  assert.deepEqual([rib.paths.attributes[path], rib.rejectedCount[row]], [marked, 0]);
  review({ importFilter: { ipv4: [{ action: 'reject' }], ipv6: [] } });
  assert.deepEqual([rib.paths.attributes[path], rib.rejectedCount[row]], [marked, 1]);
  review({});
  assert.deepEqual([rib.paths.attributes[path], rib.rejectedCount[row], rib.staleCount[row]], [marked, 0, 1]);
});
