import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { exec } from './exec.ts';

/** Runs code of its own in a process of its own: what is tested here ends processes. */
function run(body: string) {
  const sys = JSON.stringify(path.join(import.meta.dirname, 'index.ts'));
  const prelude = `
    const s = await import(${sys});
    const socket = s.newSocket(s.AF_INET, s.SOCK_DGRAM);
    const any = s.sockaddrIn('127.0.0.1', 0);
    s.libc.bind(socket.number, any, any.length);
    const own = Buffer.alloc(16);
    s.libc.getsockname(socket.number, own, Buffer.from([16, 0, 0, 0]));
    const kick = () => s.libc.sendto(socket.number, Buffer.from('x'), 1, 0, own, 16);
    const drain = () => s.libc.recv(socket.number, Buffer.alloc(9), 9, s.MSG_DONTWAIT);
  `;
  return exec(process.execPath, ['--input-type=module', '-e', prelude + body], { timeoutMs: 20_000 });
}

test('an exception in a watch callback ends the process and says why', async () => {
  const { code, stderr } = await run(`
    s.watch(socket.number, { readable: true }, () => { drain(); throw new Error('thrown in the callback'); });
    kick();
    setTimeout(() => process.exit(0), 10_000);
  `);
  assert.equal(code, 1);
  assert.match(stderr, /thrown in the callback/);
});

test('a watcher that nobody holds goes on, and closing it twice or late does no harm', async () => {
  const { code, stdout, stderr } = await run(`
    const { setFlagsFromString } = await import('node:v8');
    setFlagsFromString('--expose-gc');
    const gc = (await import('node:vm')).runInNewContext('gc');
    let seen = 0;
    let watcher;
    (() => { watcher = new WeakRef(s.watch(socket.number, { readable: true }, () => { drain(); seen++; })); })();
    try { s.watch(socket.number, { readable: true }, () => {}); } catch (error) { console.log(error.message); }
    gc();
    await new Promise((done) => setTimeout(done, 20));
    gc();
    kick();
    const wait = setInterval(() => {
      if (seen === 0) return;
      clearInterval(wait);
      console.log('seen after collection');
      process.exit(0);
    }, 5);
  `);
  assert.equal(stderr, '');
  assert.equal(code, 0);
  assert.match(stdout, /is watched already: use one watcher/);
  assert.match(stdout, /seen after collection/);
});

test('close is idempotent, restart after close does nothing, and the number may be watched again', async () => {
  const { code, stdout, stderr } = await run(`
    const first = s.watch(socket.number, { readable: true }, () => {});
    first.close();
    first.close();
    first.restart();
    const second = s.watch(socket.number, { readable: true }, () => { console.log('second'); second.close(); socket.close(); });
    first.close();
    kick();
  `);
  assert.deepEqual([code, stdout, stderr], [0, 'second\n', '']);
});
