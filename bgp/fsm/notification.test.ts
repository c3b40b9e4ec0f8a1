/** RFC 8538: which ends of a session leave routes in place, and how those that must not are told to the peer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Notification, type OpenMessage, protocolError } from '../wire/index.ts';
import { initialState, type SessionConfig, type SessionInput, type SessionOutput, step } from './index.ts';

type Restart = NonNullable<SessionConfig['gracefulRestart']>;
const restart = (notification: boolean): Restart => ({
  restarting: false,
  notification,
  restartTimeSec: 60,
  families: [{ family: 'ipv4-unicast', forwarding: true }],
});
const config = (notification: boolean): SessionConfig => ({
  localAsn: 64512,
  peerAsn: 64513,
  routerId: 10,
  families: ['ipv4-unicast'],
  holdTimeSec: 90,
  connectRetrySec: 120,
  passive: false,
  gracefulRestart: restart(notification),
});
const theirs = (notification: boolean, more: Partial<OpenMessage> = {}): OpenMessage => ({
  asn: 64513,
  holdTimeSec: 30,
  routerId: 20,
  families: ['ipv4-unicast'],
  asn4: true,
  routeRefresh: true,
  gracefulRestart: { ...restart(notification), notification, restartTimeSec: 120 },
  ...more,
});

/** What a session that is up puts out at `last`. */
function outputs(last: SessionInput, ours = config(true), open = theirs(true)): readonly SessionOutput[] {
  let state = initialState(ours);
  const up: SessionInput[] = [
    { type: 'manualStart' },
    { type: 'tcpConnected', connection: 1, direction: 'outgoing' },
    { type: 'open', connection: 1, open },
    { type: 'timer', timer: 'keepalive', connection: 1 },
    { type: 'keepalive', connection: 1 },
  ];
  for (const input of up) state = step(state, input, () => 1).state;
  return step(state, last, () => 1).outputs;
}
function preserved(last: SessionInput, ours?: SessionConfig, open?: OpenMessage): boolean | undefined {
  return outputs(last, ours, open).find((output) => output.type === 'sessionDown')?.gracefulRestartPreserve;
}
const sent = (list: readonly SessionOutput[]): Notification | undefined =>
  list.find((output) => output.type === 'sendNotification')?.notification;
const received = (code: number, subcode: number, ...data: number[]): SessionInput => {
  return { type: 'notification', connection: 1, notification: { code, subcode, data: Uint8Array.from(data) } };
};
const holdTimer: SessionInput = { type: 'timer', timer: 'hold', connection: 1 };
const broken: SessionInput = { type: 'messageError', connection: 1, error: protocolError(3, 1, 'malformed') };

test('RFC 8538 2: N is in our OPEN when it is on, and off when it is not', () => {
  for (const on of [true, false]) {
    let state = initialState(config(on));
    state = step(state, { type: 'manualStart' }, () => 1).state;
    const open = step(state, { type: 'tcpConnected', connection: 1, direction: 'outgoing' }, () => 1).outputs.find(
      (output) => output.type === 'sendOpen',
    )?.open;
    assert.equal(open?.gracefulRestart?.notification, on);
  }
});

test('RFC 8538 4: with N on both sides a NOTIFICATION in either direction keeps routes, a Hard Reset does not', () => {
  const cases: readonly [string, SessionInput, boolean][] = [
    ['received Cease/Administrative Reset', received(6, 4), true],
    ['received Cease/Administrative Shutdown', received(6, 2), true],
    ['received Hold Timer Expired', received(4, 0), true],
    ['received UPDATE Message Error', received(3, 1), true],
    ['received Hard Reset', received(6, 9, 6, 2), false],
    ['received Hard Reset without what it should carry', received(6, 9), false],
    ['hold timer', holdTimer, true],
    ['send hold timer', { type: 'timer', timer: 'sendHold', connection: 1 }, true],
    ['sent UPDATE Message Error', broken, true],
    ['sent Cease by a change of settings', { type: 'manualStop', subcode: 6 }, true],
    ['sent Hard Reset', { type: 'manualStop', subcode: 2, hard: true }, false],
    ['an error that must flush', { ...broken, error: { ...broken.error, hard: true } }, false],
    ['lost connection', { type: 'tcpClosed', connection: 1 }, true],
    ['our decision without a word', { type: 'manualStop', subcode: 0, silent: true }, false],
    ['malformed NOTIFICATION', { ...broken, error: { ...broken.error, silent: true } }, false],
  ];
  for (const [what, input, kept] of cases) {
    assert.equal(preserved(input), kept, what);
    if (input.type === 'tcpClosed') continue;
    for (const [ours, other] of [
      [true, false],
      [false, true],
      [false, false],
    ] as const) {
      assert.equal(preserved(input, config(ours), theirs(other)), false, `${what}: RFC 4724 without N of both`);
    }
  }
});

test('RFC 8538 3: Hard Reset carries the code, subcode and data that would have been sent', () => {
  const shutdown = outputs({ type: 'manualStop', subcode: 2, text: 'bye', hard: true });
  assert.deepEqual(sent(shutdown), { code: 6, subcode: 9, data: Uint8Array.of(6, 2, 3, 98, 121, 101) });
  const down = shutdown.find((output) => output.type === 'sessionDown');
  assert.equal(down?.reason.text, 'stopped: sent Cease/Hard Reset (Cease/Administrative Shutdown: "bye")');
  const limit = { ...protocolError(6, 1, 'too many prefixes', Uint8Array.of(0, 1, 1)), hard: true } as const;
  assert.deepEqual(
    sent(outputs({ type: 'messageError', connection: 1, error: limit }))?.data,
    Uint8Array.of(6, 1, 0, 1, 1),
  );
});

test('RFC 8538 4: no Hard Reset to a peer that did not send N', () => {
  const stop: SessionInput = { type: 'manualStop', subcode: 2, text: 'bye', hard: true };
  assert.equal(sent(outputs(stop, config(true), theirs(false)))?.subcode, 2);
  const limit = { ...protocolError(6, 1, 'too many prefixes'), hard: true } as const;
  const { gracefulRestart: _, ...plain } = theirs(true);
  assert.equal(sent(outputs({ type: 'messageError', connection: 1, error: limit }, config(true), plain))?.subcode, 1);
});

test('RFC 9494 4.2: with no family in graceful restart, but in LLGR, a lost connection keeps routes as well', () => {
  const none = { ...restart(true), notification: true, families: [] };
  const longLived = [{ family: 'ipv4-unicast', forwarding: true, staleTimeSec: 60 }] as const;
  const offers = { ...config(true), gracefulRestart: { ...restart(true), longLivedStaleTimeSec: 60 } };
  const lost: SessionInput = { type: 'tcpClosed', connection: 1 };
  assert.equal(preserved(lost, offers, theirs(true, { gracefulRestart: none, longLived })), true);
  assert.equal(preserved(lost, config(true), theirs(true, { gracefulRestart: none, longLived })), false, 'not offered');
  assert.equal(preserved(lost, offers, theirs(true, { gracefulRestart: none })), false);
});

test('RFC 9494 3: our OPEN has the stale time for each family, with the F bits of graceful restart', () => {
  let state = initialState({ ...config(true), gracefulRestart: { ...restart(true), longLivedStaleTimeSec: 3600 } });
  state = step(state, { type: 'manualStart' }, () => 1).state;
  const { outputs: list } = step(state, { type: 'tcpConnected', connection: 1, direction: 'outgoing' }, () => 1);
  const open = list.find((output) => output.type === 'sendOpen')?.open;
  assert.deepEqual(open?.longLived, [{ family: 'ipv4-unicast', forwarding: true, staleTimeSec: 3600 }]);
});
