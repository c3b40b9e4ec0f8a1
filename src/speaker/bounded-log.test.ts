import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, type Logger, silentLogger } from '#kit';
import { boundedLog, linesBurstMax, linesPerSec } from './bounded-log.ts';

test('a flood of lines is cut, counted, and over after a while; all children count together', () => {
  const clock = new FakeClock();
  const lines: object[] = [];
  const sink: Logger = { ...silentLogger, warn: (fields) => void lines.push(fields), child: () => sink };
  const log = boundedLog(sink, clock);
  const child = log.child({ peer: 'a' });
  for (let i = 0; i < linesBurstMax; i++) (i % 2 === 0 ? log : child).warn({ i }, 'line');
  assert.equal(lines.length, linesBurstMax);
  for (let i = 0; i < 1000; i++) child.warn({ i }, 'line');
  assert.equal(lines.length, linesBurstMax);
  clock.advance(1000);
  for (let i = 0; i < 1000; i++) log.warn({ i }, 'line');
  assert.equal(lines.length, linesBurstMax + linesPerSec);
  assert.deepEqual(lines[linesBurstMax], { i: 0, linesLeftOut: 1000 });
  clock.advance(1_000_000);
  log.warn({}, 'line');
  assert.deepEqual(lines.at(-1), { linesLeftOut: 950 });
});
