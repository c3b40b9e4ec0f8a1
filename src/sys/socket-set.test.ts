import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { EpollFd } from './epoll-fd.ts';
import { eventLoop } from './event-loop.ts';
import type { Fd } from './fd.ts';
import { socketPair } from './fd.ts';
import * as libc from './libc.ts';
import { SocketSet } from './socket-set.ts';
import { sendTcp } from './tcp-stream.ts';
import { watch } from './watch.ts';

/** linux/fcntl.h: status flags; none are those of a socket that blocks. */
const F_SETFL = 4;
const octet = new Uint8Array(1);
const say = (fd: Fd): void => void sendTcp(fd.number, octet, 1);
const hear = (fd: Fd): number => libc.recv(fd.number, octet, 1, 0);

function pair(t: TestContext): [Fd, Fd] {
  const both = socketPair();
  t.after(() => {
    for (const fd of both) fd.close();
  });
  return [both[0], both[1]];
}

/** Two sockets of one set that answer each other for as long as `goesOn(answers so far)`. */
function pingPong(t: TestContext, goesOn: (count: number) => boolean): Promise<void> {
  const set = new SocketSet();
  const both = pair(t);
  const { promise, resolve } = Promise.withResolvers<void>();
  let count = 0;
  for (const fd of both) {
    set
      .add(fd.number, () => {
        hear(fd);
        if (goesOn(++count)) return say(fd);
        set.close();
        resolve();
      })
      .await(true, false);
  }
  say(both[0]);
  return promise;
}

test('who is to be called at once is called soon while sockets never rest, and so are other descriptors', async (t) => {
  const [mouth, ear] = pair(t);
  const asked = { immediate: 0, descriptor: 0 };
  const answered = { immediate: 0, descriptor: 0 };
  let answers = 0;
  const watcher = watch(ear.number, { readable: true }, () => {
    hear(ear);
    answered.descriptor = answers;
  });
  t.after(() => watcher.close());
  await pingPong(t, (count) => {
    answers = count;
    if (count === 2_000) {
      asked.immediate = count;
      setImmediate(() => (answered.immediate = answers));
    } else if (answered.immediate > 0 && asked.descriptor === 0 && count > answered.immediate + 1_000) {
      asked.descriptor = count;
      say(mouth);
    }
    return answered.descriptor === 0 && count < 1_000_000;
  });
  for (const what of ['immediate', 'descriptor'] as const) {
    const meanwhile = answered[what] - asked[what];
    assert.ok(meanwhile >= 0 && meanwhile < 20, `${what}: ${meanwhile} answers later`);
  }
});

test('timers and promises have their turn while sockets never rest', async (t) => {
  const done: string[] = [];
  setTimeout(() => done.push('timer'), 1);
  await pingPong(t, (count) => {
    if (count === 2_000) void Promise.resolve().then(() => done.push('promise'));
    return done.length < 2 && count < 10_000_000;
  });
  assert.deepEqual(done.sort(), ['promise', 'timer']);
});

test('most of what follows soon is served without the event loop', async (t) => {
  let turns = 0;
  const turn = (): void => {
    turns++;
    if (!over) setTimeout(turn, 0);
  };
  let over = false;
  setImmediate(turn);
  const set = new SocketSet(() => quiet++);
  let quiet = 0;
  const [ours, theirs] = pair(t);
  const heard = Promise.withResolvers<void>();
  let count = 0;
  for (const fd of [ours, theirs]) {
    set
      .add(fd.number, () => {
        hear(fd);
        if (++count < 20_000) return say(fd);
        set.close();
        heard.resolve();
      })
      .await(true, false);
  }
  say(ours);
  await heard.promise;
  over = true;
  assert.ok(turns < count / 10, `${turns} turns for ${count} answers`);
  assert.ok(quiet > count / 2, `${quiet} of ${count}`);
});

test('turns of the event loop end no stay, and when nobody says any more the loop rests', async (t) => {
  const set = new SocketSet();
  t.after(() => set.close());
  const [ours, theirs] = pair(t);
  const { promise, resolve } = Promise.withResolvers<void>();
  let count = 0;
  set
    .add(ours.number, () => {
      hear(ours);
      if (++count < 50) setTimeout(say, 2, theirs);
      else resolve();
    })
    .await(true, false);
  say(theirs);
  const before = performance.nodeTiming.uvMetricsInfo.events;
  await promise;
  // Some, when the machine is busy with something else for longer than a stay.
  const byLoop = performance.nodeTiming.uvMetricsInfo.events - before;
  assert.ok(byLoop < count / 2, `${byLoop} of ${count} came by the event loop`);
  const turnsBefore = performance.nodeTiming.uvMetricsInfo.loopCount;
  await sleep(200);
  const turns = performance.nodeTiming.uvMetricsInfo.loopCount - turnsBefore;
  assert.ok(turns < 30, `${turns} turns for nothing`);
});

test('nobody who may be told something soon sleeps with a timer that comes before the next tick of the kernel', async (t) => {
  const sleeps: number[] = [];
  const { wait } = EpollFd.prototype;
  const loop = eventLoop();
  t.mock.method(EpollFd.prototype, 'wait', function (this: EpollFd, timeoutMs: number) {
    // But until a timer is due that somebody else has set, as others in the process may.
    const timerMs = loop?.waitMs() ?? -1;
    if (timeoutMs > 0 && (timerMs < 0 || timeoutMs < timerMs)) sleeps.push(timeoutMs);
    return wait.call(this, timeoutMs);
  });
  const timers = [50, 120, 190].map((ms) => setTimeout(() => undefined, ms));
  t.after(() => timers.forEach(clearTimeout));
  const set = new SocketSet();
  t.after(() => set.close());
  const [ours, theirs] = pair(t);
  const speaker = spawn('sh', ['-c', 'while echo; do sleep 0.002; done'], {
    stdio: ['ignore', theirs.number, 'inherit'],
  });
  t.after(() => speaker.kill());
  const { promise, resolve } = Promise.withResolvers<void>();
  let count = 0;
  set
    .add(ours.number, () => {
      hear(ours);
      if (++count === 200) resolve();
    })
    .await(true, false);
  await promise;
  assert.ok(sleeps.length > 50, `${sleeps.length} sleeps`);
  assert.ok(Math.min(...sleeps) >= 5, `slept for ${sleeps.join(' ')} ms`);
});

test('an event of a number that was closed and used again in the same turn is not for who has it now', async (t) => {
  const set = new SocketSet();
  const [first, firstPeer] = pair(t);
  const [second, secondPeer] = pair(t);
  const { promise, resolve } = Promise.withResolvers<void>();
  const watchers = new Map([first, second].map((fd) => [fd, set.add(fd.number, () => onReady(fd))]));
  let served = 0;
  let stale = 0;
  const onReady = (fd: Fd): void => {
    served++;
    const other = fd === first ? second : first;
    const { number } = other;
    watchers.get(other)!.close();
    other.close();
    const [again] = pair(t);
    assert.equal(again.number, number);
    set.add(number, () => stale++).await(true, false);
    hear(fd);
    watchers.get(fd)!.await(false, false);
    // Behind all events of this turn.
    setImmediate(resolve);
  };
  for (const watcher of watchers.values()) watcher.await(true, false);
  for (const fd of [firstPeer, secondPeer]) say(fd);
  await promise;
  assert.deepEqual({ served, stale }, { served: 1, stale: 0 }, 'who has the number now has said nothing');
  set.close();
});

test('a set that is emptied by an event and filled by the next lines goes on', async (t) => {
  const set = new SocketSet();
  const { promise, resolve } = Promise.withResolvers<void>();
  let left = 300;
  const next = (): void => {
    const [ours, theirs] = pair(t);
    const watcher = set.add(ours.number, () => {
      watcher.close();
      // Closed already: nothing happens.
      watcher.close();
      watcher.await(true, true);
      if (--left > 0) next();
      else resolve();
    });
    watcher.await(true, false);
    say(theirs);
  };
  next();
  await promise;
  set.close();
});

test('room to write, and the end, which is told unasked', async (t) => {
  const set = new SocketSet();
  const [ours, theirs] = pair(t);
  const events: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const watcher = set.add(ours.number, (readable, writable) => {
    events.push(`${readable ? 'r' : '-'}${writable ? 'w' : '-'}`);
    watcher.await(false, false);
    if (events.length === 1) theirs.close();
    else {
      watcher.close();
      resolve();
    }
  });
  watcher.await(false, true);
  await promise;
  assert.deepEqual(events, ['-w', 'r-']);
  assert.throws(() => set.add(1 << 20, () => undefined), /EBADF/);
  set.close();
});

const oneProcessor = availableParallelism() === 1 && 'with one processor nobody is waited for awake';
test('an answer that comes at once is waited for awake', { skip: oneProcessor }, async (t) => {
  const exchanges = 500;
  const set = new SocketSet();
  t.after(() => set.close());
  const [near, far] = pair(t);
  libc.fcntl(far.number, F_SETFL, 0);
  const echo = spawn('cat', { stdio: [far.number, far.number, 'inherit'] });
  t.after(() => echo.kill());
  let left = 0;
  let done = (): void => undefined;
  set
    .add(near.number, () => {
      hear(near);
      if (--left > 0) say(near);
      else done();
    })
    .await(true, false);
  const sleepsOf = async (): Promise<number> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    done = resolve;
    left = exchanges;
    const before = process.resourceUsage().voluntaryContextSwitches;
    say(near);
    await promise;
    return process.resourceUsage().voluntaryContextSwitches - before;
  };
  // Whoever echoes may be kept waiting for a processor: then it is right to sleep.
  let fewest = exchanges;
  for (let round = 0; round < 20 && fewest >= exchanges / 2; round++) fewest = Math.min(fewest, await sleepsOf());
  assert.ok(fewest < exchanges / 2, `slept ${fewest} times of ${exchanges}`);
});
