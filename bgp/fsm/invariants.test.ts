/** Any inputs in any order: what must hold after each step. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type OpenMessage, protocolError } from '../wire/index.ts';
import { initialState, type SessionConfig, type SessionInput, type SessionState, step } from './index.ts';

const connection = fc.integer({ min: 1, max: 4 });
const open: fc.Arbitrary<OpenMessage> = fc
  .record({
    asn: fc.constantFrom(64513, 64513, 64513, 1),
    routerId: fc.constantFrom(5, 10, 20),
    holdTimeSec: fc.constantFrom(0, 3, 90),
    graceful: fc.boolean(),
    forwarding: fc.boolean(),
  })
  .map(({ graceful, forwarding, ...rest }) => ({
    ...rest,
    families: ['ipv4-unicast'],
    asn4: true,
    routeRefresh: true,
    ...(graceful
      ? {
          gracefulRestart: {
            restarting: false,
            notification: false,
            restartTimeSec: 9,
            families: forwarding ? [{ family: 'ipv4-unicast', forwarding }] : [],
          },
        }
      : {}),
  }));
/** Connections as a driver numbers them: each number once, hence `tcpConnected` is completed while running. */
const input: fc.Arbitrary<SessionInput> = fc.oneof(
  fc.constant<SessionInput>({ type: 'manualStart' }),
  {
    weight: 4,
    arbitrary: fc.constantFrom<SessionInput>(
      { type: 'tcpConnected', connection: 0, direction: 'incoming' },
      { type: 'tcpConnected', connection: 0, direction: 'outgoing' },
    ),
  },
  fc.constantFrom<SessionInput>({ type: 'manualStop', subcode: 2 }, { type: 'manualStop', subcode: 2, silent: true }),
  fc.constant<SessionInput>({ type: 'tcpFailed', reason: 'refused' }),
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('timer' as const),
      timer: fc.constantFrom('connectRetry' as const, 'idleHold' as const, 'stable' as const),
    }),
  },
  fc.record({
    type: fc.constant('timer' as const),
    timer: fc.constantFrom('hold' as const, 'keepalive' as const, 'sendHold' as const),
    connection,
  }),
  { weight: 6, arbitrary: fc.record({ type: fc.constant('open' as const), connection, open }) },
  { weight: 6, arbitrary: fc.record({ type: fc.constant('keepalive' as const), connection }) },
  fc.record({ type: fc.constantFrom('update' as const, 'routeRefresh' as const, 'tcpClosed' as const), connection }),
  fc.record({
    type: fc.constant('notification' as const),
    connection,
    notification: fc.constant(protocolError(6, 7, '')),
  }),
  fc.record({ type: fc.constant('messageError' as const), connection, error: fc.constant(protocolError(1, 1, 'x')) }),
);

function checkState(state: SessionState): void {
  const by = (what: (c: SessionState['connections'][number]) => boolean) => state.connections.filter(what).length;
  assert.ok(by((c) => c.state === 'Established') <= 1, 'one session');
  for (const direction of ['incoming', 'outgoing']) {
    assert.ok(by((c) => c.direction === direction && c.state !== 'Established') <= 1, 'one attempt each way');
  }
  if (by((c) => c.state === 'OpenConfirm') > 1)
    assert.ok(
      state.connections.every(({ paused }) => !paused),
      'both told KEEPALIVE',
    );
  assert.ok(by((c) => c.confirmed === true) <= 1, 'the other end chooses between two connections');
  assert.ok(state.connections.every((c) => c.state === 'OpenConfirm' || !(c.confirmed || c.paused)));
  assert.ok(state.connections.every((c) => (c.state === 'OpenSent') === (c.negotiated === undefined)));
  if (state.dialler === 'stopped') assert.equal(state.connections.length, 0);
  if (by((c) => c.state !== 'OpenSent') > 0) assert.equal(state.dialler, 'off', 'no dialling beside a session');
  const waits = state.connections.length === 0 && !state.config.passive;
  if (waits) assert.notEqual(state.dialler, 'off', 'a peer without a connection has something that will wake it');
}

test('any inputs in any order leave a consistent state, and outputs name only what exists', () => {
  const configs = fc.record({ passive: fc.boolean(), graceful: fc.boolean() });
  fc.assert(
    fc.property(
      configs,
      fc.array(input, { maxLength: 60 }),
      fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
      ({ passive, graceful }, inputs, random) => {
        const config: SessionConfig = {
          localAsn: 64512,
          peerAsn: 64513,
          routerId: 10,
          families: ['ipv4-unicast'],
          holdTimeSec: 90,
          connectRetrySec: 30,
          passive,
          ...(graceful ? { gracefulRestart: { restarting: false, restartTimeSec: 1, families: [] } } : {}),
        };
        let state = initialState(config);
        const opened = new Set<number>();
        let dialling = false;
        let up: number | undefined;
        let nextId = 1;
        for (const each of inputs) {
          if (each.type === 'tcpConnected') {
            if (each.direction === 'outgoing' && !dialling) continue;
            if (each.direction === 'outgoing') dialling = false;
            opened.add(nextId);
          }
          if (each.type === 'tcpFailed' && !dialling) continue;
          if (each.type === 'tcpFailed') dialling = false;
          const given = each.type === 'tcpConnected' ? { ...each, connection: nextId++ } : each;
          // A driver knows no other connections than those that are open.
          const id = 'connection' in given && given.type !== 'tcpConnected' ? given.connection : undefined;
          if (id !== undefined && !opened.has(id)) continue;
          const result = step(state, given, () => random.next().value);
          state = result.state;
          for (const output of result.outputs) {
            if (output.type === 'dial') {
              assert.equal(dialling, false, 'one attempt at a time');
              assert.equal(passive, false);
              dialling = true;
            } else if (output.type === 'abortDial') {
              assert.equal(dialling, true);
              dialling = false;
            } else if (output.type === 'sessionUp') {
              assert.equal(up, undefined);
              up = output.connection;
            } else if (output.type === 'sessionDown') {
              assert.equal(up, output.connection);
              up = undefined;
            } else if (output.type === 'close') {
              assert.ok(opened.delete(output.connection), 'closed once');
            } else if ('connection' in output && output.connection !== undefined) {
              assert.ok(opened.has(output.connection), `${output.type} of an open connection`);
            }
            if (output.type === 'startTimer') assert.ok(output.delayMs > 0 && output.delayMs <= 240_000);
          }
          assert.equal(dialling, state.dialler === 'connecting');
          assert.deepEqual([...opened].sort(), state.connections.map((c) => c.id).sort());
          checkState(state);
        }
      },
    ),
    { numRuns: 3000 },
  );
});
