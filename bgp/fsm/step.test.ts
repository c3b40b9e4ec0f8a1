/** The state machine, transition by transition; each row names the clause it stands for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Notification, type OpenMessage, protocolError } from '../wire/index.ts';
import {
  establishedConnection,
  idleHoldMaxMs,
  initialState,
  type SessionConfig,
  type SessionInput,
  type SessionOutput,
  type SessionState,
  setGracefulRestart,
  stateName,
  step,
} from './index.ts';
import { collisionMs, keepalivePauseMs } from './state.ts';

const config: SessionConfig = {
  localAsn: 64512,
  peerAsn: 64513,
  routerId: 10,
  families: ['ipv4-unicast', 'ipv6-unicast'],
  holdTimeSec: 90,
  connectRetrySec: 120,
  passive: false,
};
const graceful: SessionConfig = {
  ...config,
  gracefulRestart: { restarting: false, restartTimeSec: 60, families: [{ family: 'ipv4-unicast', forwarding: true }] },
};
const peerOpen: OpenMessage = {
  asn: 64513,
  holdTimeSec: 30,
  routerId: 20,
  families: ['ipv4-unicast'],
  asn4: true,
  routeRefresh: true,
};
const gracefulOpen: OpenMessage = {
  ...peerOpen,
  gracefulRestart: {
    restarting: false,
    notification: false,
    restartTimeSec: 120,
    families: [{ family: 'ipv4-unicast', forwarding: true }],
  },
};
const cease = (subcode: number): Notification => ({ code: 6, subcode, data: new Uint8Array(0) });

/** Runs inputs from a stopped peer; answers the last step. Random 1 means no jitter, 0 the most. */
function run(inputs: readonly SessionInput[], from: SessionConfig | SessionState = config, random = 1) {
  let state = 'dialler' in from ? from : initialState(from);
  let outputs: readonly SessionOutput[] = [];
  for (const input of inputs) ({ state, outputs } = step(state, input, () => random));
  return { state, outputs, name: stateName(state) };
}

const start: SessionInput = { type: 'manualStart' };
const dialled: SessionInput = { type: 'tcpConnected', connection: 1, direction: 'outgoing' };
const accepted: SessionInput = { type: 'tcpConnected', connection: 2, direction: 'incoming' };
const open = (connection = 1, message = peerOpen): SessionInput => ({ type: 'open', connection, open: message });
const keepalive = (connection = 1): SessionInput => ({ type: 'keepalive', connection });
/** The pause before our own KEEPALIVE is over. */
const told: SessionInput = { type: 'timer', timer: 'keepalive', connection: 1 };
const toOpenSent = [start, dialled];
const toOpenConfirm = [...toOpenSent, open(), told];
const toEstablished = [...toOpenConfirm, keepalive()];
const stable: SessionInput = { type: 'timer', timer: 'stable' };
const gracefulEstablished = [start, dialled, open(1, gracefulOpen), told, keepalive()];

function sent(outputs: readonly SessionOutput[]): readonly (readonly [number, number])[] {
  return outputs.flatMap((o) =>
    o.type === 'sendNotification' ? [[o.notification.code, o.notification.subcode] as const] : [],
  );
}
const types = (outputs: readonly SessionOutput[]) => outputs.map((o) => o.type);
function timer(outputs: readonly SessionOutput[], name: string): number | undefined {
  for (const o of outputs) if (o.type === 'startTimer' && o.timer === name) return o.delayMs;
  return undefined;
}
function down(outputs: readonly SessionOutput[]) {
  return outputs.find((o) => o.type === 'sessionDown');
}

test('the way up: RFC 4271 8.2.2', () => {
  assert.equal(run([]).name, 'Idle');
  const connect = run([start]);
  assert.deepEqual([connect.name, types(connect.outputs)], ['Connect', ['dial', 'startTimer']]);
  const openSent = run(toOpenSent);
  assert.equal(openSent.name, 'OpenSent');
  const sentOpen = openSent.outputs.find((o) => o.type === 'sendOpen');
  assert.deepEqual(sentOpen?.open, {
    asn: 64512,
    holdTimeSec: 90,
    routerId: 10,
    families: ['ipv4-unicast', 'ipv6-unicast'],
    asn4: true,
    routeRefresh: true,
    enhancedRouteRefresh: true,
  });
  assert.equal(timer(openSent.outputs, 'hold'), 240_000);
  const opened = run([...toOpenSent, open()]);
  assert.deepEqual([opened.name, timer(opened.outputs, 'hold')], ['OpenConfirm', 30_000]);
  const confirm = run([told], opened.state);
  assert.deepEqual([confirm.name, timer(confirm.outputs, 'keepalive')], ['OpenConfirm', 10_000]);
  assert.ok(types(confirm.outputs).includes('sendKeepalive'));
  const up = run(toEstablished);
  assert.equal(up.name, 'Established');
  const negotiated = up.outputs.find((o) => o.type === 'sessionUp')?.negotiated;
  assert.deepEqual(negotiated, {
    localAsn: 64512,
    peerAsn: 64513,
    ebgp: true,
    localRouterId: 10,
    peerRouterId: 20,
    asn4: true,
    families: ['ipv4-unicast'],
    routeRefresh: true,
    holdTimeSec: 30,
    keepaliveSec: 10,
    longLived: [],
    longLivedAware: false,
    addPath: [],
    enhancedRouteRefresh: false,
    extendedMessages: false,
    extendedNextHop: false,
    linkLocalNextHop: false,
  });
});

test('keepalives as often as we are told, and every third of the hold time where that is not less than the hold time', () => {
  for (const [keepaliveSec, holdTimeSec, expectedMs] of [
    [5, 30, 5_000],
    [20, 30, 20_000],
    [30, 30, 10_000],
    [5, 0, undefined],
  ] as const) {
    const confirm = run([...toOpenSent, open(1, { ...peerOpen, holdTimeSec }), told], { ...config, keepaliveSec });
    assert.equal(timer(confirm.outputs, 'keepalive'), expectedMs);
  }
});

test('hold time 0 on either side: no hold timer, no keepalives (RFC 4271 4.2)', () => {
  const confirm = run([...toOpenSent, open(1, { ...peerOpen, holdTimeSec: 0 }), told]);
  assert.equal(timer(confirm.outputs, 'hold'), undefined);
  assert.equal(timer(confirm.outputs, 'keepalive'), undefined);
  const stopped = ({ outputs }: typeof confirm): boolean =>
    outputs.some((o) => o.type === 'stopTimer' && o.timer === 'hold');
  assert.equal(stopped(confirm), false, 'the one for OPENs runs until the session is up');
  assert.ok(stopped(run([...toOpenSent, open(1, { ...peerOpen, holdTimeSec: 0 }), told, keepalive()])));
  const up = run([keepalive(), keepalive()], confirm.state);
  assert.equal(up.name, 'Established');
  assert.deepEqual(up.outputs, []);
});

test('jitter is 0.75 to 1.0 and never on the hold timer (RFC 4271 10)', () => {
  assert.equal(timer(run([start], config, 0).outputs, 'connectRetry'), 90_000);
  assert.equal(timer(run([start], config, 1).outputs, 'connectRetry'), 120_000);
  const { state, outputs } = run([...toOpenSent, open()], config, 0);
  assert.equal(timer(outputs, 'hold'), 30_000);
  assert.equal(timer(run([told], state, 0).outputs, 'keepalive'), 7_500);
});

/** [what, inputs that lead there, input, NOTIFICATION sent] */
const unexpected: readonly [string, readonly SessionInput[], SessionInput, readonly [number, number]][] = [
  ['KEEPALIVE in OpenSent, RFC 6608', toOpenSent, keepalive(), [5, 1]],
  ['UPDATE in OpenSent, RFC 6608', toOpenSent, { type: 'update', connection: 1 }, [5, 1]],
  ['ROUTE-REFRESH in OpenSent, RFC 6608', toOpenSent, { type: 'routeRefresh', connection: 1 }, [5, 1]],
  ['UPDATE in OpenConfirm, RFC 6608', toOpenConfirm, { type: 'update', connection: 1 }, [5, 2]],
  ['OPEN in OpenConfirm, RFC 6608', toOpenConfirm, open(), [5, 2]],
  ['OPEN in Established, RFC 6608', toEstablished, open(), [5, 3]],
  ['hold timer in OpenSent, RFC 4271 6.5', toOpenSent, { type: 'timer', timer: 'hold', connection: 1 }, [4, 0]],
  ['hold timer in Established, RFC 4271 6.5', toEstablished, { type: 'timer', timer: 'hold', connection: 1 }, [4, 0]],
  ['send hold timer, RFC 9687', toEstablished, { type: 'timer', timer: 'sendHold', connection: 1 }, [8, 0]],
  ['wrong AS, RFC 4271 6.2', toOpenSent, open(1, { ...peerOpen, asn: 64999 }), [2, 2]],
  ['no common family, RFC 5492 3', toOpenSent, open(1, { ...peerOpen, families: [] }), [2, 7]],
  [
    'codec error, RFC 4271 6.1',
    toEstablished,
    { type: 'messageError', connection: 1, error: protocolError(1, 2, 'length 5') },
    [1, 2],
  ],
];
for (const [what, inputs, input, notification] of unexpected) {
  test(`ends with ${notification.join('/')}: ${what}`, () => {
    const { state, outputs } = run([...inputs, input]);
    assert.deepEqual(sent(outputs), [notification]);
    assert.ok(outputs.some((o) => o.type === 'close' && o.connection === 1));
    assert.deepEqual(state.connections, []);
    assert.equal(timer(outputs, 'idleHold'), 1_000);
    assert.equal(state.connectRetryCounter, 1);
    assert.equal(down(outputs) !== undefined, inputs === toEstablished);
  });
}

test('5/x carries the type of the message (RFC 6608 3)', () => {
  const { outputs } = run([...toOpenSent, { type: 'update', connection: 1 }]);
  const notification = outputs.find((o) => o.type === 'sendNotification')?.notification;
  assert.deepEqual(notification?.data, Uint8Array.of(2));
});

test('2/7 names the capabilities that are missed (RFC 5492 5)', () => {
  const { outputs } = run([...toOpenSent, open(1, { ...peerOpen, families: [] })]);
  const notification = outputs.find((o) => o.type === 'sendNotification')?.notification;
  assert.deepEqual(notification?.data, Uint8Array.of(1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1));
});

test('equal router ids: refused within one AS, fine across (RFC 6286)', () => {
  const ibgp = { ...config, peerAsn: 64512 };
  assert.deepEqual(sent(run([...toOpenSent, open(1, { ...peerOpen, asn: 64512, routerId: 10 })], ibgp).outputs), [
    [2, 3],
  ]);
  assert.equal(run([...toOpenSent, open(1, { ...peerOpen, routerId: 10 })]).name, 'OpenConfirm');
});

test('a malformed NOTIFICATION is not answered (RFC 4271 6.4) and preserves nothing', () => {
  const error = { ...protocolError(1, 2, 'NOTIFICATION of 20 octets'), silent: true } as const;
  const { outputs } = run([...gracefulEstablished, { type: 'messageError', connection: 1, error }], graceful);
  assert.deepEqual(sent(outputs), []);
  assert.ok(types(outputs).includes('close'));
  assert.equal(down(outputs)?.gracefulRestartPreserve, false);
});

test('Established: UPDATE and KEEPALIVE restart the hold timer, the keepalive timer repeats', () => {
  const { state } = run(toEstablished);
  const update = run([{ type: 'update', connection: 1 }], state);
  assert.deepEqual(types(update.outputs), ['startTimer', 'deliverUpdate']);
  assert.equal(timer(update.outputs, 'hold'), 30_000);
  assert.equal(timer(run([keepalive()], state).outputs, 'hold'), 30_000);
  assert.deepEqual(types(run([{ type: 'routeRefresh', connection: 1 }], state).outputs), [
    'startTimer',
    'deliverRouteRefresh',
  ]);
  const tick = run([{ type: 'timer', timer: 'keepalive', connection: 1 }], state);
  assert.deepEqual(types(tick.outputs), ['sendKeepalive', 'startTimer']);
});

test('manual stop: Cease with its text, or silence for graceful restart (RFC 4486, RFC 9003, RFC 4724)', () => {
  const stop = run([...toEstablished, { type: 'manualStop', subcode: 2, text: 'bye' }]);
  const notification = stop.outputs.find((o) => o.type === 'sendNotification')?.notification;
  assert.deepEqual(notification, { code: 6, subcode: 2, data: Uint8Array.of(3, 98, 121, 101) });
  assert.equal(down(stop.outputs)?.gracefulRestartPreserve, false);
  assert.equal(stop.name, 'Idle');
  assert.deepEqual(
    types(stop.outputs).filter((t) => t === 'startTimer' || t === 'dial'),
    [],
  );
  const silent = run([...gracefulEstablished, { type: 'manualStop', subcode: 2, silent: true }], graceful);
  assert.deepEqual(sent(silent.outputs), []);
  assert.ok(types(silent.outputs).includes('close'));
  const dialling = run([start, { type: 'manualStop', subcode: 3 }]);
  assert.deepEqual(types(dialling.outputs), ['abortDial', 'stopTimer']);
  const refused = run([accepted]);
  assert.deepEqual([sent(refused.outputs), types(refused.outputs)], [[[6, 5]], ['sendNotification', 'close']]);
});

test('what is lost and what is preserved (RFC 4724 4)', () => {
  const lost: readonly [SessionInput, boolean][] = [
    [{ type: 'tcpClosed', connection: 1 }, true],
    [{ type: 'notification', connection: 1, notification: cease(4) }, false],
    [{ type: 'timer', timer: 'hold', connection: 1 }, false],
    [{ type: 'manualStop', subcode: 2 }, false],
  ];
  for (const [input, preserved] of lost) {
    assert.equal(down(run([...gracefulEstablished, input], graceful).outputs)?.gracefulRestartPreserve, preserved);
    assert.equal(down(run([...toEstablished, input]).outputs)?.gracefulRestartPreserve, false);
  }
  const helperOnly = { ...gracefulOpen, gracefulRestart: { ...gracefulOpen.gracefulRestart!, families: [] } };
  const { outputs } = run(
    [start, dialled, open(1, helperOnly), told, keepalive(), { type: 'tcpClosed', connection: 1 }],
    graceful,
  );
  assert.equal(down(outputs)?.gracefulRestartPreserve, false, 'the peer keeps no forwarding state');
});

test('a peer that comes back while Established (RFC 4724 5)', () => {
  const settled = run([...gracefulEstablished, stable], graceful).state;
  const candidate = run([accepted], settled);
  assert.deepEqual(sent(candidate.outputs), []);
  assert.equal(candidate.name, 'Established', 'connecting alone ends nothing');
  const back = run([open(2, gracefulOpen)], candidate.state);
  assert.equal(down(back.outputs)?.gracefulRestartPreserve, true);
  assert.equal(down(back.outputs)?.reason.type, 'peerRestarted');
  assert.deepEqual(sent(back.outputs), [], 'the old connection is closed without a word');
  assert.equal(back.name, 'OpenConfirm');
  assert.equal(establishedConnection(run([keepalive(2)], back.state).state)?.id, 2);

  const young = run([...gracefulEstablished, accepted], graceful);
  assert.deepEqual(sent(young.outputs), [[6, 7]], 'leftover of a collision');
  assert.ok(!types(young.outputs).includes('sendOpen'), 'the peer shall not choose it for an OPEN of ours');
  assert.equal(establishedConnection(young.state)?.id, 1);
  const plain = run([...toEstablished, stable, accepted]);
  assert.deepEqual(sent(plain.outputs), [[6, 7]], 'without graceful restart the session stands (RFC 4271 6.8)');
  assert.equal(plain.name, 'Established');
});

/** [router id of the peer, peer AS higher, order of OPENs, connection that stays]; ours is 10. */
const collisions: readonly [string, OpenMessage, readonly number[], number][] = [
  ['we are higher, ours first', { ...peerOpen, routerId: 5 }, [1, 2], 1],
  ['we are higher, theirs first', { ...peerOpen, routerId: 5 }, [2, 1], 1],
  ['we are lower, ours first', { ...peerOpen, routerId: 20 }, [1, 2], 2],
  ['we are lower, theirs first', { ...peerOpen, routerId: 20 }, [2, 1], 2],
  ['equal ids, the higher AS is theirs (RFC 6286 2.3)', { ...peerOpen, routerId: 10 }, [1, 2], 2],
];
for (const [what, message, order, winner] of collisions) {
  test(`collision, RFC 4271 6.8: ${what}`, () => {
    let { state } = run([start, dialled, accepted]);
    const ceased: number[] = [];
    const took: SessionInput[] = [
      ...order.map((id) => open(id, message)),
      { type: 'timer', timer: 'keepalive', connection: winner },
      keepalive(winner),
    ];
    for (const input of took) {
      const result = step(state, input, () => 1);
      state = result.state;
      for (const o of result.outputs) {
        if (o.type === 'sendNotification') {
          assert.deepEqual([o.notification.code, o.notification.subcode], [6, 7]);
          ceased.push(o.connection);
        }
      }
    }
    assert.deepEqual(ceased, [3 - winner]);
    assert.deepEqual(
      state.connections.map((c) => [c.id, c.state]),
      [[winner, 'Established']],
    );
  });
}

/** We are lower, have told and got KEEPALIVE on our connection, and the peer's is there. */
const confirmed: readonly SessionInput[] = [
  start,
  dialled,
  accepted,
  open(1, { ...peerOpen, routerId: 20 }),
  told,
  keepalive(),
];
const reason = 'RFC 4271 6.8: the higher speaker chooses among two connections that are open from both ends';

test(`${reason}: our KEEPALIVE came first there`, () => {
  const waiting = run(confirmed);
  assert.equal(waiting.name, 'OpenConfirm');
  const choose = { type: 'startTimer', timer: 'hold', connection: 2, delayMs: collisionMs };
  assert.deepEqual(waiting.outputs.slice(1), [choose]);
  assert.equal(run([{ type: 'tcpClosed', connection: 2 }], waiting.state).name, 'Established');
  assert.equal(
    run([{ type: 'notification', connection: 2, notification: cease(7) }], waiting.state).name,
    'Established',
  );
  const routes = run([{ type: 'update', connection: 1 }], waiting.state);
  assert.equal(routes.name, 'Established', 'it sends routes there');
  assert.deepEqual([sent(routes.outputs), types(routes.outputs).at(-1)], [[[6, 7]], 'deliverUpdate']);
});

test(`${reason}: our OPEN came first there`, () => {
  const both = run([...confirmed, open(2, { ...peerOpen, routerId: 20 })]);
  assert.deepEqual(sent(both.outputs), [], 'it may be Established on ours');
  assert.ok(types(both.outputs).includes('sendKeepalive'));
  const chosen = run([{ type: 'notification', connection: 1, notification: cease(7) }, keepalive(2)], both.state);
  assert.equal(establishedConnection(chosen.state)?.id, 2);
  assert.deepEqual(sent(chosen.outputs), []);
  const other = run([{ type: 'notification', connection: 2, notification: cease(7) }], both.state);
  assert.equal(establishedConnection(other.state)?.id, 1);
});

test(`${reason}: it does not choose, and a third connection is refused meanwhile`, () => {
  const waiting = run([...confirmed, { type: 'tcpConnected', connection: 3, direction: 'incoming' }]);
  assert.deepEqual(sent(waiting.outputs), [[6, 7]]);
  const late = run([{ type: 'timer', timer: 'hold', connection: 2 }], waiting.state);
  assert.equal(establishedConnection(late.state)?.id, 1);
  assert.deepEqual(sent(late.outputs), [[6, 7]]);
});

test('RFC 4271 6.8: we are higher and have OPEN on the incoming connection alone: it goes on if there will be none on ours', () => {
  const both = run([start, dialled, accepted, open(2, { ...peerOpen, routerId: 5 }), keepalive(2)]);
  assert.deepEqual([sent(both.outputs), both.name], [[], 'OpenConfirm']);
  assert.ok(!types(both.outputs).includes('sendKeepalive'), 'the peer shall not be Established there yet');
  const ends: readonly SessionInput[] = [
    { type: 'tcpClosed', connection: 1 },
    { type: 'notification', connection: 1, notification: cease(7) },
    { type: 'timer', timer: 'hold', connection: 1 },
  ];
  for (const end of ends) {
    const alone = run([end], both.state);
    assert.equal(timer(alone.outputs, 'keepalive'), keepalivePauseMs, end.type);
    assert.ok(!types(alone.outputs).includes('dial'));
    const up = run([{ type: 'timer', timer: 'keepalive', connection: 2 }], alone.state);
    assert.equal(establishedConnection(up.state)?.id, 2, end.type);
  }
  const patience = run([start, dialled, accepted, open(2, { ...peerOpen, routerId: 5 })]);
  assert.ok(
    patience.outputs.some((o) => o.type === 'startTimer' && o.connection === 1 && o.delayMs === collisionMs),
    'ours does not wait for ever',
  );
  const gone = run([{ type: 'tcpClosed', connection: 2 }, open(1, { ...peerOpen, routerId: 5 })], both.state);
  assert.deepEqual(
    gone.state.connections.map(({ id, state }) => [id, state]),
    [[1, 'OpenConfirm']],
  );
});

test('KEEPALIVE waits until the peer has done with the loser; the session waits for it', () => {
  const won = run([start, dialled, accepted, open(1, { ...peerOpen, routerId: 5 })]);
  assert.ok(!types(won.outputs).includes('sendKeepalive'));
  assert.equal(timer(won.outputs, 'keepalive'), keepalivePauseMs);
  const early = run([keepalive()], won.state);
  assert.equal(early.name, 'OpenConfirm');
  const late = run([told], early.state);
  assert.equal(late.name, 'Established');
  assert.deepEqual(types(late.outputs).slice(0, 2), ['sendKeepalive', 'startTimer']);
  const unseen = run([start, dialled, open(1)]);
  assert.equal(timer(unseen.outputs, 'keepalive'), keepalivePauseMs, 'one of the peer may be under way');
  const alone = run([start, { type: 'tcpFailed', reason: 'refused' }, accepted, open(2)]);
  assert.ok(types(alone.outputs).includes('sendKeepalive'), 'at once where we have none');
});

test('an attempt under way is given up when the incoming connection got its OPEN', () => {
  const { outputs, state } = run([start, accepted, open(2, { ...peerOpen, routerId: 5 })]);
  assert.ok(types(outputs).includes('abortDial'));
  assert.equal(state.dialler, 'off');
  const late = run([dialled], state);
  assert.deepEqual(types(late.outputs), ['close'], 'no OPEN on a connection that came too late');
});

test('back-off: 1 s doubling to 30 s, incoming connections welcome meanwhile, forgotten when stable', () => {
  let { state } = run([start]);
  const waits: number[] = [];
  for (let i = 0; i < 8; i++) {
    const failed = step(state, { type: 'tcpFailed', reason: 'connection refused' }, () => 1);
    waits.push(timer(failed.outputs, 'connectRetry')!);
    state = step(failed.state, { type: 'timer', timer: 'connectRetry' }, () => 1).state;
  }
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
  assert.equal(state.idleHoldMs, idleHoldMaxMs);
  const welcome = run([accepted], state);
  assert.ok(types(welcome.outputs).includes('sendOpen'));
  const settled = run([open(2), keepalive(2), stable], welcome.state);
  const lost = run([{ type: 'tcpClosed', connection: 2 }], settled.state);
  assert.equal(timer(lost.outputs, 'idleHold'), 1000);
  assert.equal(lost.name, 'Idle');
  assert.deepEqual(types(run([{ type: 'timer', timer: 'idleHold' }], lost.state).outputs), ['dial', 'startTimer']);
  assert.ok(types(run([accepted], lost.state).outputs).includes('sendOpen'), 'the peer may be faster than our timer');
});

test('a short connectRetry bounds the wait; an attempt that hangs is made anew', () => {
  const short = { ...config, connectRetrySec: 1 };
  const hanging = run([start, { type: 'timer', timer: 'connectRetry' }], short);
  assert.deepEqual(types(hanging.outputs), ['abortDial', 'dial', 'startTimer']);
  const again = run(
    [
      { type: 'tcpFailed', reason: 'x' },
      { type: 'timer', timer: 'connectRetry' },
      { type: 'tcpFailed', reason: 'x' },
    ],
    hanging.state,
  );
  assert.equal(timer(again.outputs, 'connectRetry'), 1000);
});

test('a passive peer never dials', () => {
  const passive = { ...config, passive: true };
  assert.deepEqual(run([start], passive).outputs, []);
  const lost = run([start, accepted, open(2), keepalive(2), { type: 'tcpClosed', connection: 2 }], passive);
  assert.equal(lost.name, 'Active');
  assert.deepEqual(
    lost.outputs.filter((o) => o.type === 'startTimer'),
    [],
  );
});

test('a newer incoming connection takes the place of an older one', () => {
  const { state } = run([start, accepted, { type: 'tcpConnected', connection: 3, direction: 'incoming' }]);
  assert.deepEqual(
    state.connections.map((c) => c.id),
    [3],
  );
});

test('graceful restart in OPEN follows setGracefulRestart', () => {
  const state = setGracefulRestart(initialState(config), { ...graceful.gracefulRestart!, restarting: true });
  const first = run([start, dialled], state).outputs.find((o) => o.type === 'sendOpen')?.open;
  assert.equal(first?.gracefulRestart?.restarting, true);
  const later = run([start, dialled], setGracefulRestart(state, undefined)).outputs.find(
    (o) => o.type === 'sendOpen',
  )?.open;
  assert.equal(later?.gracefulRestart, undefined);
});

test('input of what is gone changes nothing', () => {
  const { state } = run(toEstablished);
  const late: readonly SessionInput[] = [
    { type: 'tcpClosed', connection: 9 },
    { type: 'timer', timer: 'hold', connection: 9 },
    { type: 'update', connection: 9 },
    { type: 'tcpFailed', reason: 'late' },
    { type: 'timer', timer: 'connectRetry' },
    start,
  ];
  for (const input of late)
    assert.deepEqual(
      step(state, input, () => 1),
      { state, outputs: [] },
    );
});
