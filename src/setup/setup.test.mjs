import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { installByHand, missingTools, tools } from './debian.mjs';
import { withLock } from './lock.mjs';
import { staleReason } from './npm.mjs';
import { distribution, readManifest, root, writeManifest } from './paths.mjs';
import { CannotGoOn } from './say.mjs';

function scratch(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-setup-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  return folder;
}

test('npm dependencies are installed when missing, of another version, or taken away by hand', (t) => {
  const folder = scratch(t);
  const write = (file, packages) => {
    fs.mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    fs.writeFileSync(path.join(folder, file), JSON.stringify({ packages }));
  };
  const entry = { version: '1.0.0', integrity: 'sha512-x' };
  assert.throws(() => staleReason(folder), CannotGoOn);
  write('package-lock.json', {
    '': {},
    'node_modules/a': entry,
    'node_modules/only-on-mars': { ...entry, optional: true },
  });
  assert.match(staleReason(folder), /not installed/);
  write('node_modules/.package-lock.json', { 'node_modules/a': entry });
  assert.match(staleReason(folder), /a is gone/);
  fs.mkdirSync(path.join(folder, 'node_modules', 'a'));
  assert.equal(staleReason(folder), undefined);
  write('node_modules/.package-lock.json', { 'node_modules/a': { ...entry, version: '0.9.0' } });
  assert.match(staleReason(folder), /a should be 1\.0\.0, is 0\.9\.0/);
  write('node_modules/.package-lock.json', {});
  assert.match(staleReason(folder), /is missing/);
});

test('a missing tool is named with its Debian package and with what it is for', () => {
  assert.deepEqual(missingTools([]), []);
  const text = installByHand([tools.ipset, tools.ip]);
  assert.match(text, /^ {2}iproute2 ipset$/m);
  assert.match(text, /ipset: needed to keep the address sets/);
  for (const [name, tool] of Object.entries(tools)) assert.ok(tool.commands?.length || tool.anyFile?.length, name);
});

test('what os-release says, with and without quotes', (t) => {
  const file = path.join(scratch(t), 'os-release');
  fs.writeFileSync(file, 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n');
  assert.deepEqual(distribution(file), { id: 'debian', version: '12', name: 'Debian GNU/Linux 12 (bookworm)' });
  assert.equal(distribution('/no/such/file').id, 'unknown');
});

test('the manifest of tools survives a write that was cut off', (t) => {
  const folder = scratch(t);
  writeManifest({ bird: '/a' }, folder);
  writeManifest({ birdc: '/b' }, folder);
  assert.deepEqual(readManifest(folder), { bird: '/a', birdc: '/b' });
  fs.writeFileSync(path.join(folder, 'tools.json'), '{"bird": "/');
  assert.deepEqual(readManifest(folder), {});
});

test('one set-up at a time; a lock whose holder is gone is taken over', async (t) => {
  const file = path.join(scratch(t), 'lock');
  fs.writeFileSync(file, '999999999 12345\n');
  let inside = 0;
  const work = () =>
    withLock(file, async () => {
      assert.equal(++inside, 1);
      await new Promise((resolve) => setImmediate(resolve));
      inside--;
    });
  await work();
  await work();
  assert.equal(fs.existsSync(file), false);
});

test('an unknown task and an unknown bench are refused with exit code 2 and the names there are', () => {
  const task = spawnSync(process.execPath, [path.join(root, 'src/setup/run.mjs'), 'fly'], { encoding: 'utf8' });
  assert.equal(task.status, 2);
  assert.match(task.stderr, /no task "fly"; there are: .*lab/);
  const bench = spawnSync(process.execPath, [path.join(root, 'src/setup/bench.mjs'), 'fly'], { encoding: 'utf8' });
  assert.equal(bench.status, 2);
  assert.match(bench.stderr, /there are: .*cni/);
});
