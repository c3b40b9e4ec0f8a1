import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ColumnGrowth } from './arrays.ts';

/** Columns that only know how many rows they have. */
function columns(count: number, rows: number) {
  const rooms = new Array<number>(count).fill(rows);
  const grown: number[] = [];
  const growth = new ColumnGrowth(
    rows,
    rooms.map((_, column) => (room) => {
      rooms[column] = room;
      grown.push(column);
    }),
  );
  return { rooms, grown, growth };
}

test('columns: every row that is used has room in all of them, whatever row is used when', () => {
  const start = fc.constantFrom(0, 16, 256);
  const rows = fc.array(fc.oneof(fc.nat(600), fc.nat(200_000)), { maxLength: 30 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), start, rows, (count, first, used) => {
      const { rooms, growth } = columns(count, first);
      for (const row of used) {
        if (row >= growth.due) growth.makeRoom(row);
        assert.ok(Math.min(...rooms) > row, `row ${row} of ${rooms.join(' ')}`);
      }
    }),
  );
});

test('columns: those of a table that fills row by row get more room one after the other, with many rows between', () => {
  const { rooms, grown, growth } = columns(8, 256);
  let lastRow = 0;
  for (let row = 0; row < 5_000_000; row++) {
    if (row < growth.due) continue;
    const before = rooms.slice();
    growth.makeRoom(row);
    const copied = rooms.filter((room, column) => room !== before[column]).length;
    assert.equal(copied, 1, `row ${row}: ${copied} columns at once`);
    // A quarter of what they had is shared out among them, and the first of the next round comes later still.
    assert.ok(row - lastRow >= Math.floor(Math.min(...before) / 4 / 8), `rows ${lastRow} and ${row}`);
    lastRow = row;
  }
  assert.deepEqual(new Set(grown), new Set(rooms.keys()));
  assert.ok(Math.min(...rooms) >= 5_000_000);
});
