import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { JsonLines } from './json-lines.ts';

function read(lines: JsonLines, chunks: readonly Buffer[]): string[] {
  const out: string[] = [];
  for (const chunk of chunks) {
    lines.push(chunk);
    for (let line = lines.next(); line; line = lines.next()) {
      out.push(line.type === 'line' ? line.text : `oversized ${line.bytes} ${line.head}`);
    }
  }
  return out;
}

test('lines come out as they went in, however the bytes are cut', () => {
  const text = fc.string({ unit: 'grapheme' }).map((s) => s.replaceAll('\n', ' '));
  fc.assert(
    fc.property(fc.array(text), fc.array(fc.nat()), (lines, cuts) => {
      const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
      const at = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b);
      const chunks = at.slice(1).map((end, index) => bytes.subarray(at[index]!, end));
      assert.deepEqual(
        read(new JsonLines(), chunks),
        lines.filter((line) => line !== ''),
      );
    }),
  );
});

test('a line over the limit is reported with its beginning, and the next one comes out', () => {
  const lines = new JsonLines({ lineBytesMax: 10 });
  const bytes = Buffer.from('{"a":1}\n{"name":"much-too-long"}\n{"b":2}\n');
  const expected = ['{"a":1}', 'oversized 24 {"name":"much-too-long"}', '{"b":2}'];
  assert.deepEqual(read(lines, [bytes]), expected);
  const one = Array.from(bytes, (byte) => Buffer.of(byte));
  assert.deepEqual(
    read(new JsonLines({ lineBytesMax: 10 }), one).map((line) => line.replace(/(oversized \d+) .*/, '$1')),
    ['{"a":1}', 'oversized 24', '{"b":2}'],
  );
});

test('what is not ended by a newline is known to be unfinished', () => {
  const lines = new JsonLines();
  assert.deepEqual(read(lines, [Buffer.from('{"a":1}\n{"b"')]), ['{"a":1}']);
  assert.equal(lines.pendingBytes, 4);
});
