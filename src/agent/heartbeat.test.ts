import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '#kit';
import { createHealthRegistry } from '#obs';
import { BEAT_MS, beatWhileAnswering, SILENCE_MAX_MS } from './heartbeat.ts';

async function pass(clock: FakeClock, ms: number): Promise<void> {
  for (let at = 0; at < ms; at += BEAT_MS) {
    clock.advance(BEAT_MS);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

for (const [name, trouble] of [
  ['no longer answers', () => new Promise(() => undefined)],
  ['answers with failures only', () => Promise.reject(new Error('broken'))],
] as const) {
  test(`alive as long as it answers; not when it ${name}`, async () => {
    const clock = new FakeClock();
    const health = createHealthRegistry(clock);
    let ask: () => Promise<unknown> = () => Promise.resolve();
    const part = health.component('speaker', { heartbeatMs: SILENCE_MAX_MS });
    const stop = beatWhileAnswering(clock, part, () => ask());
    await pass(clock, 3 * SILENCE_MAX_MS);
    assert.deepEqual(health.alive(), { ok: true, reasons: [] });
    ask = trouble;
    await pass(clock, SILENCE_MAX_MS + 2 * BEAT_MS);
    assert.equal(health.alive().ok, false);
    assert.match(health.alive().reasons[0]!, /^speaker: no heartbeat for \d+ s/);
    stop();
  });
}
