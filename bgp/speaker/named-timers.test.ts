import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '#kit';
import { NamedTimers } from './named-timers.ts';

test('a timer fires once, one that is set again starts anew, and a stopped one never fires', () => {
  const clock = new FakeClock();
  const timers = new NamedTimers<'hold' | 'keepalive' | 'sendHold'>(clock);
  const fired: string[] = [];
  timers.set('hold', 100, () => fired.push('hold'));
  timers.set('keepalive', 60, () => fired.push('keepalive'));
  timers.set('sendHold', 70, () => fired.push('sendHold'));
  clock.advance(50);
  timers.set('hold', 100, () => fired.push('hold, set again'));
  timers.stop('sendHold');
  clock.advance(60);
  assert.deepEqual(fired, ['keepalive']);
  assert.deepEqual([timers.has('hold'), timers.has('keepalive'), timers.has('sendHold')], [true, false, false]);
  clock.advance(1000);
  assert.deepEqual(fired, ['keepalive', 'hold, set again']);
});

test('a timer may set itself again while it fires, until all are stopped', () => {
  const clock = new FakeClock();
  const timers = new NamedTimers<'keepalive'>(clock);
  let count = 0;
  const again = (): void => {
    count++;
    assert.equal(timers.has('keepalive'), false);
    timers.set('keepalive', 10, again);
  };
  timers.set('keepalive', 10, again);
  clock.advance(35);
  assert.equal(count, 3);
  timers.stopAll();
  clock.advance(100);
  assert.equal(count, 3);
});
