import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { exec } from './exec.ts';

const lines = async (script: string, options: Parameters<typeof exec>[2] = {}): Promise<string[]> => {
  const { code, stdout, stderr } = await exec('/bin/sh', ['-c', script], options);
  assert.deepEqual([code, stderr], [0, '']);
  return stdout.trimEnd().split('\n');
};

test('a child has the descriptors that it is given, in their order, and no other', async () => {
  const own = [1, 2].map((fd) => fs.readlinkSync(`/proc/self/fd/${fd}`));
  // 1 and 2 are numbers of the child, too.
  assert.deepEqual(await lines('readlink /proc/$$/fd/3 /proc/$$/fd/4', { inherit: [1, 2] }), own);
  const [given, kept] = [0, 1].map(() => fs.openSync(import.meta.filename, 'r'));
  const links = await lines('ls -l /proc/$$/fd', { inherit: [given!] });
  const ofFile = links.filter((line) => line.endsWith(import.meta.filename));
  assert.deepEqual(
    ofFile.map((line) => / (\d+) -> /.exec(line)?.[1]),
    ['3'],
  );
  for (const fd of [given!, kept!]) fs.closeSync(fd);
});

test('no signal is blocked or ignored in it, which SIGPIPE is in Node', async () => {
  const masks = await lines("sed -n 's/^Sig[BI][lg][kn]:.//p' /proc/self/status");
  // 32 and above are libc's own.
  assert.deepEqual(
    masks.map((mask) => BigInt(`0x${mask}`) & 0x7fffffffn),
    [0n, 0n],
  );
});

test('it is looked for in the PATH that it gets, and starts in the folder that it is given', async () => {
  assert.deepEqual(await lines('pwd', { cwd: '/usr' }), ['/usr']);
  assert.equal((await exec('true', [], { env: { PATH: '/no/such/folder:/bin:/usr/bin' } })).code, 0);
  const { code, stderr } = await exec('true', [], { env: { PATH: '/dev:/no/such/folder' } });
  assert.equal(code, 127);
  assert.match(stderr, /^true: posix_spawn: ENOENT \(true is not in \/dev:/);
  assert.match((await exec('/', [])).stderr, /EACCES/);
  assert.match((await exec('/bin/true', [], { cwd: '/no/such/folder' })).stderr, /ENOENT/);
});

test('a signal that ends it is told as shells tell it', async () => {
  assert.equal((await exec('/bin/sh', ['-c', 'kill -QUIT $$'])).code, 128 + 3);
});

test('output may be had in pieces, each in another turn of the event loop', async () => {
  const text = 'é'.repeat(200_000);
  const pieces: string[] = [];
  let turn = 0;
  const turns = new Set<number>();
  let isOver = false;
  const next = (): void => {
    turn++;
    if (!isOver) setImmediate(next);
  };
  next();
  const { code, stdout } = await exec('cat', [], {
    stdin: text,
    onOutput: (piece) => {
      assert.ok(!turns.has(turn));
      turns.add(turn);
      pieces.push(piece);
    },
  });
  isOver = true;
  assert.deepEqual([code, stdout], [0, '']);
  assert.ok(pieces.length >= 7 && pieces.every((piece) => Buffer.byteLength(piece) <= 65_540), `${pieces.length}`);
  assert.ok(pieces.join('') === text);
});
