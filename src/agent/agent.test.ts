import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '#config';
import { takeLock } from './agent.ts';
import { AgentError } from './errors.ts';

test('a second agent on the node is refused and told who holds the lock', (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-lock-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const { config } = loadConfig({
    flags: { runDir: path.join(folder, 'run'), stateDir: path.join(folder, 'state'), nodeName: 'n1' },
    env: {},
  });
  const release = takeLock(config);
  assert.throws(
    () => takeLock(config),
    (error) =>
      error instanceof AgentError &&
      error.code === 'LOCKED' &&
      error.message.includes(`process ${process.pid} holds ${path.join(folder, 'run', 'agent.lock')}`),
  );
  release();
  takeLock(config)();
});

test('a directory that cannot be made is named, with the option that gives another', (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-lock-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'file');
  fs.writeFileSync(file, '');
  const { config } = loadConfig({
    flags: { runDir: path.join(file, 'run'), stateDir: folder, nodeName: 'n1' },
    env: {},
  });
  assert.throws(() => takeLock(config), /run cannot be made: .*--run-dir/);
});
