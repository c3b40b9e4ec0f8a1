/** Maximum of prefixes: RFC 4271 6.7, RFC 4486 4. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Logger } from '#kit';
import { FakeClock, silentLogger } from '#kit';
import { asPath, global6, hexOf, mpReach, nextHop, origin, update } from '../wire/test-messages.ts';
import type { MaxPrefixes, PeerConfig } from './config.ts';
import { PrefixLimits } from './prefix-limit.ts';
import { config, Network, peer } from './test-network.ts';
import { RawPeer } from './test-raw-peer.ts';

const [here, there] = ['10.0.0.1', '10.0.0.2'] as const;
const announce = (...n: number[]): Uint8Array =>
  update({ attributes: [origin, asPath, nextHop], nlri: n.flatMap((each) => [16, 10, each]) });
const withdraw = (...n: number[]): Uint8Array => update({ withdrawn: n.flatMap((each) => [16, 10, each]) });
const announce6 = (...n: number[]): Uint8Array =>
  update({
    attributes: [
      mpReach(
        n.flatMap((each) => [32, 0xfd, 0, 0, each]),
        global6,
      ),
      origin,
      asPath,
    ],
  });

function session(mine: Partial<PeerConfig>) {
  const network = new Network();
  const settings = (more: Partial<PeerConfig>) => config(here, 64512, [peer(there, 64513, { passive: true, ...more })]);
  const speaker = network.add(here, settings(mine));
  const dial = (): RawPeer => {
    const raw = new RawPeer(network, there, here, { asn: 64513 }).establish();
    network.run();
    return raw;
  };
  const say = (raw: RawPeer, ...messages: Uint8Array[]): number => {
    raw.say(...messages);
    network.run();
    return network.routesOf(here).size;
  };
  return { network, speaker, settings, dial, say, status: () => speaker.peerStatuses()[0]! };
}
const limits = (more: Partial<MaxPrefixes> & Pick<MaxPrefixes, 'limit'>, family = 'ipv4-unicast') => ({
  maxPrefixes: { [family]: more },
});

test('one more than the limit: Cease/1 with AFI, SAFI and limit, and no route of the peer is left (RFC 4486 4)', () => {
  const { dial, say, status } = session(limits({ limit: 3 }));
  const raw = dial();
  assert.equal(say(raw, announce(1, 2, 3), announce(1, 2, 3), announce6(1, 2, 3, 4)), 7, 'up to it, and said twice');
  assert.equal(say(raw, announce(4)), 0);
  const { code, subcode, data } = raw.notification!;
  assert.deepEqual([code, subcode, hexOf(data)], [6, 1, '0001' + '01' + '00000003']);
  assert.equal(raw.closed, true);
  assert.equal(status().state, 'Idle');
  assert.match(status().lastError, /Maximum Number of Prefixes Reached: ipv4-unicast, limit 3/);
});

test('each family has its own limit (RFC 4486 4)', () => {
  const { dial, say } = session(limits({ limit: 2 }, 'ipv6-unicast'));
  const raw = dial();
  assert.equal(say(raw, announce(1, 2, 3, 4), announce6(1, 2)), 6);
  assert.equal(say(raw, announce6(3)), 0);
  assert.equal(hexOf(raw.notification!.data), '0002' + '01' + '00000002');
});

test('what was withdrawn does not count; what the import policy rejects does where it is kept (RFC 4271 6.7)', () => {
  const long = { operator: 'in', cidr: '10.128.0.0/9' } as const;
  const importFilter = { ipv4: [{ action: 'reject', prefix: long }], ipv6: [] } as const;
  const { dial, say } = session({ ...limits({ limit: 2 }), importFilter });
  const raw = dial();
  assert.equal(say(raw, announce(1, 2), withdraw(1), announce(3), withdraw(2), announce(4)), 2);
  assert.equal(say(raw, announce(200, 201, 202, 203)), 2);
  assert.equal(raw.closed, false);
  const keeping = session({ ...limits({ limit: 2 }), importFilter, adjRibIn: true });
  const kept = keeping.dial();
  assert.equal(keeping.say(kept, announce(1, 200)), 1);
  assert.equal(keeping.say(kept, announce(201)), 0);
  assert.equal(kept.notification!.subcode, 1);
});

test('the peer may come back after the restart time, and is refused before (RFC 4486 5)', () => {
  const { dial, say, status, network } = session(limits({ limit: 2, restartSec: 60 }));
  say(dial(), announce(1, 2, 3));
  assert.equal(status().restartInSec, 60);
  network.advance(59_000);
  assert.equal(status().restartInSec, 1);
  const early = dial();
  assert.deepEqual([early.notification!.code, early.notification!.subcode], [6, 5]);
  network.advance(2000);
  assert.equal(status().restartInSec, undefined);
  const again = dial();
  assert.equal(say(again, announce(1, 2)), 2);
  assert.equal(status().state, 'Established');
});

test('one that we dial is not dialled before the restart time', () => {
  const network = new Network();
  const speaker = network.add(here, config(here, 65001, [peer(there, 65002, limits({ limit: 1, restartSec: 100 }))]));
  const other = network.add(
    there,
    config(there, 65002, [peer(here, 65001, { passive: true })], ['10.1.0.0/16', '10.2.0.0/16']),
  );
  network.advance(3000);
  const count = () => other.peerStatuses()[0]!.establishedCount;
  assert.deepEqual([count(), network.routesOf(here).size], [1, 0]);
  speaker.pathLost({ peer: there });
  speaker.pathBack();
  network.advance(90_000);
  assert.equal(count(), 1, 'not when its link comes and goes either');
  network.advance(20_000);
  assert.equal(count(), 2);
});

test('without a restart time it stays away until the limit is changed or the peer is reset', () => {
  const { dial, say, status, network, speaker, settings } = session(limits({ limit: 2 }));
  say(dial(), announce(1, 2, 3));
  network.advance(24 * 3600 * 100);
  assert.equal(dial().notification!.subcode, 5);
  speaker.configure(settings(limits({ limit: 5 })));
  assert.equal(say(dial(), announce(1, 2, 3)), 3);
  speaker.configure(settings(limits({ limit: 2 })));
  network.run();
  assert.equal(status().state, 'Idle', 'lowered under what is there');
  speaker.resetPeer(there);
  const again = dial();
  assert.equal(say(again, announce(1, 2)), 2);
  speaker.configure(settings({}));
  assert.equal(say(again, announce(3, 4, 5)), 5, 'no limit any more, on the same session');
});

test('a peer that is taken away while it is kept away is forgotten, and dialled no more', () => {
  const network = new Network();
  const settings = config(here, 65001, [peer(there, 65002, limits({ limit: 1, restartSec: 60 }))]);
  const speaker = network.add(here, settings);
  const prefixes = ['10.1.0.0/16', '10.2.0.0/16'];
  const other = network.add(there, config(there, 65002, [peer(here, 65001, { passive: true })], prefixes));
  network.advance(3000);
  speaker.configure({ ...settings, peers: [] });
  network.advance(120_000);
  assert.equal(speaker.peerStatuses().length, 0);
  assert.equal(other.peerStatuses()[0]!.establishedCount, 1);
});

test('warnOnly keeps the session', () => {
  const { dial, say, status } = session(limits({ limit: 2, warnOnly: true }));
  assert.equal(say(dial(), announce(1, 2, 3)), 3);
  assert.equal(status().state, 'Established');
});

test('a warning each time that the share is passed, and not for every prefix above', () => {
  let held = 0;
  let warnings = 0;
  const log: Logger = { ...silentLogger, warn: () => void warnings++ };
  const deps = { clock: new FakeClock(), log, held: () => held, end: () => undefined, start: () => undefined };
  for (const [warnPercent, at] of [
    [undefined, 75],
    [50, 50],
    [100, 100],
  ] as const) {
    const limit = { limit: 100, ...(warnPercent === undefined ? {} : { warnPercent }) };
    const checked = new PrefixLimits(deps, { 'ipv4-unicast': limit });
    warnings = 0;
    for (const [now, expected] of [
      [at, 0],
      [Math.min(at + 1, 101), 1],
      [Math.min(at + 2, 101), 1],
      [at, 1],
      [at + 1, 2],
    ] as const) {
      held = now;
      checked.check();
      assert.equal(warnings, expected, `${warnPercent}: ${now}`);
    }
  }
});

test('Administrative Reset ends a session with its text and begins another (RFC 4486 4, RFC 9003 2)', () => {
  const { dial, say, speaker, network } = session({});
  const raw = dial();
  say(raw, announce(1));
  speaker.resetPeer(there, 'new line card');
  network.run();
  assert.equal(raw.heard.at(-1), 'Cease/Administrative Reset: "new line card"');
  assert.equal(network.routesOf(here).size, 0);
  assert.equal(dial().notification, undefined);
  assert.throws(() => speaker.resetPeer('nobody'), /no peer is called nobody/);
});
