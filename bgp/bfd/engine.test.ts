import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BfdEngine, bfdSessionsMax, type PacketPath } from './engine.ts';
import { type ControlPacket, decodeControlPacket, emptyControlPacket, encodeControlPacket } from './packet.ts';
import { type BfdSessionConfig, type BfdSessionStatus, stateCode } from './types.ts';

const quick = { minTxUs: 50_000, minRxUs: 50_000, multiplier: 3 };
function session(more: Partial<BfdSessionConfig> = {}): BfdSessionConfig {
  return { key: 'peer', peerAddress: '10.0.0.2', multihop: false, maxHops: 1, ...quick, ...more };
}
const path = (more: Partial<PacketPath> = {}): PacketPath => ({
  multihop: false,
  hops: 255,
  source: '10.0.0.2',
  destination: '10.0.0.1',
  interface: 'e0',
  ...more,
});

/** Deterministic chance. */
function chance(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 0x1_0000_0000;
  };
}

/** One system: an engine, what it sent and told. */
class End {
  readonly engine: BfdEngine;
  readonly sent: { atMs: number; slot: number; packet: ControlPacket }[] = [];
  readonly statuses: BfdSessionStatus[] = [];
  readonly gaps: number[] = [];
  readonly open = new Set<number>();
  nowMs = 0;
  onSend: ((bytes: Uint8Array) => void) | undefined;

  constructor(random: () => number = () => 0.5) {
    this.engine = new BfdEngine({
      open: (slot) => void this.open.add(slot),
      close: (slot) => void this.open.delete(slot),
      send: (slot, bytes) => {
        const packet = emptyControlPacket();
        assert.equal(decodeControlPacket(bytes, bytes.length, packet), undefined);
        this.sent.push({ atMs: this.nowMs, slot, packet });
        this.onSend?.(bytes.slice());
      },
      onGap: (gapMs) => void this.gaps.push(gapMs),
      onChange: (status) => void this.statuses.push(status),
      random,
    });
  }
  get status(): BfdSessionStatus {
    return this.engine.statuses()[0]!;
  }
  runTo(endMs: number): void {
    while (this.engine.nextDueMs() <= endMs) {
      this.nowMs = Math.max(this.nowMs, this.engine.nextDueMs());
      this.engine.runDue(this.nowMs);
    }
    this.nowMs = endMs;
  }
  configure(...sessions: BfdSessionConfig[]): number {
    return this.engine.configure(sessions, this.nowMs);
  }
  receive(packet: Partial<ControlPacket>, from: Partial<PacketPath> = {}): void {
    const bytes = new Uint8Array(24);
    const defaults = { detectMult: 3, myDiscriminator: 77, desiredMinTxUs: 50_000, requiredMinRxUs: 50_000 };
    encodeControlPacket({ ...emptyControlPacket(), ...defaults, ...packet }, bytes);
    this.engine.receive(bytes, bytes.length, path(from), this.nowMs);
  }
  get discriminator(): number {
    return this.sent.at(-1)!.packet.myDiscriminator;
  }
}

/** Two systems and what is between them: each packet takes `delayMs`, or is lost. */
class Wire {
  readonly a: End;
  readonly b: End;
  nowMs = 0;
  #flying: { atMs: number; to: End; bytes: Uint8Array }[] = [];

  constructor(options: { seed: number; delayMs: () => number; lost: (nowMs: number, toB: boolean) => boolean }) {
    this.a = new End(chance(options.seed));
    this.b = new End(chance(options.seed + 7919));
    for (const [from, to] of [
      [this.a, this.b],
      [this.b, this.a],
    ] as const) {
      from.onSend = (bytes) => {
        if (!options.lost(this.nowMs, to === this.b)) {
          this.#flying.push({ atMs: this.nowMs + options.delayMs(), to, bytes });
        }
      };
    }
  }
  runTo(endMs: number): void {
    for (;;) {
      const landing = Math.min(...this.#flying.map(({ atMs }) => atMs));
      const next = Math.min(landing, this.a.engine.nextDueMs(), this.b.engine.nextDueMs());
      if (next > endMs) break;
      this.nowMs = Math.max(this.nowMs, next);
      this.a.nowMs = this.nowMs;
      this.b.nowMs = this.nowMs;
      const landed = this.#flying.filter(({ atMs }) => atMs <= this.nowMs);
      this.#flying = this.#flying.filter(({ atMs }) => atMs > this.nowMs);
      for (const { to, bytes } of landed) {
        to.engine.receive(bytes, bytes.length, path({ source: to === this.a ? '10.0.0.2' : '10.0.0.1' }), this.nowMs);
      }
      for (const end of [this.a, this.b]) end.engine.runDue(this.nowMs);
    }
    this.nowMs = endMs;
    this.a.nowMs = endMs;
    this.b.nowMs = endMs;
  }
  start(a: Partial<BfdSessionConfig> = {}, b: Partial<BfdSessionConfig> = {}): void {
    this.a.configure(session(a));
    this.b.configure(session({ peerAddress: '10.0.0.1', ...b }));
  }
}
const perfect = (seed = 1): Wire => new Wire({ seed, delayMs: () => 1, lost: () => false });

test('RFC 5880 6.2: two ends come up, agree on intervals by a poll, and no more is sent than that', () => {
  const wire = perfect();
  wire.start({}, { minTxUs: 20_000, minRxUs: 100_000, multiplier: 5 });
  wire.runTo(5_000);
  const { a, b } = wire;
  assert.deepEqual(
    [a, b].map(({ status: s }) => [s.state, s.remoteState, s.txIntervalUs, s.rxIntervalUs, s.detectionTimeUs, s.flaps]),
    [
      ['Up', 'Up', 100_000, 50_000, 250_000, 0],
      ['Up', 'Up', 50_000, 100_000, 300_000, 0],
    ],
  );
  const polls = a.sent.filter(({ packet }) => packet.poll);
  assert.equal(polls.length, 1);
  assert.ok(!a.sent.some(({ packet }) => packet.poll && packet.final));
});

test('RFC 5880 6.8.7: gaps are 75 to 100 % of the interval, with a multiplier of 1 at most 90 %, and differ', () => {
  for (const [multiplier, most] of [
    [3, 1],
    [1, 0.9],
  ] as const) {
    const wire = perfect();
    wire.start({ multiplier });
    wire.runTo(2_000);
    const from = wire.a.sent.length;
    wire.runTo(30_000);
    const times = wire.a.sent.slice(from).map(({ atMs }) => atMs);
    const gaps = times.slice(1).map((atMs, i) => (atMs - times[i]!) / 50);
    assert.ok(gaps.length > 400 && Math.min(...gaps) >= 0.75 && Math.max(...gaps) <= most);
    assert.ok(Math.max(...gaps) - Math.min(...gaps) > 0.1, 'jitter is applied');
  }
});

test('while packets come, there is something to send whenever something is due: nobody wakes up for a detection time that was put off', () => {
  const wire = perfect();
  wire.start();
  wire.runTo(5_000);
  const { a } = wire;
  for (let n = 0; n < 100; n++) {
    const sent = a.sent.length;
    wire.runTo(a.engine.nextDueMs());
    assert.ok(a.sent.length > sent, `at ${wire.nowMs} ms`);
  }
});

test('RFC 5880 6.8.4, 6.8.5: loss is noticed within the detection time, and both ends come back', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1_000_000 }),
      fc.record({ minTxUs: fc.integer({ min: 10_000, max: 400_000 }), multiplier: fc.integer({ min: 2, max: 5 }) }),
      fc.record({ minRxUs: fc.integer({ min: 10_000, max: 400_000 }), multiplier: fc.integer({ min: 2, max: 5 }) }),
      fc.constantFrom('both', 'to a', 'to b'),
      (seed, a, b, what) => {
        let cut = false;
        const lost = (_: number, toB: boolean): boolean => cut && (what === 'both' || (what === 'to b') === toB);
        const random = chance(seed);
        const wire = new Wire({ seed, delayMs: () => 5 * random(), lost });
        wire.start(a, b);
        wire.runTo(6_000);
        assert.deepEqual([wire.a.status.state, wire.b.status.state], ['Up', 'Up']);
        cut = true;
        const ends = [wire.a, wire.b].filter((end) => what === 'both' || (what === 'to a') === (end === wire.a));
        // Packets that overtook each other may have cost flaps on the way up.
        const flaps = ends.map((end) => end.status.flaps);
        const detectionMs = Math.max(...ends.map((end) => end.status.detectionTimeUs / 1000));
        wire.runTo(6_000 + detectionMs + 6);
        assert.deepEqual(
          ends.map(({ status }) => [status.state, status.flaps]),
          flaps.map((count) => ['Down', count + 1]),
        );
        cut = false;
        wire.runTo(20_000);
        assert.deepEqual([wire.a.status.state, wire.b.status.state], ['Up', 'Up']);
      },
    ),
    { numRuns: 60 },
  );
});

test('RFC 5880 6.8.6: whatever was lost before, both ends are Up once packets come through', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1_000_000 }),
      fc.integer({ min: 0, max: 95 }),
      fc.array(fc.record({ atMs: fc.nat(8_000), minTxUs: fc.integer({ min: 10_000, max: 900_000 }) }), {
        maxLength: 6,
      }),
      (seed, lossPercent, changes) => {
        const random = chance(seed);
        let lossy = true;
        const wire = new Wire({
          seed,
          delayMs: () => 20 * random(),
          lost: () => lossy && random() * 100 < lossPercent,
        });
        wire.start();
        for (const { atMs, minTxUs } of changes.sort((x, y) => x.atMs - y.atMs)) {
          wire.runTo(Math.max(wire.nowMs, atMs));
          wire.a.configure(session({ minTxUs }));
        }
        wire.runTo(8_000);
        lossy = false;
        wire.runTo(20_000);
        const flaps = [wire.a.status.flaps, wire.b.status.flaps];
        assert.deepEqual([wire.a.status.state, wire.b.status.state], ['Up', 'Up']);
        wire.runTo(30_000);
        assert.deepEqual([wire.a.status.flaps, wire.b.status.flaps], flaps, 'and stay so');
        const inForce = Math.max(50_000, changes.at(-1)?.minTxUs ?? 50_000);
        assert.equal(wire.a.status.txIntervalUs, inForce, 'polls were acknowledged');
        assert.equal(wire.b.status.rxIntervalUs, inForce);
      },
    ),
    { numRuns: 60 },
  );
});

test('RFC 5880 6.8.3: intervals change by a Poll Sequence while the session stays Up', () => {
  const wire = perfect();
  wire.start();
  wire.runTo(3_000);
  for (const [minTxUs, minRxUs] of [
    [200_000, 50_000],
    [50_000, 300_000],
    [20_000, 20_000],
  ] as const) {
    wire.a.configure(session({ minTxUs, minRxUs, multiplier: 4 }));
    wire.runTo(wire.nowMs + 3_000);
    const expected = [Math.max(minTxUs, 50_000), Math.max(minRxUs, 50_000), 'Up'];
    assert.deepEqual([wire.a.status.txIntervalUs, wire.a.status.rxIntervalUs, wire.a.status.state], expected);
  }
  assert.deepEqual([wire.a.status.flaps, wire.b.status.flaps], [0, 0]);
});

test('RFC 5880 6.8.6, RFC 5882 8: what is no longer wanted says AdminDown for a detection time, then ends', () => {
  const wire = perfect();
  wire.start();
  wire.runTo(3_000);
  wire.a.configure();
  wire.runTo(3_100);
  assert.deepEqual([wire.b.status.state, wire.b.status.remoteState], ['Down', 'AdminDown']);
  assert.equal(wire.b.status.diagnostic, 3);
  assert.equal(wire.a.engine.size, 1);
  wire.runTo(20_000);
  assert.deepEqual([wire.a.engine.size, wire.a.open.size, wire.a.engine.nextDueMs()], [0, 0, Number.POSITIVE_INFINITY]);
});

test('RFC 5880 6.8.16: what is wanted again before its farewell is over goes on, with the same discriminator', () => {
  const wire = perfect();
  wire.start();
  wire.runTo(3_000);
  const { discriminator } = wire.a;
  wire.a.configure();
  wire.runTo(3_200);
  wire.a.configure(session());
  wire.runTo(9_000);
  assert.deepEqual([wire.a.status.state, wire.b.status.state, wire.a.discriminator], ['Up', 'Up', discriminator]);
});

test('RFC 5880 6.8.1: discriminators are not zero and unique', () => {
  const end = new End(() => 0);
  end.configure(...[1, 2, 3].map((n) => session({ key: `${n}`, peerAddress: `10.0.0.${n}` })));
  end.runTo(0);
  assert.deepEqual(
    end.sent.map(({ packet }) => packet.myDiscriminator),
    [1, 2, 3],
  );
});

test('RFC 5881 3, RFC 5883 3: first packets find their session by source, port, interface and own address', () => {
  const end = new End(chance(5));
  end.configure(
    session({ key: 'e0', peerAddress: 'fe80::2', interface: 'e0' }),
    session({ key: 'e1', peerAddress: 'fe80::2', interface: 'e1' }),
    session({ key: 'far', multihop: true, maxHops: 255, localAddress: '10.9.0.1' }),
    session({ key: 'near' }),
  );
  const state = (key: string) => end.engine.statuses().find((status) => status.key === key)!.state;
  end.receive({}, { source: 'fe80::2', interface: 'e1' });
  assert.deepEqual(['e0', 'e1', 'far', 'near'].map(state), ['Down', 'Init', 'Down', 'Down']);
  end.receive({}, { multihop: true, hops: 60 });
  assert.equal(state('far'), 'Down', 'sent to another address of ours');
  end.receive({}, { multihop: true, hops: 60, destination: '10.9.0.1' });
  assert.deepEqual(['e0', 'e1', 'far', 'near'].map(state), ['Down', 'Init', 'Init', 'Down']);
  end.receive({});
  assert.equal(state('near'), 'Init');
  end.receive({}, { source: '10.0.0.9' });
  end.receive({ yourDiscriminator: 123_456 });
  assert.equal(end.engine.drops.unknownSession, 3);
});

test('RFC 5880 6.3: later packets find it by Your Discriminator alone, but not through the other port', () => {
  const end = new End(chance(5));
  end.configure(session());
  end.runTo(0);
  end.receive({}, { source: '10.0.0.2' });
  end.receive({ state: stateCode.init, yourDiscriminator: end.discriminator }, { source: '10.7.7.7', interface: 'e9' });
  assert.equal(end.status.state, 'Up');
  end.receive({ yourDiscriminator: end.discriminator }, { multihop: true, hops: 200 });
  assert.deepEqual([end.status.state, end.engine.drops.unknownSession], ['Up', 1]);
});

test('RFC 5881 5: on a link only TTL 255 counts; RFC 5883 5: across hops what was allowed', () => {
  const end = new End(chance(5));
  end.configure(session({ key: 'near' }), session({ key: 'far', peerAddress: '10.9.9.9', multihop: true, maxHops: 3 }));
  for (const hops of [254, 64, 1, 0, -1]) end.receive({}, { hops });
  for (const hops of [252, 64, -1]) end.receive({}, { multihop: true, source: '10.9.9.9', hops });
  assert.deepEqual([end.engine.drops.hops, end.engine.statuses().every(({ state }) => state === 'Down')], [8, true]);
  end.receive({}, { multihop: true, source: '10.9.9.9', hops: 253 });
  assert.equal(end.engine.statuses()[1]!.state, 'Init');
});

test('RFC 5880 6.8.6: hostile packets move nothing: authentication, lengths, discriminators, states', () => {
  const wire = perfect();
  wire.start();
  wire.runTo(3_000);
  const { a } = wire;
  const before = a.status;
  const good = new Uint8Array(24);
  encodeControlPacket(
    { ...emptyControlPacket(), myDiscriminator: 9, yourDiscriminator: a.discriminator, detectMult: 3 },
    good,
  );
  const with_ = (change: (bytes: Uint8Array) => void): Uint8Array => {
    const bytes = new Uint8Array(52);
    bytes.set(good);
    change(bytes);
    return bytes;
  };
  const hostile = [
    with_((b) => {
      b[1] = b[1]! | 4;
      b[3] = 28;
    }),
    with_((b) => (b[3] = 255)),
    with_((b) => (b[3] = 3)),
    with_((b) => (b[2] = 0)),
    with_((b) => (b[0] = 0)),
    with_((b) => b.fill(0xff, 8, 12)),
    with_((b) => b.fill(0, 4, 8)),
  ];
  for (const bytes of hostile) a.engine.receive(bytes, bytes.length, path(), wire.nowMs);
  a.engine.receive(good, 12, path(), wire.nowMs);
  assert.deepEqual(a.status, before);
  assert.equal(
    Object.values(a.engine.drops).reduce((sum, count) => sum + count),
    hostile.length + 1,
  );
});

test('any octets from anywhere: nothing throws, and nothing runs without end', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          bytes: fc.uint8Array({ minLength: 20, maxLength: 60 }),
          known: fc.boolean(),
          multihop: fc.boolean(),
          waitMs: fc.nat(3_000),
        }),
        { maxLength: 40 },
      ),
      (packets) => {
        const end = new End(chance(3));
        end.configure(session(), session({ key: 'far', peerAddress: '10.0.0.3', multihop: true, maxHops: 255 }));
        end.runTo(1);
        for (const { bytes, known, multihop, waitMs } of packets) {
          // Sound enough to get through to a session.
          bytes[0] = (bytes[0]! & 31) | 32;
          bytes[3] = 24;
          if (known) new DataView(bytes.buffer).setUint32(8, end.sent[multihop ? 1 : 0]!.packet.myDiscriminator);
          end.engine.receive(bytes, bytes.length, path({ multihop, hops: 255 }), end.nowMs);
          const before = end.sent.length;
          end.runTo(end.nowMs + waitMs);
          assert.ok(end.sent.length - before <= 2 * (2 + waitMs / 37.5), 'no faster than the interval allows');
        }
      },
    ),
    { numRuns: 200 },
  );
});

test('a system that was held up sends once for each session, not all that it missed', () => {
  const wire = perfect();
  wire.start();
  wire.runTo(3_000);
  const before = wire.a.sent.length;
  wire.a.nowMs = 3_095;
  wire.a.engine.runDue(3_095);
  assert.equal(wire.a.sent.length, before + 1);
});

test('RFC 5880 6.8.4: a system that was held up sends first, and takes what waits before it judges who was silent', () => {
  const wire = perfect();
  wire.start();
  wire.runTo(3_000);
  const { a, b } = wire;
  const last = b.sent.at(-1)!.packet;
  const { lastFlaps, sent } = { lastFlaps: a.status.flaps, sent: a.sent.length };
  a.nowMs = 3_900;
  a.engine.sendDue(3_900);
  assert.equal(a.sent.length, sent + 1);
  assert.equal(a.sent.at(-1)!.packet.state, stateCode.up);
  assert.ok(a.gaps.at(-1)! > 850, 'the gap is known, whatever becomes of the session');
  a.receive(last, { source: '10.0.0.2' });
  a.engine.judgeDue(3_900);
  assert.deepEqual([a.status.state, a.status.flaps], ['Up', lastFlaps]);
  a.nowMs = 4_800;
  a.engine.judgeDue(4_800);
  assert.deepEqual([a.status.state, a.status.flaps], ['Down', lastFlaps + 1]);
});

test('sessions beyond the bound are left out and counted', () => {
  const end = new End(chance(9));
  const many = Array.from({ length: bfdSessionsMax + 3 }, (_, n) => session({ key: `${n}`, peerAddress: `peer ${n}` }));
  assert.equal(end.configure(...many), 3);
  assert.equal(end.engine.size, bfdSessionsMax);
});
