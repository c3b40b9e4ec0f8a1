/** The Dockerfile cannot be run here: so its lists are compared with the builder's, and the script of its Debian stage is run. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { suite, test } from 'node:test';
import { imageConfig } from './build.ts';
import { appFolder, baseLayer } from './layers.ts';
import { machine } from './names.ts';
import { debianPackages } from './package-table.ts';
import { fetchPackages } from './packages.ts';
import { imageNeeds } from './test-needs.ts';

const text = fs.readFileSync(path.join(import.meta.dirname, 'Dockerfile'), 'utf8');
const heredoc = (name: string): string => new RegExp(`<<'${name}'[^\\n]*\\n([\\s\\S]*?)\\n${name}\\n`).exec(text)![1]!;
const lines = (value: string): readonly string[] => value.split('\n').map((line) => line.trim());

test('the same packages, and the same files of them', () => {
  const [, names] = /apt-get download \\\n([\s\S]*?)\nCOPY/.exec(text)!;
  assert.deepEqual(
    lines(names!).map((line) => line.replace(/ \\$/, '')),
    debianPackages.map(({ name }) => name),
  );
  const taken = debianPackages.flatMap(({ take }) =>
    take.map((pattern) => pattern.replace(machine.triplet, '*-linux-gnu')),
  );
  assert.deepEqual(lines(heredoc('FILES')), [...new Set(taken)].sort());
});

test('the same environment, entry point and command', () => {
  const [, last] = /FROM scratch\n([\s\S]*)$/.exec(text)!;
  const { Env, Entrypoint, Cmd, WorkingDir } = imageConfig({ version: '1', commit: 'c', date: 'd' });
  assert.deepEqual(
    [...last!.matchAll(/^ENV (.*)$/gm)].map(([, value]) => value),
    Env,
  );
  assert.deepEqual(JSON.parse(/^ENTRYPOINT (.*)$/m.exec(last!)![1]!), Entrypoint);
  assert.deepEqual(JSON.parse(/^CMD (.*)$/m.exec(last!)![1]!), Cmd);
  assert.equal(/^WORKDIR (.*)$/m.exec(last!)![1], WorkingDir);
  assert.match(last!, new RegExp(`^COPY --from=poplin /image/${appFolder}/ /${appFolder}/$`, 'm'));
});

suite('Dockerfile', imageNeeds(), () => {
  test("its Debian stage makes the builder's base layer, but for Node", async (t) => {
    const work = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-dockerfile-'));
    t.after(() => fs.rmSync(work, { recursive: true }));
    const packages = await fetchPackages(debianPackages, () => undefined);
    const at = (name: string): string => path.join(work, name);
    fs.mkdirSync(at('packages'));
    for (const { archive } of packages) fs.symlinkSync(archive, path.join(at('packages'), path.basename(archive)));
    fs.writeFileSync(at('files'), `${heredoc('FILES')}\n`);
    const env = {
      PATH: process.env['PATH'] ?? '',
      packages: at('packages'),
      files: at('files'),
      unpacked: at('unpacked'),
      rootfs: at('rootfs'),
    };
    const { status, stderr } = spawnSync('sh', ['-c', heredoc('SCRIPT')], { env, encoding: 'utf8' });
    assert.equal(status, 0, stderr);

    const found = spawnSync('find', [at('rootfs'), '!', '-type', 'd', '-printf', '%P\\n'], { encoding: 'utf8' }).stdout;
    const made = found.trim().split('\n');
    const base = baseLayer({ packages, node: new Uint8Array() }).filter(
      (entry) => entry.type !== 'folder' && entry.origin !== 'node',
    );
    assert.deepEqual(made.sort(), base.map((entry) => entry.path).sort());
    for (const entry of base) {
      const full = path.join(at('rootfs'), entry.path);
      if (entry.type === 'link') assert.equal(fs.readlinkSync(full), entry.target, entry.path);
      if (entry.type !== 'file') continue;
      assert.ok(fs.readFileSync(full).equals(Buffer.from(entry.content)), entry.path);
      assert.equal((fs.statSync(full).mode & 0o111) !== 0, entry.mode === 0o755, entry.path);
    }
  });
});
