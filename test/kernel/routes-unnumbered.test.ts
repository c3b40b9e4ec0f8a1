/** IPv4 between two routers that have no IPv4 address on their link: FRR and our speaker by router advertisements, our routes by the dataplane. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRouteDataplane } from '#felix';
import { silentLogger, systemClock } from '#kit';
import { dumpNexthops, inNetns, Netlink, openNetns, openRouteKernel } from '#sys';
import { startFrr } from '../support/bgp-frr.ts';
import { frrUnnumbered, unnumberedConfig, unnumberedLink } from '../support/bgp-unnumbered.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { memoryFile, netnsSysctls } from './route-world.ts';

const wants = needs({
  root: true,
  commands: ['ip', 'unshare', 'nsenter'],
  provided: ['zebra', 'bgpd', 'vtysh'],
});

const server = "require('node:net').createServer((socket) => socket.end('hello')).listen(7000, '10.60.1.1')";
const client = `const socket = require('node:net').connect({ host: '10.60.1.1', port: 7000, localAddress: '10.50.1.1' });
socket.on('error', () => socket.destroy()); socket.pipe(process.stdout)`;

test('RFC 8950: packets go by `via inet6 fe80::... dev e0`, and the route goes with the link', wants, async () => {
  await using link = unnumberedLink();
  link.run(link.a, 'ip', 'addr', 'add', '10.50.1.1/32', 'dev', 'lo');
  link.run(link.b, 'ip', 'addr', 'add', '10.60.1.1/32', 'dev', 'lo');
  using netns = openNetns(`/run/netns/${link.a}`);
  const kernel = inNetns(netns, () => openRouteKernel());
  const netlink = inNetns(netns, () => new Netlink());
  const dataplane = createRouteDataplane({
    kernel: { ...kernel, watch: (handlers) => inNetns(netns, () => kernel.watch(handlers)) },
    sysctls: netnsSysctls(netns),
    sysctlState: memoryFile(),
    clock: systemClock(),
    log: silentLogger,
  });
  try {
    await dataplane.start();
    const frr = await startFrr(link, frrUnnumbered());
    const speaker = await link.speaker(unnumberedConfig());
    speaker.onRoute = (change) => {
      if (change.type === 'upsert') dataplane.setLearned({ upsert: [change], withdraw: [] });
      else if (change.type === 'withdraw') dataplane.setLearned({ upsert: [], withdraw: [change.prefix] });
    };
    const { address } = await speaker.established('tor');
    const gateway = address.split('%')[0]!;
    await until(() => dataplane.counts().installed.ipv4 === 1 && dataplane.counts().installed.ipv6 === 1, {
      what: 'both routes in the kernel',
    });
    assert.ok(dumpNexthops(netlink, { protocol: 155 }).some((hop) => hop.family === 6 && hop.gateway === gateway));
    assert.match(link.run(link.a, 'ip', 'route', 'get', '10.60.1.1'), new RegExp(`via inet6 ${gateway} dev e0`));
    await until(() => frr.vtysh('show ip route bgp').includes('10.50.1.0/24'), { what: 'our route at FRR' });
    link.spawn(link.b, process.execPath, ['-e', server]);
    await until(() => link.run(link.a, process.execPath, '-e', client) === 'hello', {
      what: 'an answer from behind FRR',
    });

    link.run(link.b, 'ip', 'link', 'set', 'e0', 'down');
    await until(() => speaker.routes.size === 0, { what: 'the end of the session, long before the hold time' });
    await until(() => dataplane.counts().installed.ipv4 === 0, { what: 'the end of the route' });
    link.run(link.b, 'ip', 'link', 'set', 'e0', 'up');
    await speaker.established('tor');
    await until(() => dataplane.counts().installed.ipv4 === 1, { what: 'the route again' });
  } finally {
    await dataplane.stop();
    netlink.close();
    kernel.close();
  }
});
