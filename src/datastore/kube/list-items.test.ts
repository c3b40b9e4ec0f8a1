import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ListItems } from './list-items.ts';

function read(list: ListItems, bytes: Buffer, cuts: readonly number[]): unknown[] {
  const out: unknown[] = [];
  const at = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b);
  for (const [index, end] of at.slice(1).entries()) {
    list.push(bytes.subarray(at[index]!, end));
    for (let item = list.next(); item; item = list.next()) {
      out.push(item.type === 'line' ? JSON.parse(item.text) : `oversized ${item.bytes}`);
    }
  }
  return out;
}

test('items come out one by one and the rest at the end, however keys are ordered and bytes are cut', () => {
  // No key is a lone backslash: V8's JSON.parse takes the key `\"` for it when the object before had it.
  const item = fc.dictionary(
    fc.constantFrom('items', 'a', '"', '}'),
    fc.oneof(fc.jsonValue(), fc.constantFrom('\\', '"', ']')),
  );
  const around = fc.dictionary(fc.constantFrom('kind', 'metadata', 'x"items', 'aa', 'z{'), fc.jsonValue());
  fc.assert(
    fc.property(
      fc.array(item),
      around,
      around,
      fc.array(fc.nat()),
      fc.boolean(),
      (items, before, after, cuts, wide) => {
        const bytes = Buffer.from(JSON.stringify({ ...before, items, ...after }, null, wide ? 1 : 0));
        const list = new ListItems();
        assert.deepEqual(read(list, bytes, cuts), JSON.parse(JSON.stringify(items)));
        assert.deepEqual(JSON.parse(list.envelope()), JSON.parse(JSON.stringify({ ...before, items: [], ...after })));
      },
    ),
  );
});

test('an item over the limit is reported and the next one comes out; null for items is none', () => {
  const text = JSON.stringify({ items: [{ a: 1 }, { name: 'x'.repeat(50) }, { b: 2 }], metadata: { items: [{}] } });
  const list = new ListItems({ itemBytesMax: 20 });
  assert.deepEqual(read(list, Buffer.from(text), [30, 40]), [{ a: 1 }, 'oversized 61', { b: 2 }]);
  assert.deepEqual(JSON.parse(list.envelope()), { items: [], metadata: { items: [{}] } });
  assert.deepEqual(read(new ListItems(), Buffer.from('{"items":null,"x":[{"y":[{}]}]}'), []), []);
});
