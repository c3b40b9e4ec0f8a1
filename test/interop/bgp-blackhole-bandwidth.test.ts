/** BLACKHOLE (RFC 7999) and link bandwidth (RFC 10005): from BIRD into the kernel by `poplin speaker`, and with FRR in both directions. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { RouteAnswer } from '#bgp';
import { BgpLink, linkConfig } from '../support/bgp.ts';
import { startFrr } from '../support/bgp-frr.ts';
import { frrConfig } from '../support/bgp-peers.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const wantsBird = needs({ root: true, commands: ['ip'], provided: ['bird', 'birdc'] });
const wantsFrr = needs({ root: true, commands: ['ip', 'unshare', 'nsenter'], provided: ['zebra', 'bgpd', 'vtysh'] });
/** Prints why a connection to a port on which nobody listens fails. */
const knock =
  "require('node:net').connect(9, process.argv[1]).once('error', (error) => process.stdout.write(error.code))";
const cli = path.join(import.meta.dirname, '../../src/cli/main.ts');

const [victim4, victim6] = ['10.50.7.9', 'fd50:7::9'] as const;
/** `marks`: of the routes to the victims. `shares`: paths to 10.60.1.0/24 by next hop, and what they have. */
const birdText = (
  marks: string,
  shares: readonly (readonly [host: number, more: string])[],
): string => `router id 10.9.0.2;
log stderr all;
protocol device {}
protocol static v4 { ipv4; route 10.50.7.0/24 via 10.9.0.2; route ${victim4}/32 via 10.9.0.2 { ${marks} }; }
protocol static v6 { ipv6; route fd50:7::/64 via fd09::2; route ${victim6}/128 via fd09::2 { ${marks} }; }
${shares
  .map(
    ([host, more]) =>
      `protocol static s${host} { ipv4 { preference ${100 + host}; }; route 10.60.1.0/24 via 10.9.0.${host} { ${more} }; }\n`,
  )
  .join('')}
protocol direct { ipv4; ipv6; interface "e0"; }
protocol bgp p { local 10.9.0.2 as 64513; neighbor 10.9.0.1 as 64512; connect delay time 0;
  ipv4 { import all; export where source = RTS_STATIC; add paths on; };
  ipv6 { import all; export where source = RTS_STATIC; next hop address fd09::2; }; }
`;
const bandwidth = (float: string): string => `bgp_ext_community.add((generic, 0x0004fc01, 0x${float}));`;
const blackhole = 'bgp_community.add((65535, 666));';
/** 10, 25 and 40 Gbit/s as bytes in floats of four octets. */
const [ten, twentyFive, forty] = ['4e9502f9', '4f3a43b7', '4f9502f9'].map(bandwidth) as [string, string, string];

test(
  'RFC 7999 3.3, RFC 10005: BIRD says BLACKHOLE and bandwidths, the kernel drops and shares',
  wantsBird,
  async () => {
    await using link = new BgpLink();
    for (const host of [3, 4]) execFileSync('ip', ['-n', link.b, 'addr', 'add', `10.9.0.${host}/24`, 'dev', 'e0']);
    for (const address of [`${victim4}/32`, '10.50.7.8/32'])
      link.run(link.b, 'ip', 'addr', 'add', address, 'dev', 'lo');
    for (const address of [`${victim6}/128`, 'fd50:7::8/128'])
      link.run(link.b, 'ip', 'addr', 'add', address, 'dev', 'lo', 'nodad');
    const equal = [
      [3, ten],
      [4, ''],
    ] as const;
    const bird = await link.bird(birdText(blackhole, equal));
    const file = path.join(link.folder, 'speaker.yaml');
    const write = (more: string): void =>
      fs.writeFileSync(
        file,
        `asn: 64512\nrouterId: 10.9.0.1\nkernel: true\npeers:\n- address: 10.9.0.2\n  asn: 64513\n  families: [ipv4, ipv6]\n  nextHop6: "fd09::1"\n  import: accept\n  export: reject\n  addPath: { receive: true }\n${more}`,
      );
    write('  blackhole: true\n');
    const daemon = link.spawn(link.a, process.execPath, [
      ...[cli, 'speaker', '--config', file, '--socket', path.join(link.folder, 'speaker.sock')],
      ...['--state-dir', path.join(link.folder, 'state')],
    ]);
    const route = (prefix: string): string =>
      link.run(link.a, 'ip', prefix.includes(':') ? '-6' : '-4', 'route', 'show', prefix).trim();
    /** Whether the host refuses a connection, which it does when packets come to it. */
    const reaches = (address: string): boolean =>
      link.run(link.a, process.execPath, '-e', knock, address) === 'ECONNREFUSED';
    const drops = (): boolean => [victim4, victim6].every((address) => route(address).startsWith('blackhole'));
    await until(() => drops() && route('10.50.7.0/24') !== '' && route('fd50:7::/64') !== '', {
      what: 'blackholes in the kernel',
    });
    assert.match(route(victim4), /proto 155/);
    assert.deepEqual([victim4, '10.50.7.8', victim6, 'fd50:7::8'].map(reaches), [false, true, false, true]);

    /** Of the group that the route names: last octets of the gateways, with their weights. */
    const shares = (): string[] => {
      const objects = link.run(link.a, 'ip', 'nexthop', 'show');
      const nhid = /nhid (\d+)/.exec(route('10.60.1.0/24'))?.[1];
      const group = new RegExp(`^id ${nhid} group (\\S+)`, 'm').exec(objects)?.[1] ?? '';
      const way = (member: string): string => {
        const [id, weight = '1'] = member.split(',');
        return `${new RegExp(`^id ${id} via 10\\.9\\.0\\.(\\d)`, 'm').exec(objects)?.[1]}*${weight}`;
      };
      return group.split('/').map(way).sort();
    };
    await until(() => shares().join() === '3*1,4*1', { what: 'equal shares: one path says none' });
    for (const [third, fourth, expected] of [
      [ten, twentyFive, '3*2,4*5'],
      [forty, ten, '3*4,4*1'],
    ] as const) {
      bird.configure(
        birdText(blackhole, [
          [3, third],
          [4, fourth],
        ]),
      );
      await until(() => shares().join() === expected, { what: `shares ${expected}` });
    }

    // Without it they are routes again.
    bird.configure(birdText('', equal));
    await until(() => !drops() && reaches(victim4) && reaches(victim6), { what: 'packets to pass again' });
    bird.configure(birdText(blackhole, equal));
    await until(drops, { what: 'blackholes again' });
    // The setting is live, either way.
    write('');
    daemon.kill('SIGHUP');
    await until(() => reaches(victim4) && reaches(victim6), { what: 'BLACKHOLE to be a community as any other' });
    assert.ok(bird.established('p'));
  },
);

test('RFC 10005: bandwidths of FRR are read, and those that a filter sets are read by FRR', wantsFrr, async () => {
  await using link = new BgpLink();
  const frr = await startFrr(
    link,
    frrConfig({
      family4: 'neighbor 10.9.0.1 route-map speed out',
      more: 'route-map speed permit 1\n set extcommunity bandwidth 1000\nexit\n',
    }),
  );
  const add = { type: 'addCommunity', value: 'bandwidth:64512:1250000000' } as const;
  const exportFilter = { ipv4: [{ action: 'accept' as const, changes: [add] }], ipv6: [] };
  const speaker = await link.speaker(linkConfig({}, { exportFilter }));
  await speaker.established('bird');
  await until(() => speaker.routes.size === 2, { what: 'the routes of FRR' });
  const answer = (await speaker.query({ prefix: '10.60.1.0/24' })) as RouteAnswer;
  // 1000 Mbit/s are 1.25e8 bytes.
  assert.match(answer.routes[0]!.paths[0]!.attributes.extendedCommunities!.join(), /^[04]004fc014cee6b28$/);
  await until(() => /LB:64512:1250000000 \(10\.000 Gbps\)/.test(frr.vtysh('show bgp ipv4 unicast 10.50.1.0/24')), {
    what: () => `10 Gbit/s at FRR; ${frr.vtysh('show bgp ipv4 unicast 10.50.1.0/24')}`,
  });
});
