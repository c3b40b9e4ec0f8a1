/** Filters on live sessions: what they change on the way in and out, changes of them, and what the looking glass knows of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FilterTerm, RouteFilter } from '../filter/index.ts';
import type { PeerConfig, SpeakerConfig } from './config.ts';
import type { Speaker } from './speaker.ts';
import { config, Network, peer } from './test-network.ts';
import type { RoutePath, RouteQuery } from './types.ts';

const four = (...ipv4: FilterTerm[]): RouteFilter => ({ ipv4, ipv6: [] });
const only = (cidr: string, more: Partial<FilterTerm> = {}): FilterTerm => ({
  action: 'accept',
  prefix: { operator: 'equal', cidr },
  ...more,
});

/** 10.0.0.2 (AS 65002) between 10.0.0.1 (AS 65001) and 10.0.0.3 (AS 65003, or 65002 as well). */
function line(options: { readonly asn3?: number; readonly originate?: string[] } = {}) {
  const network = new Network();
  const asn3 = options.asn3 ?? 65003;
  const middle = (left: Partial<PeerConfig>, right: Partial<PeerConfig>): SpeakerConfig =>
    config('10.0.0.2', 65002, [peer('10.0.0.1', 65001, left), peer('10.0.0.3', asn3, right)], ['10.2.0.0/16']);
  const end = (address: string, asn: number, originate: string[], more: Partial<PeerConfig> = {}): SpeakerConfig =>
    config(address, asn, [peer('10.0.0.2', 65002, more)], originate);
  const one = network.add('10.0.0.1', end('10.0.0.1', 65001, options.originate ?? ['10.1.0.0/16', '10.1.1.0/24']));
  const two = network.add('10.0.0.2', middle({}, {}));
  const three = network.add('10.0.0.3', end('10.0.0.3', asn3, ['10.3.0.0/16']));
  network.advance(3000);
  const apply = (left: Partial<PeerConfig>, right: Partial<PeerConfig>): void => {
    two.configure(middle(left, right));
    network.run();
  };
  return { network, one, two, three, apply, end, middle };
}
function pathsAt(speaker: Speaker, prefix: string, more: RouteQuery = {}): readonly RoutePath[] {
  return speaker.routes({ prefix, ...more }).routes[0]?.paths ?? [];
}
const prefixesAt = (speaker: Speaker, query: RouteQuery): string[] =>
  speaker.routes(query).routes.map(({ prefix }) => prefix);

test('RFC 4271 5.1.3, 5.1.4, 5.1.5: what export filters set of next hop, MED and LOCAL_PREF reaches eBGP only as it may', () => {
  const { three, apply, one, network, end } = line();
  one.configure(
    end('10.0.0.1', 65001, ['10.1.0.0/16', '10.1.1.0/24'], {
      exportFilter: four({ action: 'accept', changes: [{ type: 'setMed', value: 7 }] }),
    }),
  );
  network.run();
  const at = (prefix: string): RoutePath => pathsAt(three, prefix)[0]!;
  assert.equal(at('10.1.0.0/16').attributes.med, undefined, 'a MED that was learned goes no further');
  apply(
    {},
    {
      exportFilter: four(
        only('10.1.0.0/16', {
          changes: [
            { type: 'setMed', value: 50 },
            { type: 'setLocalPref', value: 300 },
            { type: 'setNextHop', value: 'unchanged' },
          ],
        }),
        only('10.2.0.0/16', { changes: [{ type: 'setNextHop', value: '10.0.0.77' }] }),
      ),
    },
  );
  const { attributes, nextHop } = at('10.1.0.0/16');
  assert.deepEqual([attributes.med, attributes.localPref, nextHop], [50, undefined, '10.0.0.1']);
  // One that sets no MED on another route does not let that one's through.
  assert.deepEqual([at('10.1.1.0/24').attributes.med, at('10.1.1.0/24').nextHop], [undefined, '10.0.0.2']);
  assert.equal(at('10.2.0.0/16').nextHop, '10.0.0.77');
  apply({}, {});
  assert.deepEqual([at('10.1.0.0/16').nextHop, at('10.2.0.0/16').nextHop], ['10.0.0.2', '10.0.0.2']);
});

test('towards iBGP: MED as learned, LOCAL_PREF and next hop as the filter says', () => {
  const { three, apply } = line({ asn3: 65002 });
  apply(
    {},
    {
      exportFilter: four(
        only('10.1.0.0/16', {
          changes: [
            { type: 'setLocalPref', value: 300 },
            { type: 'setNextHop', value: 'self' },
          ],
        }),
      ),
    },
  );
  const [path] = pathsAt(three, '10.1.0.0/16');
  assert.deepEqual([path!.attributes.localPref, path!.nextHop], [300, '10.0.0.2']);
  assert.equal(pathsAt(three, '10.1.1.0/24')[0]!.nextHop, '10.0.0.1');
});

test('sources: own and learned routes, by kind and by name of the peer that they came from', () => {
  const { one, three, apply, two } = line();
  const told = (...terms: FilterTerm[]): string[] => {
    apply({}, { exportFilter: four(...terms, { action: 'reject' }) });
    return prefixesAt(three, { peer: '10.0.0.2', family: 'ipv4-unicast' }).sort();
  };
  assert.deepEqual(told({ action: 'accept', source: ['own'] }), ['10.2.0.0/16']);
  assert.deepEqual(told({ action: 'accept', source: ['learned'] }), ['10.1.0.0/16', '10.1.1.0/24']);
  assert.deepEqual(told({ action: 'accept', source: ['ibgp'] }), []);
  assert.deepEqual(told({ action: 'accept', peers: ['10.0.0.1'] }), ['10.1.0.0/16', '10.1.1.0/24']);
  assert.deepEqual(told({ action: 'accept', peers: ['10.0.*.9'] }), []);
  assert.deepEqual(told({ action: 'accept', nextHop: ['10.0.0.0/31'] }), ['10.1.0.0/16', '10.1.1.0/24']);
  assert.equal(one.peerStatuses()[0]!.establishedCount + two.peerStatuses()[0]!.establishedCount, 2);
});

test('originated: what is learned goes out only where a term accepts it that says so', () => {
  const { three, apply } = line();
  const told = (...terms: FilterTerm[]): string[] => {
    apply({}, { export: 'originated', ...(terms.length > 0 ? { exportFilter: four(...terms) } : {}) });
    return prefixesAt(three, { peer: '10.0.0.2', family: 'ipv4-unicast' }).sort();
  };
  assert.deepEqual(told(), ['10.2.0.0/16']);
  assert.deepEqual(told({ action: 'reject', community: '1:1' }), ['10.2.0.0/16']);
  assert.deepEqual(told({ action: 'next', changes: [{ type: 'setMed', value: 1 }] }), ['10.2.0.0/16']);
  assert.deepEqual(told({ action: 'accept' }), ['10.2.0.0/16']);
  assert.deepEqual(told({ action: 'accept', source: ['own'] }), ['10.2.0.0/16']);
  assert.deepEqual(told(only('10.1.1.0/24', { source: ['learned'] })), ['10.1.1.0/24', '10.2.0.0/16']);
});

test('reflected: an accepting term without a source is about what is reflected as well (RFC 4456)', () => {
  const network = new Network();
  const reflector = (exportFilter: RouteFilter): SpeakerConfig => {
    const more = { export: 'reflected', routeReflectorClient: true } as const;
    const peers = [peer('10.0.0.1', 65002, more), peer('10.0.0.3', 65002, { ...more, exportFilter })];
    return config('10.0.0.2', 65002, peers, ['10.2.0.0/16']);
  };
  const end = (address: string, originate: string[]): Speaker =>
    network.add(address, config(address, 65002, [peer('10.0.0.2', 65002)], originate));
  end('10.0.0.1', ['10.1.0.0/16', '10.1.1.0/24']);
  network.add('10.0.0.2', reflector(four(only('10.1.0.0/16'), { action: 'reject' })));
  const three = end('10.0.0.3', []);
  network.advance(3000);
  assert.deepEqual(prefixesAt(three, { family: 'ipv4-unicast' }), ['10.1.0.0/16']);
});

test('import filters change attributes and next hops; the decision sees what they made', () => {
  const { two, apply } = line();
  const importFilter = four(
    only('10.1.0.0/16', {
      changes: [
        { type: 'setLocalPref', value: 250 },
        { type: 'setNextHop', value: '10.0.0.9' },
        { type: 'addCommunity', value: '65002:1:1' },
      ],
    }),
  );
  apply({ importFilter }, {});
  const [path] = pathsAt(two, '10.1.0.0/16');
  assert.deepEqual([path!.attributes.localPref, path!.nextHop], [250, '10.0.0.9']);
  assert.deepEqual(path!.attributes.largeCommunities, ['65002:1:1']);
  apply({}, {});
  assert.equal(pathsAt(two, '10.1.0.0/16')[0]!.attributes.localPref, undefined);
});

test('adjRibIn: what is rejected is kept, with the filter and the term that did it, and comes back without ROUTE-REFRESH', () => {
  const { network, two, apply } = line();
  const from = { filter: 'from-one', index: 3 };
  const importFilter = four(
    {
      action: 'accept',
      prefix: { operator: 'equal', cidr: '10.1.0.0/16' },
      changes: [{ type: 'setLocalPref', value: 7 }],
    },
    { action: 'reject', asPath: { first: [65001] }, from },
  );
  apply({ adjRibIn: true, importFilter }, {});
  const status = () => two.peerStatuses()[0]!.families[0]!;
  assert.deepEqual([status().accepted, status().rejected], [1, 1]);
  assert.deepEqual([...network.routesOf('10.0.0.2').keys()].sort(), ['10.1.0.0/16', '10.3.0.0/16']);
  assert.deepEqual(pathsAt(two, '10.1.1.0/24'), [], 'not among what is used');
  const [kept] = pathsAt(two, '10.1.1.0/24', { received: true });
  assert.deepEqual(kept!.rejected, { by: 'filter', filter: 'from-one', term: 3 });
  assert.deepEqual([kept!.best, kept!.multipath], [false, false]);
  const localPref = (received: boolean) => pathsAt(two, '10.1.0.0/16', { received })[0]!.attributes.localPref;
  assert.deepEqual([localPref(false), localPref(true)], [7, undefined], 'as used and as received');

  const sent = () => two.peerStatuses()[0]!.messagesOut;
  const before = sent();
  apply({ adjRibIn: true }, {});
  assert.deepEqual([status().accepted, status().rejected], [2, 0]);
  assert.deepEqual([localPref(false), localPref(true)], [undefined, undefined]);
  apply({ adjRibIn: true, import: 'reject' }, {});
  assert.deepEqual([status().accepted, status().rejected], [0, 2]);
  assert.deepEqual(pathsAt(two, '10.1.0.0/16', { received: true })[0]!.rejected, { by: 'import' });
  apply({ adjRibIn: true, importFilter }, {});
  assert.deepEqual([status().accepted, status().rejected], [1, 1]);
  assert.equal(sent(), before, 'the peer was asked for nothing');
  assert.deepEqual(
    two.peerStatuses().map(({ establishedCount }) => establishedCount),
    [1, 1],
  );

  // Nobody but what is kept has the attributes as received.
  apply(
    { adjRibIn: true, importFilter: four({ action: 'accept', changes: [{ type: 'setLocalPref', value: 7 }] }) },
    {},
  );
  for (const prefix of ['10.1.0.0/16', '10.1.1.0/24']) {
    assert.equal(pathsAt(two, prefix, { received: true })[0]!.attributes.asPath, '65001');
  }
  apply({ adjRibIn: true, importFilter }, {});

  // Not kept any more: rejected ones go, the rest stays.
  apply({ importFilter }, {});
  assert.deepEqual([status().accepted, status().rejected], [1, undefined]);
  assert.deepEqual(pathsAt(two, '10.1.1.0/24', { received: true }), []);
});

test('RFC 4271 9.1.2: loops are kept as such, and used once they are allowed', () => {
  const { two, network, end, one, apply } = line();
  const through = four({ action: 'accept', changes: [{ type: 'prepend', asns: [65002] }] });
  one.configure(end('10.0.0.1', 65001, ['10.1.0.0/16'], { exportFilter: through }));
  network.run();
  assert.deepEqual(pathsAt(two, '10.1.0.0/16', { received: true }), []);
  apply({ adjRibIn: true }, {});
  assert.deepEqual(pathsAt(two, '10.1.0.0/16', { received: true })[0]!.rejected, { by: 'loop' });
  apply({ adjRibIn: true, allowOwnAsn: 1 }, {});
  assert.equal(pathsAt(two, '10.1.0.0/16')[0]!.best, true);
  apply({ adjRibIn: true }, {});
  assert.deepEqual(pathsAt(two, '10.1.0.0/16'), []);
});

test('everything kept is given back when the peer goes', () => {
  const { network, two } = line();
  const reject = four({ action: 'reject', prefix: { operator: 'in', cidr: '10.1.1.0/24' } });
  two.configure(config('10.0.0.2', 65002, [peer('10.0.0.1', 65001, { adjRibIn: true, importFilter: reject })]));
  network.run();
  assert.ok(two.status().attributeSets > 1);
  two.configure(config('10.0.0.2', 65002, []));
  network.run();
  assert.deepEqual(two.status().paths, { ipv4: 0, ipv6: 0 });
  assert.equal(two.status().attributeSets, 1, 'what we originate with');
});

test('RFC 4724 4.2: stale routes of a peer that is away are judged by a new filter, and stay stale', () => {
  const { network, two, apply } = line();
  network.kill('10.0.0.1');
  network.run();
  const status = () => two.peerStatuses()[0]!.families[0]!;
  assert.deepEqual([status().accepted, status().stale], [2, 2]);
  apply({ importFilter: four({ action: 'reject', prefix: { operator: 'equal', cidr: '10.1.1.0/24' } }) }, {});
  assert.deepEqual([status().accepted, status().stale], [1, 1]);
  assert.equal(pathsAt(two, '10.1.0.0/16')[0]!.stale, true);
});

test('what was sent to whom, with attributes and next hop as sent', () => {
  const { two, apply } = line();
  apply({}, { exportFilter: four(only('10.1.0.0/16', { changes: [{ type: 'prependOwn', times: 2 }] })) });
  const [path] = pathsAt(two, '10.1.0.0/16', { sentTo: '10.0.0.3' });
  assert.equal(path!.attributes.asPath, '65002 65002 65002 65001');
  assert.deepEqual([path!.peer, path!.nextHop], ['10.0.0.1', '10.0.0.2']);
  assert.deepEqual(prefixesAt(two, { sentTo: '10.0.0.1', family: 'ipv4-unicast' }).sort(), [
    '10.2.0.0/16',
    '10.3.0.0/16',
  ]);
  assert.throws(() => two.routes({ sentTo: 'nobody' }), /no peer is called nobody/);
  const toAll = pathsAt(two, '10.2.0.0/16', { sent: true });
  assert.deepEqual(
    toAll.map(({ sentTo, attributes }) => [sentTo, attributes.asPath]),
    [
      ['10.0.0.1', '65002'],
      ['10.0.0.3', '65002'],
    ],
  );
  assert.throws(() => two.routes({ sent: true }), /give prefix/);
  assert.deepEqual(JSON.parse(JSON.stringify(two.routes({ sentTo: '10.0.0.3' }))), two.routes({ sentTo: '10.0.0.3' }));
});

test('a change of filters works through a large table a slice at a time, and withdraws nothing that stays', () => {
  const count = 25_000;
  const originate = Array.from({ length: count }, (_, i) => `10.${64 + (i >> 8)}.${i & 255}.0/24`);
  const { network, two, three, apply } = line({ originate });
  const learned = () => three.status().routes.ipv4;
  assert.equal(learned(), count + 2);
  const rejected = originate[0]!;
  const filter = four(
    { action: 'reject', prefix: { operator: 'equal', cidr: rejected } },
    { action: 'accept', changes: [{ type: 'addCommunity', value: '65002:1' }] },
  );
  const changes = network.changes.get('10.0.0.3')!;
  changes.length = 0;
  apply({}, { exportFilter: filter });
  assert.equal(learned(), count + 1);
  assert.deepEqual(
    changes,
    [{ type: 'withdraw', prefix: rejected }],
    'next hops are the same, and nothing went for a moment',
  );
  assert.deepEqual(pathsAt(three, originate.at(-1)!)[0]!.attributes.communities, ['65002:1']);
  // And of an import policy.
  apply({ importFilter: filter, adjRibIn: true }, {});
  assert.equal(two.status().routes.ipv4, count + 1);
  assert.deepEqual(pathsAt(two, originate.at(-1)!)[0]!.attributes.communities, ['65002:1']);
});
