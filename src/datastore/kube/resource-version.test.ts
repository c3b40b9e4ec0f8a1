import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareResourceVersions } from './resource-version.ts';

test('order of resourceVersions', () => {
  assert.ok(compareResourceVersions('9', '10') < 0);
  assert.ok(compareResourceVersions('11', '10') > 0);
  assert.equal(compareResourceVersions('10', '10'), 0);
});
