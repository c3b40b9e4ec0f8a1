import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Cidr, cidrContains, familyOf, type IpAddress, type ScopedAddress } from '#kit';
import { type ForeignRoute, NextHopResolver, nextHopSetKey, type ResolvedHop } from './next-hop-resolver.ts';

const ip = (text: string): IpAddress => text as IpAddress;
const net = (text: string): Cidr => text as Cidr;
const METRIC = 2048;

function connected(prefix: string, ifIndex: number, metric = 0): ForeignRoute {
  return { prefix: net(prefix), metric, unicast: true, nextHops: [{ ifIndex, onlink: false }] };
}
function via(prefix: string, gateway: string, ifIndex: number, metric = 0): ForeignRoute {
  return { prefix: net(prefix), metric, unicast: true, nextHops: [{ gateway: ip(gateway), ifIndex, onlink: false }] };
}
function texts(hops: readonly ResolvedHop[]): string[] {
  return hops.map((hop) => `${hop.gateway}%${hop.ifIndex}`);
}

function dualHomed(): NextHopResolver {
  const resolver = new NextHopResolver({ learnedMetric: METRIC });
  resolver.setLinkUsable(2, true);
  resolver.setLinkUsable(3, true);
  resolver.replaceForeign([connected('172.16.1.0/24', 2), connected('172.16.2.0/24', 3)]);
  return resolver;
}

test('a loopback announced by its own owner resolves by the learned default route to both gateways', () => {
  const resolver = dualHomed();
  const routers = resolver.retain([ip('172.16.1.1'), ip('172.16.2.1')]);
  resolver.setLearned(net('0.0.0.0/0'), routers);
  const node = resolver.retain([ip('10.0.0.2')]);
  resolver.setLearned(net('10.0.0.2/32'), node);
  resolver.settle();
  assert.deepEqual(texts(resolver.resolution(node)), ['172.16.1.1%2', '172.16.2.1%3']);

  resolver.setLinkUsable(2, false);
  assert.deepEqual(resolver.settle().sort(), [node, routers].sort());
  assert.deepEqual(texts(resolver.resolution(node)), ['172.16.2.1%3']);
  resolver.setLinkUsable(3, false);
  resolver.settle();
  assert.deepEqual(resolver.resolution(node), []);
});

test('foreign ways: one usable device, or none where there are several or a blackhole; learned routes do not count', () => {
  const resolver = dualHomed();
  const ways = () => [...resolver.foreignWays()].map(({ prefix, ifIndex }) => `${prefix} ${ifIndex ?? '-'}`).sort();
  resolver.setForeign(via('0.0.0.0/0', '172.16.1.1', 2, 100));
  resolver.setForeign(via('0.0.0.0/0', '172.16.2.1', 3, 200));
  resolver.setForeign({ ...via('10.7.0.0/16', '172.16.1.1', 2), unicast: false });
  const [one, two] = [via('10.8.0.0/16', '172.16.1.1', 2), via('10.8.0.0/16', '172.16.2.1', 3)];
  resolver.setForeign({ ...one, nextHops: [...one.nextHops, ...two.nextHops] });
  resolver.setLearned(net('10.9.0.0/16'), resolver.retain([ip('172.16.1.1')]));
  const rest = ['10.7.0.0/16 -', '10.8.0.0/16 -', '172.16.1.0/24 2', '172.16.2.0/24 3'];
  assert.deepEqual(ways(), ['0.0.0.0/0 2', ...rest]);
  resolver.setLinkUsable(2, false);
  assert.deepEqual(ways(), ['0.0.0.0/0 3', '10.7.0.0/16 -', '10.8.0.0/16 3', '172.16.2.0/24 3']);
  resolver.replaceForeign([via('0.0.0.0/0', '172.16.2.1', 3, 200)]);
  assert.deepEqual(ways(), ['0.0.0.0/0 3']);
  resolver.removeForeign(net('0.0.0.0/0'), 200);
  assert.deepEqual(ways(), []);
});

test('a route that appears later resolves what was unresolved, and only that is evaluated', () => {
  const resolver = dualHomed();
  const far = resolver.retain([ip('192.0.2.9')]);
  const near = resolver.retain([ip('172.16.1.9')]);
  resolver.settle();
  assert.deepEqual(resolver.resolution(far), []);
  resolver.setForeign(via('192.0.2.0/24', '172.16.2.254', 3));
  assert.deepEqual(resolver.settle(), [far]);
  assert.deepEqual(texts(resolver.resolution(far)), ['172.16.2.254%3']);
  assert.deepEqual(texts(resolver.resolution(near)), ['172.16.1.9%2']);
});

test('RFC 2545 3: a neighbour with its interface needs no route, and is there while its link is', () => {
  const resolver = new NextHopResolver({ learnedMetric: METRIC });
  resolver.setLinkUsable(2, true, 'eth0');
  resolver.setLinkUsable(3, true, 'eth1');
  const [zero, one, none] = ['fe80::1%eth0', 'fe80::1%eth1', 'fe80::1%eth2'].map((text) =>
    resolver.retain([text as ScopedAddress]),
  );
  const bare = resolver.retain([ip('fe80::1')]);
  resolver.setLearned(net('10.0.0.2/32'), zero!);
  const behind = resolver.retain([ip('10.0.0.2')]);
  resolver.settle();
  const all = () => [zero, one, none, bare, behind].map((key) => texts(resolver.resolution(key!)).join());
  assert.deepEqual(all(), ['fe80::1%2', 'fe80::1%3', '', '', 'fe80::1%2']);
  resolver.setLinkUsable(2, false, 'eth0');
  resolver.settle();
  assert.deepEqual(all(), ['', 'fe80::1%3', '', '', '']);
  // Made anew, with another index; and a rename.
  resolver.setLinkUsable(9, true, 'eth0');
  resolver.setLinkUsable(3, true, 'eth2');
  resolver.settle();
  assert.deepEqual(all(), ['fe80::1%9', '', 'fe80::1%3', '', 'fe80::1%9']);
});

test('an own address, a foreign blackhole and a loop of two lead nowhere', () => {
  const resolver = dualHomed();
  resolver.setLocalAddresses(new Set([ip('172.16.1.2')]));
  resolver.setForeign({ prefix: net('192.0.2.0/24'), metric: 0, unicast: false, nextHops: [] });
  const own = resolver.retain([ip('172.16.1.2')]);
  const black = resolver.retain([ip('192.0.2.1')]);
  const a = resolver.retain([ip('198.51.100.1')]);
  const b = resolver.retain([ip('203.0.113.1')]);
  resolver.setLearned(net('203.0.113.0/24'), a);
  resolver.setLearned(net('198.51.100.0/24'), b);
  resolver.settle();
  for (const key of [own, black, a, b]) assert.deepEqual(resolver.resolution(key), [], key);
});

/** The definition, read aloud: no index, no memory. */
function naive(
  state: {
    readonly foreign: readonly ForeignRoute[];
    readonly learned: ReadonlyMap<Cidr, readonly IpAddress[]>;
    readonly links: ReadonlySet<number>;
    readonly local: ReadonlySet<IpAddress>;
  },
  address: IpAddress,
  stack: readonly Cidr[] = [],
): Set<string> {
  if (state.local.has(address) || address.startsWith('fe80:')) return new Set();
  const candidates = [
    ...state.foreign.map((route) => ({
      prefix: route.prefix,
      metric: route.metric,
      order: 0,
      route,
      nextHops: undefined,
    })),
    ...[...state.learned].map(([prefix, nextHops]) => ({
      prefix,
      metric: METRIC,
      order: 1,
      route: undefined,
      nextHops,
    })),
  ]
    .filter((c) => familyOf(c.prefix) === familyOf(address) && cidrContains(c.prefix, address))
    .sort(
      (x, y) =>
        Number(y.prefix.split('/')[1]) - Number(x.prefix.split('/')[1]) || x.metric - y.metric || x.order - y.order,
    );
  for (const { prefix, route, nextHops } of candidates) {
    const found = new Set<string>();
    if (route) {
      if (!route.unicast) return found;
      for (const hop of route.nextHops)
        if (state.links.has(hop.ifIndex)) found.add(`${hop.gateway ?? address}%${hop.ifIndex}`);
    } else if (!stack.includes(prefix) && stack.length < 8) {
      for (const nextHop of nextHops) for (const hop of naive(state, nextHop, [...stack, prefix])) found.add(hop);
    }
    if (found.size > 0) return found;
  }
  return new Set();
}

test('after any sequence of changes every set resolves as the definition says', () => {
  const prefixes = [
    '0.0.0.0/0',
    '10.0.0.0/8',
    '10.1.0.0/16',
    '10.1.0.1/32',
    '10.2.0.0/16',
    '10.2.0.1/32',
    '::/0',
    'fd00::/64',
  ];
  const addresses = ['10.1.0.1', '10.2.0.1', '10.3.0.1', '10.1.9.9', 'fd00::1', 'fe80::1'];
  const prefix = fc.constantFrom(...prefixes).map(net);
  const nextHops = fc.uniqueArray(fc.constantFrom(...addresses).map(ip), { minLength: 1, maxLength: 3 });
  const ifIndex = fc.integer({ min: 2, max: 4 });
  const change = fc.oneof(
    fc.record({ op: fc.constant('learn' as const), prefix, nextHops }),
    fc.record({ op: fc.constant('withdraw' as const), prefix }),
    fc.record({ op: fc.constant('link' as const), ifIndex, up: fc.boolean() }),
    fc.record({
      op: fc.constant('foreign' as const),
      prefix,
      metric: fc.constantFrom(0, 1024, 4096),
      unicast: fc.boolean(),
      ifIndex,
      gateway: fc.option(fc.constantFrom('10.1.0.254', 'fe80::fe').map(ip), { nil: undefined }),
    }),
    fc.record({ op: fc.constant('unforeign' as const), prefix, metric: fc.constantFrom(0, 1024, 4096) }),
    fc.record({ op: fc.constant('local' as const), address: fc.constantFrom(...addresses).map(ip), on: fc.boolean() }),
    fc.record({ op: fc.constant('settle' as const) }),
  );
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
      const resolver = new NextHopResolver({ learnedMetric: METRIC });
      const foreign = new Map<string, ForeignRoute>();
      const learned = new Map<Cidr, readonly IpAddress[]>();
      const links = new Set<number>();
      const local = new Set<IpAddress>();
      for (const c of changes) {
        if (c.op === 'learn') {
          const before = learned.get(c.prefix);
          resolver.setLearned(c.prefix, resolver.retain(c.nextHops));
          if (before) resolver.release(nextHopSetKey(before));
          learned.set(c.prefix, c.nextHops);
        } else if (c.op === 'withdraw') {
          const before = learned.get(c.prefix);
          resolver.withdrawLearned(c.prefix);
          if (before) resolver.release(nextHopSetKey(before));
          learned.delete(c.prefix);
        } else if (c.op === 'link') {
          resolver.setLinkUsable(c.ifIndex, c.up);
          if (c.up) links.add(c.ifIndex);
          else links.delete(c.ifIndex);
        } else if (c.op === 'foreign') {
          const hop = { ifIndex: c.ifIndex, onlink: false, ...(c.gateway ? { gateway: c.gateway } : {}) };
          const route = { prefix: c.prefix, metric: c.metric, unicast: c.unicast, nextHops: c.unicast ? [hop] : [] };
          resolver.setForeign(route);
          foreign.set(`${c.prefix} ${c.metric}`, route);
        } else if (c.op === 'unforeign') {
          resolver.removeForeign(c.prefix, c.metric);
          foreign.delete(`${c.prefix} ${c.metric}`);
        } else if (c.op === 'local') {
          if (c.on) local.add(c.address);
          else local.delete(c.address);
          resolver.setLocalAddresses(local);
        } else resolver.settle();
      }
      resolver.settle();
      const state = { foreign: [...foreign.values()], learned, links, local };
      for (const hops of learned.values()) {
        const expected = new Set(hops.flatMap((address) => [...naive(state, address)]));
        assert.deepEqual(texts(resolver.resolution(nextHopSetKey(hops))).sort(), [...expected].sort());
      }
      assert.equal(resolver.setCount, new Set([...learned.values()].map((hops) => nextHopSetKey(hops))).size);
    }),
    { numRuns: 400 },
  );
});
