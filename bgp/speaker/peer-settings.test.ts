/** Settings of a peer and their changes, on live sessions: what resets a session, and what must not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RouteFilter } from '../filter/index.ts';
import type { PeerConfig, SpeakerConfig } from './config.ts';
import type { Speaker } from './speaker.ts';
import { config, fresh, Network, peer } from './test-network.ts';

/** Two speakers, the first with what `mine` says of its peer. */
function pair(mine: Partial<PeerConfig>, theirs: Partial<PeerConfig> = {}, originate = ['10.2.0.0/16', 'fd02::/64']) {
  const network = new Network();
  const [here, there] = ['10.0.0.1', '10.0.0.2'] as const;
  const ours = (more: Partial<PeerConfig>): SpeakerConfig =>
    config(here, 65001, [peer(there, 65002, more)], ['10.1.0.0/16', '10.1.1.0/24', 'fd01::/64']);
  const others = (more: Partial<PeerConfig>): SpeakerConfig =>
    config(there, more.localAsn ?? 65002, [peer(here, 65001, more)], originate);
  const speaker = network.add(here, ours(mine));
  const other = network.add(there, others(theirs));
  network.advance(3000);
  const session = () => speaker.peerStatuses()[0]!;
  const prefixes = (address: string): string[] => [...network.routesOf(address).keys()].sort();
  return {
    network,
    speaker,
    other,
    ours,
    others,
    session,
    at: { here: () => prefixes(here), there: () => prefixes(there) },
  };
}

test('a peer that is held down has no session, from neither side, says why, and holds up no restart', () => {
  const heldDown = 'Secret s/bgp is not there';
  const { network, speaker, other, ours, session } = pair({ heldDown });
  assert.deepEqual([session().state, session().lastError], ['Idle', heldDown]);
  network.advance(20_000);
  assert.deepEqual([session().state, session().establishedCount], ['Idle', 0]);
  assert.notEqual(other.peerStatuses()[0]!.state, 'Established');
  speaker.configure(ours({}));
  network.advance(40_000);
  assert.deepEqual([session().state, session().lastError], ['Established', '']);
  speaker.configure(ours({ heldDown: 'gone again' }));
  network.run();
  assert.deepEqual([session().state, session().lastError], ['Idle', 'gone again']);
  assert.match(other.peerStatuses()[0]!.lastError, /Administrative Shutdown/);
  assert.deepEqual(network.routesOf('10.0.0.2').size, 0, 'graceful restart keeps nothing: it is no restart');

  const gracefulRestart = { ...fresh, restarting: true };
  const restarted = new Network().add('10.0.0.1', { ...ours({ heldDown }), gracefulRestart });
  assert.deepEqual(restarted.status().waitingFor, []);
});

test('another password keeps the session, where the connection can change its key; none instead of one does not', () => {
  const { network, speaker, ours, session } = pair({ password: 'a' }, { password: 'a' });
  const pipe = network.pipes.find((each) => each.localAddress === '10.0.0.1' && !each.closed)!;
  speaker.configure(ours({ password: 'b' }));
  network.advance(3000);
  assert.deepEqual(pipe.keys, [{ password: 'b' }]);
  assert.equal(session().establishedCount, 1);
  pipe.rekeys = false;
  speaker.configure(ours({ password: 'c' }));
  assert.notEqual(session().state, 'Established', 'a key that cannot be changed ends the session');
  network.advance(5000);
  assert.equal(session().state, 'Established');
  speaker.configure(ours({}));
  assert.notEqual(session().state, 'Established');
});

test('an AS number of its own on a session: in OPEN, in AS_PATH, and in the search for loops', () => {
  const { network, speaker, other, ours, session, at } = pair({ localAsn: 65009 }, { asn: 65009 });
  assert.equal(session().state, 'Established');
  const path = (of: Speaker, prefix: string): string => of.routes({ prefix }).routes[0]!.paths[0]!.attributes.asPath;
  assert.equal(path(other, '10.1.0.0/16'), '65009');
  assert.deepEqual(at.here(), ['10.2.0.0/16', 'fd02::/64']);
  // Another number for everybody else does not concern it.
  speaker.configure({ ...ours({ localAsn: 65009 }), asn: 65077 });
  network.advance(1000);
  assert.equal(session().establishedCount, 1);
  speaker.configure(ours({}));
  network.run();
  assert.notEqual(session().state, 'Established', 'our own number again is another session');
});

test('numAllowedLocalAs: a path through our own AS is used so often, and again not', () => {
  const prepend = (...asns: number[]): RouteFilter => ({
    ipv4: [{ action: 'accept', changes: [{ type: 'prepend', asns }] }],
    ipv6: [],
  });
  const { network, speaker, ours, session, at } = pair({}, { exportFilter: prepend(65001, 65001) });
  assert.deepEqual(at.here(), ['fd02::/64']);
  for (const [allowOwnAsn, expected] of [
    [1, ['fd02::/64']],
    [2, ['10.2.0.0/16', 'fd02::/64']],
    [0, ['fd02::/64']],
  ] as const) {
    speaker.configure(ours({ allowOwnAsn }));
    network.run();
    assert.deepEqual(at.here(), expected, `${allowOwnAsn}`);
  }
  assert.equal(session().establishedCount, 1, 'by ROUTE-REFRESH');
});

test('filters on the way out and in: applied, changed and taken away on one and the same session', () => {
  const { network, speaker, other, ours, others, session, at } = pair({}, {}, [
    '10.2.0.0/16',
    '10.2.3.0/24',
    'fd02::/64',
  ]);
  const all = { out: ['10.1.0.0/16', '10.1.1.0/24', 'fd01::/64'], in: ['10.2.0.0/16', '10.2.3.0/24', 'fd02::/64'] };
  const told = (mine: Partial<PeerConfig>) => {
    speaker.configure(ours(mine));
    network.run();
    return { out: at.there(), in: at.here() };
  };
  assert.deepEqual(told({}), all);
  const long = { operator: 'in', cidr: '0.0.0.0/0', minLength: 24 } as const;
  const noLong = { ipv4: [{ action: 'reject', prefix: long }], ipv6: [] } as const;
  const nothing6 = { ipv4: [], ipv6: [{ action: 'reject' }] } as const;
  assert.deepEqual(told({ exportFilter: noLong }), { ...all, out: ['10.1.0.0/16', 'fd01::/64'] });
  assert.deepEqual(told({ exportFilter: nothing6 }), { ...all, out: ['10.1.0.0/16', '10.1.1.0/24'] });
  assert.deepEqual(told({ importFilter: noLong }), { ...all, in: ['10.2.0.0/16', 'fd02::/64'] });
  assert.deepEqual(told({ importFilter: nothing6 }), { ...all, in: ['10.2.0.0/16', '10.2.3.0/24'] });
  assert.deepEqual(told({}), all);
  assert.equal(session().families.find(({ family }) => family === 'ipv4-unicast')?.sent, 2);
  // What is announced later is filtered as well, and an announced route that changes into a rejected one goes.
  told({ importFilter: { ipv4: [{ action: 'reject', community: '65002:66' }], ipv6: [] } });
  const tagged = [{ action: 'accept', changes: [{ type: 'addCommunity', value: '65002:66' }] }] as const;
  other.configure(others({ exportFilter: { ipv4: tagged, ipv6: [] } }));
  network.run();
  assert.deepEqual(at.here(), ['fd02::/64']);
  other.configure(others({}));
  network.run();
  assert.deepEqual(at.here(), all.in);
  assert.equal(session().establishedCount, 1);
  assert.equal(other.status().attributeSets, 2, 'one of its own and one of ours');
});

test('what filters change reaches the peer; AS numbers go before the rest, communities are added once', () => {
  const exportFilter: RouteFilter = {
    ipv4: [
      {
        action: 'accept',
        prefix: { operator: 'equal', cidr: '10.1.1.0/24' },
        changes: [
          { type: 'addCommunity', value: '65001:7' },
          { type: 'addCommunity', value: '65001:7' },
          { type: 'prepend', asns: [65101, 65102] },
        ],
      },
    ],
    ipv6: [],
  };
  const { network, speaker, other, ours } = pair({ exportFilter });
  const attributes = (prefix: string) => other.routes({ prefix }).routes[0]!.paths[0]!.attributes;
  assert.equal(attributes('10.1.1.0/24').asPath, '65001 65101 65102');
  assert.deepEqual(attributes('10.1.1.0/24').communities, ['65001:7']);
  assert.equal(attributes('10.1.0.0/16').asPath, '65001');
  speaker.configure(ours({}));
  network.run();
  assert.equal(attributes('10.1.1.0/24').asPath, '65001');
  assert.equal(speaker.status().attributeSets, 2, 'sets that filters made are given back');
});
