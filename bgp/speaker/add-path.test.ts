/** ADD-PATH (RFC 7911) on sessions: what is negotiated, taken, refused, kept over restarts and refreshes, and told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pathsPerPrefixMax } from '../rib/index.ts';
import { encodeEndOfRib, encodeRouteRefresh, type OpenMessage } from '../wire/index.ts';
import {
  asPath,
  attribute,
  mpReach,
  mpUnreach,
  nextHop,
  origin,
  sequence,
  u32,
  update,
} from '../wire/test-messages.ts';
import type { PeerConfig } from './config.ts';
import { config, Network, peer } from './test-network.ts';
import { RawPeer } from './test-raw-peer.ts';
import type { RoutePath } from './types.ts';

const [here, there, other] = ['10.0.0.1', '10.0.0.2', '10.0.0.3'] as const;
const families = ['ipv4-unicast', 'ipv6-unicast'] as const;
const offer: Partial<OpenMessage> = {
  addPath: families.map((family) => ({ family, receive: true, send: true })),
};
const graceful: Partial<OpenMessage> = {
  gracefulRestart: {
    restarting: false,
    notification: false,
    restartTimeSec: 60,
    families: families.map((family) => ({ family, forwarding: true })),
  },
};
const receive: Partial<PeerConfig> = { addPath: { receive: true, send: 0 } };

function session(mine: Partial<PeerConfig>, theirs: Partial<OpenMessage> = offer) {
  const network = new Network();
  const settings = (more: Partial<PeerConfig>, toOther: Partial<PeerConfig> = {}, rest = {}) =>
    config(
      here,
      64512,
      [
        peer(there, 64513, { passive: true, ...mine, ...more }),
        peer(other, 64514, { passive: true, import: 'reject', ...toOther }),
      ],
      [],
      rest,
    );
  const speaker = network.add(here, settings({}));
  const connect = (): RawPeer => {
    const raw = new RawPeer(network, there, here, { asn: 64513, ...theirs }).establish();
    network.run();
    return raw;
  };
  const raw = connect();
  const say = (...messages: Uint8Array[]): string[] => {
    raw.say(...messages);
    network.run();
    return raw.take();
  };
  const paths = (prefix: string): readonly RoutePath[] => speaker.routes({ prefix }).routes[0]?.paths ?? [];
  const ids = (prefix: string): number[] =>
    paths(prefix)
      .map((path) => path.pathId ?? 0)
      .sort((a, b) => a - b);
  const status = () => speaker.peerStatuses().find(({ name }) => name === there)!;
  return { network, speaker, settings, connect, raw, say, paths, ids, status };
}

const one = '10.1.0.0/16';
const nlri = (...pathIds: number[]): number[] => pathIds.flatMap((id) => [...u32(id), 16, 10, 1]);
const announce = (...pathIds: number[]): Uint8Array =>
  update({ attributes: [origin, asPath, nextHop], nlri: nlri(...pathIds) });
const withdraw = (...pathIds: number[]): Uint8Array => update({ withdrawn: nlri(...pathIds) });
const nlri6 = (...pathIds: number[]): number[] => pathIds.flatMap((id) => [...u32(id), 16, 0xfd, 1]);
const announce6 = (...pathIds: number[]): Uint8Array =>
  update({ attributes: [mpReach(nlri6(...pathIds)), origin, asPath] });

test('RFC 7911 4: offered as configured, in force by what both say, and shown', () => {
  const cases: readonly [Partial<PeerConfig>, Partial<OpenMessage>, unknown, unknown][] = [
    [{}, offer, undefined, undefined],
    [{ addPath: { receive: false, send: 0 } }, offer, undefined, undefined],
    [receive, offer, [true, false], [true, false]],
    [{ addPath: { receive: false, send: 3 } }, offer, [false, true], [false, true]],
    [{ addPath: { receive: true, send: 3 } }, {}, [true, true], undefined],
    [
      { addPath: { receive: true, send: 3 } },
      { addPath: families.map((family) => ({ family, receive: true, send: false })) },
      [true, true],
      [false, true],
    ],
  ];
  for (const [mine, theirs, offered, agreed] of cases) {
    const { raw, status } = session(mine, theirs);
    const rows = (pair: unknown) =>
      pair && families.map((family) => ({ family, receive: (pair as boolean[])[0], send: (pair as boolean[])[1] }));
    const said = raw.theirOpen?.addPath?.map(({ limit: _, ...rest }) => rest);
    assert.deepEqual(said, rows(offered));
    assert.deepEqual(status().negotiated?.addPath, rows(agreed));
  }
});

test('RFC 7911 5: paths are told apart by prefix and identifier; the same again replaces; unknown withdrawals are ignored', () => {
  const { say, ids, paths, status } = session(receive);
  say(announce(5, 6, 4_294_967_295, 0));
  assert.deepEqual(ids(one), [0, 5, 6, 4_294_967_295]);
  say(update({ attributes: [origin, attribute(0x40, 2, sequence(64513, 7)), nextHop], nlri: nlri(6) }));
  assert.deepEqual(
    paths(one)
      .map(({ pathId = 0, attributes }) => [pathId, attributes.asPath])
      .sort(),
    [
      [0, '64513'],
      [4_294_967_295, '64513'],
      [5, '64513'],
      [6, '64513 7'],
    ],
  );
  say(withdraw(5, 77));
  assert.deepEqual(ids(one), [0, 6, 4_294_967_295]);
  say(announce(6, 6));
  assert.deepEqual(ids(one), [0, 6, 4_294_967_295], 'twice in one message is once');
  say(update({ withdrawn: nlri(6), attributes: [origin, asPath, nextHop], nlri: nlri(6) }));
  assert.deepEqual(ids(one), [0, 6, 4_294_967_295], 'withdrawn and announced is announced (RFC 4271 4.3)');
  say(announce6(1, 2));
  assert.deepEqual(ids('fd01::/16').length, 2);
  say(update({ attributes: [mpUnreach(nlri6(1))] }));
  assert.deepEqual(ids('fd01::/16'), [2]);
  assert.deepEqual(
    status().families.map(({ accepted }) => accepted),
    [3, 1],
  );
});

test('RFC 7606 2: treat-as-withdraw takes the paths with the identifiers of the message, not their neighbours', () => {
  const { say, ids, status } = session(receive);
  say(announce(1, 2, 3));
  say(update({ attributes: [attribute(0x40, 1, [9]), asPath, nextHop], nlri: nlri(2) }));
  assert.deepEqual(ids(one), [1, 3]);
  assert.equal(status().updateErrors, 1);
  say(update({ attributes: [origin, attribute(0x40, 2, sequence(64513, 64512)), nextHop], nlri: nlri(3) }));
  assert.deepEqual(ids(one), [1], 'the same for our own AS in AS_PATH (RFC 4271 9.1.2)');
});

test('RFC 7606 5.3: a truncated identifier ends the session with 3/10', () => {
  const { say } = session(receive);
  const heard = say(update({ attributes: [origin, asPath, nextHop], nlri: [...nlri(1), 0, 0, 0] }));
  assert.match(heard.at(-1)!, /Invalid Network Field/i);
});

test('identifiers without end: so many paths of a prefix are taken, the rest is counted, and the session stays', () => {
  const { say, ids, status } = session(receive);
  for (let at = 0; at < 300; at += 100) say(announce(...Array.from({ length: 100 }, (_, i) => at + i)));
  assert.equal(ids(one).length, pathsPerPrefixMax);
  assert.equal(status().pathsRefused, 300 - pathsPerPrefixMax);
  assert.equal(status().state, 'Established');
});

test('RFC 4724 4.2: paths go stale one by one, new identifiers stand beside them until End-of-RIB, and no route is lost', () => {
  const { network, raw, connect, say, ids, paths, status } = session(receive, { ...offer, ...graceful });
  say(announce(1, 2), announce6(1), encodeEndOfRib(4), encodeEndOfRib(6));
  const before = network.changes.get(here)!.length;
  raw.pipe.close();
  network.run();
  assert.deepEqual(
    status().families.map(({ stale }) => stale),
    [2, 1],
  );
  const again = connect();
  again.say(announce(2, 9));
  network.run();
  assert.deepEqual(
    paths(one)
      .map(({ pathId, stale }) => [pathId, stale])
      .sort(),
    [
      [1, true],
      [2, false],
      [9, false],
    ],
  );
  again.say(encodeEndOfRib(4), announce6(3), encodeEndOfRib(6));
  network.run();
  assert.deepEqual([ids(one), ids('fd01::/16')], [[2, 9], [3]]);
  assert.ok(
    !network.changes
      .get(here)!
      .slice(before)
      .some((change) => change.type === 'withdraw'),
  );
});

test('RFC 7313 4.2: after EoRR the paths that were not announced again are gone', () => {
  const { say, ids } = session(receive, { ...offer, enhancedRouteRefresh: true });
  say(announce(1, 2, 3), encodeRouteRefresh('ipv4-unicast', 1), announce(2), encodeRouteRefresh('ipv4-unicast', 2));
  assert.deepEqual(ids(one), [2]);
});

test('RFC 7911 5: the best so many paths to another peer, each under its own identifier; changes of the number are live', () => {
  const { network, speaker, settings, say } = session(receive);
  const second = (send: number) => settings({}, { addPath: { receive: false, send } });
  speaker.configure(second(2));
  const sink = new RawPeer(network, other, here, { asn: 64514, ...offer }).establish();
  network.run();
  const hear = (act: () => unknown): string[] => {
    sink.take();
    act();
    network.run();
    return sink.take().sort();
  };
  const longer = (pathId: number, ...asns: number[]): Uint8Array =>
    update({ attributes: [origin, attribute(0x40, 2, sequence(64513, ...asns)), nextHop], nlri: nlri(pathId) });
  assert.deepEqual(
    hear(() => say(longer(7, 1), longer(8, 1, 2), longer(9, 1, 2, 3))),
    [`+${one} #1`, `+${one} #2`],
  );
  assert.equal(sink.attributes.get(`${one} #1`)?.asPath, '64512 64513 1');
  assert.equal(sink.attributes.get(`${one} #2`)?.asPath, '64512 64513 1 2');
  // The best goes: the third comes in, the second keeps its identifier and is not told again.
  assert.deepEqual(
    hear(() => say(withdraw(7))),
    [`+${one} #1`],
  );
  assert.equal(sink.attributes.get(`${one} #1`)?.asPath, '64512 64513 1 2 3');
  // One that is better pushes the last out of the two.
  assert.deepEqual(
    hear(() => say(longer(5))),
    [`+${one} #3`, `-${one} #1`],
  );
  assert.deepEqual(
    hear(() => speaker.configure(second(1))),
    [`+${one} #3`, `-${one} #2`],
  );
  assert.deepEqual(
    hear(() => speaker.configure(second(3))),
    [`+${one} #1`, `+${one} #2`, `+${one} #3`],
  );
  assert.deepEqual(
    hear(() => sink.say(encodeRouteRefresh('ipv4-unicast'))),
    [`+${one} #1`, `+${one} #2`, `+${one} #3`],
    'ROUTE-REFRESH brings all of them (RFC 2918 4)',
  );
  const status = speaker.peerStatuses().find(({ name }) => name === other)!;
  assert.deepEqual([status.families[0]!.sent, status.establishedCount], [3, 1]);
  assert.deepEqual(
    hear(() => speaker.configure(settings({ import: 'reject' }, { addPath: { receive: false, send: 3 } }))),
    [`-${one} #1`, `-${one} #2`, `-${one} #3`],
  );
});

test('draft-abraitis-idr-addpath-paths-limit 3: a peer gets no more paths of a prefix than it takes, by family; ours is told', () => {
  const { network, speaker, settings, say, raw } = session(receive);
  const limits = (open: OpenMessage | undefined) => open?.addPath?.map(({ limit }) => limit);
  assert.deepEqual(limits(raw.theirOpen), [pathsPerPrefixMax, pathsPerPrefixMax], 'what is taken at most');
  const toOther = (send: number) => settings({}, { addPath: { receive: true, send, limit: 9 } });
  speaker.configure(toOther(4));
  const takes: Partial<OpenMessage> = {
    addPath: families.map((family, i) => ({ family, receive: true, send: true, limit: i === 0 ? 2 : 1 })),
  };
  const sink = new RawPeer(network, other, here, { asn: 64514, ...takes }).establish();
  network.run();
  assert.deepEqual(limits(sink.theirOpen), [9, 9]);
  const longer = (pathId: number, ...asns: number[]): Uint8Array =>
    update({ attributes: [origin, attribute(0x40, 2, sequence(64513, ...asns)), nextHop], nlri: nlri(pathId) });
  sink.take();
  say(longer(7, 1), longer(8, 1, 2), longer(9, 1, 2, 3), announce6(1, 2, 3));
  const best = [`+${one} #1`, `+${one} #2`];
  assert.deepEqual(sink.take().sort(), [...best, '+fd01::/16 #1']);
  speaker.configure(toOther(1));
  network.run();
  assert.ok(sink.take().includes(`-${one} #2`), 'fewer than it takes are ours to choose');
  const status = speaker.peerStatuses().find(({ name }) => name === other)!;
  assert.deepEqual(
    status.negotiated?.addPath?.map(({ limit }) => limit),
    [2, 1],
  );
});

test('RFC 7911 5: nothing goes back to the peer it is from, and communities hold for each path', () => {
  const { network, speaker, settings, raw, say } = session({ addPath: { receive: true, send: 4 } });
  speaker.configure(settings({}, { addPath: { receive: false, send: 4 } }));
  const sink = new RawPeer(network, other, here, { asn: 64514, ...offer }).establish();
  network.run();
  raw.take();
  sink.take();
  const noExport = attribute(0xc0, 8, u32(0xffffff01));
  say(announce(1), update({ attributes: [origin, asPath, nextHop, noExport], nlri: nlri(2) }), announce(3));
  assert.deepEqual(sink.take().sort(), [`+${one} #1`, `+${one} #2`], 'NO_EXPORT keeps one in (RFC 1997)');
  assert.deepEqual(raw.take(), []);
});

test('a change of what is offered makes a new session, a change of how many are sent does not', () => {
  const { speaker, settings, status } = session({ addPath: { receive: true, send: 2 } });
  const before = status().establishedCount;
  speaker.configure(settings({ addPath: { receive: true, send: 5 } }));
  assert.deepEqual([status().state, status().establishedCount], ['Established', before]);
  speaker.configure(settings({ addPath: { receive: true, send: 0 } }));
  assert.notEqual(status().state, 'Established');
});

test('multipath: the next hops of several paths of one peer, as many and as alike as configured', () => {
  const { network, speaker, settings, say } = session(receive);
  const hop = (n: number): number[] => attribute(0x40, 3, [192, 0, 2, n]);
  const via = (n: number, ...asns: number[]): Uint8Array =>
    update({ attributes: [origin, attribute(0x40, 2, sequence(64513, ...asns)), hop(n)], nlri: nlri(n) });
  say(via(1, 1), via(2, 2), via(3, 1));
  const hops = (multipath?: { max: number; asPathRelax: boolean }): readonly string[] | undefined => {
    speaker.configure(settings({}, {}, multipath ? { multipath } : {}));
    network.run();
    return network.routesOf(here).get(one);
  };
  assert.deepEqual(hops(), ['192.0.2.1', '192.0.2.2', '192.0.2.3']);
  assert.deepEqual(hops({ max: 64, asPathRelax: false }), ['192.0.2.1', '192.0.2.3']);
  assert.deepEqual(hops({ max: 2, asPathRelax: true }), ['192.0.2.1', '192.0.2.2']);
  assert.deepEqual(hops(), ['192.0.2.1', '192.0.2.2', '192.0.2.3']);
});
