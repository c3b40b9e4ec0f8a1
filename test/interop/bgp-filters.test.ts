/** Filters against BIRD 2 and FRR: routes rejected and changed in both directions and both families, and changes of filters on a live session. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FilterTerm, PeerConfig, RouteAnswer, RouteFilter } from '#bgp';
import { BgpLink, type Bird, birdConfig, linkConfig, type SpeakerProcess } from '../support/bgp.ts';
import { startFrr } from '../support/bgp-frr.ts';
import { frrConfig } from '../support/bgp-peers.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const wantsBird = needs({ root: true, commands: ['ip'], provided: ['bird', 'birdc'] });
const wantsFrr = needs({ root: true, commands: ['ip', 'unshare', 'nsenter'], provided: ['zebra', 'bgpd', 'vtysh'] });

const originate = ['10.50.1.0/24', '10.50.2.0/24', 'fd50:1::/64', 'fd50:2::/64'];
const both = (...terms: FilterTerm[]): RouteFilter => ({ ipv4: terms, ipv6: terms });
const reject: FilterTerm = { action: 'reject' };

async function holds(speaker: SpeakerProcess, expected: readonly string[], what: string): Promise<void> {
  const wanted = [...expected].sort().join(' ');
  await until(() => [...speaker.routes.keys()].sort().join(' ') === wanted, {
    what: `${what}: ${wanted}; there are ${[...speaker.routes.keys()].sort()}`,
  });
}
async function shows(text: () => string, pattern: RegExp): Promise<void> {
  await until(() => pattern.test(text()), { what: `${pattern} in ${text()}` });
}
const routesAt = (bird: Bird) => (): string => bird.birdc('show route protocol peer all');

/** BIRD marks its routes: 10.61 and fd61 with communities of all kinds and a longer path, 10.62 and fd62 with a MED. */
const marked = (bgp = ''): string => {
  const filter = (name: string, one: string, two: string): string => `filter ${name} {
  if net ~ [${one}] then {
    bgp_community.add((64513, 7)); bgp_large_community.add((64513, 1, 2)); bgp_ext_community.add((rt, 64513, 9));
    bgp_path.prepend(65061);
  }
  if net ~ [${two}] then { bgp_med = 62; bgp_origin = ORIGIN_INCOMPLETE; }
  accept;
}
`;
  return `${filter('marked4', '10.61.0.0/16+', '10.62.0.0/16+')}${filter('marked6', 'fd61::/16+', 'fd62::/16+')}
${birdConfig({
  bgp,
  channels:
    'ipv4 { import all; export filter marked4; }; ipv6 { import all; export filter marked6; next hop address fd09::2; };',
  routes4: 'route 10.61.0.0/16 blackhole; route 10.62.0.0/16 blackhole;',
})}
protocol static more6 { ipv6; route fd61::/32 blackhole; route fd62::/32 blackhole; }
`;
};
const all = ['10.60.1.0/24', '10.61.0.0/16', '10.62.0.0/16', 'fd60:1::/64', 'fd61::/32', 'fd62::/32'];
const without = (...gone: string[]): string[] => all.filter((prefix) => !gone.some((each) => prefix.startsWith(each)));

test('BIRD: every kind of condition on what it announces, live, by ROUTE-REFRESH (RFC 2918)', wantsBird, async () => {
  await using link = new BgpLink();
  await link.bird(marked());
  const speaker = await link.speaker(linkConfig({ originate }));
  await holds(speaker, all, 'everything');
  const marks = ['10.61', 'fd61'];
  const cases: [string, FilterTerm, readonly string[]][] = [
    ['standard', { action: 'reject', communities: { any: ['64513:*'] } }, without(...marks)],
    ['large', { action: 'reject', communities: { all: ['64513:1:1-5'] } }, without(...marks)],
    ['extended', { action: 'reject', communities: { any: ['rt:64513:9'] } }, without(...marks)],
    ['expression', { action: 'reject', asPath: { matches: ['^64513_65061$'] } }, without(...marks)],
    ['origin AS', { action: 'reject', asPath: { last: [{ min: 65000, max: 65100 }] } }, without(...marks)],
    ['path length', { action: 'reject', asPath: { length: { max: 1 } } }, all.filter((each) => /61/.test(each))],
    ['MED', { action: 'reject', med: { min: 1 } }, without('10.62', 'fd62')],
    ['origin', { action: 'reject', origin: ['incomplete'] }, without('10.62', 'fd62')],
    ['next hop', { action: 'reject', nextHop: ['10.9.0.2/32'] }, all.filter((each) => each.includes(':'))],
    ['peer', { action: 'reject', peers: ['b*'], source: ['ebgp'] }, []],
    ['nothing', { action: 'reject', source: ['ibgp'] }, all],
  ];
  for (const [what, term, expected] of cases) {
    speaker.configure(linkConfig({ originate }, { importFilter: both(term) }));
    await holds(speaker, expected, what);
  }
  const set = (prefix: string) =>
    ({ action: 'reject', prefixes: { entries: [{ cidr: prefix, minLength: 16, maxLength: 24 }] } }) as const;
  speaker.configure(linkConfig({ originate }, { importFilter: { ipv4: [set('10.60.0.0/15')], ipv6: [reject] } }));
  await holds(speaker, ['10.62.0.0/16'], 'prefix set');
  assert.equal((await speaker.peer('bird')).establishedCount, 1);
});

test(
  'adjRibIn: filters change without ROUTE-REFRESH on one session; what is rejected says by which term',
  wantsBird,
  async () => {
    await using link = new BgpLink();
    const bird = await link.bird(marked('enable route refresh off;'));
    const speaker = await link.speaker(linkConfig({ originate }, { adjRibIn: true }));
    await holds(speaker, all, 'everything');
    assert.equal((await speaker.peer('bird')).negotiated?.routeRefresh, false);
    const from = { filter: 'no-marks', index: 2 };
    const importFilter = both({ action: 'reject', communities: { any: ['64513:7'] }, from });
    speaker.configure(linkConfig({ originate }, { adjRibIn: true, importFilter }));
    await holds(speaker, without('10.61', 'fd61'), 'without what is marked');
    const answer = (await speaker.query({ received: true, prefix: 'fd61::/32' })) as RouteAnswer;
    const [path] = answer.routes[0]!.paths;
    assert.deepEqual(path!.rejected, { by: 'filter', filter: 'no-marks', term: 2 });
    assert.deepEqual(path!.attributes.largeCommunities, ['64513:1:2']);
    // What comes and goes while it is rejected is followed.
    bird.configure(marked('enable route refresh off;').replace('route fd61::/32 blackhole;', ''));
    await until(
      async () => ((await speaker.query({ received: true, prefix: 'fd61::/32' })) as RouteAnswer).routes.length === 0,
      {
        what: 'the rejected route to go',
      },
    );
    speaker.configure(linkConfig({ originate }, { adjRibIn: true }));
    await holds(speaker, without('fd61'), 'what there is');
    const peer = await speaker.peer('bird');
    assert.equal(peer.establishedCount, 1);
    assert.deepEqual(
      peer.families.map(({ rejected }) => rejected),
      [0, 0],
    );
  },
);

test(
  'BIRD sees what export filters change, in both families, and the looking glass says the same',
  wantsBird,
  async () => {
    await using link = new BgpLink();
    const bird = await link.bird(marked());
    const changed = (cidr: string, nextHop: string): FilterTerm => ({
      action: 'accept',
      prefix: { operator: 'equal', cidr },
      changes: [
        { type: 'addCommunity', value: '64512:1' },
        { type: 'addCommunity', value: '64512:1:1' },
        { type: 'addCommunity', value: 'rt:64512:1' },
        { type: 'prependOwn', times: 2 },
        { type: 'prepend', asns: [65050] },
        { type: 'setMed', value: 50 },
        { type: 'setOrigin', value: 'egp' },
        { type: 'setNextHop', value: nextHop },
      ],
    });
    const exportFilter = {
      ipv4: [changed('10.50.1.0/24', '10.9.0.77'), reject],
      ipv6: [changed('fd50:1::/64', 'fd09::77'), reject],
    };
    const speaker = await link.speaker(linkConfig({ originate }, { exportFilter }));
    await speaker.established('bird');
    for (const [prefix, hop] of [
      ['10\\.50\\.1\\.0/24', '10\\.9\\.0\\.77'],
      ['fd50:1::/64', 'fd09::77'],
    ]) {
      await shows(
        routesAt(bird),
        new RegExp(
          `${prefix}[\\s\\S]*?BGP.origin: EGP\\s+BGP.as_path: 64512 65050 64512 64512\\s+BGP.next_hop: ${hop}[^\\n]*\\s+BGP.med: 50`,
        ),
      );
    }
    assert.match(
      routesAt(bird)(),
      /BGP.community: \(64512,1\)\s+BGP.ext_community: \(rt, 64512, 1\)\s+BGP.large_community: \(64512, 1, 1\)/,
    );
    assert.doesNotMatch(routesAt(bird)(), /10\.50\.2\.0|fd50:2::/);
    const answer = (await speaker.query({ sentTo: 'bird' })) as RouteAnswer;
    assert.deepEqual(
      answer.routes.map(({ prefix, paths }) => [prefix, paths[0]!.nextHop]),
      [
        ['10.50.1.0/24', '10.9.0.77'],
        ['fd50:1::/64', 'fd09::77'],
      ],
    );
    assert.equal(answer.routes[0]!.paths[0]!.attributes.asPath, '64512 65050 64512 64512');
    speaker.configure(linkConfig({ originate }));
    await shows(routesAt(bird), /10\.50\.2\.0\/24[\s\S]*fd50:2::\/64/);
    await until(() => !/65050/.test(routesAt(bird)()), { what: 'the changes to go' });
    assert.equal((await speaker.peer('bird')).establishedCount, 1);
  },
);

test('FRR: filters in both directions, live, on one session', wantsFrr, async () => {
  await using link = new BgpLink();
  const frr = await startFrr(link, frrConfig({ networks4: ['10.61.0.0/16', '10.62.0.0/16'] }));
  const config = (peer: Partial<PeerConfig>) => linkConfig({ originate }, { name: 'frr', ...peer });
  const speaker = await link.speaker(config({}));
  const everything = ['10.60.1.0/24', '10.61.0.0/16', '10.62.0.0/16', 'fd60:1::/64'];
  await holds(speaker, everything, 'everything');
  const long = both({
    action: 'reject',
    asPath: { first: [64513] },
    prefix: { operator: 'in', cidr: '10.61.0.0/16' },
  }).ipv4;
  speaker.configure(config({ importFilter: { ipv4: long, ipv6: [reject] } }));
  await holds(speaker, ['10.60.1.0/24', '10.62.0.0/16'], 'by prefix and path');
  speaker.configure(config({ adjRibIn: true, importFilter: { ipv4: long, ipv6: [reject] } }));
  await until(async () => (await speaker.peer('frr')).families.map(({ rejected }) => rejected).join() === '3,3', {
    what: 'what is rejected to be asked for and kept',
  });
  const rejections = async (prefix: string) =>
    ((await speaker.query({ received: true, prefix, peer: 'frr' })) as RouteAnswer).routes[0]!.paths[0]!.rejected;
  assert.deepEqual(await rejections('10.61.0.0/16'), { by: 'filter', term: 0 });
  // FRR tells us our own routes as well.
  assert.deepEqual(await rejections('10.50.1.0/24'), { by: 'loop' });
  speaker.configure(config({ adjRibIn: true }));
  await holds(speaker, everything, 'everything again');

  const changes = [
    { type: 'addCommunity', value: '64512:1' },
    { type: 'addCommunity', value: '64512:1:1' },
    { type: 'prependOwn', times: 1 },
    { type: 'setMed', value: 50 },
  ] as const;
  const accepted = (cidr: string): FilterTerm => ({ action: 'accept', prefix: { operator: 'equal', cidr }, changes });
  speaker.configure(
    config({
      adjRibIn: true,
      exportFilter: { ipv4: [accepted('10.50.1.0/24'), reject], ipv6: [accepted('fd50:1::/64'), reject] },
    }),
  );
  for (const [family, prefix, other] of [
    ['ipv4', '10.50.1.0/24', '10.50.2.0/24'],
    ['ipv6', 'fd50:1::/64', 'fd50:2::/64'],
  ] as const) {
    const shown = (which: string) => JSON.parse(frr.vtysh(`show bgp ${family} unicast ${which} json`)).paths?.[0];
    await until(() => shown(prefix)?.metric === 50 && shown(other) === undefined, { what: `${prefix} at FRR` });
    const { aspath, community, largeCommunity } = shown(prefix);
    assert.deepEqual([aspath.string, community.string, largeCommunity.string], ['64512 64512', '64512:1', '64512:1:1']);
  }
  assert.equal((await speaker.peer('frr')).establishedCount, 1);
});
