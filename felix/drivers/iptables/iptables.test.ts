import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { silentLogger, systemClock } from '#kit';
import type { Rule } from '../../render/rule.ts';
import { type CommandRunner, inputText } from '../command.ts';
import type { Backend } from './backend.ts';
import { IptablesFamily } from './iptables.ts';

const rule = (target: string): Rule => ({ match: '', target, comment: '' });
const pods = 40;
const policies = 2_000;

/** A table that wants `pods` chains, and all of the policies' chains, which those name, in the order given. */
async function wanting(run: CommandRunner['run'], backend: Backend, order: 'pods first' | 'policies first') {
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
  return table;
}

/** The texts of all restore calls for it. */
async function written(backend: Backend, order: 'pods first' | 'policies first'): Promise<string[]> {
  const texts: string[] = [];
  const run: CommandRunner['run'] = async (argv, options) => {
    if (argv.some((word) => word.endsWith('restore'))) texts.push(await inputText(options?.stdin));
    return { code: 0, stdout: '', stderr: '' };
  };
  const table = await wanting(run, backend, order);
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

  test('what nft refuses of the first portions is said with its line, and no further portion is made', async () => {
    const parts: string[] = [];
    const run: CommandRunner['run'] = async (argv, options) => {
      if (!argv.some((word) => word.endsWith('restore'))) return { code: 0, stdout: '', stderr: '' };
      assert.ok(typeof options?.stdin === 'object', 'portion by portion');
      for await (const part of options.stdin) {
        parts.push(part);
        break;
      }
      return { code: 4, stdout: '', stderr: 'line 3: CHAIN_ADD failed' };
    };
    const table = await wanting(run, 'nft', 'policies first');
    await assert.rejects(table.write(), { message: /line 3: CHAIN_ADD failed \(line 3: :poplin-policy-0 - \[0:0\]\)/ });
    assert.ok(table.stale);
    assert.equal(parts.length, 1);
  });

  test('legacy gets one commit: each of its commits replaces the whole table', async () => {
    const texts = await written('legacy', 'pods first');
    assert.deepEqual(
      texts.map((text) => commits(text).length),
      [1],
    );
  });
});
