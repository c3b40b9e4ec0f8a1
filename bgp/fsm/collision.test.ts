/**
 * Two speakers in a simulated network: TCP connections with their own random delays, both sides dialling. Deterministic
 * by seed; what fails prints the seed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Notification, OpenMessage } from '../wire/types.ts';
import {
  establishedConnection,
  initialState,
  type SessionConfig,
  type SessionInput,
  type SessionOutput,
  type SessionState,
  step,
} from './index.ts';
import { literalPeer } from './test-literal-peer.ts';

type Side = 0 | 1;
type Message =
  | { type: 'open'; open: OpenMessage }
  | { type: 'keepalive' }
  | { type: 'notification'; notification: Notification };

/** mulberry32 */
function randomOf(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

interface Tcp {
  readonly id: number;
  readonly dialler: Side;
  /** Whether each side has it open. */
  readonly open: [boolean, boolean];
  /** Nothing sent to a side arrives before what was sent earlier. */
  readonly lastArrival: [number, number];
  aborted: boolean;
}

class Network {
  now = 0;
  readonly states: [SessionState, SessionState];
  readonly ups: [number, number] = [0, 0];
  readonly downs: [number, number] = [0, 0];
  readonly random: () => number;
  readonly #latencyMaxMs: number;
  readonly #acceptMaxMs: number;
  readonly #steps: readonly [typeof step, typeof step];
  #events: { at: number; order: number; run: () => void }[] = [];
  #order = 0;
  #nextTcp = 1;
  readonly #tcps = new Map<number, Tcp>();
  readonly #timers: [Map<string, number>, Map<string, number>] = [new Map(), new Map()];
  readonly #dialling: [Tcp | undefined, Tcp | undefined] = [undefined, undefined];

  /**
   * @param other the machine of side 1.
   * @param acceptMaxMs how long a connection may wait in the kernel of who is dialled.
   */
  constructor(
    configs: [SessionConfig, SessionConfig],
    seed: number,
    latencyMaxMs: number,
    other = step,
    acceptMaxMs = 0,
  ) {
    this.#steps = [step, other];
    this.random = randomOf(seed);
    this.states = [initialState(configs[0]), initialState(configs[1])];
    this.#latencyMaxMs = latencyMaxMs;
    this.#acceptMaxMs = acceptMaxMs;
  }

  #at(delayMs: number, run: () => void): number {
    const order = ++this.#order;
    this.#events.push({ at: this.now + delayMs, order, run });
    return order;
  }
  latency(): number {
    return 0.01 + this.random() * this.#latencyMaxMs;
  }
  input(side: Side, input: SessionInput): void {
    const result = this.#steps[side](this.states[side], input, this.random);
    this.states[side] = result.state;
    for (const output of result.outputs) this.#perform(side, output);
  }
  later(side: Side, delayMs: number, input: SessionInput): void {
    this.#at(delayMs, () => this.input(side, input));
  }

  /** Runs until `done`, at most until `endMs`. */
  run(endMs: number, done: () => boolean = () => false): void {
    while (this.#events.length > 0 && !done()) {
      let next = 0;
      for (let i = 1; i < this.#events.length; i++) {
        const a = this.#events[i]!;
        const b = this.#events[next]!;
        if (a.at < b.at || (a.at === b.at && a.order < b.order)) next = i;
      }
      const event = this.#events[next]!;
      if (event.at > endMs) break;
      this.#events.splice(next, 1);
      this.now = event.at;
      event.run();
    }
  }

  /** Runs `deliver` at the far side after what was sent before on the same connection. */
  #send(tcp: Tcp, to: Side, deliver: () => void): void {
    const arrival = Math.max(this.now + this.latency(), tcp.lastArrival[to] + 0.001);
    tcp.lastArrival[to] = arrival;
    this.#at(arrival - this.now, () => {
      if (tcp.open[to]) deliver();
    });
  }

  #dial(side: Side): void {
    const tcp: Tcp = {
      id: this.#nextTcp++,
      dialler: side,
      open: [false, false],
      lastArrival: [0, 0],
      aborted: false,
    };
    this.#tcps.set(tcp.id, tcp);
    this.#dialling[side] = tcp;
    const far = (1 - side) as Side;
    this.#at(this.latency(), () => {
      if (tcp.aborted) return;
      tcp.open[far] = true;
      const latency = this.latency();
      // What the far side sends at once comes after its answer to the attempt.
      tcp.lastArrival[side] = this.now + latency;
      this.#at(latency, () => {
        if (tcp.aborted) return;
        tcp.open[side] = true;
        this.#dialling[side] = undefined;
        this.input(side, { type: 'tcpConnected', connection: tcp.id, direction: 'outgoing' });
      });
      const accepted = (): void => this.input(far, { type: 'tcpConnected', connection: tcp.id, direction: 'incoming' });
      if (this.#acceptMaxMs === 0) accepted();
      else {
        tcp.lastArrival[far] = this.now + this.random() * this.#acceptMaxMs;
        this.#at(tcp.lastArrival[far] - this.now, accepted);
      }
    });
  }

  #close(tcp: Tcp, side: Side): void {
    tcp.open[side] = false;
    const far = (1 - side) as Side;
    this.#send(tcp, far, () => {
      tcp.open[far] = false;
      this.input(far, { type: 'tcpClosed', connection: tcp.id });
    });
  }

  #message(side: Side, connection: number, message: Message): void {
    const tcp = this.#tcps.get(connection)!;
    const far = (1 - side) as Side;
    this.#send(tcp, far, () => this.input(far, { ...message, connection }));
  }

  #perform(side: Side, output: SessionOutput): void {
    switch (output.type) {
      case 'dial':
        this.#dial(side);
        break;
      case 'abortDial': {
        const tcp = this.#dialling[side]!;
        tcp.aborted = true;
        this.#dialling[side] = undefined;
        this.#close(tcp, side);
        break;
      }
      case 'close':
        for (const key of [...this.#timers[side].keys()])
          if (key.endsWith(`:${output.connection}`)) this.#timers[side].delete(key);
        this.#close(this.#tcps.get(output.connection)!, side);
        break;
      case 'sendOpen':
        this.#message(side, output.connection, { type: 'open', open: output.open });
        break;
      case 'sendKeepalive':
        this.#message(side, output.connection, { type: 'keepalive' });
        break;
      case 'sendNotification':
        this.#message(side, output.connection, { type: 'notification', notification: output.notification });
        break;
      case 'startTimer':
        this.#startTimer(side, output);
        break;
      case 'stopTimer':
        this.#timers[side].delete(`${output.timer}:${output.connection ?? ''}`);
        break;
      case 'sessionUp':
        this.ups[side]++;
        break;
      case 'sessionDown':
        this.downs[side]++;
        break;
      case 'deliverUpdate':
      case 'deliverRouteRefresh':
        break;
    }
  }

  #startTimer(side: Side, output: Extract<SessionOutput, { type: 'startTimer' }>): void {
    const key = `${output.timer}:${output.connection ?? ''}`;
    const id = this.#at(output.delayMs, () => {
      if (this.#timers[side].get(key) !== id) return;
      this.#timers[side].delete(key);
      const { timer, connection } = output;
      if (timer === 'hold' || timer === 'keepalive') {
        this.input(side, { type: 'timer', timer, connection: connection! });
      } else this.input(side, { type: 'timer', timer });
    });
    this.#timers[side].set(key, id);
  }

  /** The one connection both sides are Established on. */
  session(): number | undefined {
    const [a, b] = this.states.map((s) => establishedConnection(s)?.id);
    return a !== undefined && a === b ? a : undefined;
  }
  /** Cuts every connection without a word, as a crash of `side` that its kernel survives does. */
  crash(side: Side): void {
    for (const tcp of this.#tcps.values()) if (tcp.open[side]) this.#close(tcp, side);
    this.#timers[side].clear();
    const dialling = this.#dialling[side];
    if (dialling) {
      dialling.aborted = true;
      this.#dialling[side] = undefined;
      this.#close(dialling, side);
    }
    this.states[side] = initialState(this.states[side].config);
  }
}

const base: SessionConfig = {
  localAsn: 64512,
  peerAsn: 64513,
  routerId: 1,
  families: ['ipv4-unicast', 'ipv6-unicast'],
  holdTimeSec: 9,
  connectRetrySec: 30,
  passive: false,
};
const restart: NonNullable<SessionConfig['gracefulRestart']> = {
  restarting: false,
  restartTimeSec: 120,
  families: [{ family: 'ipv4-unicast', forwarding: false }],
};

function configs(seed: number, graceful: boolean): [SessionConfig, SessionConfig] {
  const a: SessionConfig = {
    ...base,
    routerId: seed % 3 === 0 ? 7 : 1,
    ...(graceful ? { gracefulRestart: restart } : {}),
  };
  const equalIds = seed % 5 === 0; // RFC 6286: then the AS decides
  const b: SessionConfig = { ...a, localAsn: 64513, peerAsn: 64512, routerId: equalIds ? a.routerId : 3 };
  return [a, b];
}

for (const graceful of [false, true]) {
  test(`both sides dial at the same moment, 1,000 times: one session each time (graceful restart: ${graceful})`, () => {
    let collisions = 0;
    for (let seed = 1; seed <= 1000; seed++) {
      const network = new Network(configs(seed, graceful), seed, 20);
      network.later(0, 0, { type: 'manualStart' });
      network.later(1, 0, { type: 'manualStart' });
      network.run(200);
      const session = network.session();
      assert.ok(session !== undefined, `seed ${seed}: no common session after 10 latencies`);
      assert.deepEqual(network.ups, [1, 1], `seed ${seed}: sessions came up more than once`);
      // Nothing that is under way may end it: far beyond the stable timer.
      network.run(30_000);
      assert.equal(network.session(), session, `seed ${seed}: the session did not last`);
      assert.deepEqual(network.downs, [0, 0], `seed ${seed}: a session went down`);
      assert.deepEqual(
        network.states.map((s) => s.connections.length),
        [1, 1],
        `seed ${seed}: connections left over`,
      );
      if (session > 1) collisions++;
    }
    assert.ok(collisions > 100, `the second connection won ${collisions} times: collisions really happened`);
  });
}

for (const [what, habits, leastAtOnce] of [
  ['keeps to its letter', {}, 2000],
  // An attempt that we give up may be the one that it kept.
  ['looks at OpenSent as well', { examinesOpenSent: true }, 1900],
  ['closes what it accepts in OpenConfirm', { refusesInOpenConfirm: true }, 2000],
] as const) {
  test(`RFC 4271 6.8: a peer that ${what} dials at the same moment, 2,000 times: one session each time`, () => {
    let collisions = 0;
    let atOnce = 0;
    for (let seed = 1; seed <= 2000; seed++) {
      const network = new Network(
        configs(seed, seed % 2 === 0),
        seed,
        20,
        literalPeer(habits),
        seed % 4 === 0 ? 40 : 0,
      );
      network.later(0, 0, { type: 'manualStart' });
      network.later(1, network.random() * 10, { type: 'manualStart' });
      network.run(5_000, () => network.session() !== undefined);
      const session = network.session();
      assert.ok(session !== undefined, `seed ${seed}: no common session`);
      if (network.now < 500) atOnce++;
      network.run(network.now + 5_000);
      assert.equal(network.session(), session, `seed ${seed}: the session did not last`);
      assert.deepEqual(
        [network.ups, network.downs],
        [
          [1, 1],
          [0, 0],
        ],
        `seed ${seed}`,
      );
      if (session > 1) collisions++;
    }
    assert.ok(collisions > 200, `the second connection won ${collisions} times: collisions really happened`);
    assert.ok(atOnce >= leastAtOnce, `${atOnce} at once`);
  });
}

test('a side that starts while the other one is dialling it: one session within the first back-off', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const network = new Network(configs(seed, seed % 2 === 0), seed, 20);
    network.later(0, 0, { type: 'manualStart' });
    network.later(1, network.random() * 60, { type: 'manualStart' });
    network.run(2_000);
    assert.ok(network.session() !== undefined, `seed ${seed}`);
    assert.deepEqual(network.ups, [1, 1], `seed ${seed}`);
    assert.deepEqual(network.downs, [0, 0], `seed ${seed}`);
  }
});

test('either side crashes at any moment and starts again: one session comes back', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const network = new Network(configs(seed, seed % 2 === 0), seed, 20);
    network.later(0, 0, { type: 'manualStart' });
    network.later(1, 0, { type: 'manualStart' });
    network.run(network.random() * 200);
    const side: Side = seed % 3 === 0 ? 0 : 1;
    network.crash(side);
    network.input(side, { type: 'manualStart' });
    network.run(network.now + 5_000);
    assert.ok(network.session() !== undefined, `seed ${seed}`);
    assert.deepEqual(
      network.states.map((s) => s.connections.length),
      [1, 1],
      `seed ${seed}`,
    );
  }
});

test('a passive side never dials, and the other one finds it', () => {
  for (let seed = 1; seed <= 50; seed++) {
    const [a, b] = configs(seed, false);
    const network = new Network([a, { ...b, passive: true }], seed, 20);
    network.later(0, 0, { type: 'manualStart' });
    network.later(1, 5000, { type: 'manualStart' });
    network.run(40_000, () => network.session() !== undefined);
    assert.equal(network.states[1].connections[0]?.direction, 'incoming', `seed ${seed}`);
    assert.ok(network.session() !== undefined, `seed ${seed}`);
  }
});
