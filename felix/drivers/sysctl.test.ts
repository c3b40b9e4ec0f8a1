import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '#kit';
import { SysctlError, SysctlSettings } from './sysctl.ts';

function world(values: Record<string, string>, log: string[] = []) {
  const kernel = new Map(Object.entries(values));
  const disk: { text: string | undefined } = { text: undefined };
  const files = {
    read: (key: string) => kernel.get(key),
    write(key: string, value: string) {
      if (key === 'ro') throw new Error('EROFS');
      log.push(`kernel ${key}=${value}`);
      return kernel.has(key) && kernel.set(key, value) !== undefined;
    },
  };
  const state = {
    read: () => disk.text,
    write(text: string) {
      log.push('disk');
      disk.text = text;
    },
    remove: () => {
      disk.text = undefined;
    },
  };
  return { kernel, disk, settings: () => new SysctlSettings({ files, state, log: silentLogger }) };
}

test('what was is on disk before the first change, and comes back after a restart, last change first', () => {
  const log: string[] = [];
  const { kernel, disk, settings } = world({ a: '0', b: '1', c: '1' }, log);
  const first = settings();
  assert.ok(first.ensure('a', '1'));
  assert.ok(first.ensure('b', '2'));
  assert.ok(first.ensure('c', '1'), 'right already');
  assert.equal(first.ensure('absent', '1'), false);
  assert.deepEqual(log, ['disk', 'kernel a=1', 'disk', 'kernel b=2']);
  log.length = 0;
  const second = settings();
  second.ensure('a', '1');
  second.ensure('b', '3');
  assert.deepEqual(log, ['disk', 'kernel b=3']);
  assert.deepEqual(settings().restore(), ['b', 'a']);
  assert.deepEqual(Object.fromEntries(kernel), { a: '0', b: '1', c: '1' });
  assert.equal(disk.text, undefined);
  assert.deepEqual(settings().restore(), []);
});

test('a value that somebody else changed since is left alone', () => {
  const { kernel, settings } = world({ a: '0' });
  settings().ensure('a', '1');
  kernel.set('a', '7');
  assert.deepEqual(settings().restore(), []);
  assert.equal(kernel.get('a'), '7');
});

test('a refused change names key, value and remedy; a broken record is said and does no harm', () => {
  const { disk, settings } = world({ ro: '0' });
  assert.throws(
    () => settings().ensure('ro', '1'),
    (error) => error instanceof SysctlError && error.failure.key === 'ro' && /set it on the node/.test(error.message),
  );
  disk.text = '{ not json';
  assert.deepEqual(settings().restore(), []);
});
