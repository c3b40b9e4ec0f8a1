import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Cidr, familyOf, type IpAddress } from '#kit';
import type { LearnedRoute } from '#model';
import type { KernelNexthop, KernelRoute, RouteKernel, RouteWrite, WriteFailure } from '../drivers/route-ports.ts';
import { LearnedRouteTable } from '../drivers/routes.ts';
import { NextHopResolver } from './next-hop-resolver.ts';
import { LearnedRoutes } from './routes-learned.ts';

const PROTOCOL = 155;
const ip = (text: string): IpAddress => text as IpAddress;
const net = (text: string): Cidr => text as Cidr;

/** The kernel's rules for next-hop objects and the routes that use them, with nexthop_compat_mode=0. */
class FakeKernel {
  readonly nexthops = new Map<number, KernelNexthop>();
  readonly routes = new Map<Cidr, number>();
  readonly up = new Set<number>();
  /** Messages that are refused for no reason: one bit each, in order. */
  refuse: boolean[] = [];
  writes = 0;

  write(batch: readonly RouteWrite[]): WriteFailure[] {
    const failures: WriteFailure[] = [];
    for (const [index, message] of batch.entries()) {
      this.writes++;
      const code = this.refuse.shift() ? 'ENOBUFS' : this.#one(message);
      if (code) failures.push({ index, code, text: '' });
    }
    return failures;
  }
  setLink(ifIndex: number, up: boolean): void {
    if (up) this.up.add(ifIndex);
    else this.up.delete(ifIndex);
    if (!up) for (const n of [...this.nexthops.values()]) if (n.ifIndex === ifIndex) this.#remove(n.id);
  }
  dump(): { nexthops: KernelNexthop[]; routes: KernelRoute[] } {
    const routes = [...this.routes].map(([prefix, nexthopId]) => ({
      family: familyOf(prefix),
      prefix,
      table: 254,
      protocol: PROTOCOL,
      scope: 0,
      type: 'unicast',
      metric: 2048,
      nexthopId,
      nextHops: [],
    }));
    return { nexthops: [...this.nexthops.values()], routes };
  }
  /** prefix -> `gateway%device` with ` *weight`, sorted. */
  forwarding(): Record<string, string[]> {
    const found: Record<string, string[]> = {};
    for (const [prefix, id] of this.routes) {
      const members = this.nexthops.get(id)!.group.map((m) => this.nexthops.get(m.id)!);
      const weights = this.nexthops.get(id)!.group.map((m) => (m.weight === 1 ? '' : ` *${m.weight}`));
      const way = (m: KernelNexthop): string => (m.blackhole ? 'blackhole' : `${m.gateway}%${m.ifIndex}`);
      found[prefix] = members.map((m, i) => `${way(m)}${weights[i]}`).sort();
    }
    return found;
  }

  #one(message: RouteWrite): string | undefined {
    switch (message.op) {
      case 'nexthop': {
        const { nexthop } = message;
        if ('group' in nexthop) {
          if (nexthop.group.some((m) => !this.nexthops.has(m.id))) return 'EINVAL';
          const { id, protocol, group } = nexthop;
          this.nexthops.set(id, { id, protocol, family: 0, ifIndex: 0, onlink: false, blackhole: false, group });
          return undefined;
        }
        const { id, protocol, family } = nexthop;
        const single = { id, protocol, family, onlink: false, group: [] };
        if ('blackhole' in nexthop) {
          this.nexthops.set(id, { ...single, ifIndex: 0, blackhole: true });
          return undefined;
        }
        const { ifIndex, gateway } = nexthop;
        if (!this.up.has(ifIndex)) return 'ENETDOWN';
        this.nexthops.set(id, { ...single, ifIndex, gateway: gateway!, blackhole: false });
        return undefined;
      }
      case 'nexthopDelete':
        if (!this.nexthops.has(message.id)) return 'ENOENT';
        this.#remove(message.id);
        return undefined;
      case 'route': {
        const { prefix, nexthopId } = message.route;
        if (message.mode === 'exclusive' && this.routes.has(prefix)) return 'EEXIST';
        if (!this.nexthops.get(nexthopId!)?.group.length) return 'EINVAL';
        this.routes.set(prefix, nexthopId!);
        return undefined;
      }
      case 'routeDelete':
        return this.routes.delete(message.route.prefix) ? undefined : 'ESRCH';
      case 'linkDelete':
        return 'EOPNOTSUPP';
    }
  }
  #remove(id: number): void {
    this.nexthops.delete(id);
    for (const n of [...this.nexthops.values()]) {
      if (!n.group.some((m) => m.id === id)) continue;
      const group = n.group.filter((m) => m.id !== id);
      if (group.length === 0) this.#remove(n.id);
      else this.nexthops.set(n.id, { ...n, group });
    }
    for (const [prefix, group] of this.routes) if (group === id) this.routes.delete(prefix);
  }
}

function makeSide(kernel: FakeKernel) {
  const resolver = new NextHopResolver({ learnedMetric: 2048 });
  for (const k of [1, 2, 3]) {
    const nextHops = [{ ifIndex: k, onlink: false }];
    resolver.setForeign({ prefix: net(`172.16.${k}.0/24`), metric: 0, unicast: true, nextHops });
    resolver.setLinkUsable(k, kernel.up.has(k));
  }
  const table = new LearnedRouteTable({ protocol: PROTOCOL, metric: 2048, preferredSource: () => undefined });
  const port = {
    write: (b: readonly RouteWrite[]) => kernel.write(b),
    writeAsync: async (b: readonly RouteWrite[]) => kernel.write(b),
  };
  const learned = new LearnedRoutes(resolver, table);
  return { resolver, table, learned, apply: () => table.apply(port as unknown as RouteKernel, async () => undefined) };
}

const prefix = fc.constantFrom('0.0.0.0/0', '10.0.0.2/32', '10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16').map(net);
const nextHops = fc
  .uniqueArray(fc.constantFrom('172.16.1.1', '172.16.2.1', '172.16.3.1', '10.0.0.2', '192.0.2.1'), {
    minLength: 1,
    maxLength: 3,
  })
  .map((list) => list.sort().map(ip));
const ways: fc.Arbitrary<Omit<LearnedRoute, 'prefix'>> = fc.oneof(
  { weight: 4, arbitrary: nextHops.map((list) => ({ nextHops: list })) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(nextHops, fc.array(fc.integer({ min: 1, max: 256 }), { minLength: 3, maxLength: 3 }))
      .map(([list, weights]) => ({ nextHops: list, weights: weights.slice(0, list.length) })),
  },
  { weight: 1, arbitrary: fc.constant({ nextHops: [], blackhole: true as const }) },
);
const step = fc.oneof(
  fc.record({ op: fc.constant('learn' as const), prefix, way: ways }),
  fc.record({ op: fc.constant('withdraw' as const), prefix }),
  fc.record({
    op: fc.constant('link' as const),
    ifIndex: fc.integer({ min: 1, max: 3 }),
    up: fc.boolean(),
    told: fc.integer({ min: 0, max: 19 }).map((n) => n > 0),
  }),
  fc.record({ op: fc.constant('apply' as const), refuse: fc.array(fc.boolean(), { maxLength: 12 }) }),
  fc.record({ op: fc.constant('resync' as const) }),
);

test('whatever happens on the way, the kernel ends with what the last word resolves to, and nothing else', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const kernel = new FakeKernel();
      for (const k of [1, 2, 3]) kernel.up.add(k);
      const side = makeSide(kernel);
      const said = new Map<Cidr, LearnedRoute>();
      let missed = false;
      const resync = (): void => {
        for (const k of [1, 2, 3]) side.resolver.setLinkUsable(k, kernel.up.has(k));
        const { nexthops, routes } = kernel.dump();
        side.table.replaceActual(nexthops, routes);
      };
      for (const s of steps) {
        if (s.op === 'learn') {
          side.learned.update({ upsert: [{ prefix: s.prefix, ...s.way }], withdraw: [] });
          said.set(s.prefix, { prefix: s.prefix, ...s.way });
        } else if (s.op === 'withdraw') {
          side.learned.update({ upsert: [], withdraw: [s.prefix] });
          said.delete(s.prefix);
        } else if (s.op === 'link') {
          kernel.setLink(s.ifIndex, s.up);
          // An event that is lost is made good by a full dump later.
          if (!s.told) {
            missed = true;
            continue;
          }
          side.resolver.setLinkUsable(s.ifIndex, s.up);
          if (!s.up) side.table.deviceGone(s.ifIndex);
        } else if (s.op === 'resync') resync();
        else {
          kernel.refuse = [...s.refuse];
          side.learned.settle();
          await side.apply();
          kernel.refuse = [];
        }
      }
      if (missed) resync();
      side.learned.settle();
      assert.equal((await side.apply()).failed, 0);
      assert.ok(side.table.inSync);

      const fresh = new FakeKernel();
      for (const k of kernel.up) fresh.up.add(k);
      const direct = makeSide(fresh);
      direct.learned.update({ upsert: [...said.values()], withdraw: [] });
      direct.learned.settle();
      await direct.apply();
      assert.deepEqual(kernel.forwarding(), fresh.forwarding());
      assert.equal(kernel.nexthops.size, fresh.nexthops.size, 'no object is left over');

      // A restart: held, told everything in another order, released: not one write, and nothing when told again.
      const before = kernel.writes;
      const second = makeSide(kernel);
      const { nexthops, routes } = kernel.dump();
      second.table.replaceActual(nexthops, routes);
      second.table.held[4] = routes.length > 0;
      for (const route of [...said.values()].reverse()) {
        second.learned.update({ upsert: [route], withdraw: [] });
        second.learned.settle();
        await second.apply();
      }
      if (second.table.held[4]) second.learned.release(4);
      await second.apply();
      assert.equal(kernel.writes - before, 0);
    }),
    { numRuns: 600 },
  );
});

test('a changed object is written between two batches of routes', async () => {
  const kernel = new FakeKernel();
  for (const k of [1, 2, 3]) kernel.up.add(k);
  const side = makeSide(kernel);
  const upsert = Array.from({ length: 1_000 }, (_, i) => ({
    prefix: net(`10.${i >> 8}.${i & 255}.0/24`),
    nextHops: [ip('172.16.1.1'), ip('172.16.2.1')],
  }));
  side.learned.update({ upsert, withdraw: [] });
  side.learned.settle();
  let turns = 0;
  let routesWhenMoved = 0;
  const port = {
    write: (b: readonly RouteWrite[]) => kernel.write(b),
    writeAsync: async (b: readonly RouteWrite[]) => kernel.write(b),
  };
  await side.table.apply(port as unknown as RouteKernel, async () => {
    if (++turns === 3) {
      kernel.setLink(1, false);
      side.resolver.setLinkUsable(1, false);
      side.table.deviceGone(1);
      side.resolver.setLinkUsable(3, true);
      side.learned.update({ upsert: [], withdraw: [] });
      side.learned.settle();
      kernel.up.add(1);
      side.resolver.setLinkUsable(1, true);
      side.learned.settle();
    }
    const group = [...kernel.nexthops.values()].find((n) => n.group.length === 2);
    if (turns > 3 && group && !routesWhenMoved) routesWhenMoved = kernel.routes.size;
  });
  assert.ok(
    routesWhenMoved > 0 && routesWhenMoved < 1_000,
    `${routesWhenMoved} routes were there when the group was whole again`,
  );
  assert.equal(kernel.routes.size, 1_000);
});

test('a link that goes and comes back before anybody looks took its routes silently: they are written again', async () => {
  const kernel = new FakeKernel();
  kernel.up.add(1);
  const side = makeSide(kernel);
  side.learned.update({ upsert: [{ prefix: net('10.1.0.0/16'), nextHops: [ip('172.16.1.1')] }], withdraw: [] });
  side.learned.settle();
  await side.apply();
  kernel.setLink(1, false);
  side.resolver.setLinkUsable(1, false);
  side.table.deviceGone(1);
  kernel.setLink(1, true);
  side.resolver.setLinkUsable(1, true);
  side.learned.settle();
  assert.deepEqual(kernel.forwarding(), {});
  await side.apply();
  assert.deepEqual(kernel.forwarding(), { '10.1.0.0/16': ['172.16.1.1%1'] });
});

test('RFC 7999 3.3: a blackhole is one object of its family, and no next hop resolves by it', async () => {
  const kernel = new FakeKernel();
  kernel.up.add(1);
  const side = makeSide(kernel);
  const discard = { nextHops: [], blackhole: true as const };
  const upsert = [
    { prefix: net('0.0.0.0/0'), nextHops: [ip('172.16.1.1')] },
    { prefix: net('10.0.0.2/32'), ...discard },
    { prefix: net('fd00::1/128'), ...discard },
    { prefix: net('10.1.0.0/16'), nextHops: [ip('10.0.0.2')] },
  ];
  side.learned.update({ upsert, withdraw: [] });
  side.learned.settle();
  assert.equal((await side.apply()).failed, 0);
  assert.deepEqual(kernel.forwarding(), {
    '0.0.0.0/0': ['172.16.1.1%1'],
    '10.0.0.2/32': ['blackhole'],
    'fd00::1/128': ['blackhole'],
  });
  const dropping = [...kernel.nexthops.values()].filter((n) => n.blackhole);
  assert.deepEqual(dropping.map((n) => n.family).sort(), [4, 6]);
  side.learned.update({ upsert: [], withdraw: [net('10.0.0.2/32'), net('fd00::1/128')] });
  side.learned.settle();
  await side.apply();
  assert.deepEqual(kernel.forwarding(), { '0.0.0.0/0': ['172.16.1.1%1'], '10.1.0.0/16': ['172.16.1.1%1'] });
});

test('RFC 10005: weights go into the group as they are; what a next hop resolves to shares its weight', async () => {
  const kernel = new FakeKernel();
  for (const k of [1, 2, 3]) kernel.up.add(k);
  const side = makeSide(kernel);
  const [one, two, three] = ['172.16.1.1', '172.16.2.1', '172.16.3.1'].map(ip);
  const put = async (nextHops: readonly IpAddress[], weights?: readonly number[]): Promise<string[] | undefined> => {
    const route = { prefix: net('10.1.0.0/16'), nextHops, ...(weights ? { weights } : {}) };
    side.learned.update({ upsert: [route], withdraw: [] });
    side.learned.settle();
    await side.apply();
    return kernel.forwarding()['10.1.0.0/16'];
  };
  assert.deepEqual(await put([one!, two!], [2, 5]), ['172.16.1.1%1 *2', '172.16.2.1%2 *5']);
  assert.deepEqual(await put([one!, two!], [5, 2]), ['172.16.1.1%1 *5', '172.16.2.1%2 *2']);
  assert.deepEqual(await put([one!, two!]), ['172.16.1.1%1', '172.16.2.1%2']);
  side.learned.update({ upsert: [{ prefix: net('10.0.0.2/32'), nextHops: [one!, two!] }], withdraw: [] });
  const split = ['172.16.1.1%1 *3', '172.16.2.1%2 *3', '172.16.3.1%3 *2'];
  assert.deepEqual(await put([ip('10.0.0.2'), three!], [3, 1]), split);
  const summed = ['172.16.1.1%1 *3', '172.16.2.1%2'];
  assert.deepEqual(await put([ip('10.0.0.2'), one!], [2, 2]), summed);
});

test('RFC 4724 4.1: a mark is one object that no route shares, made before the last route goes and gone after the first is there', async () => {
  const kernel = new FakeKernel();
  kernel.up.add(1);
  const side = makeSide(kernel);
  side.table.nexthops.setMark(4, true);
  side.learned.update({ upsert: [{ prefix: net('10.9.9.9/32'), nextHops: [], blackhole: true }], withdraw: [] });
  side.learned.settle();
  await side.apply();
  assert.ok(side.table.nexthops.hasMark(4) && !side.table.nexthops.hasMark(6));
  assert.equal([...kernel.nexthops.values()].filter((n) => n.blackhole).length, 2);
  const later = makeSide(kernel);
  const { nexthops, routes } = kernel.dump();
  later.table.replaceActual(nexthops, routes);
  assert.ok(later.table.nexthops.hasMark(4), 'the next run sees it');
  later.table.nexthops.setMark(4, false);
  later.learned.update({ upsert: [{ prefix: net('10.9.9.9/32'), nextHops: [], blackhole: true }], withdraw: [] });
  later.learned.settle();
  await later.apply();
  assert.deepEqual(kernel.forwarding(), { '10.9.9.9/32': ['blackhole'] });
  assert.ok(!later.table.nexthops.hasMark(4));
});
