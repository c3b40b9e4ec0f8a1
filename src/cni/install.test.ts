import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { InstallError, installPlugins, removePlugins } from './install.ts';

function folders(t: TestContext): {
  readonly source: string;
  readonly dest: string;
  put(folder: string, name: string, text: string): void;
} {
  const work = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-install-'));
  t.after(() => fs.rmSync(work, { recursive: true }));
  const source = path.join(work, 'app', 'cni');
  fs.mkdirSync(source, { recursive: true });
  return {
    source,
    dest: path.join(work, 'opt', 'cni', 'bin'),
    put(folder, name, text) {
      fs.mkdirSync(folder, { recursive: true });
      fs.writeFileSync(path.join(folder, name), text, { mode: 0o755 });
    },
  };
}

const read = (folder: string, name: string): string => fs.readFileSync(path.join(folder, name), 'utf8');
const visible = (folder: string): string[] =>
  fs
    .readdirSync(folder)
    .filter((name) => !name.startsWith('.'))
    .sort();

test('plugins are installed executable, left alone when they are equal, and replaced by a newer version of ours', (t) => {
  const { source, dest, put } = folders(t);
  put(source, 'poplin', 'one');
  put(source, 'portmap', 'reference 1');
  assert.deepEqual(installPlugins(source, dest), { poplin: 'installed', portmap: 'installed' });
  assert.deepEqual(visible(dest), ['poplin', 'portmap']);
  assert.equal(fs.statSync(path.join(dest, 'poplin')).mode & 0o777, 0o755);
  const { ino } = fs.statSync(path.join(dest, 'poplin'));
  assert.deepEqual(installPlugins(source, dest), { poplin: 'unchanged', portmap: 'unchanged' });
  assert.equal(fs.statSync(path.join(dest, 'poplin')).ino, ino);
  put(source, 'poplin', 'two');
  put(source, 'portmap', 'reference 2');
  // Open as a running program would be: the old file goes on, the name gets the new one.
  const running = fs.openSync(path.join(dest, 'poplin'), 'r');
  assert.deepEqual(installPlugins(source, dest), { poplin: 'installed', portmap: 'installed' });
  assert.equal(fs.readFileSync(running, 'utf8'), 'one');
  fs.closeSync(running);
  assert.equal(read(dest, 'poplin'), 'two');
  assert.equal(read(dest, 'portmap'), 'reference 2');
});

test("somebody else's portmap is kept, and stays when ours are removed", (t) => {
  const { source, dest, put } = folders(t);
  put(source, 'poplin', 'one');
  put(source, 'portmap', 'reference');
  put(dest, 'portmap', 'of the distribution');
  put(dest, 'bridge', 'of the distribution');
  put(dest, 'poplin', 'of an installation before there was a record');
  assert.deepEqual(installPlugins(source, dest), { poplin: 'installed', portmap: 'kept' });
  assert.equal(read(dest, 'portmap'), 'of the distribution');
  assert.deepEqual(removePlugins(dest), ['poplin']);
  assert.deepEqual(fs.readdirSync(dest).sort(), ['bridge', 'portmap']);
});

test('what was replaced by somebody since is not removed', (t) => {
  const { source, dest, put } = folders(t);
  put(source, 'poplin', 'one');
  put(source, 'portmap', 'reference');
  installPlugins(source, dest);
  put(dest, 'portmap', 'newer, of the distribution');
  assert.deepEqual(removePlugins(dest), ['poplin']);
  assert.deepEqual(fs.readdirSync(dest), ['portmap']);
  assert.deepEqual(removePlugins(dest), []);
  assert.deepEqual(removePlugins(path.join(dest, 'none')), []);
});

test('killed between writing down and replacing, the old version still counts as ours', (t) => {
  const { source, dest, put } = folders(t);
  put(source, 'poplin', 'one');
  put(source, 'portmap', 'reference 1');
  installPlugins(source, dest);
  put(source, 'portmap', 'reference 2');
  installPlugins(source, dest);
  // As if the second run had been killed in between, and this were the next one.
  const record = JSON.parse(read(dest, '.poplin-installed.json'));
  record.plugins.portmap.unshift(crypto.createHash('sha256').update('reference 1').digest('hex'));
  put(dest, '.poplin-installed.json', JSON.stringify(record));
  put(dest, 'portmap', 'reference 1');
  assert.deepEqual(installPlugins(source, dest), { poplin: 'unchanged', portmap: 'installed' });
  assert.equal(read(dest, 'portmap'), 'reference 2');
  assert.deepEqual(JSON.parse(read(dest, '.poplin-installed.json')).plugins.portmap.length, 1);
});

test('what a killed run left is removed; a damaged record means that only poplin is known for ours', (t) => {
  const { source, dest, put } = folders(t);
  put(source, 'poplin', 'one');
  put(source, 'portmap', 'reference');
  put(dest, '.poplin-new-4711-portmap', 'half');
  put(dest, 'portmap', 'reference of old');
  put(dest, '.poplin-installed.json', '{"plugins": {');
  assert.deepEqual(installPlugins(source, dest), { poplin: 'installed', portmap: 'kept' });
  assert.deepEqual(fs.readdirSync(dest).sort(), ['.poplin-installed.json', 'poplin', 'portmap']);
});

test('a source without programs and a destination that is no folder are named with the remedy', (t) => {
  const { source, dest, put } = folders(t);
  fs.writeFileSync(path.join(source, 'README'), 'no program');
  assert.throws(() => installPlugins(source, dest), { name: 'InstallError', code: 'NO_PLUGINS', message: /--source/ });
  assert.throws(() => installPlugins(`${source}/none`, dest), InstallError);
  put(source, 'poplin', 'one');
  fs.mkdirSync(path.dirname(dest), { recursive: true });
  fs.writeFileSync(dest, 'a file');
  assert.throws(() => installPlugins(source, dest), {
    name: 'InstallError',
    code: 'NOT_WRITABLE',
    message: /writable/,
  });
});
