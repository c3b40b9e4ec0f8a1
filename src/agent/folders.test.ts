import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { AgentError } from './errors.ts';
import { checkFolders } from './folders.ts';

function folders(t: TestContext): { root: string; config: Parameters<typeof checkFolders>[0] } {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-folders-'));
  t.after(() => fs.rmSync(root, { recursive: true }));
  const at = (name: string): string => path.join(root, name);
  fs.mkdirSync(at('sys/net/ipv4/conf'), { recursive: true });
  const config = { runDir: at('run'), stateDir: at('state'), cniConfDir: at('cni/net.d'), procSys: at('sys') };
  return { root, config };
}

test('folders that are not there yet are made', (t) => {
  const { config } = folders(t);
  checkFolders(config);
  for (const folder of Object.values(config)) assert.ok(fs.existsSync(folder), folder);
  checkFolders({ ...config, cniConfDir: '', procSys: '' });
});

for (const option of ['runDir', 'stateDir', 'cniConfDir'] as const) {
  test(`${option} that cannot be made is named, with the remedy`, (t) => {
    const { root, config } = folders(t);
    fs.writeFileSync(path.join(root, 'file'), '');
    const folder = path.join(root, 'file', 'below');
    const flag = { runDir: '--run-dir', stateDir: '--state-dir', cniConfDir: '--cni-conf-dir' }[option];
    assert.throws(
      () => checkFolders({ ...config, [option]: folder }),
      (error) =>
        error instanceof AgentError &&
        error.failure.code === 'DIRECTORY' &&
        error.failure.path === folder &&
        error.message.startsWith(`${folder} cannot be made: `) &&
        error.message.includes(flag),
    );
  });
}

test('a place for settings that holds none is refused: each of them would count as absent', (t) => {
  const { root, config } = folders(t);
  assert.throws(
    () => checkFolders({ ...config, procSys: path.join(root, 'empty') }),
    /empty\/net does not hold the kernel's settings; in a container mount that of the node there, .*--proc-sys/,
  );
});
