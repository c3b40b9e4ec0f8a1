/** The bench of BGP at a hundredth of its size: every part, every speaker. What it measures is not judged here, only that it does. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { suite, test } from 'node:test';
import { kubeAsset, toolPath } from '#setup';
import type { DutName } from '../bench/bgp/dut-starters.ts';
import type { Measured, Part } from '../bench/bgp/measure.ts';
import { rowsOf, tableText } from '../bench/bgp/report.ts';
import { needs } from '../support/needs.ts';

test('the table: who is too slow or fails shows as that, ratios, and verdicts', () => {
  const part: Part = {
    run: () => assert.fail('nothing is run'),
    goals: [
      { figure: 'seconds', of: 'ratio', must: 0.9, aim: 0.6 },
      { figure: 'rssMib', of: 'absolute', must: 200, aim: 150 },
      { figure: 'lost', of: 'absolute', must: 0, aim: 0 },
    ],
  };
  const measured = new Map<DutName, Measured>([
    ['poplin', { rounds: 5, figures: { seconds: 1.5, rssMib: 140 } }],
    ['bird', { rounds: 5, figures: { seconds: 2, rssMib: 70 } }],
    ['frr', { rounds: 1, figures: {}, overSec: 60 }],
    ['gobgp', { rounds: 1, figures: {}, failed: 'ended' }],
  ]);
  const rows = rowsOf('relay', part, measured);
  const text = tableText(rows, new Map([['relay', measured]]), [...measured.keys()]);
  const lines = text.split('\n').map((line) => line.trim().split(/ {2,}/).join('|'));
  assert.deepEqual(lines, [
    'part|figure|poplin|bird|frr|gobgp|/ bird|/ frr|/ gobgp|must|aim|met',
    'relay|seconds|1.5|2|> 60 s|failed|0.75|0.9 x|0.6 x|must',
    'relay|rssMib|140|70|> 60 s|failed|2|200|150|aim',
    'relay|lost|> 60 s|failed|0|0|missed',
    '',
  ]);
});

const wants = needs({ root: true, commands: ['ip', 'nft', 'sysctl'], provided: ['bird', 'birdc'] });
/** At this scale. */
const flowsMin = 400;
/** A busy machine takes minutes, another one of them. */
const timeout = 600_000;

const bench = path.join(import.meta.dirname, '../bench/bgp.ts');

interface Speaker {
  readonly rounds: number;
  readonly figures: Readonly<Record<string, number>>;
  readonly overSec?: number;
  readonly failed?: string;
}
interface Output {
  readonly report: Readonly<
    Record<string, { speakers: Record<string, Speaker>; rows: { figure: string; goal?: object }[] }>
  >;
}

async function run(duts: string, parts: readonly string[]): Promise<{ output: Output; table: string }> {
  const env = { ...process.env, ROUNDS: '1', SCALE: '0.01', ...(duts === '' ? {} : { DUTS: duts }) };
  const child = spawn(process.execPath, [bench, ...parts], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let [out, table] = ['', ''];
  child.stdout.on('data', (chunk) => (out += chunk));
  child.stderr.on('data', (chunk) => (table += chunk));
  const code = await new Promise((resolve) => child.once('close', resolve));
  // 1: a figure is not what it must be, as on a busy machine.
  assert.ok(code === 0 || code === 1, `${code}: ${table}`);
  return { output: JSON.parse(out) as Output, table };
}

/** Every speaker has figures and was in time; every goal stands in a row. */
function assertWhole({ output, table }: { output: Output; table: string }, parts: readonly string[]): void {
  assert.deepEqual(Object.keys(output.report).sort(), parts.toSorted());
  for (const [part, { speakers, rows }] of Object.entries(output.report)) {
    assert.ok(rows.length > 0, `${part} has rows`);
    for (const [name, { rounds, figures, overSec, failed }] of Object.entries(speakers)) {
      assert.equal(failed ?? overSec, undefined, `${part} of ${name}: ${table}`);
      assert.equal(rounds, 1);
      assert.ok(Object.keys(figures).length > 0, `${part} has figures of ${name}`);
    }
    assert.match(table, new RegExp(`^${part} +\\w+ `, 'm'));
  }
}

const restarts = [
  'killNineBird',
  ...(toolPath('bgpd') ? ['killNineFrr'] : []),
  ...(kubeAsset('gobgp') ? ['killNineGobgp'] : []),
];
const others = [
  ...(toolPath('bgpd') ? ['frr'] : []),
  ...(toolPath('openbgpd') ? ['openbgpd'] : []),
  ...(kubeAsset('gobgp') ? ['gobgp'] : []),
];
const ours = [
  'relay',
  'relay200k',
  'relay200k6',
  'furtherPeers',
  'threePeers',
  'fanOut32',
  'fanOut200',
  'latency',
  'manySessions',
  'underLoad',
  'idle',
  'idleBfd',
  'deadPeers',
  'bfdCut',
];
const ofAll = ['relay', 'relay200k6', 'manySessions'];

// Each waits most of its time.
suite('npm run bench -- bgp', { concurrency: 3, ...wants }, () => {
  test('every part with our speaker and BIRD has its figures, its goals and its lines of the table', {
    timeout,
  }, async () => {
    const result = await run('poplin,bird', ours);
    assertWhole(result, ours);
    const idle = Object.entries(result.output.report).filter(([, { rows }]) => rows.every(({ goal }) => !goal));
    assert.deepEqual(
      idle.map(([part]) => part),
      ['idle'],
      'all others have goals',
    );
    assert.match(result.table, /^part +figure +poplin +bird +\/ bird +must +aim +met$/m);
  });
  test('FRR, OpenBGPD and GoBGP, where they are, go through the same parts', { timeout }, async () => {
    if (others.length > 0) assertWhole(await run(others.join(','), ofAll), ofAll);
  });
  test('flows go on while our speaker is killed behind each helper', { timeout }, async () => {
    const result = await run('', restarts);
    assertWhole(result, restarts);
    for (const { speakers } of Object.values(result.output.report)) {
      const { flows, sent } = speakers['poplin']!.figures;
      assert.ok(flows! >= flowsMin && sent! > flows!, JSON.stringify(speakers));
    }
  });
});
