/** What the kernel says about links, addresses, next hops and routes that are not ours, kept by events and confirmed by dumps. */
import type { Cidr, IpAddress, IpFamily } from '#kit';
import { formatIp, maskBytes, parseIp } from '#kit';
import {
  type KernelAddress,
  type KernelLink,
  type KernelNexthop,
  type KernelRoute,
  type RouteKernel,
  TABLE_MAIN,
} from '../drivers/route-ports.ts';
import type { ForeignRoute, NextHopResolver } from './next-hop-resolver.ts';

export interface LocalAddress {
  readonly family: IpFamily;
  readonly address: IpAddress;
  readonly prefixLength: number;
  /** The subnet that the address stands in. */
  readonly subnet: Cidr;
  readonly ifIndex: number;
  readonly device: string;
  /** Link-local IPv6 or link scope. */
  readonly linkLocal: boolean;
}

/** A device that carried traffic until now: sessions over it need not wait for their hold timers. */
export interface LinkDown {
  readonly device: string;
  readonly ifIndex: number;
  readonly addresses: readonly LocalAddress[];
}

export interface KernelViewOptions {
  readonly interfacePrefix: string;
}

const SCOPE_LINK = 253;

export class KernelView {
  readonly #resolver: NextHopResolver;
  readonly #options: KernelViewOptions;
  readonly #links = new Map<number, KernelLink>();
  readonly #indexOf = new Map<string, number>();
  #addresses = new Map<string, KernelAddress>();
  /** Next-hop objects of others, for their routes name only the id. */
  #nexthops = new Map<number, KernelNexthop>();
  /** Devices of default routes that are not ours. */
  readonly #defaults = new Map<string, readonly number[]>();
  /** IPv4 routes go silently with their device or source address, and what a removal leaves is not told: only a dump knows. */
  stale = false;

  constructor(resolver: NextHopResolver, options: KernelViewOptions) {
    this.#resolver = resolver;
    this.#options = options;
  }

  link(ifIndex: number): KernelLink | undefined {
    return this.#links.get(ifIndex);
  }
  indexOf(name: string): number | undefined {
    return this.#indexOf.get(name);
  }
  isPod(ifIndex: number): boolean {
    const name = this.#links.get(ifIndex)?.name;
    return name !== undefined && this.isPodName(name);
  }
  isPodName(device: string): boolean {
    return device.startsWith(this.#options.interfacePrefix);
  }
  defaultDevices(): Set<number> {
    return new Set([...this.#defaults.values()].flat());
  }
  isLocal(address: IpAddress): boolean {
    return this.#addresses.values().some((local) => local.address === address);
  }
  localAddresses(): LocalAddress[] {
    return [...this.#addresses.values()].map((address) => this.#localAddress(address));
  }

  /** Links and addresses; returns the devices that were lost since the last look. */
  readLinks(kernel: RouteKernel): LinkDown[] {
    const links = kernel.dumpLinks();
    const lost: LinkDown[] = [];
    const indexes = new Set(links.map((link) => link.index));
    for (const link of [...this.#links.values()]) if (!indexes.has(link.index)) lost.push(...this.onLink(link, true));
    for (const link of links) lost.push(...this.onLink(link, false));
    this.#addresses = new Map(kernel.dumpAddresses().map((address) => [addressKey(address), address]));
    this.#publishAddresses();
    return lost;
  }

  /** A full dump: routes of the main table that are not ours, and all next-hop objects. */
  replaceForeign(routes: readonly KernelRoute[], nexthops: readonly KernelNexthop[]): void {
    this.#nexthops = new Map(nexthops.map((nexthop) => [nexthop.id, nexthop]));
    this.#defaults.clear();
    for (const route of routes) this.#noteDefault(route, false);
    this.#resolver.replaceForeign(routes.map((route) => this.#foreign(route)));
    this.stale = false;
  }

  onLink(link: KernelLink, gone: boolean): LinkDown[] {
    const before = this.#links.get(link.index);
    const wasUsable = before !== undefined && isUsable(before);
    const usable = !gone && isUsable(link);
    if (before && this.#indexOf.get(before.name) === link.index) this.#indexOf.delete(before.name);
    if (gone) this.#links.delete(link.index);
    else {
      this.#links.set(link.index, link);
      this.#indexOf.set(link.name, link.index);
    }
    const pod = link.name.startsWith(this.#options.interfacePrefix);
    if (!pod) this.#resolver.setLinkUsable(link.index, usable, link.name);
    if (!wasUsable || usable || pod) return [];
    if (gone || !link.up) this.stale = true;
    const addresses = this.localAddresses().filter((address) => address.ifIndex === link.index);
    return [{ device: link.name, ifIndex: link.index, addresses }];
  }

  onAddress(address: KernelAddress, gone: boolean): void {
    if (gone) this.stale = true;
    if (gone) this.#addresses.delete(addressKey(address));
    else this.#addresses.set(addressKey(address), address);
    this.#publishAddresses();
  }

  onForeignRoute(route: KernelRoute, gone: boolean): void {
    if (route.table !== TABLE_MAIN) return;
    this.#noteDefault(route, gone);
    // IPv6 names one path of several, IPv4 one of several routes of equal metric.
    if (gone) this.stale = true;
    if (gone) this.#resolver.removeForeign(route.prefix, route.metric);
    else this.#resolver.setForeign(this.#foreign(route));
  }

  onForeignNexthop(nexthop: KernelNexthop, gone: boolean): void {
    if (gone) this.#nexthops.delete(nexthop.id);
    else this.#nexthops.set(nexthop.id, nexthop);
    this.stale = true;
  }

  #foreign(route: KernelRoute): ForeignRoute {
    return {
      prefix: route.prefix,
      metric: route.metric,
      unicast: route.type === 'unicast' && !this.#nexthops.get(route.nexthopId)?.blackhole,
      nextHops: this.#pathsOf(route),
    };
  }
  #pathsOf(route: KernelRoute): ForeignRoute['nextHops'] {
    const object = this.#nexthops.get(route.nexthopId);
    if (!object) return route.nextHops;
    const members = object.group.length > 0 ? object.group.map((member) => this.#nexthops.get(member.id)) : [object];
    return members.filter((member) => member !== undefined);
  }
  #noteDefault(route: KernelRoute, gone: boolean): void {
    if (!route.prefix.endsWith('/0')) return;
    const key = `${route.prefix} ${route.metric}`;
    const devices = this.#pathsOf(route).map((hop) => hop.ifIndex);
    if (gone) this.#defaults.delete(key);
    else this.#defaults.set(key, devices);
  }
  #publishAddresses(): void {
    this.#resolver.setLocalAddresses(new Set([...this.#addresses.values()].map((address) => address.address)));
  }
  #localAddress({ family, address, prefixLength, ifIndex, scope }: KernelAddress): LocalAddress {
    const subnet = `${formatIp(maskBytes(parseIp(address)!, prefixLength))}/${prefixLength}` as Cidr;
    const device = this.#links.get(ifIndex)?.name ?? '';
    return { family, address, prefixLength, subnet, ifIndex, device, linkLocal: scope === SCOPE_LINK };
  }
  /** Interfaces that hold addresses with a lifetime or a default route from router advertisements. */
  *dynamicIpv6Links(): Generator<KernelLink> {
    const indexes = new Set<number>();
    for (const address of this.#addresses.values()) {
      if (address.family === 6 && address.dynamic && address.scope !== SCOPE_LINK) indexes.add(address.ifIndex);
    }
    for (const [key, devices] of this.#defaults) if (key.startsWith('::/0')) for (const i of devices) indexes.add(i);
    for (const index of indexes) {
      const link = this.#links.get(index);
      if (link) yield link;
    }
  }
}

/** Loopback leads nowhere. */
function isUsable(link: KernelLink): boolean {
  return link.up && link.carrier && link.name !== 'lo';
}

function addressKey(address: KernelAddress): string {
  return `${address.ifIndex} ${address.address}/${address.prefixLength}`;
}
