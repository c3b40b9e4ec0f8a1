import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError } from './errors.ts';
import { takes } from './query.ts';

const rules = {
  limit: { pattern: /^[1-9][0-9]?$/, is: 'a number from 1 to 99' },
  file: { required: true, charsMax: 5, is: 'a path of at most 5 characters' },
};
const wrong = async (query: Readonly<Record<string, unknown>>): Promise<string> => {
  try {
    await takes(rules)({ query });
    return '';
  } catch (error) {
    assert.ok(error instanceof ApiError);
    assert.equal(error.code, 'BAD_REQUEST');
    return error.message;
  }
};

test('each parameter once, as its rule says, and no other', async () => {
  assert.equal(await wrong({ file: '/x' }), '');
  assert.equal(await wrong({ file: '/x', limit: '99' }), '');
  assert.equal(await wrong({ file: '/x', limit: '0' }), 'parameter limit must be a number from 1 to 99');
  assert.equal(await wrong({ file: '/x', limit: ['1', '2'] }), 'parameter limit is given more than once');
  assert.equal(await wrong({ file: '/12345' }), 'parameter file must be a path of at most 5 characters');
  assert.equal(await wrong({ limit: '1' }), 'parameter file must be given: a path of at most 5 characters');
  assert.equal(await wrong({ file: '/x', flie: '/y' }), 'there is no parameter flie');
  assert.equal(await wrong({ file: '/x', toString: '' }), 'there is no parameter toString');
});
