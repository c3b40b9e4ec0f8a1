import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileFilter, type FilterTerm } from '../filter/index.ts';
import { AttributePool, FilteredSets, NextHopPool, NextHopSetPool, PeerTable, Rib } from '../rib/index.ts';
import { createExportedAttributes, createUpdatePacker, describeAttributes } from '../wire/index.ts';
import { RepeatedAttributes, repeatedBytesMax } from './repeated-attributes.ts';
import { UpdateReader, type UpdateSource, updateCounters } from './update-reader.ts';

const peerAsn = 65001;
const own = '10.0.0.77';

/** ORIGIN, AS_PATH of the peer, MED. @param more octets of a private attribute, to make it long. */
function update(med: number, hop: number, prefixes: readonly number[], more = 0): Uint8Array {
  const attributes = createExportedAttributes();
  const asPath = [0x40, 2, 6, 2, 1, 0, 0, peerAsn >> 8, peerAsn & 255];
  const octets = [0x40, 1, 1, 0, ...asPath, 0x80, 4, 4, 0, 0, 0, med];
  if (more > 0) octets.push(0xc0, 99, more, ...Array.from({ length: more }, (_, i) => i));
  attributes.bytes.set(octets);
  attributes.split = 4 + asPath.length;
  attributes.length = octets.length;
  let message = new Uint8Array(0);
  const packer = createUpdatePacker((chunk) => {
    message = chunk.slice();
  });
  packer.startAnnounce(4, attributes, Uint8Array.of(10, 0, 0, hop));
  for (const n of prefixes) packer.add4(0x0a010000 + (n << 8), 24);
  packer.flush();
  return message;
}
function withdrawal(prefixes: readonly number[]): Uint8Array {
  let message = new Uint8Array(0);
  const packer = createUpdatePacker((chunk) => {
    message = chunk.slice();
  });
  packer.startWithdraw(4);
  for (const n of prefixes) packer.add4(0x0a010000 + (n << 8), 24);
  packer.flush();
  return message;
}

class Table {
  readonly pool = new AttributePool();
  readonly peers = new PeerTable();
  readonly nextHops = new NextHopPool();
  readonly tables = {
    attributes: this.pool,
    nextHops: this.nextHops,
    hopSets: new NextHopSetPool(),
    peers: this.peers,
  };
  readonly rib = new Rib(4, this.tables);
  readonly row = this.peers.make();
  ownAddresses = new Set<string>();
  readonly counters = updateCounters();
  readonly reader = new UpdateReader(this.rib, new Rib(6, this.tables), this.tables, {
    has: (address) => this.ownAddresses.has(address),
  });

  source(filter?: readonly FilterTerm[]): UpdateSource {
    const compiled = compileFilter(filter, 65002);
    this.peers.ebgp[this.row] = 1;
    return {
      row: this.row,
      link: undefined,
      context: { asn4: true, ipv4: true, ipv6: true, ebgp: true, localAsn: 65002, peerAsn, localRouterId: 1 },
      accept: true,
      keeps: false,
      filter4: compiled && new FilteredSets(compiled, this.tables),
      filter6: undefined,
      marks: { gracefulShutdown: false },
      allowedOwnAsns: 0,
      leakRule: undefined,
      repeated: new RepeatedAttributes(),
      counters: this.counters,
      onEndOfRib: () => assert.fail('End-of-RIB'),
      onTolerated: () => assert.fail('tolerated'),
    };
  }
  /** Every octet of a message behind those of another, as it comes. */
  say(source: UpdateSource, message: Uint8Array, at = 0): void {
    const bytes = new Uint8Array(at + message.length);
    bytes.set(message, at);
    assert.equal(this.reader.apply(source, bytes, at, bytes.length), undefined);
  }
  /** `prefix -> MED, next hop`. */
  paths(): Record<string, string> {
    const out: Record<string, string> = {};
    const { prefixes, paths } = this.rib;
    for (let prefix = 0; prefix < prefixes.limit; prefix++) {
      const path = this.rib.firstPath(prefix) - 1;
      if (path < 0) continue;
      const set = paths.attributes[path]!;
      const { med } = describeAttributes(this.pool.bytes(set), this.pool.start(set), this.pool.end(set));
      out[(prefixes.words[prefix]! >> 8) & 255] = `${med}, ${this.nextHops.addresses[paths.nextHop[path]!]}`;
    }
    return out;
  }
}

const reject = (n: number): FilterTerm => ({ action: 'reject', prefix: { operator: 'equal', cidr: `10.1.${n}.0/24` } });

test('a set whose last route goes in the middle of an UPDATE stays what it is for the prefixes behind it', () => {
  const table = new Table();
  table.say(table.source(), update(7, 2, [1]));
  // The policy has changed, and what was there has not been judged again yet.
  table.say(table.source([reject(1), { action: 'accept' }]), update(7, 2, [1, 2]));
  table.say(table.source(), update(8, 2, [3]));
  assert.deepEqual(table.paths(), { 2: '7, 10.0.0.2', 3: '8, 10.0.0.2' });
});

test('attributes that come again lead to what they led to when they were decoded', () => {
  let seed = 1;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return (seed >> 8) % below;
  };
  let known = 0;
  for (let run = 0; run < 200; run++) {
    // The one forgets before each UPDATE.
    const [one, other] = [new Table(), new Table()];
    const filter = run % 2 === 0 ? undefined : [reject(random(4)), { action: 'accept' } as const];
    const sources = [one.source(filter), other.source(filter)] as const;
    for (let step = 0; step < 40; step++) {
      const prefixes = Array.from({ length: 1 + random(3) }, () => random(6));
      const more = random(4) === 0 ? repeatedBytesMax - 24 + random(4) : 0;
      const message = random(3) === 0 ? withdrawal(prefixes) : update(random(2), 2 + random(2), prefixes, more);
      if (random(10) === 0) {
        for (const table of [one, other]) {
          table.ownAddresses = table.ownAddresses.size > 0 ? new Set() : new Set(['10.0.0.2', own]);
          table.reader.forgetNextHop();
        }
      }
      const at = random(50);
      one.say({ ...sources[0], repeated: new RepeatedAttributes() }, message, at);
      const decoded = decodings(other, () => other.say(sources[1], message, at));
      if (decoded === 0 && message[22] !== 0) known++;
      assert.deepEqual(other.paths(), one.paths(), `run ${run}, step ${step}`);
      assert.deepEqual(other.counters, one.counters);
      assert.equal(other.pool.size, one.pool.size);
    }
  }
  assert.ok(known > 500, `${known} known`);
});

/** How often attributes were looked for while `run` ran. */
function decodings({ pool }: Table, run: () => void): number {
  let count = 0;
  const { find } = pool;
  pool.find = (length) => {
    count++;
    return find.call(pool, length);
  };
  run();
  pool.find = find;
  return count;
}
