import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PassingMember } from '#felix';
import { FakeClock, type IpAddress } from '#kit';
import { DomainSets, type DomainSetsOptions } from './domain-sets.ts';
import { PastAddresses } from './past.ts';

const times = { minTtlSec: 1, extraTtlSec: 0 };

function fake(options: DomainSetsOptions = {}, before: Readonly<Record<string, readonly PassingMember[]>> = {}) {
  const clock = new FakeClock();
  const kernel: string[] = [];
  const changes: string[] = [];
  let full = 0;
  const past = new PastAddresses({ clock, file: { read: () => undefined, write: () => undefined } });
  const sets = new DomainSets(
    {
      clock,
      learn: (set, members) => {
        for (const { address, timeoutSec, comment } of members)
          kernel.push(`${set} ${address} ${timeoutSec} ${comment}`);
      },
      before: (set) => before[set] ?? [],
      onChange: (set, { added, removed }) => {
        changes.push(`${set}${added.map((a) => ` +${a}`).join('')}${removed.map((a) => ` -${a}`).join('')}`);
      },
      onFull: () => full++,
      past,
    },
    options,
  );
  const learn = (name: string, address: string, ttlSec: number, given = times): void =>
    sets.learn([{ name, address: address as IpAddress, ttlSec }], given);
  return { clock, sets, learn, kernel, changes, full: () => full };
}

test('an address is in every set whose names it has, in the kernel first, and over with its time', () => {
  const { clock, sets, learn, kernel, changes } = fake();
  sets.addSet('x', ['*.example.com']);
  sets.addSet('y', ['www.example.com', 'other.org']);
  learn('www.example.com', '192.0.2.1', 30);
  learn('elsewhere.org', '192.0.2.2', 30);
  assert.deepEqual(kernel.sort(), ['x 192.0.2.1 30 www.example.com', 'y 192.0.2.1 30 www.example.com']);
  assert.deepEqual(changes.splice(0).sort(), ['x +192.0.2.1', 'y +192.0.2.1']);
  clock.advance(10_000);
  assert.deepEqual(sets.learnt('x', '192.0.2.1' as IpAddress), { name: 'www.example.com', leftSec: 20 });
  assert.deepEqual(sets.lifeOf('x', '192.0.2.1'), { timeoutSec: 20, comment: 'www.example.com' });
  clock.advance(19_000);
  assert.deepEqual(changes, []);
  clock.advance(3_000);
  assert.deepEqual(changes.sort(), ['x -192.0.2.1', 'y -192.0.2.1']);
  assert.equal(sets.learnt('x', '192.0.2.1' as IpAddress), undefined);
  assert.equal(sets.wasLearnt('x', '192.0.2.1' as IpAddress), true, 'flows go on');
  assert.equal(sets.wasLearnt('x', '192.0.2.2' as IpAddress), false);
  assert.equal(sets.addressCount, 0);
});

test('a set that is told again keeps what it has, without what is over', () => {
  const { clock, sets, learn } = fake();
  assert.deepEqual(sets.addSet('x', ['*.example.com']), []);
  learn('a.example.com', '192.0.2.1', 2);
  learn('b.example.com', '192.0.2.2', 30);
  assert.deepEqual(sets.addSet('x', ['*.example.com']), ['192.0.2.1', '192.0.2.2']);
  clock.advance(2_000);
  assert.deepEqual(sets.addSet('x', ['*.example.com']), ['192.0.2.2']);
  assert.equal(sets.learnt('x', '192.0.2.2' as IpAddress)?.leftSec, 28);
  assert.equal(sets.addressCount, 1);
});

test('a later answer gives more time, never less; the name that lasts longest is told', () => {
  const { clock, sets, learn, kernel, changes } = fake();
  sets.addSet('x', ['*.example.com']);
  learn('a.example.com', '192.0.2.1', 30);
  learn('b.example.com', '192.0.2.1', 5);
  assert.equal(kernel.length, 1, 'nothing to say');
  clock.advance(20_000);
  learn('b.example.com', '192.0.2.1', 30);
  assert.deepEqual(kernel.slice(1), ['x 192.0.2.1 30 b.example.com']);
  clock.advance(25_000);
  assert.deepEqual(changes, ['x +192.0.2.1']);
  clock.advance(7_000);
  assert.deepEqual(changes.slice(1), ['x -192.0.2.1']);
});

test('how long: at least, longer, and never more than a day', () => {
  const { sets, learn, kernel } = fake();
  sets.addSet('x', ['a.b']);
  learn('a.b', '192.0.2.1', 0, { minTtlSec: 10, extraTtlSec: 0 });
  learn('a.b', '192.0.2.2', 30, { minTtlSec: 10, extraTtlSec: 5 });
  learn('a.b', '192.0.2.3', 0x7fffffff, { minTtlSec: 10, extraTtlSec: 5 });
  assert.deepEqual(
    kernel.map((line) => line.split(' ')[2]),
    ['10', '35', '86400'],
  );
});

test('a set that comes later has what others know of its names, and what an earlier agent left', () => {
  const { clock, sets, learn, changes } = fake(
    {},
    { y: [{ address: '192.0.2.7', timeoutSec: 9, comment: 'z.example.com' }] },
  );
  sets.addSet('x', ['*.example.com']);
  learn('www.example.com', '192.0.2.1', 30);
  learn('api.example.com', '192.0.2.2', 30);
  assert.deepEqual(sets.addSet('y', ['www.example.com']), ['192.0.2.7', '192.0.2.1']);
  changes.splice(0);
  clock.advance(11_000);
  assert.deepEqual(changes, ['y -192.0.2.7']);
  sets.removeSet('x');
  assert.equal(sets.addressCount, 1);
  learn('api.example.com', '192.0.2.3', 30);
  assert.deepEqual(changes, ['y -192.0.2.7']);
  sets.removeSet('y');
  assert.equal(sets.isWanted, false);
  clock.advance(60_000);
  assert.equal(sets.addressCount, 0);
});

test('bounded: a full set learns nothing more until something is over', () => {
  const { clock, sets, learn, kernel, full } = fake({ addressesMax: 2, addressesTotalMax: 3 });
  sets.addSet('x', ['a.b']);
  sets.addSet('y', ['c.d']);
  for (const n of [1, 2, 3]) learn('a.b', `192.0.2.${n}`, 10);
  assert.equal(full(), 1);
  learn('a.b', '192.0.2.1', 20);
  for (const n of [4, 5]) learn('c.d', `192.0.2.${n}`, 20);
  assert.equal(full(), 2, 'of all sets together');
  assert.equal(kernel.length, 4);
  clock.advance(12_000);
  learn('a.b', '192.0.2.3', 20);
  assert.equal(sets.addressCount, 3);
});

test('a long pause costs nothing', () => {
  const { clock, sets, learn, changes } = fake();
  sets.addSet('x', ['a.b']);
  learn('a.b', '192.0.2.1', 2);
  clock.advance(5_000);
  clock.advance(1e12);
  learn('a.b', '192.0.2.1', 2);
  clock.advance(5_000);
  assert.deepEqual(changes, ['x +192.0.2.1', 'x -192.0.2.1', 'x +192.0.2.1', 'x -192.0.2.1']);
});
