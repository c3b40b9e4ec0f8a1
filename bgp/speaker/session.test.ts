/** One session on a clock moved by hand: that its timers reach the state machine, and what a peer that does not read does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, silentLogger } from '#kit';
import {
  createFramer,
  decodeNotification,
  decodeOpen,
  encodeKeepalive,
  encodeOpen,
  messageType,
  type Notification,
  type OpenMessage,
} from '../wire/index.ts';
import { sendHoldSecMin } from './limits.ts';
import { Session } from './session.ts';
import type { ByteConnection, ConnectionHandlers } from './types.ts';

const families = ['ipv4-unicast', 'ipv6-unicast'] as const;
const theirOpen: OpenMessage = { asn: 65002, holdTimeSec: 9, routerId: 2, families, asn4: true, routeRefresh: true };

/** The peer's end of a connection: keeps what it was sent unless it does not read. */
class Wire implements ByteConnection {
  readonly remoteAddress = '10.0.0.2';
  readonly remotePort = 179;
  readonly localAddress = '10.0.0.1';
  handlers: ConnectionHandlers | undefined;
  reads = true;
  queuedBytes = 0;
  closed = false;
  readonly opens: OpenMessage[] = [];
  readonly notifications: Notification[] = [];
  readonly #framer = createFramer();

  start(handlers: ConnectionHandlers): void {
    this.handlers = handlers;
  }
  write(bytes: Uint8Array, length = bytes.length): void {
    if (!this.reads) this.queuedBytes += length;
    this.#framer.push(bytes.subarray(0, length), (type, data, start, end) => {
      if (type === messageType.notification) this.notifications.push(decodeNotification(data, start, end));
      const open = type === messageType.open ? decodeOpen(data, start, end) : undefined;
      if (open?.ok) this.opens.push(open.value);
      return true;
    });
  }
  say(...messages: Uint8Array[]): void {
    for (const message of messages) this.handlers?.onData(message);
  }
  rekey(): boolean {
    return true;
  }
  close(): void {
    this.closed = true;
  }
  destroy(): void {
    this.closed = true;
  }
}

function world(answer: (dials: number) => Wire | undefined, passive = false) {
  const clock = new FakeClock();
  const seen = { dials: 0, keepalives: 0, downs: [] as { text: string; preserve: boolean }[] };
  const session: Session = new Session(
    {
      clock,
      log: silentLogger,
      random: () => 0.5,
      transport: {
        configure: () => undefined,
        dial: (_request, onConnected, onFailed) => {
          const wire = answer(++seen.dials);
          // In the very call, which is the hardest case: nothing of the dial is noted yet.
          if (wire) onConnected(wire);
          else onFailed('ECONNREFUSED');
          return () => undefined;
        },
      },
    },
    {
      localAsn: 65001,
      peerAsn: 65002,
      routerId: 1,
      families,
      holdTimeSec: 9,
      connectRetrySec: 5,
      passive,
      gracefulRestart: {
        restarting: true,
        restartTimeSec: 120,
        families: [
          { family: 'ipv4-unicast', forwarding: true },
          { family: 'ipv6-unicast', forwarding: false },
        ],
      },
    },
    { peer: 'p', address: '10.0.0.2', port: 179 },
    {
      onUp: () => undefined,
      onDown: (_negotiated, preserve, reason) => void seen.downs.push({ text: reason.text, preserve }),
      onUpdate: () => undefined,
      onKeepalive: () => void seen.keepalives++,
      onRouteRefresh: () => undefined,
      onDrained: () => undefined,
      onStateChange: () => undefined,
    },
  );
  const pass = (sec: number, each: () => void = () => undefined): void => {
    for (let i = 0; i < sec; i++) {
      each();
      clock.advance(1000);
    }
  };
  return { clock, session, seen, pass };
}

test('a dial that fails at once is repeated for ever, and the one that is answered makes the session', () => {
  const wire = new Wire();
  const { session, seen, pass } = world((dials) => (dials < 6 ? undefined : wire));
  session.start();
  assert.equal(seen.dials, 1);
  assert.equal(session.lastError, 'ECONNREFUSED');
  pass(60);
  assert.equal(seen.dials, 6, 'repeated until somebody answered, and not then');
  wire.say(encodeOpen(theirOpen), encodeKeepalive());
  pass(1);
  assert.equal(session.stateName, 'Established');
  pass(7);
  assert.equal(seen.downs.length, 0, 'nothing ends it within the hold time');
  pass(3);
  assert.match(seen.downs[0]!.text, /hold timer/i);
  assert.deepEqual(
    wire.notifications.map(({ code }) => code),
    [4],
  );
  assert.ok(wire.closed);
});

test('the first OPEN has the R bit and the F bits of each family (RFC 4724 3)', () => {
  const wire = new Wire();
  const { session } = world(() => wire);
  session.start();
  assert.deepEqual(wire.opens[0]?.gracefulRestart, {
    restarting: true,
    notification: false,
    restartTimeSec: 120,
    families: [
      { family: 'ipv4-unicast', forwarding: true },
      { family: 'ipv6-unicast', forwarding: false },
    ],
  });
});

test('a peer that writes and does not read is dropped with code 8 after the send hold time (RFC 9687)', () => {
  const wire = new Wire();
  const { session, seen, pass } = world(() => wire);
  session.start();
  wire.say(encodeOpen(theirOpen), encodeKeepalive());
  wire.reads = false;
  const alive = (): void => {
    if (session.stateName === 'Established') wire.say(encodeKeepalive());
  };
  pass(sendHoldSecMin - 1, alive);
  assert.equal(session.stateName, 'Established');
  pass(8, alive);
  assert.match(seen.downs[0]?.text ?? '', /stopped reading/);
  assert.deepEqual(
    wire.notifications.map(({ code }) => code),
    [8],
  );
});

test('a peer that reads slowly keeps the session', () => {
  const wire = new Wire();
  const { session, seen, pass } = world(() => wire);
  session.start();
  wire.say(encodeOpen(theirOpen), encodeKeepalive());
  wire.reads = false;
  pass(3 * sendHoldSecMin, () => {
    wire.say(encodeKeepalive());
    // A byte a second goes out and more comes in.
    if (wire.queuedBytes > 1) wire.queuedBytes--;
  });
  assert.deepEqual(seen.downs, []);
  assert.equal(session.stateName, 'Established');
});

test('half a header, or an OPEN and then silence: closed after the open hold time, whatever hold time was offered', () => {
  for (const holdTimeSec of [9, 0]) {
    for (const bytes of [new Uint8Array(9).fill(0xff), encodeOpen({ ...theirOpen, holdTimeSec })]) {
      const wire = new Wire();
      const { session, pass } = world(() => undefined, true);
      session.start();
      session.accept(wire);
      wire.say(bytes);
      pass(241);
      assert.ok(wire.closed, `${bytes.length} bytes, hold time ${holdTimeSec}`);
      assert.equal(wire.notifications[0]?.code, 4);
      assert.equal(session.openConnections, 0);
    }
  }
});

test('connections without an OPEN do not add up: a newer one of the peer takes the place', () => {
  const { session } = world(() => undefined, true);
  session.start();
  const wires = Array.from({ length: 100 }, () => new Wire());
  for (const wire of wires) session.accept(wire);
  assert.equal(session.openConnections, 1);
  assert.equal(wires.filter((wire) => wire.closed).length, 99);
});

test('what a NOTIFICATION said is not hidden by a peer that only closes or refuses afterwards, until there is a session', () => {
  const wires = [new Wire(), new Wire(), undefined, new Wire()];
  const { session, pass } = world((dials) => wires[dials - 1]);
  session.start();
  wires[0]!.say(encodeOpen({ ...theirOpen, asn: 65003 }));
  const refused = session.lastError;
  assert.match(refused, /Bad Peer AS/);
  const until = (done: () => boolean): void => {
    for (let i = 0; i < 200 && !done(); i++) pass(1);
  };
  until(() => wires[1]!.opens.length > 0);
  wires[1]!.handlers!.onClosed('closed');
  assert.equal(session.lastError, `${refused}; since then: the peer closed the connection`);
  until(() => session.lastError.includes('ECONNREFUSED'));
  assert.equal(session.lastError, `${refused}; since then: ECONNREFUSED`);
  until(() => wires[3]!.opens.length > 0);
  wires[3]!.say(encodeOpen(theirOpen), encodeKeepalive());
  pass(1);
  assert.equal(session.stateName, 'Established');
  wires[3]!.handlers!.onClosed('closed');
  assert.equal(session.lastError, 'the peer closed the connection');
});
