/**
 * `npm test [-- WORD...]`: every test that this machine can run; with words, only files whose path holds one of them; with
 * `--group=NAME` those of one group (src/setup/test-files.mjs).
 *
 * Unit tests share two processes (600 of them start in 0.6 s so, in 6 s with a process a file); whatever touches the
 * kernel or talks to a daemon gets a process of its own. The last line reads `N passed, N failed, N skipped`; with CI=true
 * a skipped test fails the run.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { root } from './paths.mjs';
import { chooseTests } from './test-files.mjs';

/** The longest that one test may take, where its group does not say otherwise; the whole demonstration runs within one. */
const testTimeoutMs = 240_000;

/** @returns {Promise<boolean>} whether every `node --test` of the group ended well. */
async function runGroup(group, files, resultsFile) {
  const processes = group.isolated ? 1 : group.concurrency;
  const shares = Array.from({ length: processes }, (_, n) => files.filter((_file, i) => i % processes === n));
  const codes = await Promise.all(
    shares.filter((share) => share.length > 0).map((share) => runFiles(group, share, resultsFile)),
  );
  return codes.every((code) => code === 0);
}

/** @returns {Promise<number>} exit code of `node --test` on `files`. */
function runFiles(group, files, resultsFile) {
  const args = [
    '--test',
    `--test-isolation=${group.isolated ? 'process' : 'none'}`,
    `--test-timeout=${group.testTimeoutMs ?? testTimeoutMs}`,
    `--test-reporter=${path.join(root, 'src', 'setup', 'test-reporter.mjs')}`,
    ...(group.isolated ? [`--test-concurrency=${group.concurrency}`] : []),
    ...files,
  ];
  return new Promise((resolve, reject) => {
    const env = { ...process.env, POPLINTEST_RESULTS: resultsFile };
    const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], env });
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 1));
    for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
  });
}

const args = process.argv.slice(2);
const words = args.filter((word) => !word.startsWith('-'));
const work = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-test-'));
const resultsFile = path.join(work, 'results');
fs.writeFileSync(resultsFile, '');
let broken = 0;
try {
  for (const { group, files } of chooseTests(args)) {
    process.stdout.write(`\n== ${group.name}: ${files.length} files\n`);
    const started = Date.now();
    const whole = await runGroup(group, files, resultsFile);
    process.stdout.write(`== ${group.name}: ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
    if (!whole) broken++;
  }
  const results = fs
    .readFileSync(resultsFile, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  const of = (outcome) => results.filter((result) => result.outcome === outcome);
  const [passed, failed, skipped] = [of('passed'), of('failed'), of('skipped')];
  process.stdout.write('\n');
  for (const { file, name, reason } of failed) process.stdout.write(`failed: ${file}: ${name}: ${reason}\n`);
  for (const { file, name, reason } of skipped) process.stdout.write(`skipped: ${file}: ${name}: ${reason}\n`);
  const strict = process.env.CI === 'true';
  if (strict && skipped.length > 0) process.stdout.write('CI=true: on this machine nothing may be skipped\n');
  if (broken > 0 && failed.length === 0)
    process.stdout.write('a test process ended with an error outside of its tests\n');
  if (results.length === 0)
    process.stdout.write(
      words.length > 0
        ? `no test matches ${words.join(' or ')}: give parts of paths, e.g. bgp/wire or test/kernel\n`
        : 'no test was found\n',
    );
  process.exitCode = failed.length > 0 || broken > 0 || results.length === 0 || (strict && skipped.length > 0) ? 1 : 0;
  process.stdout.write(`${passed.length} passed, ${failed.length} failed, ${skipped.length} skipped\n`);
} finally {
  fs.rmSync(work, { recursive: true, force: true });
}
