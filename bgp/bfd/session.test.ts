import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ControlPacket, emptyControlPacket } from './packet.ts';
import {
  type BfdEvent,
  type BfdSession,
  desiredMinTxUs,
  detectionTimeUs,
  fillPacket,
  initialSession,
  isRepetition,
  type PacketKind,
  stepBfd,
  transmitIntervalUs,
} from './session.ts';
import { diagnosticCode, stateCode } from './types.ts';

const { adminDown, down, init, up } = stateCode;
const parameters = { minTxUs: 300_000, minRxUs: 300_000, multiplier: 3 };
const fresh = (): BfdSession => initialSession(parameters, 11);

function packet(state: number, more: Partial<ControlPacket> = {}): ControlPacket {
  return {
    ...emptyControlPacket(),
    state,
    detectMult: 3,
    myDiscriminator: 22,
    yourDiscriminator: 11,
    desiredMinTxUs: 300_000,
    requiredMinRxUs: 300_000,
    ...more,
  };
}
function after(session: BfdSession, ...events: BfdEvent[]): BfdSession {
  return events.reduce((state, event) => stepBfd(state, event).session, session);
}
const got = (state: number, more: Partial<ControlPacket> = {}): BfdEvent => ({
  type: 'packet',
  packet: packet(state, more),
});
const sent: BfdEvent = { type: 'pollSent' };
/** Up, and the poll of the change to 300 ms acknowledged. */
const settled = (): BfdSession => after(fresh(), got(down), got(up), sent, got(up, { final: true }));
function says(session: BfdSession, kind: PacketKind = 'periodic'): ControlPacket {
  const out = emptyControlPacket();
  fillPacket(session, kind, out);
  return out;
}
const inState = (state: number): BfdSession =>
  ({
    [adminDown]: after(fresh(), { type: 'disable' }),
    [down]: fresh(),
    [init]: after(fresh(), got(down)),
    [up]: settled(),
  })[state]!;

test('RFC 5880 6.2, 6.8.6: every state against every received state', () => {
  const table: Record<number, number[]> = {
    // received:   AdminDown  Down  Init  Up
    [adminDown]: [adminDown, adminDown, adminDown, adminDown],
    [down]: [down, init, up, down],
    [init]: [down, init, up, up],
    [up]: [down, down, up, up],
  };
  for (const [state, expected] of Object.entries(table)) {
    const results = [adminDown, down, init, up].map((remote) => after(inState(Number(state)), got(remote)).state);
    assert.deepEqual(results, expected, `from ${state}`);
  }
});

test('RFC 5880 6.8.6: the neighbour says AdminDown or Down: diagnostic 3', () => {
  for (const remote of [adminDown, down]) {
    assert.equal(after(settled(), got(remote)).diagnostic, diagnosticCode.neighborSignaledSessionDown);
  }
  assert.equal(after(settled(), got(down), got(down), got(up)).diagnostic, diagnosticCode.none, 'none once it is up');
});

test('RFC 5880 6.8.4: silence: Down with diagnostic 1 from Init and Up; the peer is forgotten in every state (6.8.1)', () => {
  for (const state of [init, up]) {
    const { session, send } = stepBfd(inState(state), { type: 'detectionExpired' });
    assert.deepEqual([session.state, session.diagnostic, send], [down, 1, 'change']);
    assert.deepEqual([session.remoteDiscriminator, detectionTimeUs(session)], [0, 0]);
  }
  const { session, send } = stepBfd(after(fresh(), got(up)), { type: 'detectionExpired' });
  assert.deepEqual([session.state, session.diagnostic, session.remoteDiscriminator, send], [down, 0, 0, 'nothing']);
});

test('RFC 5880 6.8.1: bfd.RemoteMinRxInterval is 1 until heard of, and again when the peer is forgotten', () => {
  assert.equal(fresh().remoteMinRxUs, 1);
  const silenced = after(settled(), got(up, { requiredMinRxUs: 0 }));
  assert.equal(transmitIntervalUs(silenced), 0, '6.8.7: 0 forbids periodic packets');
  assert.equal(transmitIntervalUs(after(silenced, { type: 'detectionExpired' })), 1_000_000);
});

test('RFC 5880 6.8.16: AdminDown: diagnostic 7, what comes is dropped, polls are not answered, and back to Down', () => {
  const { session, send } = stepBfd(settled(), { type: 'disable' });
  assert.deepEqual([session.state, session.diagnostic, send], [adminDown, 7, 'change']);
  assert.deepEqual(stepBfd(session, got(down, { poll: true })).send, 'nothing');
  const enabled = stepBfd(session, { type: 'enable' });
  assert.deepEqual([enabled.session.state, enabled.session.diagnostic, enabled.send], [down, 0, 'change']);
  assert.equal(stepBfd(settled(), { type: 'enable' }).session.state, up, 'of no effect elsewhere');
});

test('RFC 5880 6.8.3: at least a second between packets unless Up, then what is configured', () => {
  for (const state of [adminDown, down, init]) {
    const session = inState(state);
    assert.deepEqual([desiredMinTxUs(session), transmitIntervalUs(session)], [1_000_000, 1_000_000]);
  }
  assert.deepEqual([desiredMinTxUs(settled()), transmitIntervalUs(settled())], [300_000, 300_000]);
  assert.equal(transmitIntervalUs(after(settled(), got(down))), 1_000_000);
  const slow = initialSession({ ...parameters, minTxUs: 2_000_000 }, 1);
  assert.equal(transmitIntervalUs(slow), 2_000_000, 'what is slower stays so');
});

test('RFC 5880 6.8.2: we send no faster than the peer can receive', () => {
  assert.equal(transmitIntervalUs(after(settled(), got(up, { requiredMinRxUs: 900_000 }))), 900_000);
  assert.equal(transmitIntervalUs(after(settled(), got(up, { requiredMinRxUs: 50_000 }))), 300_000);
});

test("RFC 5880 6.8.4: detection time: the peer's multiplier times the slower of its sending and our receiving", () => {
  assert.equal(detectionTimeUs(after(settled(), got(up, { detectMult: 5, desiredMinTxUs: 400_000 }))), 2_000_000);
  assert.equal(detectionTimeUs(after(settled(), got(up, { detectMult: 2, desiredMinTxUs: 10_000 }))), 600_000);
});

test('RFC 5880 6.5, 6.8.3: a changed interval is polled for: P in periodic packets until F', () => {
  const becoming = after(fresh(), got(down), got(up));
  assert.equal(becoming.state, up);
  assert.ok(says(becoming).poll, 'Desired Min TX fell from 1 s with Up');
  assert.ok(!says(becoming, 'change').poll, 'no packets in addition to the periodic ones are polls');
  assert.ok(says(after(becoming, sent)).poll, 'until it is answered');
  assert.ok(says(after(becoming, got(up, { final: true }))).poll, 'F of something else: no P went out yet');
  assert.ok(!says(after(becoming, sent, got(up, { final: true }))).poll);
});

test('RFC 5880 6.5: P and F are never set together; a Poll is answered at once, with F', () => {
  const polling = after(fresh(), got(down), got(up), sent);
  const { session, send } = stepBfd(polling, got(up, { poll: true }));
  assert.equal(send, 'final');
  assert.deepEqual([says(session, 'final').poll, says(session, 'final').final], [false, true]);
  const changing = stepBfd(fresh(), got(down, { poll: true }));
  assert.deepEqual([changing.session.state, changing.send], [init, 'final'], 'the answer carries the new state');
});

test('RFC 5880 6.8.3: while Up a longer transmit interval waits for the acknowledgement, a shorter one does not', () => {
  const slower = after(settled(), { type: 'configure', parameters: { ...parameters, minTxUs: 500_000 } });
  assert.deepEqual([says(slower).desiredMinTxUs, transmitIntervalUs(slower)], [500_000, 300_000]);
  assert.equal(transmitIntervalUs(after(slower, sent, got(up, { final: true }))), 500_000);
  const faster = after(settled(), { type: 'configure', parameters: { ...parameters, minTxUs: 100_000 } });
  // The peer takes no more than every 300 ms.
  assert.equal(transmitIntervalUs(after(faster, got(up, { requiredMinRxUs: 100_000 }))), 100_000);
  assert.ok(says(faster).poll && says(slower).poll);
});

test('RFC 5880 6.8.3: while Up a shorter receive interval waits for the acknowledgement, a longer one does not', () => {
  const peer = { desiredMinTxUs: 50_000 };
  const shorter = after(settled(), got(up, peer), {
    type: 'configure',
    parameters: { ...parameters, minRxUs: 100_000 },
  });
  assert.deepEqual([says(shorter).requiredMinRxUs, detectionTimeUs(shorter)], [100_000, 900_000]);
  assert.equal(detectionTimeUs(after(shorter, sent, got(up, { ...peer, final: true }))), 300_000);
  const longer = after(settled(), got(up, peer), {
    type: 'configure',
    parameters: { ...parameters, minRxUs: 500_000 },
  });
  assert.equal(detectionTimeUs(longer), 1_500_000);
});

test('RFC 5880 6.8.3: a change during a Poll Sequence is asked again before anything is taken into use', () => {
  const slower = (minTxUs: number): BfdEvent => ({ type: 'configure', parameters: { ...parameters, minTxUs } });
  const twice = after(settled(), slower(500_000), sent, slower(700_000));
  const first = after(twice, got(up, { final: true }));
  assert.deepEqual([says(first).poll, transmitIntervalUs(first)], [true, 300_000]);
  const second = after(first, sent, got(up, { final: true }));
  assert.deepEqual([says(second).poll, transmitIntervalUs(second)], [false, 700_000]);
});

test('RFC 5880 6.8.12: a new multiplier needs no poll and is said at once', () => {
  const session = after(settled(), { type: 'configure', parameters: { ...parameters, multiplier: 7 } });
  assert.deepEqual([says(session).detectMult, says(session).poll], [7, false]);
});

test('RFC 5880 6.8.3: outside of Up a change holds at once; nobody is polled who is not there', () => {
  const wide = { ...parameters, minTxUs: 2_000_000, minRxUs: 50_000 };
  const session = after(fresh(), { type: 'configure', parameters: wide });
  assert.deepEqual([transmitIntervalUs(session), session.rxUs, says(session).poll], [2_000_000, 50_000, false]);
});

test('RFC 5880 6.6: a peer in demand mode gets periodic packets only while we poll; we never ask for it', () => {
  const demanded = after(settled(), got(up, { demand: true }));
  assert.equal(transmitIntervalUs(demanded), 0);
  const polling = after(demanded, { type: 'configure', parameters: { ...parameters, minTxUs: 400_000 } });
  assert.equal(transmitIntervalUs(polling), 300_000);
  assert.ok(says(polling).poll && !says(polling).demand);
  assert.equal(transmitIntervalUs(after(polling, sent, got(up, { demand: true, final: true }))), 0);
  assert.equal(transmitIntervalUs(after(demanded, got(down, { demand: true }))), 1_000_000, 'only while both are Up');
});

test('RFC 5880 6.8.7, RFC 5882 4.3.2: what packets say: discriminators, no echo, C bit 0', () => {
  const out = says(settled());
  assert.deepEqual([out.myDiscriminator, out.yourDiscriminator], [11, 22]);
  assert.deepEqual([out.requiredMinEchoRxUs, out.controlPlaneIndependent], [0, false]);
  assert.equal(says(fresh()).yourDiscriminator, 0);
  assert.equal(after(settled(), got(up, { myDiscriminator: 99 })).remoteDiscriminator, 99, 'as told last (6.8.6)');
});

test('a repetition is just what `step` would change nothing for', () => {
  const session = after(settled(), got(up));
  assert.ok(isRepetition(session, packet(up)));
  assert.deepEqual(stepBfd(session, got(up)), { session, send: 'nothing' });
  const others: Partial<ControlPacket>[] = [
    { poll: true },
    { final: true },
    { state: down },
    { demand: true },
    { controlPlaneIndependent: true },
    { diagnostic: 1 },
    { detectMult: 4 },
    { myDiscriminator: 23 },
    { desiredMinTxUs: 1 },
    { requiredMinRxUs: 1 },
  ];
  for (const other of others) assert.ok(!isRepetition(session, { ...packet(up), ...other }), JSON.stringify(other));
});
