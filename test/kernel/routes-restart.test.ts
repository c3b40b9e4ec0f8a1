/** What an agent finds at its start, mends while it runs, and takes along at its end. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { cleanupRoutes } from '#felix';
import { silentLogger } from '#kit';
import { addVeth, changeLink, deleteNexthop, deleteRoute, inNetns, linkByName, openRouteKernel } from '#sys';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { both, countsOf, learn, routers4, routers6 } from './learned-routes.ts';
import { flush, ip, net, RouteWorld } from './route-world.ts';

describe('routes from start to end', needs({ root: true }), () => {
  let world: RouteWorld;
  beforeEach(async () => {
    world = await new RouteWorld().ready();
  });
  afterEach(() => world.close());

  test('a restart adopts everything without one write; release sweeps what BGP no longer says', async () => {
    const said = learn({
      '0.0.0.0/0': routers4,
      '::/0': routers6,
      '10.244.2.0/24': ['10.0.0.2'],
      '10.244.3.0/24': ['10.0.0.3'],
      'fd00:244:2::/64': ['fd00::2'],
    });
    const first = world.dataplane();
    await first.start();
    first.setNodeCidrs([net('10.244.1.0/24'), net('fd00:244:1::/64')]);
    first.setLearned(said);
    await first.whenApplied();
    await first.stop();
    const snapshot = world.snapshot();

    const seen = world.monitor();
    const second = world.dataplane();
    await second.start();
    assert.deepEqual(second.hadEarlierRoutes, { 4: true, 6: true });
    second.setNodeCidrs([net('10.244.1.0/24'), net('fd00:244:1::/64')]);
    second.setLearned({ upsert: said.upsert.slice(1), withdraw: [] });
    await second.whenApplied();
    assert.equal(second.status().routes[0]?.state, 'held');
    assert.deepEqual(second.counts(), countsOf(second.status().routes));
    second.setLearned({ upsert: said.upsert.slice(0, 1), withdraw: [] });
    second.release();
    await second.whenApplied();
    assert.deepEqual(world.snapshot(), snapshot);
    assert.equal(second.writes, 0);
    assert.deepEqual(seen, []);
    assert.ok(second.status().inSync);
    await second.stop();

    const third = world.dataplane();
    await third.start();
    third.setLearned(learn({ '0.0.0.0/0': routers4, '10.244.2.0/24': ['10.0.0.2'] }));
    await third.whenApplied();
    assert.deepEqual(world.snapshot(), snapshot, 'held: nothing is touched');
    third.release(4);
    await third.whenApplied();
    const unicast = (family: 4 | 6) =>
      world
        .ours(family)
        .filter((route) => route.type === 'unicast')
        .map((route) => route.prefix)
        .sort();
    assert.deepEqual(unicast(4), ['0.0.0.0/0', '10.244.2.0/24']);
    assert.deepEqual(unicast(6), ['::/0', 'fd00:244:2::/64'], 'the other family is still held');
    third.release(6);
    await third.whenApplied();
    assert.deepEqual(unicast(6), []);
    assert.deepEqual(
      world.ourNexthops().filter((n) => n.gateway?.includes(':')),
      [],
    );
    assert.equal(
      world.ours().filter((route) => route.type === 'blackhole').length,
      1,
      'not swept: CIDRs are not known',
    );
  });

  test('a blackhole or a pod route of an earlier run counts as forwarding, by family, and is not held', async () => {
    const { netlink } = world.node;
    addVeth(netlink, { name: 'pop12345678901', peerName: 'eth0', peerNetns: world.far.netns.number });
    changeLink(netlink, { byName: 'pop12345678901', up: true });
    flush(netlink);
    const next = async (expected: Readonly<Record<4 | 6, boolean>>) => {
      const routes = world.dataplane();
      await routes.start();
      assert.deepEqual(routes.hadEarlierRoutes, expected);
      assert.deepEqual(routes.status().held, { 4: false, 6: false });
      return routes;
    };
    const first = await next({ 4: false, 6: false });
    first.setNodeCidrs([net('fd00:244:1::/64')]);
    await first.whenApplied();
    await first.stop();
    const second = await next({ 4: false, 6: true });
    second.setNodeCidrs([]);
    second.setEndpoints([{ id: 'default/a', interfaceName: 'pop12345678901', addresses: [ip('10.244.1.5')] }]);
    await second.whenApplied();
    await second.stop();
    const third = await next({ 4: true, 6: false });
    await third.stop();
  });

  test('drift is repaired: a route, a next hop, a blackhole and a pod route that somebody deleted', async () => {
    addVeth(world.node.netlink, { name: 'pop12345678901', peerName: 'eth0', peerNetns: world.far.netns.number });
    changeLink(world.node.netlink, { byName: 'pop12345678901', up: true });
    flush(world.node.netlink);
    const routes = world.dataplane();
    await routes.start();
    routes.setNodeCidrs([net('10.244.1.0/24')]);
    routes.setLearned(learn({ '10.244.2.0/24': routers4, '10.244.3.0/24': routers4 }));
    routes.setEndpoints([
      { id: 'default/a', interfaceName: 'pop12345678901', addresses: [ip('10.244.1.5'), ip('fd00:244:1::5')] },
      { id: 'default/b', interfaceName: 'pop00000000000', addresses: [ip('10.244.1.6')] },
    ]);
    await routes.whenApplied();
    const there = () => [...world.ours(4), ...world.ours(6)].map((r) => `${r.prefix} ${r.type}`).sort();
    const all = [
      '10.244.1.0/24 blackhole',
      '10.244.1.5/32 unicast',
      '10.244.2.0/24 unicast',
      '10.244.3.0/24 unicast',
      'fd00:244:1::5/128 unicast',
    ];
    assert.deepEqual(there(), all);
    assert.deepEqual(routes.status().missingEndpoints, ['10.244.1.6/32']);
    const { netlink } = world.node;
    const destroy: Readonly<Record<string, () => void>> = {
      'pod route': () => void deleteRoute(netlink, { prefix: net('10.244.1.5/32'), protocol: 155 }),
      'IPv6 pod route': () => void deleteRoute(netlink, { prefix: net('fd00:244:1::5/128'), protocol: 155 }),
      'learned route': () => void deleteRoute(netlink, { prefix: net('10.244.2.0/24'), protocol: 155, metric: 2048 }),
      blackhole: () =>
        void deleteRoute(netlink, {
          prefix: net('10.244.1.0/24'),
          protocol: 155,
          type: 'blackhole',
          metric: 0xffffffff,
        }),
      'next-hop group': () => void deleteNexthop(netlink, world.ourNexthops().find((n) => n.group.length > 0)!.id),
      'next hop': () => void deleteNexthop(netlink, world.ourNexthops().find((n) => n.gateway === routers4[0])!.id),
    };
    for (const [what, run] of Object.entries(destroy)) {
      run();
      flush(netlink);
      await until(() => there().join() === all.join() && world.gateways('10.244.2.0/24').length === 2, {
        what: `${what} to be repaired`,
      });
    }
    assert.deepEqual(world.gateways('10.244.3.0/24'), both);
    assert.ok(!there().includes('10.244.1.6/32 unicast'));
    assert.ok(routes.counts().repairs >= 1, 'the learned route that went is counted');
  });

  test('cleanup leaves links, routes, rules, next hops and settings as they were before the first start', async () => {
    for (const name of ['up0', 'up1']) world.sysctls.write(`net/ipv4/conf/${name}/rp_filter`, '1');
    const before = world.snapshot();
    const routes = world.dataplane();
    await routes.start();
    routes.setNodeCidrs([net('10.244.1.0/24'), net('fd00:244:1::/64')]);
    routes.setLearned(learn({ '0.0.0.0/0': routers4, '10.244.2.0/24': ['10.0.0.2'], '::/0': routers6 }));
    addVeth(world.node.netlink, { name: 'popabcdefabcde', peerName: 'eth0', peerNetns: world.far.netns.number });
    flush(world.node.netlink);
    await routes.whenApplied();
    assert.equal(world.sysctls.read('net/ipv4/conf/up0/rp_filter'), '2');
    assert.equal(world.sysctls.read('net/ipv4/ip_forward'), '1');
    assert.notDeepEqual(world.snapshot(), before);
    await routes.stop();

    const kernel = inNetns(world.node.netns, () => openRouteKernel());
    const report = await cleanupRoutes({
      kernel,
      sysctls: world.sysctls,
      sysctlState: world.state,
      log: silentLogger,
    });
    kernel.close();
    assert.deepEqual(report.failures, []);
    assert.equal(report.links, 1);
    assert.deepEqual(world.snapshot(), before);
    assert.equal(linkByName(world.node.netlink, 'popabcdefabcde'), undefined);
    assert.equal(world.state.text, undefined);
  });
});
