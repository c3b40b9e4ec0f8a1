/**
 * `npm run policy-suite -- [--engine] [--explain] [--kernel] [--backend nft|legacy] [--sample N] FILE...`: runs files of the format
 * policy-suite/1 against the matrix that the policy engine computes (where nothing is said), against the explainer, or by packets in
 * namespaces. One JSON line a case, last `N passed, N failed`. Exit code 1 on any mismatch, 2 on what the runner does not know.
 */
import { parseArgs } from 'node:util';
import { errorText } from '#kit';
import { EngineJudge } from './engine.ts';
import { loadPolicySuite, SuiteFormatError } from './format.ts';
import type { Judge } from './judge.ts';
import { KernelJudge } from './kernel/kernel.ts';
import { checkKinds } from './kinds.ts';
import { runCase } from './run.ts';
import type { Suite } from './suite.ts';

const exitMismatch = 1;
const exitUsage = 2;
const usage =
  'usage: npm run policy-suite -- [--engine] [--explain] [--kernel] [--backend nft|legacy] [--sample N] FILE...';

class UsageError extends Error {}

interface Choice {
  readonly engine: boolean;
  readonly explain: boolean;
  readonly kernel: boolean;
  readonly backend: 'nft' | 'legacy';
  readonly sample: number | undefined;
  readonly files: readonly string[];
}

/** @throws UsageError */
function chooseFrom(args: readonly string[]): Choice {
  const { values, positionals } = parsed(args);
  const { backend, sample } = values;
  if (positionals.length === 0) throw new UsageError('no file is given');
  if (backend !== 'nft' && backend !== 'legacy') throw new UsageError(`--backend ${backend} is neither nft nor legacy`);
  if (sample !== undefined && !/^\d{1,9}$/.test(sample)) throw new UsageError(`--sample ${sample} is no number`);
  return {
    engine: values.engine || !(values.explain || values.kernel),
    explain: values.explain,
    kernel: values.kernel,
    backend,
    sample: sample === undefined ? undefined : Number(sample),
    files: positionals,
  };
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        engine: { type: 'boolean', default: false },
        explain: { type: 'boolean', default: false },
        kernel: { type: 'boolean', default: false },
        backend: { type: 'string', default: 'nft' },
        sample: { type: 'string' },
      },
    });
  } catch (error) {
    throw new UsageError(errorText(error));
  }
}

/** Reads and checks everything before anything runs. @throws SuiteFormatError */
function suitesOf({ files, kernel }: Choice): Suite[] {
  return files.map((file) => {
    const suite = loadPolicySuite(file);
    checkKinds(suite, 'engine');
    if (kernel) checkKinds(suite, 'kernel');
    return suite;
  });
}

async function run(choice: Choice, suites: readonly Suite[], judges: readonly Judge[]): Promise<boolean> {
  const options = choice.sample === undefined ? {} : { sample: choice.sample };
  let passed = 0;
  let failed = 0;
  let heard = true;
  process.stdout.on('error', () => {
    heard = false;
  });
  for (const suiteCase of suites.flatMap(({ cases }) => cases)) {
    if (!heard) break;
    const result = await runCase(suiteCase, judges, options);
    process.stdout.write(`${JSON.stringify(result)}\n`);
    if (result.passed) passed++;
    else failed++;
  }
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  return failed === 0;
}

async function main(): Promise<number> {
  const choice = chooseFrom(process.argv.slice(2));
  const suites = suitesOf(choice);
  const judges: Judge[] = [
    ...(choice.engine ? [new EngineJudge('matrix')] : []),
    ...(choice.explain ? [new EngineJudge('explain')] : []),
    ...(choice.kernel ? [await KernelJudge.create({ backend: choice.backend })] : []),
  ];
  const end = async (): Promise<void> => {
    for (const judge of judges) await judge.end();
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void end().finally(() => process.exit(128 + (signal === 'SIGINT' ? 2 : 15))));
  }
  try {
    return (await run(choice, suites, judges)) ? 0 : exitMismatch;
  } finally {
    await end();
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError || error instanceof SuiteFormatError)) throw error;
  process.stderr.write(`policy-suite: ${error.message}\n`);
  if (error instanceof UsageError) process.stderr.write(`${usage}\n`);
  process.exitCode = exitUsage;
}
