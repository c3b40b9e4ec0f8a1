import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { complete, file, folder, link } from './entries.ts';
import { readTar, tar } from './tar.ts';

test('what is written is read back, in order, names of two fields included', () => {
  const part = fc.stringMatching(/^[a-z0-9._-]{1,60}$/).filter((name) => !/^\.+$/.test(name));
  const place = fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
  fc.assert(
    fc.property(fc.uniqueArray(place, { maxLength: 6 }), fc.uint8Array({ maxLength: 1500 }), (places, content) => {
      const entries = places.map(
        (path, i) => [file(path, content, { mode: 0o755 }), link(path, 'to/there'), folder(path)][i % 3]!,
      );
      const back = readTar(tar(entries));
      assert.deepEqual(
        back.map((entry) => ({ ...entry, ...(entry.type === 'file' ? { content: [...entry.content] } : {}) })),
        entries.map(({ origin: _, ...entry }) => ({
          ...entry,
          ...(entry.type === 'file' ? { content: [...content] } : {}),
        })),
      );
    }),
  );
});

test('a name or a link target that the format cannot hold is refused', () => {
  assert.throws(() => tar([file('x'.repeat(101), '')]), /too long/);
  assert.throws(() => tar([link('x', 'y'.repeat(101))]), /too long/);
});

test('parents are added once, not those of the layer below; two parts may not bring one path', () => {
  const paths = complete([file('a/b/c', ''), file('a/d', ''), folder('a', 0o700)], [folder('a/b')]).map(
    ({ path }) => path,
  );
  assert.deepEqual(paths, ['a', 'a/b/c', 'a/d']);
  assert.throws(() => complete([file('a', '', { origin: 'one' }), file('a', '', { origin: 'two' })]), /one and two/);
});
