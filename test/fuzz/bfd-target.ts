/**
 * BFD under fuzz: a case is an episode of one engine with four sessions over a virtual clock, fed with packets that are sound, nearly so, or not
 * at all, from everywhere, while its settings change. It must not throw, must count what it drops, must answer no more than it may, and what it
 * sends itself must be sound.
 */
import assert from 'node:assert/strict';
import {
  BfdEngine,
  type BfdSessionConfig,
  controlPacketBytes,
  decodeControlPacket,
  emptyControlPacket,
  encodeControlPacket,
} from '#bgp';
import type { Target } from './codec-targets.ts';
import type { Random } from './random.ts';

const stepsMax = 60;
const intervalsUs = [1, 10_000, 50_000, 300_000, 1_000_000, 0xffffffff];
const sources = ['10.0.0.1', '10.0.0.2', 'fe80::1', '10.9.9.9'];

function sessions(random: Random): BfdSessionConfig[] {
  const make = (key: string, more: Partial<BfdSessionConfig>): BfdSessionConfig => ({
    key,
    peerAddress: key,
    multihop: false,
    maxHops: 1,
    minTxUs: random.pick([10_000, 50_000, 300_000]),
    minRxUs: random.pick([10_000, 50_000, 300_000]),
    multiplier: random.pick([1, 3, 255]),
    ...more,
  });
  return [
    make('10.0.0.1', {}),
    make('fe80::1', { interface: 'e0' }),
    make('10.0.0.2', { multihop: true, maxHops: 3 }),
    make('10.9.9.9', { multihop: true, maxHops: 255, localAddress: '10.1.1.1' }),
  ].filter(() => !random.oneIn(12));
}

class Episode {
  readonly #random: Random;
  readonly #engine: BfdEngine;
  readonly #discriminators: number[] = [];
  readonly #out = emptyControlPacket();
  #nowMs = 0;
  #sent = 0;

  constructor(random: Random) {
    this.#random = random;
    this.#engine = new BfdEngine({
      open: () => undefined,
      close: () => undefined,
      onChange: ({ detectionTimeUs, txIntervalUs }) => assert.ok(detectionTimeUs >= 0 && txIntervalUs >= 0),
      random: () => random.fraction(),
      send: (_, bytes) => {
        this.#sent++;
        assert.equal(decodeControlPacket(bytes, bytes.length, this.#out), undefined, 'what we send is sound');
        assert.ok(!(this.#out.poll && this.#out.final) && !this.#out.demand && this.#out.detectMult > 0);
        if (!this.#discriminators.includes(this.#out.myDiscriminator)) {
          this.#discriminators.push(this.#out.myDiscriminator);
        }
      },
    });
  }

  step(): void {
    const random = this.#random;
    if (random.oneIn(15)) this.#engine.configure(sessions(random), this.#nowMs);
    if (random.oneIn(3)) this.#advance(random.pick([0, 1, 40, 300, 3_000]));
    const bytes = this.#packet();
    const length = random.oneIn(10) ? random.below(bytes.length + 4) : bytes.length;
    const before = this.#sent;
    const dropped = this.#dropped;
    this.#engine.receive(bytes, length, this.#path(), this.#nowMs);
    assert.ok(this.#sent - before <= 1, 'one packet is answered by one at most');
    assert.ok(this.#dropped - dropped <= 1);
    if (this.#dropped > dropped) assert.equal(this.#sent, before, 'what is dropped is not answered');
  }

  /** Nothing is left once nothing is wanted. */
  end(): void {
    this.#engine.configure([], this.#nowMs);
    this.#advance(30_000);
    assert.equal(this.#engine.size, 0);
    assert.equal(this.#engine.nextDueMs(), Number.POSITIVE_INFINITY);
  }

  get #dropped(): number {
    return Object.values(this.#engine.drops).reduce((sum, count) => sum + count, 0);
  }

  #advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    const before = this.#sent;
    while (this.#engine.nextDueMs() <= endMs) {
      this.#nowMs = Math.max(this.#nowMs, this.#engine.nextDueMs());
      this.#engine.runDue(this.#nowMs);
    }
    this.#nowMs = endMs;
    assert.ok(this.#sent - before <= 4 * (2 + ms / 7.5), 'no faster than the shortest interval allows');
  }

  #packet(): Uint8Array {
    const random = this.#random;
    const bytes = new Uint8Array(controlPacketBytes + (random.oneIn(8) ? random.below(30) : 0));
    encodeControlPacket(
      {
        diagnostic: random.below(32),
        state: random.below(4),
        poll: random.oneIn(4),
        final: random.oneIn(4),
        controlPlaneIndependent: random.oneIn(4),
        demand: random.oneIn(6),
        detectMult: random.pick([1, 3, 255]),
        myDiscriminator: 1 + random.below(3),
        yourDiscriminator: random.oneIn(3)
          ? 0
          : random.oneIn(8)
            ? random.word()
            : (random.pick(this.#discriminators) ?? 0),
        desiredMinTxUs: random.oneIn(20) ? 0 : random.pick(intervalsUs),
        requiredMinRxUs: random.oneIn(10) ? 0 : random.pick(intervalsUs),
        requiredMinEchoRxUs: random.oneIn(2) ? 0 : random.word(),
      },
      bytes,
    );
    for (let i = random.oneIn(3) ? 1 + random.below(3) : 0; i > 0; i--) {
      bytes[random.below(bytes.length)] = random.below(256);
    }
    return bytes;
  }

  #path() {
    const random = this.#random;
    return {
      multihop: random.oneIn(2),
      hops: random.oneIn(4) ? random.below(257) - 1 : 255,
      source: random.pick(sources),
      destination: random.pick(['10.1.1.1', '10.1.1.2']),
      interface: random.pick(['e0', 'e1']),
    };
  }
}

export function bfdTarget(share: number): Target {
  return {
    name: 'bfd',
    share,
    run(random) {
      const episode = new Episode(random);
      const steps = 10 + random.below(stepsMax);
      for (let i = 0; i < steps; i++) episode.step();
      episode.end();
      return steps;
    },
  };
}
