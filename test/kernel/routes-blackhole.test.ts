import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { LearnedRoute } from '#model';
import { deleteRoute } from '#sys';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { routers4, routers6 } from './learned-routes.ts';
import { flush, ip, net, RouteWorld } from './route-world.ts';

const hops4 = routers4.map(ip);
const hops6 = routers6.map(ip);

describe('learned routes that drop, weights, and marks', needs({ root: true }), () => {
  let world: RouteWorld;
  beforeEach(async () => {
    world = await new RouteWorld().ready();
  });
  afterEach(() => world.close());

  const discard = (prefix: string): LearnedRoute => ({ prefix: net(prefix), nextHops: [], blackhole: true });
  /** Prefixes of ours that the kernel drops packets to. */
  const dropped = () =>
    ([4, 6] as const).flatMap((f) => world.ours(f)).flatMap((r) => (r.type === 'blackhole' ? r.prefix : []));

  test('RFC 7999 3.3: a blackhole drops inside a prefix that is forwarded, both families; a restart adopts it, a withdrawal ends it', async () => {
    const routes = world.dataplane();
    await routes.start();
    const upsert = [
      { prefix: net('0.0.0.0/0'), nextHops: hops4 },
      { prefix: net('::/0'), nextHops: hops6 },
      discard('10.0.0.9/32'),
      discard('fd00::9/128'),
    ];
    routes.setLearned({ upsert, withdraw: [] });
    await routes.whenApplied();
    assert.deepEqual(dropped(), ['10.0.0.9/32', 'fd00::9/128']);
    assert.equal(routes.lookup(ip('10.0.0.9')), undefined);
    assert.equal(routes.lookup(ip('fd00::9')), undefined);
    assert.ok(routes.lookup(ip('10.0.0.8')));
    const { state, via, blackhole } = routes.status().routes.find(({ prefix }) => prefix === '10.0.0.9/32')!;
    assert.deepEqual([state, via, blackhole], ['installed', [], true]);
    await routes.stop();

    const second = world.dataplane();
    await second.start();
    assert.deepEqual(second.hadEarlierRoutes, { 4: true, 6: true });
    second.setLearned({ upsert: upsert.toReversed(), withdraw: [] });
    second.release();
    await second.whenApplied();
    assert.equal(second.writes, 0);
    assert.deepEqual(dropped(), ['10.0.0.9/32', 'fd00::9/128']);
    second.setLearned({ upsert: [{ prefix: net('fd00::9/128'), nextHops: hops6 }], withdraw: [net('10.0.0.9/32')] });
    await second.whenApplied();
    assert.deepEqual(dropped(), []);
    assert.ok(second.lookup(ip('10.0.0.9')) && second.lookup(ip('fd00::9')));
  });

  test('RFC 10005: weights of next hops are those of the group, changed without touching the route', async () => {
    const routes = world.dataplane();
    await routes.start();
    const weights = (): number[] => world.ourNexthops().flatMap(({ group }) => group.map(({ weight }) => weight));
    const say = async (given?: readonly number[]): Promise<void> => {
      const route = { prefix: net('10.5.0.0/16'), nextHops: hops4, ...(given ? { weights: given } : {}) };
      routes.setLearned({ upsert: [route], withdraw: [] });
      await routes.whenApplied();
    };
    await say([1, 4]);
    const [single] = world.ourNexthops().filter(({ gateway }) => gateway === hops4[1]);
    const [group] = world.ourNexthops().filter((object) => object.group.length > 0);
    assert.equal(group?.group.find(({ id }) => id === single?.id)?.weight, 4);
    assert.deepEqual(weights().sort(), [1, 4]);
    await say([256, 1]);
    assert.deepEqual(weights().sort(), [1, 256]);
    await say();
    assert.deepEqual(weights(), [1, 1]);
    const [status] = routes.status().routes;
    assert.equal(status?.state, 'installed');
  });

  test('RFC 4724 4.1: a run that learned nothing is known to the next one; routes that somebody cleared meanwhile are not', async () => {
    const marked = { marksRun: true };
    const first = world.dataplane(marked);
    await first.start();
    assert.deepEqual(first.hadEarlierRoutes, { 4: false, 6: false }, 'the first run of this kernel');
    await first.whenApplied();
    await first.stop();

    const second = world.dataplane(marked);
    await second.start();
    assert.deepEqual(second.hadEarlierRoutes, { 4: true, 6: true });
    assert.deepEqual(second.status().held, { 4: false, 6: false }, 'there is nothing to hold');
    second.setLearned({ upsert: [{ prefix: net('10.5.0.0/16'), nextHops: hops4 }], withdraw: [] });
    await second.whenApplied();
    await second.stop();
    const kernel = world.node.netlink;
    const [route] = world.ours();
    deleteRoute(kernel, { prefix: route!.prefix, protocol: 155, metric: route!.metric });
    flush(kernel);

    const third = world.dataplane(marked);
    await third.start();
    assert.deepEqual(third.hadEarlierRoutes, { 4: false, 6: true }, 'IPv4 routes were there, and are not any more');
    await third.whenApplied();
    assert.deepEqual(
      world
        .ourNexthops()
        .map(({ id }) => id)
        .sort(),
      [155_999_998, 155_999_999],
    );
    await third.stop();
    const without = world.dataplane();
    await without.start();
    assert.deepEqual(without.hadEarlierRoutes, { 4: false, 6: false });
    await until(() => world.ourNexthops().length === 0, { what: 'marks that nobody wants to be swept' });
  });
});
