import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import type { AgentStatus } from '#api';
import { run } from './cli-run.ts';
import { agent, status } from './fake-agent.ts';
import { formatDuration, formatTable } from './output.ts';

test('status says at a glance what is wrong, and exits 1 while not ready', async (t) => {
  const env = await agent(t);
  const { code, out } = await run(['status'], env);
  assert.equal(code, 1);
  for (const text of [
    /^ready +NO: datastore: not in sync$/m,
    /^datastore +\/m: NOT IN SYNC; 3 Pod; 1 FAULTS; changed 2m0s ago$/m,
    /1 of 2 peers Established.*waiting for End-of-RIB of mesh\/n2/,
    /1 UNRESOLVED/,
    /^policy .*FAILING since 2m0s ago: iptables-restore: line 3 failed$/m,
    /^cni +NOT SERVING: datastore not in sync; 3 pods; 10\.1\.1\.0\/24 3 of 253 addresses$/m,
    /BGPPeer tor: connection refused/,
    /^\/m\/a\.yaml:4 +NetworkPolicy web\/a +2m0s +spec\.x: unknown field \(not in force\)$/m,
    /and 2 more/,
  ]) {
    assert.match(out, text);
  }
  const json = JSON.parse((await run(['status', '-o', 'json'], env)).out) as AgentStatus;
  assert.deepEqual(json.bgp, status.bgp);
  assert.equal(
    (await run(['status'], await agent(t, { status: () => ({ ...status, ready: { ok: true, reasons: [] } }) }))).code,
    0,
  );
});

test('config show: of the agent, or of what is given here', async (t) => {
  const env = await agent(t);
  assert.match((await run(['config', 'show'], env)).out, /^asn +65001 +flag --asn$/m);
  const local = await run(['config', 'show', '--local', '--asn', '1.0'], { POPLIN_HOLD_TIME_SEC: '9' });
  assert.match(local.out, /^asn +65536 +flag --asn$/m);
  assert.match(local.out, /^holdTimeSec +9 +env POPLIN_HOLD_TIME_SEC$/m);
  assert.equal((await run(['config', 'show', '--asn', '1'], env)).code, 2);
  const bad = await run(['config', 'show', '--local', '--config', '/none.yaml']);
  assert.equal(bad.code, 2);
  assert.match(bad.err, /\/none\.yaml: cannot be read/);
});

test('an agent that is away is exit code 3; the socket is found by flag, then variable', async (t) => {
  const { POPLIN_RUN_DIR: folder } = await agent(t);
  const away = await run(['status'], { POPLIN_RUN_DIR: '/none' });
  assert.equal(away.code, 3);
  assert.match(away.err, /there is no socket \/none\/api\.sock/);
  const socket = `${folder}/api.sock`;
  assert.equal((await run(['bgp', 'peers'], { POPLIN_API_SOCKET: socket, POPLIN_RUN_DIR: '/none' })).code, 0);
  assert.equal((await run(['bgp', 'peers', '--socket', socket], { POPLIN_API_SOCKET: '/none' })).code, 0);
});

test('wrong arguments are exit code 2, help and version 0', async () => {
  assert.match((await run(['bgp', 'rotes'])).err, /Did you mean routes/);
  for (const args of [
    ['nothing'],
    ['status', '--colour'],
    ['status', '-o', 'xml'],
    ['policy', 'show'],
    ['speaker'],
    ['agent', '--asn', '0'],
  ]) {
    const { code, err } = await run(args);
    assert.equal(code, 2, args.join(' '));
    assert.notEqual(err, '', args.join(' '));
  }
  const help = await run(['--help']);
  assert.equal(help.code, 0);
  assert.match(help.out, /Exit codes:\n {2}0 {2}done/);
  assert.deepEqual(await run(['--version']), { code: 0, out: '9.9.9\n', err: '' });
  for (const args of [
    ['status'],
    ['bgp', 'peers'],
    ['bgp', 'routes'],
    ['policy', 'show'],
    ['config', 'show'],
    ['agent'],
    ['cleanup'],
    ['speaker'],
    ['install-cni'],
  ]) {
    const { code, out } = await run([...args, '--help']);
    assert.equal(code, 0);
    assert.match(out, /Example/, args.join(' '));
  }
});

test('install-cni says what it did with each plugin, and a source without any is exit code 1', async (t) => {
  const work = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-cli-install-'));
  t.after(() => fs.rmSync(work, { recursive: true }));
  const [source, dest] = [path.join(work, 'source'), path.join(work, 'bin')];
  const args = ['install-cni', '--source', source, '--dest', dest];
  assert.equal((await run(args)).code, 1);
  fs.mkdirSync(source);
  fs.writeFileSync(path.join(source, 'poplin'), 'plugin', { mode: 0o755 });
  const installed = await run(args);
  assert.deepEqual(installed, { code: 0, out: `installed ${dest}/poplin\n`, err: '' });
  assert.deepEqual(await run([...args, '--remove']), { code: 0, out: 'removed poplin\n', err: '' });
  assert.equal((await run(['install-cni'])).code, 2);
});

test('tables and durations', () => {
  assert.equal(
    formatTable(
      ['A', 'LONG'],
      [
        ['xxx', 'y'],
        ['', 'z'],
      ],
    ),
    'A     LONG\nxxx   y\n      z\n',
  );
  assert.deepEqual([0, 59.9, 61, 3600, 90_000, -5].map(formatDuration), ['0s', '59s', '1m1s', '1h0m', '1d1h', '0s']);
});

test('speaker: a file that cannot be read is named, with what to do', async () => {
  for (const file of ['/nonexistent/speaker.yaml', '/']) {
    const { code, err } = await run(['speaker', '--config', file]);
    assert.equal(code, 2);
    assert.ok(err.includes(`file ${file}: cannot be read`), err);
    assert.match(err, /give an existing file with --config/);
  }
});
