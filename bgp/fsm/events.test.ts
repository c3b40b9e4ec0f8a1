/**
 * RFC 4271 8.2.2 as a table: every mandatory event of 8.1 (and the optional ones that are implemented) in every state.
 *
 * Of the optional events ManualStart_with_PassiveTcpEstablishment (4) is `passive`, IdleHoldTimer_Expires (13) and
 * AutomaticStart (3) are one, since it is that timer which starts again. DelayOpen and TrackTcpState are not implemented.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type OpenMessage, protocolError } from '../wire/index.ts';
import { initialState, type SessionConfig, type SessionInput, type SessionState, stateName, step } from './index.ts';

const config: SessionConfig = {
  localAsn: 64512,
  peerAsn: 64513,
  routerId: 10,
  families: ['ipv4-unicast'],
  holdTimeSec: 90,
  connectRetrySec: 120,
  passive: false,
};
const peerOpen: OpenMessage = {
  asn: 64513,
  holdTimeSec: 30,
  routerId: 20,
  families: ['ipv4-unicast'],
  asn4: true,
  routeRefresh: true,
};
const start: SessionInput = { type: 'manualStart' };
const dialled: SessionInput = { type: 'tcpConnected', connection: 1, direction: 'outgoing' };
const open: SessionInput = { type: 'open', connection: 1, open: peerOpen };
const keepalive: SessionInput = { type: 'keepalive', connection: 1 };
/** The pause before our own KEEPALIVE is over. */
const told: SessionInput = { type: 'timer', timer: 'keepalive', connection: 1 };
const failed: SessionInput = { type: 'tcpFailed', reason: 'refused' };

type Name = 'Idle' | 'IdleHold' | 'Connect' | 'Active' | 'OpenSent' | 'OpenConfirm' | 'Established';
/** How each state is reached. Idle after an error waits for its timer: `IdleHold`. */
const ways: Readonly<Record<Name, readonly SessionInput[]>> = {
  Idle: [],
  IdleHold: [start, dialled, { type: 'tcpClosed', connection: 1 }],
  Connect: [start],
  Active: [start, failed],
  OpenSent: [start, dialled],
  OpenConfirm: [start, dialled, open, told],
  Established: [start, dialled, open, told, keepalive],
};
const names = Object.keys(ways) as Name[];

/** [number and name of the event, input, state afterwards by state before, with the NOTIFICATION after `!`; `=` unchanged] */
type Row = readonly [string, SessionInput, Readonly<Record<Name, string>>];
const same = (change: Partial<Record<Name, string>>): Record<Name, string> =>
  ({ ...Object.fromEntries(names.map((name) => [name, '='])), ...change }) as Record<Name, string>;
const error = (code: number, subcode: number): SessionInput => ({
  type: 'messageError',
  connection: 1,
  error: protocolError(code, subcode, 'test'),
});
const ends = (notification: string): Partial<Record<Name, string>> => ({
  OpenSent: `Idle!${notification}`,
  OpenConfirm: `Idle!${notification}`,
  Established: `Idle!${notification}`,
});

const rows: readonly Row[] = [
  ['1 ManualStart', start, same({ Idle: 'Connect' })],
  [
    '2 ManualStop',
    { type: 'manualStop', subcode: 2 },
    same({ IdleHold: 'Idle', Connect: 'Idle', Active: 'Idle', ...ends('6/2') }),
  ],
  ['3 AutomaticStart, 13 IdleHoldTimer_Expires', { type: 'timer', timer: 'idleHold' }, same({ IdleHold: 'Connect' })],
  [
    '9 ConnectRetryTimer_Expires',
    { type: 'timer', timer: 'connectRetry' },
    same({ Connect: 'Connect', Active: 'Connect' }),
  ],
  ['10 HoldTimer_Expires', { type: 'timer', timer: 'hold', connection: 1 }, same(ends('4/0'))],
  ['11 KeepaliveTimer_Expires', { type: 'timer', timer: 'keepalive', connection: 1 }, same({})],
  ['16 Tcp_CR_Acked', dialled, same({ Idle: 'Idle!6/5', Connect: 'OpenSent' })],
  [
    '17 TcpConnectionConfirmed',
    { type: 'tcpConnected', connection: 2, direction: 'incoming' },
    same({
      Idle: 'Idle!6/5',
      IdleHold: 'OpenSent',
      Connect: 'OpenSent',
      Active: 'OpenSent',
      Established: 'Established!6/7',
    }),
  ],
  ['18 TcpConnectionFails, of an attempt', failed, same({ Connect: 'Active' })],
  [
    '18 TcpConnectionFails, of a connection',
    { type: 'tcpClosed', connection: 1 },
    same({ OpenSent: 'Idle', OpenConfirm: 'Idle', Established: 'Idle' }),
  ],
  ['19 BGPOpen', open, same({ OpenSent: 'OpenConfirm', OpenConfirm: 'Idle!5/2', Established: 'Idle!5/3' })],
  ['21 BGPHeaderErr', error(1, 1), same(ends('1/1'))],
  ['22 BGPOpenMsgErr', error(2, 2), same(ends('2/2'))],
  [
    '24 NotifMsgVerErr',
    { type: 'notification', connection: 1, notification: { code: 2, subcode: 1, data: Uint8Array.of(0, 3) } },
    same({ OpenSent: 'Idle', OpenConfirm: 'Idle', Established: 'Idle' }),
  ],
  [
    '25 NotifMsg',
    { type: 'notification', connection: 1, notification: { code: 6, subcode: 4, data: new Uint8Array(0) } },
    same({ OpenSent: 'Idle', OpenConfirm: 'Idle', Established: 'Idle' }),
  ],
  ['26 KeepAliveMsg', keepalive, same({ OpenSent: 'Idle!5/1', OpenConfirm: 'Established' })],
  ['27 UpdateMsg', { type: 'update', connection: 1 }, same({ OpenSent: 'Idle!5/1', OpenConfirm: 'Idle!5/2' })],
  ['28 UpdateMsgErr', error(3, 1), same(ends('3/1'))],
];

function reach(name: Name, settings = config): SessionState {
  let state = initialState(settings);
  for (const input of ways[name]) state = step(state, input, () => 1).state;
  return state;
}
const shown = (name: Name): string => (name === 'IdleHold' ? 'Idle' : name);

for (const [event, input, expected] of rows) {
  test(`RFC 4271 8.1, event ${event}, in every state`, () => {
    for (const name of names) {
      const before = reach(name);
      assert.equal(stateName(before), shown(name));
      const { state, outputs } = step(before, input, () => 1);
      const [wanted, notification] = expected[name].split('!');
      assert.equal(stateName(state), wanted === '=' ? shown(name) : wanted, `in ${name}`);
      const sent = outputs.flatMap((o) =>
        o.type === 'sendNotification' ? [`${o.notification.code}/${o.notification.subcode}`] : [],
      );
      assert.deepEqual(sent, notification ? [notification] : [], `in ${name}`);
    }
  });
}

test('RFC 4271 8.1.2, event 4 ManualStart_with_PassiveTcpEstablishment: waits, and never dials', () => {
  const { state, outputs } = step(initialState({ ...config, passive: true }), start, () => 1);
  assert.deepEqual([stateName(state), outputs], ['Active', []]);
});

test('RFC 4271 8.2.1.4, event 23 OpenCollisionDump: the loser of a collision gets Cease/7', () => {
  const incoming: SessionInput = { type: 'tcpConnected', connection: 2, direction: 'incoming' };
  let { state } = { state: reach('OpenSent') };
  for (const input of [incoming, { type: 'open', connection: 2, open: peerOpen } as const]) {
    const result = step(state, input, () => 1);
    state = result.state;
    const dumped = result.outputs.filter((o) => o.type === 'sendNotification');
    if (input === incoming) assert.deepEqual(dumped, []);
    else
      assert.deepEqual(
        dumped.map((o) => [o.connection, o.notification.code, o.notification.subcode]),
        [[1, 6, 7]],
      );
  }
  assert.deepEqual(
    state.connections.map(({ id }) => id),
    [2],
  );
});

test('RFC 4271 8.1.1 ConnectRetryCounter: errors count, stopping and starting begin at zero', () => {
  let state = reach('IdleHold');
  assert.equal(state.connectRetryCounter, 1);
  for (const input of [{ type: 'timer', timer: 'idleHold' } as const, failed])
    state = step(state, input, () => 1).state;
  assert.equal(state.connectRetryCounter, 2);
  state = step(state, { type: 'manualStop', subcode: 2 }, () => 1).state;
  assert.equal(state.connectRetryCounter, 0);
  assert.equal(step(state, start, () => 1).state.connectRetryCounter, 0);
});

test('RFC 4271 6.7: ManualStop sends NOTIFICATION before it closes, and starts no timer', () => {
  for (const name of ['OpenSent', 'OpenConfirm', 'Established'] as const) {
    const { outputs } = step(reach(name), { type: 'manualStop', subcode: 3 }, () => 1);
    const types = outputs.map(({ type }) => type);
    assert.ok(types.indexOf('sendNotification') < types.indexOf('close'), name);
    assert.ok(!types.includes('startTimer') && !types.includes('dial'), name);
  }
});
