/**
 * What the RIB costs, single-threaded, without sockets: PREFIXES (default 1,000,000) IPv4 prefixes from PEERS (default 3) peers with the
 * same attribute sets, 4.5 prefixes each, decided and put into one Adj-RIB-Out after each peer; then the loss of the best one. Prints
 * one JSON object: CPU seconds of user code, and the growth of resident memory in MiB after each peer.
 */
import assert from 'node:assert/strict';
import { rib as tables, wire } from '#bgp';

const prefixes = Number(process.env['PREFIXES'] ?? 1_000_000);
const peerCount = Number(process.env['PEERS'] ?? 3);

const attributes = new tables.AttributePool();
const nextHops = new tables.NextHopPool();
const peers = new tables.PeerTable();
const rib = new tables.Rib(4, { attributes, nextHops, hopSets: new tables.NextHopSetPool(), peers });
const group = new tables.UpdateGroup(rib, {
  ebgp: true,
  export: 'accept',
  asn4: true,
  localAsn: 64512,
  nextHopSelf: Uint8Array.of(10, 0, 0, 9),
});
let written = 0;
const write = (_bytes: Uint8Array, length: number): void => {
  written += length;
};
group.join(60_000, { write, writable: true }, true);

function residentMib(): number {
  global.gc?.();
  return process.memoryUsage().rss / 1_048_576;
}

const changed = new tables.IntStack();
function settle(): void {
  while (rib.dirtyCount > 0) {
    changed.clear();
    rib.decide(10_000, false, changed);
    group.apply(changed, 0, changed.length);
    for (let i = 0; i < changed.length; i++) rib.settle(changed.items[i]!);
  }
}

/** One path of every prefix. Sets are told apart by their last community, as the Internet's are by something. */
function announce(row: number): void {
  const words = new Int32Array(1);
  const values = wire.emptyAttributeValues();
  let set = -1;
  for (let i = 0; i < prefixes; i++) {
    if (i % 9 === 0 || i % 9 === 4) {
      if (set >= 0) attributes.drop(set);
      const bytes = wire.originatedAttributes({
        communities: Array.from({ length: 12 }, (_, k) => (k === 0 ? i : 4_000_000_000 + k)),
      });
      wire.readCanonical(bytes, 0, bytes.length, 0, 0, values);
      set = attributes.intern(bytes, values);
    }
    words[0] = 0x0100_0000 + (i << 8);
    rib.announce(row, words, 24, set, row, 0);
    if (i % 10_000 === 9_999) settle();
  }
  settle();
}

const result: { peer: number; seconds: number; grownMib: number }[] = [];
for (let n = 1; n <= peerCount; n++) {
  const row = peers.make();
  peers.ebgp[row] = 1;
  peers.routerId[row] = n;
  peers.addressOrder[row] = n;
  nextHops.intern(`${n}`, Uint8Array.of(10, 0, 0, n), 0, 4);
  const before = residentMib();
  const start = process.cpuUsage();
  announce(row);
  const seconds = process.cpuUsage(start).user / 1e6;
  result.push({ peer: n, seconds: Number(seconds.toFixed(3)), grownMib: Math.round(residentMib() - before) });
}
const start = process.cpuUsage();
rib.removals.begin(1, 0);
while (rib.removals.waiting) rib.removals.step();
const removedMs = process.cpuUsage(start).user / 1000;
settle();
const seconds = process.cpuUsage(start).user / 1e6;
assert.equal(rib.routeCount, peerCount > 1 ? prefixes : 0);
assert.ok(written > 0);
console.log(
  JSON.stringify({
    bench: 'bgp-rib',
    prefixes,
    peers: result,
    lossOfBest: { seconds: Number(seconds.toFixed(3)), removalSeconds: Number((removedMs / 1000).toFixed(3)) },
  }),
);
