import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { installByHand, missingTools, tools } from './debian.mjs';
import { allAssets, apiServerAssets, goSuffices, goWanted } from './kube-assets.mjs';
import { kubeTargets, moduleFolder } from './kube-targets.mjs';
import { withLock } from './lock.mjs';
import { staleReason } from './npm.mjs';
import { cacheFolder, distribution, kubeAsset, readManifest, root, writeManifest } from './paths.mjs';
import { CannotGoOn } from './say.mjs';
import { chooseTests } from './test-files.mjs';

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

test('words and --group choose tests, and with them the Kubernetes programs to build', () => {
  const groups = (...args) => chooseTests(args).map(({ group }) => group.name);
  assert.deepEqual(groups('bgp/wire'), ['unit']);
  assert.deepEqual(groups('test/kubernetes/'), ['kubernetes']);
  assert.deepEqual(groups('--group=kernel'), ['kernel']);
  assert.deepEqual(groups('--group=kernel', 'bgp/wire'), []);
  assert.ok(groups().includes('kubernetes'));
});

test('the Go toolchain is compared with what go.mod wants', () => {
  for (const [found, wanted, enough] of [
    [[1, 26, 6], [1, 26, 6], true],
    [[1, 26, 5], [1, 26, 6], false],
    [[1, 27, 0], [1, 26, 6], true],
    [[1, 9, 9], [1, 26, 0], false],
    [[2, 0, 0], [1, 26, 6], true],
    [[], [1, 26, 0], false],
  ])
    assert.equal(goSuffices(found, wanted), enough, `${found} for ${wanted}`);
  for (const { module } of Object.values(kubeTargets)) assert.equal(goWanted(moduleFolder(root, module)).length, 3);
});

test('the cache is where POPLIN_CACHE says, and KUBE_ASSETS goes before it', (t) => {
  const folder = scratch(t);
  assert.equal(path.dirname(cacheFolder({ POPLIN_CACHE: folder })), folder);
  assert.equal(kubeAsset('etcd', { POPLIN_CACHE: folder }), undefined);
  fs.writeFileSync(path.join(folder, 'etcd'), '');
  assert.equal(kubeAsset('etcd', { KUBE_ASSETS: folder }), path.join(folder, 'etcd'));
  assert.throws(() => kubeAsset('etdc'), /no Kubernetes asset is named etdc/);
  for (const name of apiServerAssets) assert.ok(allAssets.includes(name));
});

/** Runs `ensureKubeAssets` with a Go that is a script. */
function ensureWith(folder, script, names, env = {}) {
  const go = path.join(folder, 'bin', 'go');
  fs.mkdirSync(path.dirname(go), { recursive: true });
  fs.writeFileSync(go, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  const module = JSON.stringify(path.join(root, 'src/setup/kube-assets.mjs'));
  const code = `(await import(${module})).ensureKubeAssets(${JSON.stringify(names)})`;
  const result = spawnSync(process.execPath, ['--input-type=module', '--eval', code], {
    encoding: 'utf8',
    env: { POPLIN_CACHE: folder, PATH: `${path.dirname(go)}:${process.env.PATH}`, ...env },
  });
  assert.equal(result.status, 0, result.stderr);
  return result.stderr;
}

test('Kubernetes programs are built once, whole or not at all; what is skipped is named with the reason', (t) => {
  const folder = scratch(t);
  const env = { POPLIN_CACHE: folder };
  const old = ensureWith(folder, 'echo go version go1.19.8 linux/amd64', ['etcd', 'portmap']);
  assert.match(
    old,
    /skipped etcd, portmap, and the tests that need them: Go 1\.26\.\d+ is needed, and .* says: go version go1\.19/,
  );

  const version = '[ "$1" = version ] && { echo go version go9.0.0 linux/amd64; exit; }';
  const output = 'while [ "$1" != -o ]; do shift; done';
  const broken = ensureWith(folder, `${version}; ${output}; echo half > "$2"; echo no space left; exit 1`, ['etcd']);
  assert.match(broken, /skipped etcd, .*no space left/);
  assert.equal(kubeAsset('etcd', env), undefined);

  const log = path.join(folder, 'log');
  const good = `echo "$@" >> ${log}; ${version}; ${output}; echo whole > "$2"`;
  assert.match(ensureWith(folder, good, ['etcd']), /built etcd/);
  assert.equal(fs.readFileSync(kubeAsset('etcd', env), 'utf8'), 'whole\n');
  assert.match(fs.readFileSync(log, 'utf8'), /build -mod=readonly -trimpath .* go\.etcd\.io\/etcd\/server\/v3/);
  assert.equal(ensureWith(folder, 'exit 1', ['etcd']), '');
  const named = ensureWith(folder, good, ['etcd'], { KUBE_ASSETS: path.join(folder, 'nowhere') });
  assert.match(named, /KUBE_ASSETS=.*nowhere lacks etcd/);
});
