import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dialFailure } from './dial-failure.ts';

test('a failure of connect(2) is said in words, with its code; one that is not known by its code, else by its message', () => {
  const error = (message: string, code?: string): Error => Object.assign(new Error(message), code ? { code } : {});
  assert.match(
    dialFailure(error('connect ECONNREFUSED 10.0.0.2:179', 'ECONNREFUSED')),
    /^connection refused: .*\(ECONNREFUSED\)$/,
  );
  assert.equal(dialFailure(error('connect EPERM', 'EPERM')), 'EPERM');
  assert.equal(dialFailure(error('closed')), 'closed');
});
