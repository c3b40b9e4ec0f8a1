import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EAGAIN } from './constants.ts';
import { socketPair } from './fd.ts';
import { PinnedBytes } from './pinned.ts';
import { receivePinned, sendPinned } from './tcp-stream.ts';

test('what is given by its address comes and goes, in the same place after collections', () => {
  const [here, there] = socketPair();
  const from = new PinnedBytes(65);
  const into = new PinnedBytes(1 << 16);
  assert.equal(receivePinned(here.number, into, 10), -EAGAIN);
  for (let n = 0; n < 2000; n++) {
    from.bytes.fill(n & 255);
    assert.equal(sendPinned(there.number, from, 3), 3);
    assert.equal(receivePinned(here.number, into, 10), 3);
    assert.deepEqual([...into.bytes.subarray(0, 3)], [n & 255, n & 255, n & 255]);
    into.bytes.fill(0, 0, 3);
    // Garbage for the collector: both move nowhere.
    Array.from({ length: 1000 }, () => ({}));
  }
  there.close();
  assert.equal(receivePinned(here.number, into, 10), 0);
  here.close();
});

test('what the engine would move has no address', () => {
  assert.throws(() => new PinnedBytes(64), /64 octets/);
});
