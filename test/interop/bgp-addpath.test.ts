/** ADD-PATH (RFC 7911) with BIRD, FRR and GoBGP, both ways and both families. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import type { PeerConfig, RouteAnswer, RoutePath } from '#bgp';
import { BgpLink, linkConfig, linkPeer, type SpeakerProcess } from '../support/bgp.ts';
import { startFrr } from '../support/bgp-frr.ts';
import { needsGobgp, startGobgp } from '../support/bgp-gobgp.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const wants = needs({ root: true, commands: ['ip'], provided: ['bird', 'birdc'] });
const wantsFrr = needs({
  root: true,
  commands: ['ip', 'nsenter'],
  provided: ['bird', 'birdc', 'zebra', 'bgpd', 'vtysh'],
});

const prefixes = { 4: '10.60.1.0/24', 6: 'fd60:1::/64' } as const;

/** A BIRD with three paths to each prefix, with next hops and communities of their own, at `address` and AS `asn`. */
function manyPaths(asn: number, host: number, bgp = ''): string {
  const paths = [7, 8, 9].map(
    (
      n,
    ) => `protocol static a${n} { ipv4 { preference ${100 + n}; }; route ${prefixes[4]} via 10.9.0.${n} { bgp_community.add((${asn}, ${n})); }; }
protocol static b${n} { ipv6 { preference ${100 + n}; }; route ${prefixes[6]} via fd09::${n} { bgp_community.add((${asn}, ${n})); }; }
`,
  );
  return `router id 10.9.0.${host};
log stderr all;
protocol device { scan time 1; }
protocol direct { ipv4; ipv6; interface "e0"; }
${paths.join('')}
protocol bgp peer { local 10.9.0.${host} as ${asn}; neighbor 10.9.0.1 as 64512; strict bind on; hold time 9;
 error wait time 1, 2; connect delay time 1; connect retry time 1; ${bgp}
 ipv4 { import all; export where source = RTS_STATIC; add paths on; };
 ipv6 { import all; export where source = RTS_STATIC; add paths on; }; }
`;
}

async function pathsOf(speaker: SpeakerProcess, prefix: string): Promise<readonly RoutePath[]> {
  const answer = (await speaker.query({ prefix })) as RouteAnswer;
  return answer.routes[0]?.paths ?? [];
}
const communities = (paths: readonly RoutePath[]): string[] =>
  paths.flatMap((path) => path.attributes.communities ?? []).sort();

/** A further router on our link. */
function addHost(link: BgpLink, host: number): void {
  execFileSync('ip', ['-n', link.b, 'addr', 'add', `10.9.0.${host}/24`, 'dev', 'e0']);
  execFileSync('ip', ['-n', link.b, 'addr', 'add', `fd09::${host}/64`, 'dev', 'e0', 'nodad']);
}

const receive: Partial<PeerConfig> = { addPath: { receive: true, send: 0 } };

test(
  'RFC 7911 3, 5: paths of BIRD are held side by side, replaced and withdrawn one by one; all are next hops',
  wants,
  async () => {
    await using link = new BgpLink();
    const bird = await link.bird(manyPaths(64513, 2));
    const speaker = await link.speaker(linkConfig({}, receive));
    const peer = await speaker.established('bird');
    assert.deepEqual(peer.negotiated?.addPath, [
      { family: 'ipv4-unicast', receive: true, send: false },
      { family: 'ipv6-unicast', receive: true, send: false },
    ]);
    await until(() => speaker.routes.get(prefixes[4])?.length === 3 && speaker.routes.get(prefixes[6])?.length === 3, {
      what: `three next hops; they are ${JSON.stringify([...speaker.routes])}`,
    });
    for (const family of [4, 6] as const) {
      const paths = await pathsOf(speaker, prefixes[family]);
      assert.deepEqual(communities(paths), ['64513:7', '64513:8', '64513:9']);
      assert.equal(new Set(paths.map(({ pathId }) => pathId)).size, 3);
      assert.equal(paths.filter(({ best }) => best).length, 1);
    }
    await until(
      async () => (await speaker.peer('bird')).families.every((f) => f.endOfRibReceived && f.accepted === 3),
      {
        what: 'End-of-RIB of both families',
      },
    );
    bird.birdc('disable a9');
    bird.birdc('disable b7');
    await until(async () => (await pathsOf(speaker, prefixes[4])).length === 2, {
      what: 'a withdrawal by path identifier',
    });
    await until(async () => (await pathsOf(speaker, prefixes[6])).length === 2, {
      what: 'the same in MP_UNREACH_NLRI',
    });
    assert.deepEqual(communities(await pathsOf(speaker, prefixes[4])), ['64513:7', '64513:8']);
    assert.deepEqual(speaker.routes.get(prefixes[6]), ['fd09::8', 'fd09::9']);
  },
);

test(
  'RFC 7911 4: one path where only one side offers ADD-PATH, and a change of it makes a new session',
  wants,
  async () => {
    await using link = new BgpLink();
    await link.bird(manyPaths(64513, 2));
    const speaker = await link.speaker(linkConfig());
    const peer = await speaker.established('bird');
    assert.equal(peer.negotiated?.addPath, undefined);
    await until(() => speaker.routes.size === 2, { what: 'the best path of each' });
    assert.equal((await pathsOf(speaker, prefixes[4])).length, 1);
    speaker.configure(linkConfig({}, receive));
    await until(async () => (await pathsOf(speaker, prefixes[4])).length === 3, { what: 'all paths on a new session' });
  },
);

test(
  'RFC 7911 5: BIRD gets the best so many paths of each prefix, and what drops out is withdrawn',
  wants,
  async () => {
    await using link = new BgpLink();
    addHost(link, 3);
    const source = await link.bird(manyPaths(64513, 2));
    const sink = await link.bird(manyPaths(64514, 3).replaceAll(/protocol static [^\n]*\n/g, ''));
    const peers = (send: number): PeerConfig[] => [
      linkPeer(receive),
      linkPeer({ name: 'sink', address: '10.9.0.3', asn: 64514, export: 'accept', addPath: { receive: false, send } }),
    ];
    const speaker = await link.speaker(linkConfig({ peers: peers(2) }));
    await speaker.established('sink');
    const at = (prefix: string): string[] =>
      [...sink.birdc(`show route all where net = ${prefix}`).matchAll(/\(64513,(\d)\)/g)]
        .map((match) => match[1]!)
        .sort();
    for (const prefix of Object.values(prefixes)) {
      await until(() => at(prefix).length === 2, { what: `two paths to ${prefix}; there are ${at(prefix)}` });
    }
    assert.equal((await speaker.peer('sink')).families[0]!.sent, 3, 'two paths, and ours');
    const [first, second] = at(prefixes[4]);
    const third = ['7', '8', '9'].find((n) => n !== first && n !== second)!;
    source.birdc(`disable a${first}`);
    source.birdc(`disable b${first}`);
    await until(() => at(prefixes[4]).join() === [second, third].sort().join(), {
      what: 'the third to take its place',
    });
    speaker.configure(linkConfig({ peers: peers(1) }));
    await until(() => at(prefixes[4]).length === 1 && at(prefixes[6]).length === 1, { what: 'fewer paths, live' });
    speaker.configure(linkConfig({ peers: peers(64) }));
    await until(() => at(prefixes[4]).length === 2 && at(prefixes[6]).length === 2, { what: 'all that there are' });
    assert.equal((await speaker.peer('sink')).establishedCount, 1, 'on one and the same session');
    source.birdc('disable peer');
    await until(() => at(prefixes[4]).length + at(prefixes[6]).length === 0, { what: 'all to go with their source' });
  },
);

test(
  'RFC 7911 5, RFC 4724 4.2: BIRD restarts gracefully with other path identifiers, and no route leaves',
  wants,
  async () => {
    await using link = new BgpLink();
    const bird = await link.bird(manyPaths(64513, 2, 'graceful restart on; graceful restart time 30;'));
    const speaker = await link.speaker(linkConfig({}, receive));
    await until(() => speaker.routes.get(prefixes[4])?.length === 3 && speaker.routes.get(prefixes[6])?.length === 3, {
      what: 'three next hops',
    });
    await until(async () => (await speaker.peer('bird')).families.every((f) => f.endOfRibReceived), {
      what: 'End-of-RIB',
    });
    const before = speaker.changes.length;
    await bird.kill();
    await until(async () => (await speaker.peer('bird')).families.every((f) => f.stale === 3), { what: 'stale paths' });
    await bird.restart();
    await speaker.established('bird');
    await until(async () => (await speaker.peer('bird')).families.every((f) => f.stale === 0 && f.accepted === 3), {
      what: 'the sweep after End-of-RIB',
      deadlineMs: 20_000,
    });
    const after = speaker.changes.slice(before);
    assert.ok(!after.some((change) => change.type === 'withdraw'), `no route was withdrawn: ${JSON.stringify(after)}`);
    assert.equal(speaker.routes.get(prefixes[4])?.length, 3);
  },
);

test('FRR: our best paths to it, and addpath-tx-all-paths or one for each AS back to us', wantsFrr, async () => {
  await using link = new BgpLink();
  addHost(link, 3);
  const frr = await startFrr(
    link,
    `frr defaults datacenter
log stdout
router bgp 64513
 bgp router-id 10.9.0.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 10.9.0.1 remote-as 64512
 neighbor 10.9.0.1 timers 3 9
 neighbor 10.9.0.1 timers connect 1
 neighbor fd09::1 remote-as 64512
 neighbor fd09::1 timers 3 9
 neighbor fd09::1 timers connect 1
 neighbor fd09::1 update-source fd09::2
 address-family ipv4 unicast
  neighbor fd09::1 next-hop-self
  neighbor fd09::1 addpath-tx-all-paths
 exit-address-family
 address-family ipv6 unicast
  neighbor 10.9.0.1 activate
  neighbor fd09::1 activate
  neighbor fd09::1 next-hop-self
  neighbor fd09::1 addpath-tx-all-paths
 exit-address-family
`,
  );
  // FRR listens on every address at 179.
  await link.bird(manyPaths(64515, 3).replace('local 10.9.0.3', 'local 10.9.0.3 port 1790'));
  const back: Partial<PeerConfig> = { name: 'back', address: 'fd09::2', allowOwnAsn: 1, export: 'reject', ...receive };
  const speaker = await link.speaker(
    linkConfig({
      peers: [
        linkPeer({ name: 'bird', address: '10.9.0.3', port: 1790, asn: 64515, ...receive }),
        linkPeer({ name: 'frr', passive: true, export: 'accept', addPath: { receive: true, send: 3 } }),
        linkPeer({ ...back, passive: true }),
      ],
    }),
  );
  const peer = await speaker.established('frr');
  assert.deepEqual(peer.negotiated?.addPath, [
    { family: 'ipv4-unicast', receive: false, send: true },
    { family: 'ipv6-unicast', receive: false, send: true },
  ]);
  const at = (family: 'ipv4' | 'ipv6', prefix: string): string[] =>
    [...frr.vtysh(`show bgp ${family} unicast ${prefix}`).matchAll(/Community: 64515:(\d)/g)].map((m) => m[1]!).sort();
  await until(() => at('ipv4', prefixes[4]).length === 3 && at('ipv6', prefixes[6]).length === 3, {
    what: () => `three paths at FRR; it has ${frr.vtysh(`show bgp ipv4 unicast ${prefixes[4]}`)}`,
    deadlineMs: 20_000,
  });
  const fromFrr = async (prefix: string): Promise<string> =>
    communities((await pathsOf(speaker, prefix)).filter((path) => path.peer === 'back')).join();
  for (const prefix of Object.values(prefixes)) {
    await until(async () => (await fromFrr(prefix)) === '64515:7,64515:8,64515:9', {
      what: `three paths to ${prefix}`,
    });
  }
  for (const [family, number] of [
    ['ipv4', 4],
    ['ipv6', 6],
  ] as const) {
    const context = `configure terminal\nrouter bgp 64513\naddress-family ${family} unicast`;
    frr.vtysh(`${context}\nneighbor fd09::1 addpath-tx-bestpath-per-AS`);
    await until(async () => /^64515:\d$/.test(await fromFrr(prefixes[number])), {
      what: `one path for each AS, ${family}`,
      deadlineMs: 20_000,
    });
  }
});

test('GoBGP: several paths both ways, both families', needsGobgp(wants), async () => {
  await using link = new BgpLink();
  addHost(link, 3);
  await link.bird(manyPaths(64515, 3));
  const family = (name: string): string => `  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "${name}"
    [neighbors.afi-safis.add-paths.config]
      receive = true
      send-max = 8
`;
  const gobgp = await startGobgp(
    link,
    `[global.config]
  as = 64513
  router-id = "10.9.0.2"
  local-address-list = ["10.9.0.2"]
[[neighbors]]
  [neighbors.config]
    neighbor-address = "10.9.0.1"
    peer-as = 64512
  [neighbors.timers.config]
    hold-time = 9
    connect-retry = 1
${family('ipv4-unicast')}${family('ipv6-unicast')}`,
  );
  for (const n of [7, 8]) {
    gobgp.cli(`global rib add 10.70.1.0/24 identifier ${n} nexthop 10.9.0.${n} community 64513:${n}`);
    gobgp.cli(`global rib add -a ipv6 fd70:1::/64 identifier ${n} nexthop fd09::${n} community 64513:${n}`);
  }
  const speaker = await link.speaker(
    linkConfig({
      peers: [
        linkPeer({ name: 'bird', address: '10.9.0.3', asn: 64515, ...receive }),
        linkPeer({ name: 'gobgp', export: 'accept', addPath: { receive: true, send: 3 } }),
      ],
    }),
  );
  const peer = await speaker.established('gobgp');
  assert.deepEqual(peer.negotiated?.addPath, [
    { family: 'ipv4-unicast', receive: true, send: true },
    { family: 'ipv6-unicast', receive: true, send: true },
  ]);
  for (const prefix of ['10.70.1.0/24', 'fd70:1::/64']) {
    await until(async () => (await pathsOf(speaker, prefix)).length === 2, { what: `two paths to ${prefix}` });
    assert.deepEqual(communities(await pathsOf(speaker, prefix)), ['64513:7', '64513:8']);
  }
  const at = (command: string): number => [...gobgp.cli(command).matchAll(/64515:\d/g)].length;
  await until(() => at(`global rib ${prefixes[4]}`) === 3, {
    what: `three at GoBGP; it has ${gobgp.cli('global rib')}`,
  });
  await until(() => at(`global rib -a ipv6 ${prefixes[6]}`) === 3, { what: 'three IPv6 paths at GoBGP' });
  gobgp.cli('global rib del 10.70.1.0/24 identifier 7');
  await until(async () => communities(await pathsOf(speaker, '10.70.1.0/24')).join() === '64513:8', {
    what: 'one path withdrawn by its identifier',
  });
});
