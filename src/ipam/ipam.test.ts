import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Cidr, FakeClock, type IpAddress } from '#kit';
import { ADDRESS_REST_MS, createIpam, IpamError } from './ipam.ts';

const cidrs = (...texts: string[]): Cidr[] => texts as Cidr[];

function make(...pools: string[]) {
  const clock = new FakeClock();
  const ipam = createIpam({ clock });
  ipam.setPools(cidrs(...pools));
  return { clock, ipam };
}

test('addresses come in order, without network, broadcast and anycast address, one of each family', () => {
  const { ipam } = make('10.1.0.0/29', 'fd00:1::/64');
  const all = Array.from({ length: 6 }, (_, i) => ipam.allocate(`c${i}`));
  assert.deepEqual(all[0], ['10.1.0.1', 'fd00:1::1']);
  assert.deepEqual(all[5], ['10.1.0.6', 'fd00:1::6']);
  assert.throws(
    () => ipam.allocate('c6'),
    (error: unknown) =>
      error instanceof IpamError &&
      error.failure.code === 'POOL_EXHAUSTED' &&
      error.failure.pool === '10.1.0.0/29' &&
      error.failure.size === 6 &&
      /10\.1\.0\.0\/29 is exhausted: all 6 addresses/.test(error.message),
  );
  // The other family got nothing of the failed one.
  assert.deepEqual(ipam.usage()[1], { cidr: 'fd00:1::/64', size: 2 ** 32 - 1, used: 6, resting: 0 });
});

test('the smallest prefixes give every address they have', () => {
  for (const [pool, expected] of [
    ['10.1.0.4/32', ['10.1.0.4']],
    ['10.1.0.4/31', ['10.1.0.4', '10.1.0.5']],
    ['10.1.0.4/30', ['10.1.0.5', '10.1.0.6']],
    ['fd00::4/128', ['fd00::4']],
    ['fd00::4/126', ['fd00::5', 'fd00::6', 'fd00::7']],
  ] as const) {
    const { ipam } = make(pool);
    const got = expected.map((_, i) => ipam.allocate(`c${i}`)[0]);
    assert.deepEqual(got, expected);
    assert.throws(() => ipam.allocate('more'), IpamError);
  }
});

test('a node without podCIDR says so, and allocates once it has one', () => {
  const ipam = createIpam({ clock: new FakeClock() });
  assert.throws(
    () => ipam.allocate('c'),
    (error: unknown) => error instanceof IpamError && error.code === 'NO_POOL',
  );
  ipam.setPools(cidrs('10.1.0.0/24'));
  assert.deepEqual(ipam.allocate('c'), ['10.1.0.1']);
});

test('a freed address rests, and is given early only when nothing else is left, longest rest first', () => {
  const { clock, ipam } = make('10.1.0.0/29');
  for (let i = 1; i <= 5; i++) ipam.allocate(`c${i}`);
  ipam.release('c2');
  clock.advance(1000);
  ipam.release('c1');
  assert.deepEqual(ipam.allocate('new1'), ['10.1.0.6']);
  assert.deepEqual(ipam.allocate('new2'), ['10.1.0.2']);
  assert.deepEqual(ipam.usage()[0], { cidr: '10.1.0.0/29', size: 6, used: 5 + 1 - 2 + 1, resting: 1 });
  clock.advance(ADDRESS_REST_MS);
  assert.equal(ipam.usage()[0]?.resting, 0);
});

test('an address of which a Pod object still speaks comes last of those that do not rest', () => {
  const clock = new FakeClock();
  const spoken = new Set<string>(['10.1.0.1', '10.1.0.2']);
  const ipam = createIpam({ clock, spokenOf: (address) => spoken.has(address) });
  ipam.setPools(cidrs('10.1.0.0/29'));
  assert.deepEqual(ipam.allocate('a'), ['10.1.0.3']);
  spoken.delete('10.1.0.1');
  for (const name of ['b', 'c', 'd']) ipam.allocate(name);
  assert.deepEqual(ipam.allocate('e'), ['10.1.0.1']);
  ipam.release('e');
  assert.deepEqual(ipam.allocate('f'), ['10.1.0.2'], 'rather than one at rest');
});

test('a change of pools keeps owners, and a pool that comes back knows what is in use and at rest', () => {
  const { ipam } = make('10.1.0.0/29');
  ipam.allocate('a');
  ipam.allocate('b');
  ipam.release('b');
  ipam.setPools(cidrs('10.2.0.0/29'));
  assert.deepEqual(ipam.allocate('c'), ['10.2.0.1']);
  ipam.setPools(cidrs('10.1.0.0/29'));
  assert.deepEqual(ipam.allocate('d'), ['10.1.0.3']);
  assert.deepEqual(ipam.addressesOf('a'), ['10.1.0.1']);
  assert.throws(() => ipam.setPools(cidrs('10.1.0.0/24', '10.2.0.0/24')), /one of each family/);
});

test('an address adopted by two owners stays with the first and is reported', () => {
  const { ipam } = make('10.1.0.0/29');
  assert.deepEqual(ipam.adopt('a', ['10.1.0.1' as IpAddress]), []);
  assert.deepEqual(ipam.adopt('b', ['10.1.0.1' as IpAddress, '10.1.0.2' as IpAddress]), ['10.1.0.1']);
  ipam.release('b');
  assert.deepEqual(ipam.addressesOf('a'), ['10.1.0.1']);
  assert.equal(ipam.usage()[0]?.used, 1);
});

test('against a naive model: never an address twice, none lost, rest kept, over random use and restarts', () => {
  const owner = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g');
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ op: fc.constant('add' as const), owner }) },
    { weight: 4, arbitrary: fc.record({ op: fc.constant('del' as const), owner }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('restart' as const), owner }) },
    {
      weight: 2,
      arbitrary: fc.record({ op: fc.constant('wait' as const), owner, ms: fc.constantFrom(500, 7_000, 20_000) }),
    },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const clock = new FakeClock();
      let ipam = createIpam({ clock });
      ipam.setPools(cidrs('10.1.0.0/29', 'fd00::/125'));
      const held = new Map<string, readonly string[]>();
      const freedAt = new Map<string, number>();
      for (const s of steps) {
        if (s.op === 'wait') clock.advance(s.ms);
        else if (s.op === 'del') {
          for (const address of held.get(s.owner) ?? []) freedAt.set(address, clock.nowMs());
          held.delete(s.owner);
          ipam.release(s.owner);
        } else if (s.op === 'restart') {
          ipam = createIpam({ clock });
          ipam.setPools(cidrs('10.1.0.0/29', 'fd00::/125'));
          for (const [name, addresses] of held) assert.deepEqual(ipam.adopt(name, addresses as IpAddress[]), []);
          for (const [address, at] of [...freedAt].sort((a, b) => a[1] - b[1])) {
            const left = at + ADDRESS_REST_MS - clock.nowMs();
            if (left > 0) ipam.rest([address as IpAddress], left);
          }
        } else if (!held.has(s.owner)) {
          const inUse = new Set([...held.values()].flat());
          if (held.size === 6) {
            assert.throws(() => ipam.allocate(s.owner), IpamError);
            continue;
          }
          const got = ipam.allocate(s.owner);
          assert.equal(got.length, 2);
          for (const address of got) {
            assert.ok(!inUse.has(address), `${address} given twice`);
            const family = address.includes(':');
            const rested = (a: string): boolean => clock.nowMs() - (freedAt.get(a) ?? -Infinity) >= ADDRESS_REST_MS;
            const prefix = family ? 'fd00::' : '10.1.0.';
            const candidates = Array.from({ length: family ? 7 : 6 }, (_, i) => `${prefix}${i + 1}`).filter(
              (a) => !inUse.has(a),
            );
            if (!rested(address)) assert.ok(!candidates.some(rested), `${address} had not rested though another had`);
            freedAt.delete(address);
          }
          held.set(s.owner, got);
        }
        assert.equal(ipam.usage()[0]?.used, held.size);
      }
    }),
  );
});
