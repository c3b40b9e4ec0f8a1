import assert from 'node:assert/strict';
import { test } from 'node:test';
import { editDistance, nearest } from './nearest.ts';

test('edit distance counts insertions, deletions, replacements and swaps', () => {
  assert.equal(editDistance('ingress', 'ingress'), 0);
  assert.equal(editDistance('ingres', 'ingress'), 1);
  assert.equal(editDistance('ingrses', 'ingress'), 1);
  assert.equal(editDistance('', 'abc'), 3);
  assert.equal(editDistance('kitten', 'sitting'), 3);
});

test('nearest names what was meant and stays silent when nothing is close', () => {
  assert.equal(nearest('nodename', ['nodeName', 'nodeSelector']), 'nodeName');
  assert.equal(nearest('podSelecter', ['policyTypes', 'podSelector']), 'podSelector');
  assert.equal(nearest('zzz', ['abc', 'def']), undefined);
  assert.equal(nearest('', ['abc']), undefined);
});
