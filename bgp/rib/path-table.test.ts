import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { PathTable } from './path-table.ts';

interface Path {
  prefix: number;
  peer: number;
  attributes: number;
  nextHop: number;
  pathId: number;
  flags: number;
}

test('path table: every path keeps its prefix and what was said of it, however many peers and next hops there are', () => {
  const peer = fc.oneof(fc.nat(3), fc.constantFrom(255, 256, 65_534));
  const nextHop = fc.oneof(fc.nat(3), fc.constantFrom(255, 256, 65_535, 65_536, 1_000_000));
  const pathId = fc.constantFrom(0, 0, 7, 0xffff_ffff);
  const come = fc.record({
    prefix: fc.oneof(fc.nat(5), fc.constant(500_000)),
    peer,
    nextHop,
    attributes: fc.nat(),
    pathId,
    count: fc.integer({ min: 1, max: 200 }),
  });
  const change = fc.record({ which: fc.nat(), nextHop, flags: fc.constantFrom(0, 1, 3, 0x80) });
  const go = fc.record({ which: fc.nat(), count: fc.integer({ min: 1, max: 200 }) });
  fc.assert(
    fc.property(fc.array(fc.oneof(come, change, go), { maxLength: 30 }), (steps) => {
      const table = new PathTable();
      const known = new Map<number, Path>();
      /** First row of a prefix plus 1. */
      const first = new Map<number, number>();
      const unlink = (row: number): void => {
        const { prefix } = known.get(row)!;
        const next = table.next[row]!;
        let previous = -1;
        for (let link = first.get(prefix)!; link !== row + 1; link = table.next[link - 1]!) previous = link - 1;
        if (previous < 0) first.set(prefix, Math.max(0, next));
        else table.next[previous] = next;
      };
      let most = 0;
      for (const step of steps) {
        if ('prefix' in step) {
          const { count, ...path } = step;
          for (let i = 0; i < count; i++) {
            const before = first.get(path.prefix) ?? 0;
            const row = table.make(path.prefix, before, path.peer, path.attributes, path.nextHop, path.pathId);
            assert.ok(!known.has(row), 'no row is given twice');
            known.set(row, { ...path, flags: 0 });
            first.set(path.prefix, row + 1);
          }
        } else if (known.size > 0) {
          const rows = [...known.keys()];
          for (let i = 0; i < ('count' in step ? Math.min(step.count, rows.length) : 1); i++) {
            const row = rows[(step.which + i) % rows.length]!;
            if ('flags' in step) {
              Object.assign(known.get(row)!, { nextHop: step.nextHop, flags: step.flags });
              table.setNextHop(row, step.nextHop);
              table.setFlags(row, step.flags);
            } else {
              unlink(row);
              table.free(row);
              known.delete(row);
            }
          }
        }
        most = Math.max(most, known.size);
      }
      assert.equal(table.limit, most, 'rows are given again');
      for (let row = 0; row < table.limit; row++) {
        const path = known.get(row);
        assert.equal(table.isPath(row), path !== undefined);
        if (!path) continue;
        const held = {
          prefix: table.prefixOf(row),
          peer: table.peer[row],
          attributes: table.attributes[row],
          nextHop: table.nextHop[row],
          pathId: table.pathId(row),
          flags: table.flags(row),
        };
        assert.deepEqual(held, path);
      }
      for (const [prefix, link] of first) {
        let count = 0;
        for (let at = link; at > 0; at = table.next[at - 1]!) count++;
        assert.equal(count, [...known.values()].filter((path) => path.prefix === prefix).length);
      }
    }),
    { numRuns: 300 },
  );
});

test('path table: rows that became free are given again in that order', () => {
  const table = new PathTable();
  for (let row = 0; row < 6; row++) table.make(row, 0, 1, 0, 0, 0);
  for (const row of [1, 2, 3, 5]) table.free(row);
  const given = [9, 9, 9, 9, 9].map((prefix) => table.make(prefix, 0, 1, 0, 0, 0));
  assert.deepEqual(given, [1, 2, 3, 5, 6]);
});
