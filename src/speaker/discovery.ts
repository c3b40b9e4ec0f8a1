/**
 * The links of unnumbered and link-local peers: who is on them, whether they are up, which addresses of ours they have.
 *
 *   router advertisements (raw ICMPv6), kernel's neighbours (netlink) --> onRouter
 *   links (netlink)                                                   --> onLinkDown, onLinkUp
 *   addresses (netlink)                                               --> onAddresses
 *
 * A router that the kernel knows from advertisements is as good as an advertisement; a neighbour that is not known to be a router is a guess, which
 * gives way to anything better.
 *
 * Known races: an interface that comes, goes or is renamed is met by its link event, whatever was configured before; events that the kernel dropped are
 * made good by a look at everything.
 */
import type { SpeakerConfig } from '#bgp';
import { errorText, isLinkLocal, type Logger, splitZone } from '#kit';
import {
  decodeAddress,
  decodeLink,
  decodeNeighbour,
  dumpLinks,
  dumpNeighbours,
  type KernelLink,
  type KernelNeighbour,
  Netlink,
  RTM_DELADDR,
  RTM_DELLINK,
  RTM_NEWADDR,
  RTM_NEWLINK,
  RTM_NEWNEIGH,
  RTNLGRP_IPV6_IFADDR,
  RTNLGRP_LINK,
  RTNLGRP_NEIGH,
  SysError,
  watchNetlink,
} from '#sys';
import { RouterPresence } from './router-presence.ts';

export interface DiscoveryHooks {
  /** @param certain it says itself that it is a router. */
  onRouter(interfaceName: string, address: string, certain: boolean): void;
  onLinkDown(interfaceName: string): void;
  onLinkUp(interfaceName: string): void;
  /** IPv6 addresses of ours on these links changed. */
  onAddresses(): void;
}

/** Interfaces whose neighbours are looked for, and those that only matter to peers with a zone. */
function interfacesOf(config: SpeakerConfig): Map<string, { readonly unnumbered: boolean }> {
  const found = new Map<string, { readonly unnumbered: boolean }>();
  for (const peer of config.peers) {
    const { zone } = splitZone(peer.address);
    if (peer.interface !== undefined) found.set(peer.interface, { unnumbered: true });
    else if (zone !== undefined && !found.has(zone)) found.set(zone, { unnumbered: false });
  }
  return found;
}

export class Discovery {
  readonly #log: Logger;
  readonly #hooks: DiscoveryHooks;
  #wanted = new Map<string, { readonly unnumbered: boolean }>();
  /** Of the wanted interfaces, by index. */
  readonly #links = new Map<number, KernelLink>();
  readonly #present = new Map<string, RouterPresence>();
  /** Interfaces where advertising was refused: told once. */
  readonly #refused = new Set<string>();
  #watch: { close(): void } | undefined;
  #look: NodeJS.Immediate | undefined;
  #addressesChanged = false;

  constructor(log: Logger, hooks: DiscoveryHooks) {
    this.#log = log;
    this.#hooks = hooks;
  }

  /** Calls no hook before it returns. */
  configure(config: SpeakerConfig): void {
    const before = this.#wanted;
    this.#wanted = interfacesOf(config);
    for (const name of before.keys()) if (this.#wanted.get(name)?.unnumbered !== true) this.#leave(name);
    for (const [index, { name }] of this.#links) if (!this.#wanted.has(name)) this.#links.delete(index);
    if (this.#wanted.size === 0) {
      this.close();
      return;
    }
    this.#watch ??= watchNetlink({
      groups: [RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_IPV6_IFADDR],
      onMessage: (message) => this.#onMessage(message),
      onLost: () => this.#lookSoon(),
      onTurn: () => this.#onTurn(),
    });
    const same =
      before.size === this.#wanted.size &&
      [...before].every(([name, { unnumbered }]) => {
        return this.#wanted.get(name)?.unnumbered === unnumbered;
      });
    if (!same) this.#lookSoon();
  }

  close(): void {
    clearImmediate(this.#look);
    this.#look = undefined;
    this.#watch?.close();
    this.#watch = undefined;
    for (const name of [...this.#present.keys()]) this.#leave(name);
    this.#links.clear();
  }

  #lookSoon(): void {
    this.#look ??= setImmediate(() => {
      this.#look = undefined;
      if (this.#watch) this.#lookAtAll();
    });
  }
  #lookAtAll(): void {
    const netlink = new Netlink();
    try {
      const links = dumpLinks(netlink);
      const there = new Set(links.map((link) => link.index));
      for (const link of [...this.#links.values()]) if (!there.has(link.index)) this.#onLink(link, true);
      for (const link of links) this.#onLink(link, false);
      for (const neighbour of dumpNeighbours(netlink, 6)) this.#onNeighbour(neighbour);
    } finally {
      netlink.close();
    }
  }

  #onMessage(message: Parameters<typeof decodeLink>[0]): void {
    switch (message.type) {
      case RTM_NEWLINK:
      case RTM_DELLINK: {
        const link = decodeLink(message);
        if (link) this.#onLink(link, message.type === RTM_DELLINK);
        return;
      }
      case RTM_NEWNEIGH: {
        const neighbour = decodeNeighbour(message);
        if (neighbour) this.#onNeighbour(neighbour);
        return;
      }
      case RTM_NEWADDR:
      case RTM_DELADDR: {
        const address = decodeAddress(message);
        const link = address && this.#links.get(address.ifIndex);
        if (!link) return;
        this.#addressesChanged = true;
        const usable = message.type === RTM_NEWADDR && !address.tentative && isLinkLocal(address.address);
        if (usable) this.#present.get(link.name)?.announce();
      }
    }
  }
  #onTurn(): void {
    if (!this.#addressesChanged) return;
    this.#addressesChanged = false;
    this.#hooks.onAddresses();
  }

  #onLink(link: KernelLink, gone: boolean): void {
    const before = this.#links.get(link.index);
    if (before && (gone || before.name !== link.name)) {
      this.#links.delete(link.index);
      this.#down(before);
    }
    const wanted = this.#wanted.get(link.name);
    if (gone || !wanted) return;
    this.#links.set(link.index, link);
    const known = before?.name === link.name ? before : undefined;
    if (!isUsable(link)) {
      if (known && isUsable(known)) this.#down(known);
      return;
    }
    if (wanted.unnumbered) this.#join(link);
    if (!known || !isUsable(known)) this.#hooks.onLinkUp(link.name);
  }
  #down(link: KernelLink): void {
    this.#leave(link.name);
    if (isUsable(link)) this.#hooks.onLinkDown(link.name);
  }

  #onNeighbour({ ifIndex, address, router, usable }: KernelNeighbour): void {
    const link = this.#links.get(ifIndex);
    if (!link || !usable || !isLinkLocal(address) || this.#wanted.get(link.name)?.unnumbered !== true) return;
    this.#hooks.onRouter(link.name, address, router);
  }

  #join(link: KernelLink): void {
    if (this.#present.has(link.name)) return;
    const log = this.#log.child({ interface: link.name });
    try {
      const onRouter = (address: string): void => this.#hooks.onRouter(link.name, address, true);
      this.#present.set(link.name, new RouterPresence(link, log, onRouter));
      this.#refused.delete(link.name);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (this.#refused.has(link.name)) return;
      this.#refused.add(link.name);
      log.error(
        { error: errorText(error) },
        'cannot send and receive router advertisements: the peer must be known to the kernel, or connect by itself; NET_RAW is needed',
      );
    }
  }
  #leave(name: string): void {
    this.#present.get(name)?.close();
    this.#present.delete(name);
  }
}

function isUsable(link: KernelLink): boolean {
  return link.up && link.carrier;
}
