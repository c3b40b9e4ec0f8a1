/**
 * A dual-homed node, two routers and a host behind both, as nameless namespaces:
 *
 *              up0 -- r0 [router 0] r1 -- d0
 *   [node] lo <                              > lo [far]
 *              up1 -- r0 [router 1] r1 -- d1
 *
 * 172.16.K.0/24 and fd16:K::/64 (K = 1, 2) between node (.2) and router (.1); 172.17.K.0/24 and fd17:K::/64 between router (.1) and far (.2).
 * The far host's own addresses are 10.0.0.9 and fd00::9 on loopback; the routers know them, the node has to learn them.
 * Both ends of a link have different indexes: with equal ones loss of carrier is reported a second late.
 */
import { createRouteDataplane, type RouteDataplane, type RouteDataplaneOptions, type StateFile } from '#felix';
import { type Cidr, type IpAddress, type IpFamily, type Logger, silentLogger, systemClock } from '#kit';
import {
  addAddress,
  addRoute,
  addVeth,
  changeLink,
  dumpLinkCounters,
  dumpLinks,
  dumpNexthops,
  dumpRoutes,
  dumpRules,
  type Fd,
  IPV4_DEVCONF_RP_FILTER,
  inNetns,
  linkByName,
  Netlink,
  type NetlinkMessage,
  newNetns,
  openRouteKernel,
  RTNLGRP_IPV4_ROUTE,
  RTNLGRP_IPV6_ROUTE,
  RTNLGRP_LINK,
  RTNLGRP_NEXTHOP,
  type SysctlFiles,
  sysctlFiles,
  watchNetlink,
} from '#sys';
import { until } from '../support/wait.ts';

export const ip = (text: string): IpAddress => text as IpAddress;
export const net = (text: string): Cidr => text as Cidr;

export interface Namespace {
  readonly netns: Fd;
  readonly netlink: Netlink;
}

export function makeNamespace(): Namespace {
  const netns = newNetns();
  const netlink = inNetns(netns, () => new Netlink());
  changeLink(netlink, { index: 1, up: true });
  flush(netlink);
  return { netns, netlink };
}

export function flush(netlink: Netlink): void {
  const [failure] = netlink.flush();
  if (failure) throw new Error(`${failure.code} ${failure.text}`);
}

let nextIndex = 100;
export function link(a: Namespace, aName: string, b: Namespace, bName: string, subnet: number, k: number): void {
  const [index, peerIndex] = [nextIndex++, nextIndex++];
  addVeth(a.netlink, { name: aName, peerName: bName, peerNetns: b.netns.number, index, peerIndex });
  flush(a.netlink);
  for (const [end, ifIndex, host] of [
    [a, index, subnet === 16 ? 2 : 1],
    [b, peerIndex, subnet === 16 ? 1 : 2],
  ] as const) {
    inNetns(end.netns, () => sysctlFiles().write(`net/ipv6/conf/${end === a ? aName : bName}/keep_addr_on_down`, '1'));
    changeLink(end.netlink, { index: ifIndex, up: true, ipv4Settings: { [IPV4_DEVCONF_RP_FILTER]: 0 } });
    addAddress(end.netlink, { ifIndex, address: `172.${subnet}.${k + 1}.${host}`, prefixLength: 24 });
    addAddress(end.netlink, { ifIndex, address: `fd${subnet}:${k + 1}::${host}`, prefixLength: 64 });
    flush(end.netlink);
  }
}

/** A file that lives in memory and counts its writes. */
export function memoryFile(): StateFile & { text: string | undefined } {
  return {
    text: undefined,
    read() {
      return this.text;
    },
    write(text) {
      this.text = text;
    },
    remove() {
      this.text = undefined;
    },
  };
}

export function netnsSysctls(netns: Fd): SysctlFiles {
  const files = sysctlFiles();
  return {
    read: (key) => inNetns(netns, () => files.read(key)),
    write: (key, value) => inNetns(netns, () => files.write(key, value)),
  };
}

export class RouteWorld {
  readonly node = makeNamespace();
  readonly routers = [makeNamespace(), makeNamespace()] as const;
  readonly far = makeNamespace();
  readonly state = memoryFile();
  readonly sysctls = netnsSysctls(this.node.netns);
  readonly #dataplanes: RouteDataplane[] = [];
  readonly #closers: (() => void)[] = [];

  constructor() {
    for (const [k, router] of this.routers.entries()) {
      link(this.node, `up${k}`, router, 'r0', 16, k);
      link(router, 'r1', this.far, `d${k}`, 17, k);
      const files = netnsSysctls(router.netns);
      files.write('net/ipv4/ip_forward', '1');
      files.write('net/ipv4/conf/all/rp_filter', '0');
      files.write('net/ipv6/conf/all/forwarding', '1');
      addRoute(
        router.netlink,
        { prefix: net('10.0.0.9/32'), protocol: 4, gateway: ip(`172.17.${k + 1}.2`) },
        'exclusive',
      );
      addRoute(
        router.netlink,
        { prefix: net('fd00::9/128'), protocol: 4, gateway: ip(`fd17:${k + 1}::2`) },
        'exclusive',
      );
      flush(router.netlink);
    }
    netnsSysctls(this.far.netns).write('net/ipv4/conf/all/rp_filter', '0');
    addAddress(this.far.netlink, { ifIndex: 1, address: '10.0.0.9', prefixLength: 32 });
    addAddress(this.far.netlink, { ifIndex: 1, address: 'fd00::9', prefixLength: 128 });
    flush(this.far.netlink);
  }

  /** Carrier of a new link is noticed a little later. */
  async ready(): Promise<this> {
    const dead = () => ([4, 6] as const).flatMap((f) => dumpRoutes(this.node.netlink, f)).flatMap((r) => r.nextHops);
    await until(() => dead().every((hop) => !hop.dead), { what: 'carrier on the uplinks' });
    return this;
  }

  dataplane(options: RouteDataplaneOptions = {}, log: Logger = silentLogger): RouteDataplane {
    const kernel = inNetns(this.node.netns, () => openRouteKernel());
    const watchInNode: typeof kernel.watch = (handlers) => inNetns(this.node.netns, () => kernel.watch(handlers));
    const dataplane = createRouteDataplane(
      {
        kernel: { ...kernel, watch: watchInNode },
        sysctls: this.sysctls,
        sysctlState: this.state,
        clock: systemClock(),
        log,
      },
      options,
    );
    this.#dataplanes.push(dataplane);
    this.#closers.push(() => kernel.close());
    return dataplane;
  }

  /** Every change of links, routes and next hops in the node from now on, whoever makes it. */
  monitor(): NetlinkMessage['type'][] {
    const seen: number[] = [];
    const watcher = inNetns(this.node.netns, () =>
      watchNetlink({
        groups: [RTNLGRP_LINK, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_NEXTHOP],
        onMessage: (message) => void seen.push(message.type),
        onLost: () => void seen.push(-1),
      }),
    );
    this.#closers.push(() => watcher.close());
    return seen;
  }

  ours(family: IpFamily = 4) {
    return dumpRoutes(this.node.netlink, family, { protocol: 155, table: 254 });
  }
  ourNexthops() {
    return dumpNexthops(this.node.netlink, { protocol: 155 });
  }
  /** Gateways of a route of ours, with device names, through its next-hop object. */
  gateways(prefix: string): string[] {
    const route = this.ours(prefix.includes(':') ? 6 : 4).find((r) => r.prefix === prefix && r.type === 'unicast');
    const objects = new Map(this.ourNexthops().map((n) => [n.id, n]));
    const group = objects.get(route?.nexthopId ?? 0)?.group ?? [];
    const names = new Map(dumpLinks(this.node.netlink).map((l) => [l.index, l.name]));
    return group
      .map(({ id }) => objects.get(id)!)
      .map((single) => `${single.gateway} ${names.get(single.ifIndex)}`)
      .sort();
  }
  /** Bytes that each uplink of the node has sent. */
  sentBytes(): number[] {
    const links = dumpLinkCounters(this.node.netlink);
    return [0, 1].map((k) => links.find((l) => l.name === `up${k}`)!.txBytes);
  }
  setLink(space: Namespace, name: string, up: boolean): void {
    changeLink(space.netlink, { index: linkByName(space.netlink, name)!.index, up });
    flush(space.netlink);
  }
  /** All that the kernel holds of links, routes, rules, next hops and the settings that we touch, without counters. */
  snapshot(): unknown {
    const { netlink } = this.node;
    const settings = [
      'net/ipv4/ip_forward',
      'net/ipv6/conf/all/forwarding',
      'net/ipv4/nexthop_compat_mode',
      'net/ipv4/fib_multipath_hash_policy',
      'net/ipv6/fib_multipath_hash_policy',
      'net/ipv4/conf/up0/rp_filter',
      'net/ipv4/conf/up1/rp_filter',
    ];
    return {
      links: dumpLinks(netlink),
      routes: ([4, 6] as const).map((family) => dumpRoutes(netlink, family)),
      rules: ([4, 6] as const).map((family) => dumpRules(netlink, family)),
      nexthops: dumpNexthops(netlink),
      settings: Object.fromEntries(settings.map((key) => [key, this.sysctls.read(key)])),
    };
  }

  async close(): Promise<void> {
    for (const dataplane of this.#dataplanes) await dataplane.stop();
    for (const close of this.#closers) close();
    for (const space of [this.node, ...this.routers, this.far]) {
      space.netlink.close();
      space.netns.close();
    }
  }
}
