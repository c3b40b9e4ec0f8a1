import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AfterReads } from './after-reads.ts';

function setUp(): { readonly after: AfterReads; readonly done: string[]; readonly runLater: () => void } {
  const later: (() => void)[] = [];
  const after = new AfterReads((fn) => void later.push(fn));
  return {
    after,
    done: [],
    /** A turn of the event loop. */
    runLater: () => {
      for (const fn of later.splice(0)) fn();
    },
  };
}

test('what a read leaves that brought little is done at its end, not within it', () => {
  const { after, done, runLater } = setUp();
  after.begin();
  after.defer(() => done.push('first'));
  after.defer(() => done.push('second'));
  assert.deepEqual(done, []);
  after.end(true);
  assert.deepEqual(done, ['first', 'second']);
  runLater();
  assert.deepEqual(done, ['first', 'second']);
});

test('what another read leaves, or no read, waits until all that is readable was asked', () => {
  const { after, done, runLater } = setUp();
  after.begin();
  after.defer(() => done.push('read'));
  after.end(false);
  after.defer(() => done.push('no read'));
  assert.deepEqual(done, []);
  runLater();
  assert.deepEqual(done, ['read', 'no read']);
});

test('what is done at the end of a read, and is not finished, goes on in the next turn', () => {
  const { after, done, runLater } = setUp();
  const slice = (left: number): void => {
    done.push(`${left} left`);
    if (left > 0) after.defer(() => slice(left - 1));
  };
  after.begin();
  after.defer(() => slice(2));
  after.end(true);
  assert.deepEqual(done, ['2 left']);
  runLater();
  assert.deepEqual(done, ['2 left'], 'it had its slice of this turn');
  runLater();
  assert.deepEqual(done, ['2 left', '1 left']);
  runLater();
  assert.deepEqual(done, ['2 left', '1 left', '0 left']);
});

test('what nobody waits for is done once there was nothing more to read', () => {
  const { after, done, runLater } = setUp();
  const told = (what: string) => (): void => {
    done.push(what);
    after.afterwards(() => done.push(`rest of ${what}`));
  };
  for (const what of ['first', 'second']) {
    after.begin();
    after.defer(told(what));
    after.end(true);
  }
  assert.deepEqual(done, ['first', 'second']);
  after.noMore();
  after.noMore();
  assert.deepEqual(done.splice(0), ['first', 'second', 'rest of first', 'rest of second']);

  after.begin();
  after.defer(told('a burst'));
  after.end(false);
  runLater();
  assert.deepEqual(done, ['a burst', 'rest of a burst'], 'at once, where reads are not waited for');
});

test('what is left of it goes on in the next turn', () => {
  const { after, done, runLater } = setUp();
  after.begin();
  after.defer(() => after.afterwards(() => after.defer(() => done.push('more'))));
  after.end(true);
  after.noMore();
  runLater();
  assert.deepEqual(done, [], 'it had its slice of this turn');
  runLater();
  assert.deepEqual(done, ['more']);
});
