import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LinkDown } from '#felix';
import { toCidr } from '#kit';
import { addAddress, addRoute, deleteAddress, deleteRoute } from '#sys';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { both, both6, countsOf, learn, routers4, routers6 } from './learned-routes.ts';
import { flush, ip, net, RouteWorld } from './route-world.ts';
import { UdpStream } from './udp-stream.ts';

describe('routes in the kernel', needs({ root: true }), () => {
  let world: RouteWorld;
  beforeEach(async () => {
    world = await new RouteWorld().ready();
  });
  afterEach(() => world.close());

  test('next hops in other subnets resolve through the learned default route, both families, both uplinks', async () => {
    const routes = world.dataplane();
    await routes.start();
    assert.deepEqual(routes.hadEarlierRoutes, { 4: false, 6: false });
    routes.setLearned(
      learn({
        '0.0.0.0/0': routers4,
        '::/0': routers6,
        '10.0.0.2/32': ['10.0.0.2'],
        '10.244.2.0/24': ['10.0.0.2'],
        'fd00:244:2::/64': ['fd00::2'],
        '10.244.3.0/24': ['172.16.1.77'],
        '192.0.2.0/24': ['fe80::1'],
      }),
    );
    await routes.whenApplied();
    for (const prefix of ['0.0.0.0/0', '10.0.0.2/32', '10.244.2.0/24']) assert.deepEqual(world.gateways(prefix), both);
    for (const prefix of ['::/0', 'fd00:244:2::/64']) assert.deepEqual(world.gateways(prefix), both6);
    assert.deepEqual(world.gateways('10.244.3.0/24'), ['172.16.1.77 up0']);
    await until(() => routes.status().inSync, { what: 'everything in sync' });
    const { routes: shown } = routes.status();
    assert.deepEqual(
      shown.find((route) => route.prefix === '10.244.2.0/24'),
      {
        prefix: '10.244.2.0/24',
        nextHops: ['10.0.0.2'],
        via: [
          { gateway: '172.16.1.1', device: 'up0' },
          { gateway: '172.16.2.1', device: 'up1' },
        ],
        nexthopGroup: world.ours().find((route) => route.prefix === '10.244.2.0/24')?.nexthopId,
        state: 'installed',
      },
    );
    assert.equal(shown.find((route) => route.prefix === '192.0.2.0/24')?.state, 'unresolved');
    assert.deepEqual(routes.counts(), countsOf(shown));
    assert.equal(world.sysctls.read('net/ipv4/nexthop_compat_mode'), '0');
    assert.equal(world.sysctls.read('net/ipv4/fib_multipath_hash_policy'), '1');

    routes.setLearned(learn({}, ['0.0.0.0/0', '::/0']));
    await routes.whenApplied();
    assert.deepEqual(
      world.ours().map((route) => route.prefix),
      ['10.244.3.0/24'],
      'what resolved through the default route went with it',
    );
  });

  test('a default route of the node itself is neither replaced nor preferred less', async () => {
    addRoute(world.node.netlink, { prefix: net('0.0.0.0/0'), protocol: 4, gateway: ip('172.16.1.1') }, 'exclusive');
    flush(world.node.netlink);
    const routes = world.dataplane();
    await routes.start();
    routes.setLearned(learn({ '0.0.0.0/0': routers4, '10.244.2.0/24': ['10.0.0.2'] }));
    await routes.whenApplied();
    assert.deepEqual(world.gateways('10.244.2.0/24'), ['172.16.1.1 up0']);
    assert.equal(routes.lookup(ip('10.99.0.1'))?.device, 'up0');

    deleteRoute(world.node.netlink, { prefix: net('0.0.0.0/0'), protocol: 4 });
    flush(world.node.netlink);
    await until(() => world.gateways('10.244.2.0/24').length === 2, { what: 'the learned default route to take over' });
  });

  test('a route that somebody else put there with our metric stays, is reported, and is followed by ours when it goes', async () => {
    const foreign = { prefix: net('10.244.2.0/24'), protocol: 4, metric: 2048 } as const;
    addRoute(world.node.netlink, { ...foreign, gateway: ip('172.16.1.1') }, 'exclusive');
    flush(world.node.netlink);
    const routes = world.dataplane();
    await routes.start();
    routes.setLearned(learn({ '10.244.2.0/24': routers4, '10.244.3.0/24': routers4 }));
    await routes.whenApplied();
    const shown = () => routes.status().routes.map(({ prefix, state, reason }) => ({ prefix, state, reason }));
    assert.deepEqual(shown(), [
      { prefix: '10.244.2.0/24', state: 'refused', reason: 'EEXIST' },
      { prefix: '10.244.3.0/24', state: 'installed', reason: undefined },
    ]);
    assert.deepEqual(
      world.ours().map((route) => route.prefix),
      ['10.244.3.0/24'],
    );
    assert.deepEqual(routes.counts(), countsOf(routes.status().routes));
    const each = routes.status().routes;
    assert.deepEqual(
      each.map(({ prefix }) => routes.route(prefix)),
      each,
    );
    assert.equal(routes.route(toCidr('10.244.4.0/24')!), undefined);
    deleteRoute(world.node.netlink, foreign);
    flush(world.node.netlink);
    await until(() => world.gateways('10.244.2.0/24').length === 2, { what: 'our route in the free place' });
  });

  test('ECMP uses both uplinks, and a lost one costs at most 200 ms of a stream', async () => {
    const routes = world.dataplane();
    await routes.start();
    const downs: LinkDown[] = [];
    routes.onLinkDown((down) => downs.push(down));
    routes.setLearned(learn({ '10.0.0.9/32': routers4 }));
    await routes.whenApplied();
    const before = world.sentBytes();
    const stream = new UdpStream(world, 32);
    try {
      await until(() => stream.received > 2_000, { what: 'a first part of the stream' });
      const after = world.sentBytes();
      for (const k of [0, 1]) assert.ok(after[k]! - before[k]! > 20_000, `up${k} sent ${after[k]! - before[k]!} bytes`);
      assert.equal(await stream.lost(), 0);

      world.setLink(world.routers[0], 'r0', false);
      await until(() => downs.length > 0, { what: 'the lost link to be told' });
      await until(() => world.gateways('10.0.0.9/32').join() === both[1], { what: 'the remaining path alone' });
      const mark = stream.received;
      await until(() => stream.received > mark + 1_000, { what: 'the stream to go on' });
      const lostMs = ((await stream.lost()) / stream.flows) * UdpStream.intervalMs;
      assert.ok(lostMs <= 200, `${lostMs} ms of the stream lost`);
      assert.deepEqual(
        downs.map((down) => [down.device, down.addresses.find((a) => a.family === 4)?.subnet]),
        [['up0', '172.16.1.0/24']],
      );

      world.setLink(world.routers[0], 'r0', true);
      await until(() => world.gateways('10.0.0.9/32').length === 2, { what: 'the first path to be back' });
      const [again] = world.sentBytes();
      await until(() => world.sentBytes()[0]! > again! + 10_000, { what: 'traffic on the first uplink' });
    } finally {
      stream.stop();
    }
  });

  test('losing both uplinks takes every route, and their return brings them back', async () => {
    const routes = world.dataplane();
    await routes.start();
    routes.setLearned(learn({ '0.0.0.0/0': routers4, '10.244.2.0/24': ['10.0.0.2'], 'fd00:244::/64': routers6 }));
    await routes.whenApplied();
    for (const name of ['up0', 'up1']) world.setLink(world.node, name, false);
    await until(() => routes.status().routes.every((route) => route.state === 'unresolved'), {
      what: 'nothing to resolve',
    });
    assert.deepEqual([...world.ours(4), ...world.ours(6)], []);
    assert.deepEqual(world.ourNexthops(), []);
    for (const name of ['up0', 'up1']) world.setLink(world.node, name, true);
    await until(() => world.gateways('10.244.2.0/24').length === 2, { what: 'the IPv4 route' });
    await until(() => world.gateways('fd00:244::/64').length === 2, { what: 'the IPv6 route' });
    await until(() => routes.status().inSync, { what: 'everything in sync' });
  });

  test('a peer that is gone is one message for all routes that keep another next hop', async () => {
    const routes = world.dataplane();
    await routes.start();
    const many = Array.from({ length: 1_000 }, (_, i) => `10.${100 + (i >> 8)}.${i & 255}.0/24`);
    routes.setLearned(learn({ '10.0.0.2/32': routers4, ...Object.fromEntries(many.map((p) => [p, ['10.0.0.2']])) }));
    await routes.whenApplied();
    const writes = routes.writes;
    const seen = world.monitor();
    routes.setLearned(learn({ '10.0.0.2/32': [routers4[1]!] }));
    await routes.whenApplied();
    assert.deepEqual(world.gateways(many[999]!), [both[1]]);
    // The group behind the thousand; group, route and removal of the one that changed; the unused single.
    assert.ok(routes.writes - writes <= 6, `${routes.writes - writes} writes`);
    await sleep(0);
    assert.ok(seen.length <= 8, `${seen.length} messages to monitors`);
  });

  test('a blackhole never takes the place of a connected subnet', async () => {
    const routes = world.dataplane();
    await routes.start();
    routes.setNodeCidrs([net('172.16.1.0/24')]);
    await routes.whenApplied();
    assert.equal(world.ours().filter((route) => route.type === 'blackhole').length, 1);
    assert.equal(routes.lookup(ip('172.16.1.1'))?.device, 'up0');
    routes.setNodeCidrs([]);
    await routes.whenApplied();
    assert.deepEqual(world.ours(), []);
  });

  test('a node that lives on router advertisements keeps listening to them', async () => {
    const key = 'net/ipv6/conf/up0/accept_ra';
    addRoute(world.node.netlink, { prefix: net('::/0'), protocol: 9, gateway: ip('fd16:1::1') }, 'exclusive');
    flush(world.node.netlink);
    assert.equal(world.sysctls.read(key), '1');
    await world.dataplane().start();
    assert.equal(world.sysctls.read(key), '2');
    assert.equal(world.sysctls.read('net/ipv6/conf/up1/accept_ra'), '1');
    assert.equal(world.sysctls.read('net/ipv6/conf/all/forwarding'), '1');
  });

  test('the preferred source address is used as long as the node has it', async () => {
    const own = { ifIndex: 1, address: '10.0.0.1', prefixLength: 32 };
    addAddress(world.node.netlink, own);
    flush(world.node.netlink);
    const routes = world.dataplane({ preferredSource: { 4: ip('10.0.0.1'), 6: ip('fd00::1') } });
    await routes.start();
    routes.setLearned(learn({ '10.244.2.0/24': routers4, 'fd00:244:2::/64': routers6 }));
    await routes.whenApplied();
    assert.equal(routes.lookup(ip('10.244.2.2'))?.localAddress, '10.0.0.1');
    assert.deepEqual(world.gateways('fd00:244:2::/64'), both6);
    deleteAddress(world.node.netlink, own);
    flush(world.node.netlink);
    await until(() => routes.lookup(ip('10.244.2.2'))?.localAddress?.startsWith('172.16.'), {
      what: 'the route without its source address',
    });
  });

  test('20,000 routes: in, adopted, moved by two messages, out with their group', async () => {
    const prefixes = Array.from({ length: 20_000 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`);
    const said = learn(Object.fromEntries(prefixes.map((prefix) => [prefix, routers4])));
    const routes = world.dataplane();
    await routes.start();
    routes.setLearned(said);
    await routes.whenApplied();
    assert.equal(world.ours().length, 20_000);
    await routes.stop();

    const second = world.dataplane();
    await second.start();
    second.setLearned(said);
    second.release();
    await second.whenApplied();
    assert.equal(second.writes, 0);
    world.setLink(world.routers[0], 'r0', false);
    await until(() => second.status().routes[0]?.via.length === 1, { what: 'the lost link to be noticed' });
    await second.whenApplied();
    assert.ok(second.writes <= 3, `${second.writes} writes for a lost link`);
    assert.equal(world.ours().length, 20_000);
    const writes = second.writes;
    second.setLearned({ upsert: [], withdraw: said.upsert.map((route) => route.prefix) });
    await second.whenApplied();
    assert.deepEqual(world.ours(), []);
    assert.ok(second.writes - writes <= 4, `${second.writes - writes} writes for 20,000 withdrawals`);
  });
});
