import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { exec } from './exec.ts';

test('without a free descriptor callers are turned away, the loop does not spin, and service goes on afterwards', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-unix-'));
  const socketPath = path.join(folder, 's');
  const sys = JSON.stringify(path.join(import.meta.dirname, 'index.ts'));
  const body = `
    const s = await import(${sys});
    const fs = await import('node:fs');
    let refused = 0;
    s.listenUnix({
      path: ${JSON.stringify(socketPath)},
      onRefused: () => {
        if (++refused < 3) return;
        const before = process.cpuUsage();
        const start = performance.now();
        setTimeout(() => {
          const used = process.cpuUsage(before);
          console.log('busy', (used.user + used.system) / 1000 / (performance.now() - start));
          for (const fd of hoard) fs.closeSync(fd);
          fs.writeFileSync(${JSON.stringify(path.join(folder, 'freed'))}, '');
        }, 200);
      },
      onConnection: (connection) => { connection.close(); console.log('served'); process.exit(0); },
    });
    fs.writeFileSync(${JSON.stringify(path.join(folder, 'ready'))}, '');
    const hoard = [];
    try { for (;;) hoard.push(fs.openSync('/dev/null')); } catch (error) { if (error.code !== 'EMFILE') throw error; }
  `;
  const running = exec('prlimit', ['--nofile=60', process.execPath, '--input-type=module', '-e', body], {
    timeoutMs: 20_000,
  });
  const there = async (name: string): Promise<void> => {
    while (!fs.existsSync(path.join(folder, name))) await new Promise((done) => setTimeout(done, 5));
  };
  const call = () =>
    new Promise<void>((done) => {
      const socket = net.connect(socketPath);
      socket.on('error', () => undefined);
      socket.on('close', () => done());
    });
  const ended = running.then(({ code, stderr }) => assert.equal(code, 0, stderr));
  await Promise.race([there('ready'), ended]);
  await Promise.race([Promise.all([call(), call(), call()]), ended]);
  await Promise.race([there('freed'), ended]);
  await call();
  const { code, stdout, stderr } = await running;
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /served/);
  const busy = Number(/busy ([\d.]+)/.exec(stdout)?.[1]);
  assert.ok(busy < 0.75, `busy for ${busy} of the time with nobody waiting`);
  fs.rmSync(folder, { recursive: true });
});
