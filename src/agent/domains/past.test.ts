import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, type IpAddress } from '#kit';
import { PastAddresses } from './past.ts';

const ip = (n: number): IpAddress => `192.0.2.${n}` as IpAddress;

test('what a set held is known after a start; the file is written once for many changes, and bounded', () => {
  const clock = new FakeClock();
  let text: string | undefined;
  let writes = 0;
  const file = {
    read: () => text,
    write: (next: string) => {
      text = next;
      writes++;
    },
  };
  const past = new PastAddresses({ clock, file, addressesMax: 3 });
  for (const n of [1, 2, 1, 3, 4]) past.add('domains:a.b', [ip(n)]);
  clock.advance(4_000);
  assert.equal(writes, 0);
  clock.advance(2_000);
  assert.equal(writes, 1);
  const held = (of: PastAddresses) => [1, 2, 3, 4].filter((n) => of.has('domains:a.b', ip(n)));
  assert.deepEqual(held(past), [1, 3, 4], 'the one that was learnt longest ago made room');
  assert.equal(past.has('domains:c.d', ip(1)), false);
  past.add('domains:a.b', [ip(1)]);
  past.save();
  past.save();
  assert.equal(writes, 2);
  assert.deepEqual(held(new PastAddresses({ clock, file, addressesMax: 3 })), [1, 3, 4]);
  assert.deepEqual(held(new PastAddresses({ clock, file, addressesMax: 2 })), [1, 4]);
});
