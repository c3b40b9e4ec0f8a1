import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyAttributeValues, originatedAttributes } from '../wire/index.ts';
import { AttributePool } from './attribute-pool.ts';

function poolOf() {
  const pool = new AttributePool();
  const retained = (med: number): number => {
    const id = pool.intern(originatedAttributes({ med }), emptyAttributeValues());
    pool.retain(id);
    return id;
  };
  return { pool, retained };
}

test('a set that nobody refers to any more is the same one when it comes back, and is gone once another has no holder either', () => {
  const { pool, retained } = poolOf();
  const first = retained(1);
  for (let flap = 0; flap < 3; flap++) {
    pool.release(first);
    assert.deepEqual([pool.size, pool.freedCount], [0, 0]);
    assert.equal(retained(1), first);
    assert.equal(pool.size, 1);
  }
  pool.release(first);
  pool.release(retained(2));
  assert.deepEqual([pool.size, pool.freedCount], [0, 1]);
  pool.octets.set(originatedAttributes({ med: 1 }));
  assert.equal(pool.find(originatedAttributes({ med: 1 }).length), -1);
});

test('a set that came back stays whatever goes after it', () => {
  const { pool, retained } = poolOf();
  const first = retained(1);
  pool.release(first);
  retained(1);
  for (let med = 2; med < 5; med++) pool.release(retained(med));
  assert.deepEqual([pool.size, pool.freedCount], [1, 2]);
  assert.deepEqual(pool.copy(first), originatedAttributes({ med: 1 }));
});

test('a set that was added and that nobody retained is let go as the others are', () => {
  const { pool, retained } = poolOf();
  const added = pool.intern(originatedAttributes({ med: 1 }), emptyAttributeValues());
  assert.equal(pool.size, 1);
  for (let again = 0; again < 2; again++) pool.drop(added);
  assert.deepEqual([pool.size, pool.freedCount], [0, 0]);
  assert.equal(retained(1), added);
  pool.drop(added);
  assert.deepEqual([pool.size, pool.freedCount], [1, 0]);
});
