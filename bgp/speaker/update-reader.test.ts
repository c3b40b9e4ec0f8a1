import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compileFilter, type FilterTerm } from '../filter/index.ts';
import { AttributePool, FilteredSets, NextHopPool, NextHopSetPool, PeerTable, Rib } from '../rib/index.ts';
import { describeAttributes } from '../wire/index.ts';
import { attribute, origin, sequence, u32, update } from '../wire/test-messages.ts';
import { RepeatedAttributes, repeatedBytesMax } from './repeated-attributes.ts';
import { UpdateReader, type UpdateSource, updateCounters } from './update-reader.ts';

const peerAsn = 65001;

const nlri = (prefixes: readonly number[]): number[] => prefixes.flatMap((n) => [24, 10, 1, n]);

/** @param more octets of a private attribute, to make it long. */
function announcement(med: number, hop: number, prefixes: readonly number[], more = 0): Uint8Array {
  const attributes = [
    origin,
    attribute(0x40, 2, sequence(peerAsn)),
    attribute(0x40, 3, [10, 0, 0, hop]),
    attribute(0x80, 4, u32(med)),
  ];
  if (more > 0)
    attributes.push(
      attribute(
        0xc0,
        99,
        Array.from({ length: more }, (_, i) => i),
      ),
    );
  return update({ attributes, nlri: nlri(prefixes) });
}
const withdrawal = (prefixes: readonly number[]): Uint8Array => update({ withdrawn: nlri(prefixes) });
/** With an attribute that means nothing there: it has to be decoded. */
const withdrawalAndMore = (prefixes: readonly number[]): Uint8Array =>
  update({ withdrawn: nlri(prefixes), attributes: [origin] });

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
  table.say(table.source(), announcement(7, 2, [1]));
  // The policy has changed, and what was there has not been judged again yet.
  table.say(table.source([reject(1), { action: 'accept' }]), announcement(7, 2, [1, 2]));
  table.say(table.source(), announcement(8, 2, [3]));
  assert.deepEqual(table.paths(), { 2: '7, 10.0.0.2', 3: '8, 10.0.0.2' });
});

const stepArbitrary = fc.record({
  withdrawn: fc.constantFrom(true, false, false),
  prefixes: fc.array(fc.nat(5), { minLength: 1, maxLength: 3 }),
  med: fc.nat(1),
  hop: fc.constantFrom(2, 3),
  more: fc.constantFrom(...new Array<number>(12).fill(0), ...[-1, 0, 1, 2].map((over) => repeatedBytesMax - 31 + over)),
  hopsChange: fc.constantFrom(true, ...new Array<boolean>(9).fill(false)),
  at: fc.nat(50),
});

test('attributes that come again, and withdrawals alone, lead to what they lead to when they are decoded', () => {
  let known = 0;
  const property = fc.property(
    fc.option(fc.nat(3), { nil: undefined }),
    fc.array(stepArbitrary, { minLength: 40, maxLength: 40 }),
    (rejected, steps) => {
      // The one forgets before each UPDATE.
      const [one, other] = [new Table(), new Table()];
      const filter = rejected === undefined ? undefined : [reject(rejected), { action: 'accept' } as const];
      const sources = [one.source(filter), other.source(filter)] as const;
      for (const { withdrawn, prefixes, med, hop, more, hopsChange, at } of steps) {
        const message = withdrawn ? withdrawal(prefixes) : announcement(med, hop, prefixes, more);
        for (const table of hopsChange ? [one, other] : []) {
          table.ownAddresses = new Set(table.ownAddresses.size > 0 ? [] : ['10.0.0.2']);
          table.reader.forgetNextHop();
        }
        const decoding = { ...sources[0], repeated: new RepeatedAttributes() };
        one.say(decoding, withdrawn ? withdrawalAndMore(prefixes) : message, at);
        const decoded = decodings(other, () => other.say(sources[1], message, at));
        if (decoded === 0 && !withdrawn) known++;
        assert.deepEqual(other.paths(), one.paths());
        assert.deepEqual(other.counters, one.counters);
        assert.equal(other.pool.size, one.pool.size);
      }
    },
  );
  fc.assert(property, { seed: 1, numRuns: 300 });
  assert.ok(known > 500, `${known} known`);
});

test('withdrawals alone: of many prefixes in any order, of some that are not there, and of a peer with whom IPv4 was not negotiated', () => {
  const table = new Table();
  const source = table.source();
  const some = [9, 3, 7, 1, 8, 2, 6];
  table.say(source, announcement(7, 2, some));
  table.say({ ...source, context: { ...source.context, ipv4: false } }, withdrawal([9]));
  assert.equal(Object.keys(table.paths()).length, some.length);
  table.say(source, withdrawal([1, 2, 3, 4, 5, 6, 7]));
  assert.deepEqual(table.paths(), { 8: '7, 10.0.0.2', 9: '7, 10.0.0.2' });
  assert.deepEqual([table.counters.duplicateWithdrawals, table.counters.duplicateUpdates], [2, 0]);
  table.say(source, withdrawal([4, 5]));
  assert.deepEqual([table.counters.duplicateWithdrawals, table.counters.duplicateUpdates], [4, 1]);
});

test('RFC 7606 3j: withdrawals alone that cannot be told from one another end the session, and none of them counts', () => {
  // More bits than an address has; an octet more than there is.
  for (const bits of [33, 25]) {
    const table = new Table();
    const source = table.source();
    table.say(source, announcement(7, 2, [1, 2]));
    const message = withdrawal([1, 2]);
    message[message.length - 6] = bits;
    const error = table.reader.apply(source, message, 0, message.length);
    assert.deepEqual([error?.code, Object.keys(table.paths())], [3, ['1', '2']]);
  }
});

test('RFC 4271 6.3: lengths that do not fit the same octets are refused as they are without them', () => {
  for (const lengthAt of [20, 22]) {
    const [table, message] = [new Table(), announcement(7, 2, [1])];
    const source = table.source();
    table.say(source, message);
    // Octets of withdrawn routes; of attributes, now without the last one.
    message[lengthAt] = lengthAt === 20 ? 1 : message[22]! - 7;
    assert.equal(table.reader.apply(source, message, 0, message.length)?.code, 3);
  }
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
