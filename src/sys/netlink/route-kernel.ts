import type { IpAddress, IpFamily } from '#kit';
import { decodeAddress, dumpAddresses, type KernelAddress, RTM_DELADDR, RTM_NEWADDR } from './address.ts';
import type { NetlinkMessage } from './codec.ts';
import {
  RTNLGRP_IPV4_IFADDR,
  RTNLGRP_IPV4_ROUTE,
  RTNLGRP_IPV6_IFADDR,
  RTNLGRP_IPV6_ROUTE,
  RTNLGRP_LINK,
  RTNLGRP_NEXTHOP,
  watchNetlink,
} from './events.ts';
import { decodeLink, deleteLink, dumpLinks, type KernelLink, RTM_DELLINK, RTM_NEWLINK } from './link.ts';
import {
  decodeNexthop,
  deleteNexthop,
  dumpNexthops,
  type KernelNexthop,
  type NexthopSpec,
  RTM_DELNEXTHOP,
  RTM_NEWNEXTHOP,
  replaceNexthop,
} from './nexthop.ts';
import {
  addRoute,
  decodeRoute,
  deleteRoute,
  dumpRoutes,
  dumpRoutesSliced,
  type KernelRoute,
  lookupRoute,
  type RouteFilter,
  type RouteSpec,
  RTM_DELROUTE,
  RTM_NEWROUTE,
} from './route.ts';
import { type BatchFailure, Netlink } from './socket.ts';

export type RouteWrite =
  | { readonly op: 'nexthop'; readonly nexthop: NexthopSpec }
  | { readonly op: 'nexthopDelete'; readonly id: number }
  | { readonly op: 'route'; readonly route: RouteSpec; readonly mode: 'exclusive' | 'replace' }
  | { readonly op: 'routeDelete'; readonly route: RouteSpec }
  | { readonly op: 'linkDelete'; readonly index: number };

export type RouteEvent =
  | { readonly type: 'link'; readonly gone: boolean; readonly link: KernelLink }
  | { readonly type: 'address'; readonly gone: boolean; readonly address: KernelAddress }
  | { readonly type: 'route'; readonly gone: boolean; readonly route: KernelRoute }
  | { readonly type: 'nexthop'; readonly gone: boolean; readonly nexthop: KernelNexthop };

export interface RouteWatchHandlers {
  onEvent(event: RouteEvent): void;
  /** Events were lost: dump everything. */
  onLost(): void;
  /** After a turn that brought events. */
  onTurn(): void;
}

/** Routes, next hops, links and addresses of one namespace, as one object of operations. */
export interface RouteKernel {
  dumpLinks(): KernelLink[];
  dumpAddresses(): KernelAddress[];
  dumpNexthops(): KernelNexthop[];
  dumpRoutes(family: IpFamily, filter: RouteFilter): KernelRoute[];
  /** In slices between which the event loop turns. One at a time. */
  dumpRoutesSliced(family: IpFamily, filter: RouteFilter): Promise<KernelRoute[]>;
  lookup(destination: IpAddress): ReturnType<typeof lookupRoute>;
  /** One send, in order; a failing message does not stop those behind it. */
  write(batch: readonly RouteWrite[]): BatchFailure[];
  /** The same from the thread pool, for what blocks long. One at a time. */
  writeAsync(batch: readonly RouteWrite[]): Promise<BatchFailure[]>;
  /** Events that this object's own writes did not cause. */
  watch(handlers: RouteWatchHandlers): { close(): void };
  close(): void;
}

/** Opens the sockets in this thread's namespace. */
export function openRouteKernel(options: { readonly eventBufferBytes?: number } = {}): RouteKernel {
  const sync = new Netlink();
  const pooled = new Netlink();
  const sliced = new Netlink();
  const ownPorts = new Set([sync.port, pooled.port]);
  return {
    dumpLinks: () => dumpLinks(sync),
    dumpAddresses: () => dumpAddresses(sync),
    dumpNexthops: () => dumpNexthops(sync),
    dumpRoutes: (family, filter) => dumpRoutes(sync, family, filter),
    dumpRoutesSliced: (family, filter) => dumpRoutesSliced(sliced, family, filter),
    lookup: (destination) => lookupRoute(sync, destination),
    write(batch) {
      for (const write of batch) append(sync, write);
      return sync.flush();
    },
    writeAsync(batch) {
      for (const write of batch) append(pooled, write);
      return pooled.flushAsync();
    },
    watch(handlers) {
      return watchNetlink({
        groups: [
          RTNLGRP_LINK,
          RTNLGRP_IPV4_IFADDR,
          RTNLGRP_IPV6_IFADDR,
          RTNLGRP_IPV4_ROUTE,
          RTNLGRP_IPV6_ROUTE,
          RTNLGRP_NEXTHOP,
        ],
        receiveBufferBytes: options.eventBufferBytes ?? 16 << 20,
        onMessage(message) {
          if (ownPorts.has(message.port)) return;
          const event = decodeEvent(message);
          if (event) handlers.onEvent(event);
        },
        onLost: () => handlers.onLost(),
        onTurn: () => handlers.onTurn(),
      });
    },
    close() {
      sync.close();
      pooled.close();
      sliced.close();
    },
  };
}

function append(netlink: Netlink, write: RouteWrite): void {
  switch (write.op) {
    case 'nexthop':
      replaceNexthop(netlink, write.nexthop);
      return;
    case 'nexthopDelete':
      deleteNexthop(netlink, write.id);
      return;
    case 'route':
      addRoute(netlink, write.route, write.mode);
      return;
    case 'routeDelete':
      deleteRoute(netlink, write.route);
      return;
    case 'linkDelete':
      deleteLink(netlink, write.index);
      return;
  }
}

function decodeEvent(message: NetlinkMessage): RouteEvent | undefined {
  switch (message.type) {
    case RTM_NEWLINK:
    case RTM_DELLINK: {
      const link = decodeLink(message);
      return link && { type: 'link', gone: message.type === RTM_DELLINK, link };
    }
    case RTM_NEWADDR:
    case RTM_DELADDR: {
      const address = decodeAddress(message);
      return address && { type: 'address', gone: message.type === RTM_DELADDR, address };
    }
    case RTM_NEWROUTE:
    case RTM_DELROUTE: {
      const route = decodeRoute(message);
      return route && { type: 'route', gone: message.type === RTM_DELROUTE, route };
    }
    case RTM_NEWNEXTHOP:
    case RTM_DELNEXTHOP:
      return { type: 'nexthop', gone: message.type === RTM_DELNEXTHOP, nexthop: decodeNexthop(message) };
    default:
      return undefined;
  }
}
