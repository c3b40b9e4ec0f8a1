/** Which routes outlive a session, and how long: RFC 4724 4.2 and RFC 9494 4.2, against a model that keeps deadlines. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FakeClock, silentLogger } from '#kit';
import { AttributePool, IntStack, NextHopPool, NextHopSetPool, PeerTable, pathFlag, Rib } from '../rib/index.ts';
import {
  communityFlag,
  emptyAttributeValues,
  type Negotiated,
  originatedAttributes,
  readCanonical,
} from '../wire/index.ts';
import { staleRoutesSecMax } from './limits.ts';
import { StaleRoutes } from './stale-routes.ts';

const prefixes = ['10.0.0.0/16', '10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16'];
/** Number 3 has NO_LLGR. */
const communitiesOf = (prefix: number): number[] => (prefix === 3 ? [0xffff0007] : []);

interface Caps {
  /** Undefined: the capability does not list the family. */
  readonly restart?: { readonly sec: number; readonly forwarding: boolean };
  readonly longLived?: { readonly sec: number; readonly forwarding: boolean };
}

function negotiated({ restart, longLived }: Caps): Negotiated {
  const family = 'ipv4-unicast';
  return {
    families: [family],
    gracefulRestart: {
      restarting: false,
      notification: true,
      restartTimeSec: restart?.sec ?? 0,
      families: restart ? [{ family, forwarding: restart.forwarding }] : [],
    },
    longLived: longLived ? [{ family, forwarding: longLived.forwarding, staleTimeSec: longLived.sec }] : [],
  } as unknown as Negotiated;
}

function world(removalSlice?: number) {
  const attributes = new AttributePool();
  const tables = { attributes, nextHops: new NextHopPool(), hopSets: new NextHopSetPool(), peers: new PeerTable() };
  tables.nextHops.intern('10.9.9.9', Uint8Array.of(10, 9, 9, 9), 0, 4);
  const row = tables.peers.make();
  const ribs = { 'ipv4-unicast': new Rib(4, tables, { removalSlice }), 'ipv6-unicast': new Rib(6, tables) };
  const rib = ribs['ipv4-unicast'];
  const clock = new FakeClock();
  const stale = new StaleRoutes(
    { clock, log: silentLogger, rib: (family) => ribs[family], schedule: () => undefined },
    row,
  );
  const announce = (prefix: number): void => {
    const bytes = originatedAttributes({ communities: communitiesOf(prefix) });
    const values = emptyAttributeValues();
    readCanonical(bytes, 0, bytes.length, 0, 0, values);
    rib.announceId(row, rib.internText(prefixes[prefix]!)!, attributes.intern(bytes, values), 1);
  };
  const withdraw = (prefix: number): void => {
    const id = rib.prefixes.byText(prefixes[prefix]!, false);
    if (id !== undefined && id >= 0) rib.withdrawId(row, id);
  };
  /** `prefix:fresh`, `:stale` or `:marked` for each route held. */
  const held = (): string[] => {
    const changed = new IntStack();
    while (rib.removals.waiting) rib.removals.step();
    while (rib.dirtyCount > 0) rib.decide(100, false, changed);
    for (let i = 0; i < changed.length; i++) rib.settle(changed.items[i]!);
    return prefixes.flatMap((text, prefix) => {
      const id = rib.prefixes.byText(text, false) ?? -1;
      const link = id < 0 ? 0 : rib.firstPath(id);
      if (link === 0) return [];
      const isStale = (rib.paths.flags(link - 1) & pathFlag.stale) !== 0;
      const marked = (attributes.communityFlags[rib.paths.attributes[link - 1]!]! & communityFlag.llgrStale) !== 0;
      assert.ok(isStale || !marked, 'only stale ones are marked');
      return [`${prefix}:${marked ? 'marked' : isStale ? 'stale' : 'fresh'}`];
    });
  };
  return { clock, stale, announce, withdraw, held, rib, row, attributes };
}

const both = { restart: { sec: 5, forwarding: true }, longLived: { sec: 20, forwarding: true } };

test('RFC 9494 4.2: restart time, then stale time; NO_LLGR goes in between; End-of-RIB or the timer ends it', () => {
  for (const back of [true, false]) {
    const { clock, stale, announce, held } = world();
    stale.sessionUp(negotiated(both));
    for (const prefix of [0, 1, 3]) announce(prefix);
    stale.sessionLost(negotiated(both), true);
    assert.deepEqual(held(), ['0:stale', '1:stale', '3:stale']);
    assert.equal(stale.phase('ipv4-unicast'), 'restart');
    clock.advance(4_999);
    assert.deepEqual(held(), ['0:stale', '1:stale', '3:stale']);
    clock.advance(1);
    assert.deepEqual(held(), ['0:marked', '1:marked']);
    assert.equal(stale.phase('ipv4-unicast'), 'longLived');
    clock.advance(19_999);
    assert.deepEqual(held(), ['0:marked', '1:marked']);
    if (back) {
      stale.sessionUp(negotiated(both));
      announce(0);
      assert.deepEqual(held(), ['0:fresh', '1:marked']);
      stale.endOfRib('ipv4-unicast');
    } else clock.advance(1);
    assert.deepEqual(held(), back ? ['0:fresh'] : []);
    clock.advance(1_000_000);
    assert.deepEqual(held(), back ? ['0:fresh'] : []);
  }
});

test('RFC 9494 4.2: restart time 0, or a family that graceful restart does not list: LLGR at once', () => {
  for (const restart of [{ restart: { sec: 0, forwarding: true } }, {}]) {
    const { stale, announce, held } = world();
    const caps = { ...restart, longLived: both.longLived };
    stale.sessionUp(negotiated(caps));
    announce(0);
    announce(3);
    stale.sessionLost(negotiated(caps), true);
    assert.deepEqual(held(), ['0:marked']);
  }
});

test('RFC 4724 3: restart time 0 and no LLGR keeps nothing', () => {
  const { stale, announce, held } = world();
  const caps = { restart: { sec: 0, forwarding: true } };
  stale.sessionUp(negotiated(caps));
  announce(0);
  stale.sessionLost(negotiated(caps), true);
  assert.deepEqual(held(), []);
});

test('RFC 9494 4.2: the stale time runs on over sessions without End-of-RIB, and ends them with nothing kept', () => {
  const { clock, stale, announce, held } = world();
  stale.sessionUp(negotiated(both));
  for (const prefix of [0, 1, 2]) announce(prefix);
  stale.sessionLost(negotiated(both), true);
  clock.advance(10_000); // 5 s into the stale time
  stale.sessionUp(negotiated(both));
  announce(0);
  stale.sessionLost(negotiated(both), true);
  assert.deepEqual(held(), ['0:marked', '1:marked', '2:marked'], 'consecutive restart: nothing goes before the timer');
  clock.advance(10_000);
  stale.sessionUp(negotiated(both));
  announce(1);
  clock.advance(4_999);
  assert.deepEqual(held(), ['0:marked', '1:fresh', '2:marked']);
  clock.advance(1);
  assert.deepEqual(held(), ['1:fresh'], 'expired while synchronizing: what was not refreshed goes');
  stale.sessionLost(negotiated(both), true);
  assert.deepEqual(held(), [], 'a reset before End-of-RIB: the rest at once');
  stale.sessionUp(negotiated(both));
  announce(0);
  stale.endOfRib('ipv4-unicast');
  stale.sessionLost(negotiated(both), true);
  assert.deepEqual(held(), ['0:stale'], 'synchronized: all times anew');
});

test('RFC 4724 4.2: of consecutive restarts the second takes what was still stale; with LLGR not before the sum of the times', () => {
  for (const longLived of [undefined, both.longLived]) {
    const { clock, stale, announce, held } = world();
    const caps = { restart: both.restart, ...(longLived ? { longLived } : {}) };
    stale.sessionUp(negotiated(caps));
    announce(0);
    announce(1);
    stale.sessionLost(negotiated(caps), true);
    let rounds = 0;
    for (; rounds < 50; rounds++) {
      clock.advance(1_000);
      stale.sessionUp(negotiated(caps));
      announce(0);
      stale.sessionLost(negotiated(caps), true);
      if (!held().includes('1:stale')) break;
    }
    assert.deepEqual(held(), ['0:stale']);
    assert.equal(rounds, longLived ? 24 : 0);
  }
});

test('RFC 4724 4.2: back without F, without the family, or without the capability: what was kept goes at once', () => {
  const cases: readonly [Partial<Negotiated>, boolean][] = [
    [negotiated(both), true],
    [negotiated({ restart: { sec: 5, forwarding: false } }), false],
    [negotiated({}), false],
    [{ ...negotiated(both), families: ['ipv6-unicast'] }, false],
    [{ families: ['ipv4-unicast'], longLived: [] }, false],
    [negotiated({ longLived: { sec: 9, forwarding: true } }), true],
    [negotiated({ restart: { sec: 5, forwarding: false }, longLived: { sec: 9, forwarding: true } }), false],
  ];
  for (const [again, kept] of cases) {
    const { stale, announce, held } = world();
    stale.sessionUp(negotiated(both));
    announce(0);
    stale.sessionLost(negotiated(both), true);
    stale.sessionUp(again as Negotiated);
    assert.deepEqual(held(), kept ? ['0:stale'] : [], JSON.stringify(again));
  }
});

test('RFC 9494 3.1: in the stale time it is the F bit of LLGR that counts', () => {
  for (const [restart, longLived, kept] of [
    [true, false, false],
    [false, true, true],
    [true, undefined, true],
  ] as const) {
    const { clock, stale, announce, held } = world();
    stale.sessionUp(negotiated(both));
    announce(0);
    stale.sessionLost(negotiated(both), true);
    clock.advance(6_000);
    const again = { restart: { sec: 5, forwarding: restart } };
    stale.sessionUp(
      negotiated(longLived === undefined ? again : { ...again, longLived: { sec: 20, forwarding: longLived } }),
    );
    assert.deepEqual(held(), kept ? ['0:marked'] : []);
  }
});

test('RFC 8538 4.1: a peer that is back and never sends End-of-RIB keeps stale routes for a bounded time', () => {
  const { clock, stale, announce, held } = world();
  stale.sessionUp(negotiated(both));
  announce(0);
  announce(1);
  stale.sessionLost(negotiated(both), true);
  stale.sessionUp(negotiated(both));
  announce(0);
  clock.advance(staleRoutesSecMax * 1000 - 1);
  assert.deepEqual(held(), ['0:fresh', '1:stale']);
  clock.advance(1);
  assert.deepEqual(held(), ['0:fresh']);
});

test('a stale time of 194 days is longer than a timer may be, and is kept', () => {
  const { clock, stale, announce, held } = world();
  const caps = { longLived: { sec: 0xffffff, forwarding: true } };
  const delays: number[] = [];
  const schedule = clock.schedule.bind(clock);
  clock.schedule = (delayMs, fn) => {
    delays.push(delayMs);
    return schedule(delayMs, fn);
  };
  stale.sessionUp(negotiated(caps));
  announce(0);
  stale.sessionLost(negotiated(caps), true);
  clock.advance(0xffffff * 1000 - 1);
  assert.deepEqual(held(), ['0:marked']);
  clock.advance(1);
  assert.deepEqual(held(), []);
  assert.ok(Math.max(...delays) < 2 ** 31);
});

// ------------------------------------------------------------------------------------------------------------- the model

/** The same with deadlines that are looked at, instead of timers that fire. */
class Model {
  readonly routes = new Map<number, 'fresh' | 'stale' | 'marked'>();
  #up = false;
  #firstLossSec = 0;
  /** When the restart time is over, and the stale time that follows. */
  #restart: { readonly endSec: number; readonly thenSec: number } | undefined;
  #waitEndSec: number | undefined;
  #longLivedEndSec: number | undefined;
  #expired = false;

  #drop(which: (state: string) => boolean): void {
    for (const [prefix, state] of this.routes) if (which(state)) this.routes.delete(prefix);
  }
  #mark(): void {
    for (const [prefix, state] of this.routes) {
      if (state === 'fresh') continue;
      if (communitiesOf(prefix).length > 0) this.routes.delete(prefix);
      else this.routes.set(prefix, 'marked');
    }
  }
  #forget(): void {
    this.#restart = this.#waitEndSec = this.#longLivedEndSec = undefined;
    this.#expired = false;
  }
  to(sec: number): void {
    if (this.#restart && sec >= this.#restart.endSec) {
      const { endSec, thenSec } = this.#restart;
      this.#restart = undefined;
      if (thenSec > 0) {
        this.#mark();
        this.#longLivedEndSec = endSec + thenSec;
      } else this.#drop((state) => state !== 'fresh');
    }
    if (this.#waitEndSec !== undefined && sec >= this.#waitEndSec) {
      this.#drop((state) => state !== 'fresh');
      this.#waitEndSec = undefined;
    }
    if (this.#longLivedEndSec !== undefined && sec >= this.#longLivedEndSec) {
      this.#drop((state) => state !== 'fresh');
      this.#longLivedEndSec = undefined;
      this.#expired = this.#up;
    }
  }
  lost(sec: number, { restart, longLived }: Caps, preserve: boolean): void {
    this.#up = false;
    const [r, l] = [restart?.sec ?? 0, longLived?.sec ?? 0];
    if (!preserve || r + l === 0 || this.#expired) {
      this.routes.clear();
      this.#forget();
      return;
    }
    const inLongLived = this.#longLivedEndSec !== undefined && l > 0;
    const waiting = this.#restart !== undefined || this.#waitEndSec !== undefined;
    const keeps = inLongLived || (l > 0 && waiting && sec - this.#firstLossSec < r + l);
    if (!keeps) this.#drop((state) => state !== 'fresh');
    for (const [prefix, state] of this.routes) if (state === 'fresh') this.routes.set(prefix, 'stale');
    if (inLongLived) {
      this.#mark();
      return;
    }
    this.#forget();
    if (this.routes.size === 0) return;
    if (!keeps) this.#firstLossSec = sec;
    this.#restart = { endSec: sec + r, thenSec: l };
    this.to(sec);
  }
  up(sec: number, { restart, longLived }: Caps): void {
    this.#up = true;
    const inLongLived = this.#longLivedEndSec !== undefined;
    if (!inLongLived && !this.#restart) return;
    const f = inLongLived ? (longLived ?? restart) : (restart ?? longLived);
    if (!f?.forwarding) {
      this.#drop((state) => state !== 'fresh');
      this.#forget();
    } else if (!inLongLived) {
      this.#restart = undefined;
      this.#waitEndSec = sec + staleRoutesSecMax;
    }
  }
  endOfRib(): void {
    this.#drop((state) => state !== 'fresh');
    this.#forget();
  }
  held(): string[] {
    return [...this.routes].map(([prefix, state]) => `${prefix}:${state}`).sort();
  }
}

const entry = fc.record({ sec: fc.constantFrom(0, 2, 5, 9), forwarding: fc.constantFrom(true, true, true, false) });
const capsArbitrary: fc.Arbitrary<Caps> = fc.record({ restart: entry, longLived: entry }, { requiredKeys: [] });
const eventArbitrary = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constant('announce' as const), prefix: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('withdraw' as const), prefix: fc.nat(3) }) },
  {
    weight: 3,
    arbitrary: fc.record({ type: fc.constant('toggle' as const), caps: capsArbitrary, preserve: fc.nat(9) }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('endOfRib' as const) }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('wait' as const), sec: fc.constantFrom(1, 2, 4, 400) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('look' as const) }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('slice' as const) }) },
);

test('whatever happens to sessions, routes are kept as in the model, and nothing leaks', () => {
  fc.assert(
    // With slices of one path, and looked at seldom: what goes is still there when the peer is back, lost once more, or announces it again.
    fc.property(fc.array(eventArbitrary, { maxLength: 40, size: 'max' }), fc.boolean(), (events, slowly) => {
      const { clock, stale, announce, withdraw, held, rib, row, attributes } = world(slowly ? 1 : undefined);
      const model = new Model();
      let up: Caps | undefined;
      let sec = 0;
      for (const event of events) {
        if (event.type === 'wait') {
          sec += event.sec;
          clock.advance(event.sec * 1000);
          model.to(sec);
        } else if (event.type === 'toggle') {
          if (up) {
            stale.sessionLost(negotiated(up), event.preserve > 0);
            model.lost(sec, up, event.preserve > 0);
            up = undefined;
          } else {
            up = event.caps;
            stale.sessionUp(negotiated(up));
            model.up(sec, up);
          }
        } else if (up && event.type === 'announce') {
          announce(event.prefix);
          model.routes.set(event.prefix, 'fresh');
        } else if (up && event.type === 'withdraw') {
          withdraw(event.prefix);
          model.routes.delete(event.prefix);
        } else if (up && event.type === 'endOfRib') {
          stale.endOfRib('ipv4-unicast');
          model.endOfRib();
        } else if (event.type === 'slice') rib.removals.step();
        if (!slowly || event.type === 'look') assert.deepEqual(held(), model.held());
      }
      assert.deepEqual(held(), model.held());
      stale.drop();
      assert.deepEqual(held(), []);
      assert.deepEqual([rib.staleCount[row] ?? 0, rib.goingCount[row] ?? 0], [0, 0]);
      assert.equal(attributes.size, 0);
    }),
    { numRuns: 1000 },
  );
});
