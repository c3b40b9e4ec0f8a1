import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '#kit';
import { LegacyLock } from './lock.ts';

test('a lock file that cannot be opened is named, with what it has to be; the next one who wants it tries anew', async () => {
  let broken = true;
  const take = (file: string) => {
    if (broken) throw new Error(`open: EROFS (${file})`);
    return { descriptor: 7, ownFile: `${file}.7`, release: () => undefined };
  };
  const lock = new LegacyLock({ take, clock: new FakeClock() }, '/run/xtables.lock');
  await assert.rejects(
    lock.during(async () => assert.fail('not held')),
    /can't open lock file \/run\/xtables\.lock: open: EROFS .*has to be the node's own, and writable/,
  );
  broken = false;
  assert.deepEqual(await lock.during(async (held) => held), {
    env: { XTABLES_LOCKFILE: '/run/xtables.lock.7' },
    inherit: [7],
  });
});
