import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { silentLogger, systemClock } from '#kit';
import type { Rule } from '../../render/rule.ts';
import type { Backend } from './backend.ts';
import { IptablesFamily } from './iptables.ts';

const rule = (target: string): Rule => ({ match: '', target, comment: '' });
const pods = 40;
const policies = 2_000;

/** The texts of all restore calls for `pods` chains that name all of the policies' chains, wanted in the order given. */
async function written(backend: Backend, order: 'pods first' | 'policies first'): Promise<string[]> {
  const texts: string[] = [];
  const run = async (argv: readonly string[], options: { readonly stdin?: string } = {}) => {
    if (argv.some((word) => word.endsWith('restore'))) texts.push(options.stdin ?? '');
    return { code: 0, stdout: '', stderr: '' };
  };
  const deps = { run, log: silentLogger, clock: systemClock() };
  const table = new IptablesFamily(deps, { family: 4, backend, chainPrefix: 'poplin-', env: {} });
  await table.read();
  const wish = {
    pods() {
      for (let i = 0; i < pods; i++) {
        const all = Array.from({ length: policies / pods }, (_, k) =>
          rule(`-j poplin-policy-${(i * policies) / pods + k}`),
        );
        table.desireChain('mangle', `poplin-pod-${i}`, all);
      }
      table.desireChain('mangle', 'poplin-root', [rule('-j poplin-pod-0'), rule('-g poplin-pod-1')]);
    },
    policies() {
      for (let i = 0; i < policies; i++) table.desireChain('mangle', `poplin-policy-${i}`, [rule('-j DROP')]);
    },
  };
  for (const part of order === 'pods first' ? (['pods', 'policies'] as const) : (['policies', 'pods'] as const))
    wish[part]();
  table.desireJump({ table: 'mangle', from: 'FORWARD', to: 'poplin-root', behind: [] });
  await table.write();
  return texts;
}

const commits = (text: string): string[][] =>
  text
    .split('COMMIT\n')
    .filter((part) => part !== '')
    .map((part) => part.trimEnd().split('\n'));

suite('what iptables-restore is given', () => {
  for (const order of ['pods first', 'policies first'] as const) {
    test(`very many new chains go to nft in portions that name nothing before it is there (${order})`, async () => {
      const texts = await written('nft', order);
      assert.equal(texts.length, 1, 'one call');
      const portions = commits(texts[0]!);
      assert.ok(portions.length >= 2, `${portions.length} commits`);
      const there = new Set<string>();
      for (const [at, lines] of portions.entries()) {
        assert.equal(lines[0], '*mangle');
        if (at === 0) assert.equal(lines[1], ':poplin-made-table - [0:0]', 'who made the table is said as it is made');
        assert.ok(lines.length < 1_100, `${lines.length} lines in a commit`);
        for (const line of lines) {
          const declared = /^:(\S+)/.exec(line)?.[1];
          if (declared !== undefined) there.add(declared);
          const named = / -[jg] (poplin-\S+)/.exec(line)?.[1];
          if (named !== undefined) assert.ok(there.has(named), `${line} before its chain`);
          assert.ok(!line.includes(' FORWARD ') || at === portions.length - 1, 'packets come in with the last commit');
        }
      }
      assert.equal(there.size, pods + policies + 2);
    });
  }

  test('legacy gets one commit: each of its commits replaces the whole table', async () => {
    const texts = await written('legacy', 'pods first');
    assert.deepEqual(
      texts.map((text) => commits(text).length),
      [1],
    );
  });
});
