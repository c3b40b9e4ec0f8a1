/**
 * Reporter for `node --test`: one line a file, every failure in full, and a machine-readable line for each test that
 * failed or was skipped (written to the file in POPLINTEST_RESULTS, which src/setup/test.mjs adds up).
 */
import fs from 'node:fs';
import path from 'node:path';
import { inspect } from 'node:util';

const resultsFile = process.env.POPLINTEST_RESULTS;

function record(result) {
  if (resultsFile) fs.appendFileSync(resultsFile, `${JSON.stringify(result)}\n`);
}

function nameOf(data) {
  return data.file ? path.relative(process.cwd(), data.file) : '(no file)';
}

/** @returns {string} one line for the summary, which may be all of a long output that somebody still has: how the cause begins and ends. */
function inOneLine(cause) {
  const text = (cause instanceof Error ? cause.message : String(cause)).trim().replaceAll(/\s*\n\s*/g, ' / ');
  return text.length <= 600 ? text : `${text.slice(0, 200)} ... ${text.slice(-400)}`;
}

/** @param {AsyncIterable<{type: string, data: any}>} source */
// biome-ignore lint/style/noDefaultExport: node --test-reporter takes the default export.
export default async function* report(source) {
  /** @type {Map<string, {passed: number, failed: number, skipped: number, ms: number}>} */
  const files = new Map();
  /** Names of the open tests and suites by nesting, for the full name of a failed one. */
  const open = [];
  for await (const { type, data } of source) {
    if (type === 'test:start') open[data.nesting] = data.name;
    if (type === 'test:stderr' || type === 'test:stdout') yield data.message;
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    const file = nameOf(data);
    const counts = files.get(file) ?? { passed: 0, failed: 0, skipped: 0, ms: 0 };
    files.set(file, counts);
    if (data.nesting === 0) counts.ms += data.details?.duration_ms ?? 0;
    const isSuite = data.details?.type === 'suite';
    const cause = data.details?.error?.cause ?? data.details?.error;
    const onlyBecauseOfSubtests = data.details?.error?.failureType === 'subtestsFailed';
    // A suite is counted only where none of its tests is: skipped as a whole, or broken in a hook.
    if (isSuite && data.skip === undefined && (type === 'test:pass' || onlyBecauseOfSubtests)) continue;
    const name = [...open.slice(0, data.nesting), data.name].join(' > ');
    if (data.skip !== undefined || data.todo !== undefined) {
      counts.skipped++;
      const reason = data.skip ?? data.todo;
      record({
        outcome: 'skipped',
        file,
        name,
        reason: typeof reason === 'string' && reason ? reason : 'no reason given',
      });
    } else if (type === 'test:pass') {
      counts.passed++;
      record({ outcome: 'passed', file, name });
    } else if (!onlyBecauseOfSubtests) {
      counts.failed++;
      record({ outcome: 'failed', file, name, reason: inOneLine(cause) });
      yield `\nFAILED ${file}: ${name}\n${inspect(cause, { depth: 6 })}\n\n`;
    }
  }
  for (const [file, { passed, failed, skipped, ms }] of [...files].sort()) {
    const words = [`${passed} passed`];
    if (failed) words.push(`${failed} FAILED`);
    if (skipped) words.push(`${skipped} skipped`);
    yield `${failed ? 'FAIL' : 'ok  '} ${file}: ${words.join(', ')} (${(ms / 1000).toFixed(1)} s)\n`;
  }
}
