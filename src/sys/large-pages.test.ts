import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { zeroesInLargePages } from './large-pages.ts';
import { addressOf } from './libc.ts';

/** VmFlags of the mapping that holds the first element (proc_pid_smaps(5)). */
function flagsOf(array: Int32Array): readonly string[] {
  const address = addressOf(new Uint8Array(array.buffer, array.byteOffset, 1));
  for (const mapping of fs.readFileSync('/proc/self/smaps', 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)) {
    const [, start, end] = /^([0-9a-f]+)-([0-9a-f]+) /.exec(mapping)!;
    if (address < BigInt(`0x${start}`) || address >= BigInt(`0x${end}`)) continue;
    return /^VmFlags: (.*)$/m.exec(mapping)![1]!.split(' ');
  }
  throw new Error('no mapping');
}

test('a table of 2 MiB and more begins at a large page, which the kernel is asked for; a smaller one is as it comes', () => {
  const length = 3 << 19;
  const large = zeroesInLargePages(length);
  assert.equal(large.length, length);
  assert.equal(addressOf(new Uint8Array(large.buffer, large.byteOffset, 1)) % BigInt(2 << 20), 0n);
  assert.ok(large.every((value) => value === 0));
  large.fill(-1);
  if (fs.existsSync('/sys/kernel/mm/transparent_hugepage')) assert.ok(flagsOf(large).includes('hg'));
  const small = zeroesInLargePages((1 << 19) - 1);
  assert.deepEqual([small.length, small.byteOffset, small.buffer.byteLength], [(1 << 19) - 1, 0, small.byteLength]);
});
