/** One connection on a clock moved by hand: its messages, and the timers that depend on what passes through it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '#kit';
import { encodeKeepalive, messageType } from '../wire/index.ts';
import { LiveConnection } from './live-connection.ts';
import type { ByteConnection, ConnectionHandlers } from './types.ts';

const sendHoldMs = 1000;

function world() {
  const clock = new FakeClock();
  const seen = { messages: [] as number[], errors: 0, closed: 0, drained: 0, timers: [] as string[] };
  const wire = { handlers: undefined as ConnectionHandlers | undefined, queuedBytes: 0, closes: 0 };
  const connection: ByteConnection = {
    remoteAddress: '10.0.0.2',
    remotePort: 179,
    localAddress: '10.0.0.1',
    get queuedBytes() {
      return wire.queuedBytes;
    },
    start: (handlers) => {
      wire.handlers = handlers;
    },
    write: () => undefined,
    rekey: () => true,
    close: () => {
      wire.closes++;
      // The hardest case: it tells of what it was told.
      wire.handlers!.onClosed('closed');
    },
    destroy: () => undefined,
  };
  const during = { message: (): void => undefined };
  const live = new LiveConnection(7, connection, clock, sendHoldMs, {
    onMessage: (_live, type) => {
      seen.messages.push(type);
      during.message();
    },
    onError: () => seen.errors++,
    onClosed: () => seen.closed++,
    onDrained: () => seen.drained++,
    onTimer: (_live, timer) => seen.timers.push(timer),
  });
  live.start();
  return { clock, seen, wire, live, during, say: (bytes: Uint8Array) => wire.handlers!.onData(bytes) };
}

const keepalive = encodeKeepalive();
const twoKeepalives = new Uint8Array([...keepalive, ...keepalive]);
const noMarker = new Uint8Array(19);

test('RFC 4271 6.5: hold time counts from the last whole message, without a start of the timer by each', () => {
  const { clock, seen, live, say } = world();
  live.startTimer('hold', 900);
  for (let i = 0; i < 5; i++) {
    clock.advance(800);
    say(keepalive);
  }
  clock.advance(800);
  say(keepalive.subarray(0, 10));
  clock.advance(99);
  assert.deepEqual(seen.timers, []);
  clock.advance(100);
  assert.deepEqual(seen.timers, ['hold']);
});

test('hold time that ran out while we were busy is looked at again once the bytes that waited could be read', () => {
  const { clock, seen, live, say } = world();
  live.startTimer('hold', 900);
  // The timer is due, and right behind it comes what had been in the socket for long.
  clock.advance(900);
  say(keepalive);
  clock.advance(899);
  assert.deepEqual(seen.timers, []);
  clock.advance(100);
  assert.deepEqual(seen.timers, ['hold']);
});

test('nothing is heard of a connection that was closed, nor of its timers', () => {
  const { clock, seen, wire, live, say } = world();
  live.startTimer('hold', 900);
  live.startTimer('keepalive', 300);
  wire.queuedBytes = 19;
  live.write(keepalive);
  live.close();
  live.close();
  say(keepalive);
  say(noMarker);
  clock.advance(10_000);
  assert.deepEqual([seen.messages, seen.errors, seen.closed, seen.timers], [[], 0, 0, []]);
  assert.equal(wire.closes, 1);
});

test('that the peer closes it is heard once, and its timers end', () => {
  const { clock, seen, wire, live } = world();
  live.startTimer('keepalive', 300);
  wire.handlers!.onClosed('end of file');
  wire.handlers!.onClosed('end of file');
  live.close();
  clock.advance(1000);
  assert.deepEqual([seen.closed, seen.timers, wire.closes], [1, [], 0]);
});

test('a message that ends the connection is the last one of its chunk', () => {
  const { seen, live, during, say } = world();
  say(twoKeepalives);
  during.message = () => live.close();
  say(new Uint8Array([...twoKeepalives, ...noMarker]));
  assert.deepEqual(seen.messages, [messageType.keepalive, messageType.keepalive, messageType.keepalive]);
  assert.equal(seen.errors, 0);
});

test('what is not BGP is an error', () => {
  const { seen, say } = world();
  say(noMarker);
  assert.deepEqual([seen.messages, seen.errors], [[], 1]);
});

test('RFC 9687: send hold time runs while TCP takes nothing, and anew when it took something', () => {
  const { clock, seen, wire, live } = world();
  wire.queuedBytes = 19;
  live.write(keepalive);
  wire.queuedBytes = 10;
  clock.advance(sendHoldMs);
  assert.deepEqual(seen.timers, []);
  clock.advance(sendHoldMs - 1);
  assert.deepEqual(seen.timers, []);
  clock.advance(1);
  assert.deepEqual(seen.timers, ['sendHold']);
});

test('RFC 9687: an empty queue ends the send hold time, and the next write that stays begins it', () => {
  const { clock, seen, wire, live } = world();
  wire.queuedBytes = 19;
  live.write(keepalive);
  wire.queuedBytes = 0;
  clock.advance(sendHoldMs + 500);
  wire.queuedBytes = 19;
  live.write(keepalive);
  clock.advance(sendHoldMs - 1);
  assert.deepEqual(seen.timers, []);
  clock.advance(1);
  assert.deepEqual(seen.timers, ['sendHold']);
});
