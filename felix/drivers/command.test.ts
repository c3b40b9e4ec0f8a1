import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FakeClock } from '#kit';
import { type CommandOptions, linesOf, runLines } from './command.ts';

const letters = fc.string({ unit: fc.constantFrom('a', 'b', '\n'), maxLength: 30 });
/** What a final end of line ends is no line more. */
const split = (text: string): string[] => (text === '' ? [] : text.replace(/\n$/, '').split('\n'));

test('lines of a text are what it is split into', () => {
  fc.assert(fc.property(letters, (text) => assert.deepEqual([...linesOf(text)], split(text))));
});

test('lines come whole, in order and once, however output is cut into pieces, and from a runner that gives it at the end', async () => {
  const clock = new FakeClock();
  await fc.assert(
    fc.asyncProperty(fc.array(letters, { maxLength: 6 }), fc.boolean(), async (pieces, atEnd) => {
      const run = async (_argv: readonly string[], { onOutput }: CommandOptions = {}) => {
        if (!atEnd) for (const piece of pieces) onOutput?.(piece);
        return { code: 0, stdout: atEnd ? pieces.join('') : '', stderr: '' };
      };
      const lines: string[] = [];
      await runLines({ run, clock }, ['p'], {}, (line) => lines.push(line));
      assert.deepEqual(lines, split(pieces.join('')));
    }),
  );
});
