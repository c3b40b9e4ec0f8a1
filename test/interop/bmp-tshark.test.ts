/** BMP from a speaker beside BIRD, decoded by tshark. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BmpStationConfig } from '#bgp';
import { BgpLink, birdConfig, linkConfig } from '../support/bgp.ts';
import { BmpCollector, bmpPort, type DecodedBmp } from '../support/bmp.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const wants = needs({ root: true, commands: ['ip'], provided: ['bird', 'birdc', 'tshark'] });
const station = (address: string): BmpStationConfig => ({
  name: 'noc',
  address,
  port: bmpPort,
  monitor: ['pre-policy', 'post-policy', 'adj-rib-out-pre-policy', 'adj-rib-out', 'loc-rib'],
  statisticsSec: 1,
  connectRetrySec: 1,
});

/** Table (peer type, flags without V) -> prefixes that stand in it in the end. */
function tables(messages: readonly DecodedBmp[]): Record<string, string[]> {
  const out = new Map<string, Set<string>>();
  for (const { type, peerType, flags, announced, withdrawn } of messages) {
    if (type !== 0) continue;
    const name = peerType === '3' ? 'loc-rib' : `0x${(Number(flags) & 0x7f).toString(16)}`;
    const table = out.get(name) ?? new Set();
    out.set(name, table);
    for (const prefix of withdrawn) table.delete(prefix);
    for (const prefix of announced) table.add(prefix);
  }
  return Object.fromEntries(
    [...out].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, set]) => [name, [...set].sort()]),
  );
}

const received = ['10.60.1.0', 'fd60:1::'];
const ours = ['10.50.1.0', 'fd50:1::'];
const everything = {
  '0x0': received,
  '0x10': ours,
  '0x40': received,
  '0x50': ours,
  'loc-rib': [...ours, ...received].sort(),
};
const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

for (const [family, ourEnd, birdEnd] of [
  ['IPv4', '10.9.0.1', '10.9.0.2'],
  ['IPv6', 'fd09::1', 'fd09::2'],
] as const) {
  test(`RFC 7854, 8671, 9069: tshark reads every message, over ${family}`, wants, async () => {
    await using link = new BgpLink();
    const neighbor = `local ${birdEnd} as 64513; neighbor ${ourEnd} as 64512;`;
    const channels =
      'ipv4 { import all; export all; next hop address 10.9.0.2; }; ipv6 { import all; export all; next hop address fd09::2; };';
    const bird = await link.bird(birdConfig({ neighbor, channels }));
    const collector = await new BmpCollector(link, link.b).ready();
    const speaker = await link.speaker(linkConfig({ bmp: [station(birdEnd)] }, { address: birdEnd }));
    await speaker.established('bird');
    await until(() => same(tables(collector.decode(1)), everything), {
      what: `every table at the station; it has ${JSON.stringify(tables(collector.decode(1)))}`,
      intervalMs: 500,
      deadlineMs: 20_000,
    });
    await until(() => collector.decode(1).some(({ type }) => type === 1), { what: 'statistics', intervalMs: 500 });
    const before = collector.decode(1);
    // This tshark takes the Peer Up TLVs of RFC 9069 5.2.1 for more BGP; bgp/bmp/station.test.ts looks at those octets.
    const wrong = before.filter(
      ({ malformed, type, peerType }) => malformed !== '' && !(type === 3 && peerType === '3'),
    );
    assert.deepEqual(wrong, []);
    assert.equal(before[0]?.type, 4);
    assert.equal(before[0]?.info.length, 2, 'sysDescr and sysName (RFC 7854 4.3)');
    const ups = before.filter(({ type }) => type === 3);
    assert.deepEqual(
      ups.map(({ peerType, peer, asn, bgpTypes }) => [peerType, peer, asn, bgpTypes.join()]),
      [
        ['3', '0.0.0.0', '64512', '1,1'],
        ['0', birdEnd, '64513', '1,1'],
      ],
    );
    assert.ok([ups[1]!.localPort, ups[1]!.remotePort].includes('179'), 'the ports of the session (RFC 7854 4.10)');
    const reports = before.filter(({ type }) => type === 1);
    assert.deepEqual(reports.find(({ peerType }) => peerType === '0')?.statistics, [
      ...['0', '1', '2', '3', '4', '5', '6', '11', '12', '13'],
      ...['7', '9', '9'],
      ...['14', '16', '16'],
      ...['15', '17', '17'],
    ]);
    assert.deepEqual(reports.find(({ peerType }) => peerType === '3')?.statistics, ['8', '10', '10']);
    const route = before.find(
      ({ type, flags, announced }) =>
        type === 0 && Number(flags) === (family === 'IPv4' ? 0 : 0x80) && announced.includes('10.60.1.0'),
    );
    assert.deepEqual([route?.asPath, route?.nextHops], [['64513'], ['10.9.0.2']]);

    // Routes go, then the session: BIRD says Cease.
    bird.birdc('disable s4');
    await until(() => !tables(collector.decode(1))['0x40']?.includes('10.60.1.0'), {
      what: 'the withdrawal',
      intervalMs: 300,
    });
    bird.birdc('disable peer');
    const down = await until(() => collector.decode(1).find(({ type }) => type === 2), {
      what: 'Peer Down',
      intervalMs: 300,
    });
    assert.deepEqual([down.peer, down.downReason, down.bgpTypes], [birdEnd, '3', ['3']]);

    // A station that starts again gets everything again.
    bird.birdc('enable s4');
    bird.birdc('enable peer');
    await speaker.established('bird');
    await collector.kill();
    const again = await new BmpCollector(link, link.b).ready();
    await until(() => same(tables(again.decode(1)), everything), {
      what: 'every table again',
      intervalMs: 500,
      deadlineMs: 20_000,
    });
    const endOfRibs = again
      .decode(1)
      .filter(
        ({ type, bgpTypes, announced, withdrawn }) =>
          type === 0 && bgpTypes.length === 1 && announced.length + withdrawn.length === 0,
      );
    assert.ok(
      endOfRibs.length >= 10,
      `End-of-RIB for each of five tables and two families (RFC 7854 5): ${endOfRibs.length}`,
    );
    await speaker.stop('drain');
    await until(() => again.closed.has(1), { what: 'the connection to end' });
    const last = again
      .decode(1)
      .slice(-3)
      .map(({ type }) => type);
    assert.deepEqual(last, [2, 2, 5], 'Peer Down of the peer and of the Loc-RIB, Termination (RFC 7854 4.5)');
  });
}

test('a station that never reads: routes go on between peers, memory stays bounded', wants, async () => {
  await using link = new BgpLink();
  const collector = await new BmpCollector(link, link.b, 'deaf').ready();
  const bird = await link.bird(birdConfig());
  const speaker = await link.speaker(linkConfig({ bmp: [station('10.9.0.2')] }));
  await speaker.established('bird');
  await until(() => collector.connections === 1, { what: 'the connection' });
  // Each route with attributes of its own: a round is 4 tables of 2000 messages, 1 MB; most of 40 rounds cannot go out.
  const rounds = 40;
  const routes = (round: number): string =>
    Array.from({ length: 2000 }, (_, i) => {
      const set = `bgp_community.add((${round},${i}));`;
      return `route 10.${100 + (i >> 8)}.${i & 255}.0/24 blackhole { ${set} };`;
    }).join(' ');
  for (let round = 1; round <= rounds; round++) {
    bird.configure(birdConfig({ routes4: routes(round) }));
    await until(async () => (await speaker.peer('bird')).prefixesReceived >= 2000 * round, { what: `round ${round}` });
  }
  await until(() => speaker.routes.size === 2002, { what: 'all routes' });
  const { stations } = await speaker.status();
  const { queuedBytes, messagesOut, overflowCount } = stations![0]!;
  assert.ok(queuedBytes > 500_000 && queuedBytes < 4 * 1024 * 1024, `${queuedBytes} bytes wait`);
  assert.ok(messagesOut < (rounds * 4 * 2000) / 2, `${messagesOut} messages went out or wait`);
  assert.equal(overflowCount, 0);
  assert.equal((await speaker.peer('bird')).establishedCount, 1);
  // It reads after all: what stands in the tables is what it learns.
  collector.read(true);
  await until(() => tables(collector.decode(1))['loc-rib']?.length === 2004, {
    what: 'the tables at last',
    intervalMs: 500,
    deadlineMs: 30_000,
  });
});
