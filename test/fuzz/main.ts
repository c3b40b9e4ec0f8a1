/**
 * `npm run fuzz [-- --cases=N] [--seed=N] [--only=TARGET] [--from=N] [--corpus=FOLDER]`: 10 million cases where nothing is said, by a seed
 * that is printed. A failure prints the octets and the command that runs its case alone.
 */
import { parseArgs } from 'node:util';
import { fuzz, fuzzTargets } from './fuzz.ts';

const casesDefault = 10_000_000;

function wholeNumber(name: string, text: string | undefined, otherwise: number): number {
  const value = text === undefined ? otherwise : Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  process.stderr.write(`--${name}=${text} is no number\n`);
  process.exit(2);
}

const { values } = parseArgs({
  options: {
    cases: { type: 'string' },
    seed: { type: 'string' },
    only: { type: 'string' },
    from: { type: 'string' },
    corpus: { type: 'string' },
  },
});
const names = fuzzTargets().map(({ name }) => name);
if (values.only !== undefined && !names.includes(values.only)) {
  process.stderr.write(`no target named ${values.only}; there are: ${names.join(', ')}\n`);
  process.exit(2);
}
const seed = wholeNumber('seed', values.seed, Date.now() >>> 0);
process.stdout.write(`seed ${seed}\n`);
try {
  const options = {
    cases: wholeNumber('cases', values.cases, casesDefault),
    seed,
    from: wholeNumber('from', values.from, 0),
    ...(values.only === undefined ? {} : { only: values.only }),
    ...(values.corpus === undefined ? {} : { corpus: values.corpus }),
  };
  for (const { target, cases, casesPerSec, slowestMs } of fuzz(options)) {
    process.stdout.write(`${target}: ${cases} cases, ${casesPerSec}/s, slowest ${slowestMs.toFixed(1)} ms\n`);
  }
} catch (error) {
  process.stdout.write(`FOUND: ${(error as Error).message}\n`);
  const cause = (error as Error).cause;
  for (let deeper = cause; deeper instanceof Error; deeper = deeper.cause) process.stdout.write(`${deeper.stack}\n`);
  process.exitCode = 1;
}
