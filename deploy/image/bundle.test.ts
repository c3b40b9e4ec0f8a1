import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { before, suite, type TestContext, test } from 'node:test';
import { nodeBinary, root } from '#setup';
import { type Bundle, bundle, bundleEntry } from './bundle.ts';

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer().on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

suite('bundle', () => {
  const stamp = { version: '9.8.7', commit: '0123456789ab', date: '2026-01-02T03:04:05Z' };
  let made: Bundle;
  let text: string;
  before(async () => {
    made = await bundle(stamp);
    const modules = made.files.filter(({ name }) => name.endsWith('.mjs'));
    text = modules.map(({ content }) => Buffer.from(content).toString()).join('\n');
  });

  /** In a folder of its own, away from the checkout and its node_modules. */
  function unpacked(t: TestContext): string {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-bundle-'));
    t.after(() => fs.rmSync(folder, { recursive: true }));
    for (const { name, content } of made.files) fs.writeFileSync(path.join(folder, name), content);
    return path.join(folder, bundleEntry);
  }
  const poplin = (
    entry: string,
    ...args: readonly string[]
  ): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(nodeBinary, [entry, ...args], { encoding: 'utf8', env: {}, cwd: '/' });

  test('it tells version, commit and date, and runs without the checkout', (t) => {
    const entry = unpacked(t);
    const { stdout } = poplin(entry, '--version');
    assert.match(stdout, /^9\.8\.7 \(commit 0123456789ab, 2026-01-02T03:04:05Z, node v24\.\S+, linux-\w+\)\n$/);
    assert.match(poplin(entry, 'agent', '--help').stdout, /--datastore-dir/);
    assert.match(poplin(entry, 'config', 'show', '--local', '-o', 'yaml').stdout, /name: nodeName/);
    const status = poplin(entry, 'status', '--socket', '/nonexistent/api.sock');
    assert.equal(status.status, 3, status.stderr);
    const lab = poplin(entry, 'lab', 'demo');
    assert.equal(lab.status, 2);
    assert.match(lab.stderr, /not in the image/);
  });

  test('the speaker runs alone, is asked over its socket, and stops on SIGTERM', async (t) => {
    const entry = unpacked(t);
    const [config, socket] = ['speaker.yaml', 's.sock'].map((name) => path.join(path.dirname(entry), name));
    assert.ok(config && socket);
    fs.writeFileSync(config, `asn: 65001\nrouterId: 192.0.2.1\nlisten: ["127.0.0.1:${await freePort()}"]\npeers: []\n`);
    const child = spawn(nodeBinary, [entry, 'speaker', '--config', config, '--socket', socket], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {},
    });
    let log = '';
    let asked: readonly unknown[] = [];
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.stderr.on('data', (chunk) => {
      log += String(chunk);
      if (!log.includes('API is served') || child.killed) return;
      const peers = poplin(entry, 'bgp', 'peers', '--socket', socket, '-o', 'json');
      const wrong = poplin(entry, 'bgp', 'routes', 'nonsense', '--socket', socket);
      asked = [JSON.parse(peers.stdout), wrong.stderr];
      child.kill('SIGTERM');
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
    assert.equal(await ended, 0, log);
    clearTimeout(timer);
    assert.match(log, /listening/);
    assert.deepEqual(asked[0], []);
    assert.match(String(asked[1]), /neither a prefix nor an address/);
  });

  test('every thread and process that the sources start has an entry, and is started by it', () => {
    for (const entry of ['speaker-worker.mjs', 'bfd-main.mjs'])
      assert.ok(made.files.some(({ name }) => name === entry));
    const started = [...text.matchAll(/new URL\("\.\/([\w.-]+)",import\.meta\.url\)/g)].map(([, name]) => name!);
    for (const entry of ['speaker-worker.mjs', 'bfd-main.mjs']) assert.ok(started.includes(entry), started.join(' '));
    for (const name of started)
      assert.ok(
        made.files.some((one) => one.name === name),
        name,
      );
  });

  test('the process of BFD is one file with what it uses, and the speaker alone loads nothing of policies and Kubernetes', () => {
    const contentOf = (name: string): string =>
      Buffer.from(made.files.find((file) => file.name === name)!.content).toString();
    const bfd = contentOf('bfd-main.mjs');
    assert.ok(bfd.includes('BfdEngine'));
    assert.doesNotMatch(bfd, /from"\.\/|import"\.\/|\bNetlink\b|attribute sets/);
    const speaker = made.files.find(({ name }) => /^speaker-(?!worker)[\w-]+\.mjs$/.test(name))!.name;
    const loaded = [speaker];
    for (const name of loaded) {
      for (const [, other] of contentOf(name).matchAll(/(?:from|import)"\.\/([^"]+)"/g))
        if (!loaded.includes(other!)) loaded.push(other!);
    }
    const all = loaded.map(contentOf).join('\n');
    assert.ok(all.includes('SpeakerFileError'));
    for (const absent of ['createPolicyDataplane', 'createKubeDatastore', '"node:http2"'])
      assert.ok(text.includes(absent) && !all.includes(absent), absent);
  });

  test('error classes keep the names by which they are told apart', () => {
    const files = ['src', 'bgp', 'policy', 'felix'].flatMap((folder) =>
      fs
        .readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts') && !name.startsWith('lab/'))
        .map((name) => fs.readFileSync(path.join(root, folder, name), 'utf8')),
    );
    const names = files.flatMap((source) =>
      [...source.matchAll(/^export class (\w+) extends PoplinError</gm)].map(([, name]) => name!),
    );
    assert.ok(names.includes('SpeakerFileError'));
    for (const name of names) {
      if (new RegExp(`\\b${name}\\d*=`).test(text))
        assert.match(text, new RegExp(`\\b${name}=class extends PoplinError\\b`), name);
    }
  });

  test('the classes of the sources are constants', () => {
    for (const name of ['PoplinError', 'SpeakerFileError', 'Rib', 'UpdateGroup']) {
      assert.match(text, new RegExp(`\\bconst ${name}=class|,${name}=class`), name);
      assert.doesNotMatch(text, new RegExp(`\\bvar ${name}=`), name);
    }
  });

  test('nothing of the checkout is in it but its own code: no path, no lab, no koffi of other systems', () => {
    assert.ok(!text.includes(root));
    assert.ok(!text.includes('registerLabCommands=('), 'the lab');
    assert.deepEqual(
      made.files.filter(({ name }) => !name.endsWith('.mjs')).map(({ name }) => name),
      ['koffi.node'],
    );
    assert.ok(made.packageFolders.includes('node_modules/koffi'));
    assert.ok(made.packageFolders.includes('node_modules/fastify'));
    assert.ok(!made.packageFolders.includes('node_modules/esbuild'));
  });

  test('the same sources give the same bytes', async () => {
    const again = await bundle(stamp);
    assert.deepEqual(
      again.files.map(({ name }) => name),
      made.files.map(({ name }) => name),
    );
    for (const [i, { name, content }] of again.files.entries()) {
      assert.equal(Buffer.compare(Buffer.from(content), Buffer.from(made.files[i]!.content)), 0, name);
    }
  });
});
