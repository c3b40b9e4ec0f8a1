import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Frames } from './frames.ts';

function frame(text: string): Buffer {
  const bytes = Buffer.from(text);
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(bytes.length);
  return Buffer.concat([prefix, bytes]);
}

function read(frames: Frames, chunks: readonly Buffer[]): string[] {
  const out: string[] = [];
  for (const chunk of chunks) {
    frames.push(chunk);
    for (let next = frames.next(); next; next = frames.next()) {
      out.push(next.type === 'frame' ? next.bytes.toString() : `oversized ${next.bytes}`);
    }
  }
  return out;
}

test('frames come out as they went in, however the bytes are cut; what is too long is left out and told', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 30 })), fc.array(fc.nat()), (texts, cuts) => {
      const bytes = Buffer.concat(texts.map(frame));
      const at = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b);
      const chunks = at.slice(1).map((end, index) => bytes.subarray(at[index]!, end));
      const frames = new Frames({ frameBytesMax: 20 });
      const expected = texts.map((text) => {
        const { length } = Buffer.from(text);
        return length > 20 ? `oversized ${length}` : text;
      });
      assert.deepEqual(read(frames, chunks), expected);
      assert.equal(frames.pendingBytes, 0);
    }),
  );
});

test('a frame that is not complete is known to be', () => {
  for (const cut of [1, 4, 6]) {
    const frames = new Frames();
    assert.deepEqual(read(frames, [frame('a'), frame('bcd').subarray(0, cut)]), ['a']);
    assert.ok(frames.pendingBytes > 0, `${cut}`);
  }
  const frames = new Frames({ frameBytesMax: 2 });
  assert.deepEqual(read(frames, [frame('bcd').subarray(0, 5)]), ['oversized 3']);
  assert.ok(frames.pendingBytes > 0);
});
