import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, suite, test } from 'node:test';
import { exec } from './exec.ts';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-exec-'));
after(() => fs.rmSync(folder, { recursive: true }));

suite('input that is made while the child works', () => {
  test('a part has been read before the next is made', async () => {
    const fifo = path.join(folder, 'fifo');
    assert.equal((await exec('mkfifo', [fifo])).code, 0);
    async function* parts(): AsyncGenerator<string> {
      yield 'one\n';
      assert.equal(await fs.promises.readFile(fifo, 'utf8'), 'one\n');
      yield 'two\n';
    }
    const script = 'read a; echo $a > "$1"; read b; echo $a $b';
    assert.deepEqual(await exec('sh', ['-c', script, 'sh', fifo], { stdin: parts() }), {
      code: 0,
      stdout: 'one two\n',
      stderr: '',
    });
  });

  test('a part that cannot be made ends the child, and is said', async () => {
    async function* parts(): AsyncGenerator<string> {
      yield 'one\n';
      throw new Error('no policy p2');
    }
    const { code, stderr } = await exec('sh', ['-c', 'cat; exec tail -f /dev/null'], { stdin: parts() });
    assert.equal(code, 1);
    assert.equal(stderr, 'sh: no more input: no policy p2');
  });

  test('a child that reads only the beginning ends as it wants to, and no more is made', async () => {
    let made = 0;
    const givenUp = Promise.withResolvers<void>();
    async function* parts(): AsyncGenerator<string> {
      try {
        for (;;) {
          made++;
          yield 'x'.repeat(1 << 16);
        }
      } finally {
        givenUp.resolve();
      }
    }
    const { code, stdout } = await exec('sh', ['-c', 'head -c 3; exit 7'], { stdin: parts() });
    assert.deepEqual([code, stdout], [7, 'xxx']);
    await givenUp.promise;
    assert.ok(made < 100, `${made} parts`);
  });
});
