import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { Epoll } from './epoll.ts';
import { EPOLLIN } from './epoll-fd.ts';
import { exec } from './exec.ts';
import { acquireLock, durableFile, takeFlock, writeFileDurable, writeFileDurableSync } from './files.ts';
import { sysctlFiles } from './sysctl.ts';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-sys-'));
after(() => fs.rmSync(folder, { recursive: true }));

test('a durable write replaces the file whole, keeps its mode, and leaves nothing beside it when it fails', async () => {
  const file = path.join(folder, 'state.json');
  writeFileDurableSync(file, 'one');
  await writeFileDurable(file, 'two', 0o640);
  assert.equal(fs.readFileSync(file, 'utf8'), 'two');
  assert.equal(fs.statSync(file).mode & 0o777, 0o640);
  fs.mkdirSync(path.join(folder, 'busy'));
  await assert.rejects(writeFileDurable(path.join(folder, 'busy'), 'x'));
  assert.throws(() => writeFileDurableSync(path.join(folder, 'busy'), 'x'));
  assert.deepEqual(fs.readdirSync(folder).sort(), ['busy', 'state.json']);
  const state = durableFile(path.join(folder, 'other'));
  assert.equal(state.read(), undefined);
  state.write('x');
  assert.equal(state.read(), 'x');
  state.remove();
  assert.equal(state.read(), undefined);
});

test('a lock that others take too holds back who asks for it, says nothing in the file, and outlives its taker in a child that has it', async () => {
  const file = path.join(folder, 'xtables.lock');
  const held = takeFlock(file);
  assert.ok(held);
  assert.equal(takeFlock(file), undefined);
  assert.equal(fs.readFileSync(file, 'utf8'), '');
  const fifo = path.join(folder, 'end-of-child');
  assert.equal((await exec('mkfifo', [fifo])).code, 0);
  const child = exec('sh', ['-c', `readlink /proc/self/fd/3; read -r line <${fifo}`], { inherit: [held.descriptor] });
  // Opened once the child reads it.
  const end = await fs.promises.open(fifo, 'w');
  held.release();
  assert.equal(takeFlock(file), undefined);
  await end.close();
  assert.equal((await child).stdout, `${fs.realpathSync(file)}\n`);
  const free = takeFlock(file);
  assert.ok(free);
  free.release();
});

test('a lock is held once, names its holder, and is free after release', () => {
  const file = path.join(folder, 'lock');
  const first = acquireLock(file);
  assert.ok(first.held);
  assert.deepEqual(acquireLock(file), { held: false, holderPid: process.pid });
  first.release();
  const again = acquireLock(file);
  assert.ok(again.held);
  again.release();
});

test('a command gets stdin and environment, and its end is told however it comes', async () => {
  const script = 'cat; printf "$WORD" >&2; exit 3';
  const run = await exec('/bin/sh', ['-c', script], { stdin: 'hello', env: { WORD: 'there' } });
  assert.deepEqual(run, { code: 3, stdout: 'hello', stderr: 'there' });
  const late = await exec('/bin/sleep', ['30'], { timeoutMs: 20 });
  assert.equal(late.code, 124);
  assert.match(late.stderr, /no end after 20 ms/);
  const orphan = await exec('/bin/sh', ['-c', 'sleep 2 & wait'], { timeoutMs: 20 });
  assert.equal(orphan.code, 124, 'a grandchild that holds the output open does not hold us');
  assert.equal((await exec('/no/such/command', [])).code, 127);
  assert.equal((await exec('/bin/sh', ['-c', 'kill -TERM $$'])).code, 143);
  const flood = await exec('/bin/sh', ['-c', 'head -c 100000 /dev/zero'], { outputBytesMax: 1_000 });
  assert.match(flood.stderr, /more than 1000 bytes/);
  const letters = `.${'é'.repeat(100_000)}`;
  assert.equal((await exec('/bin/cat', [], { stdin: letters })).stdout, letters, 'pieces end within letters');
  // A command that reads nothing must not fail us with EPIPE.
  assert.equal((await exec('/bin/true', [], { stdin: Buffer.alloc(1 << 20) })).code, 0);
});

test('sysctl keys that do not exist are told apart from values', () => {
  const files = sysctlFiles();
  assert.match(files.read('kernel/ostype') ?? '', /Linux/);
  assert.equal(files.read('net/no/such/key'), undefined);
  assert.equal(files.write('net/no/such/key', '1'), false);
  assert.throws(() => files.write('kernel/ostype', 'x'), { name: 'SysError', call: 'sysctl kernel/ostype' });
});

test('an epoll set tells of readable descriptors until they are removed', async () => {
  const { promise, resolve } = Promise.withResolvers<number>();
  const events: number[] = [];
  const epoll = new Epoll((fd) => {
    events.push(fd);
    fs.readSync(fd, Buffer.alloc(10));
    resolve(fd);
  });
  const fifo = path.join(folder, 'fifo');
  assert.equal((await exec('mkfifo', [fifo])).code, 0);
  const fd = fs.openSync(fifo, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
  epoll.add(fd, EPOLLIN);
  assert.equal(epoll.size, 1);
  fs.writeSync(fd, 'x');
  assert.equal(await promise, fd);
  epoll.remove(fd);
  epoll.close();
  fs.closeSync(fd);
  assert.deepEqual(events, [fd]);
});
