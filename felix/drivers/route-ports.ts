/** What the route side asks of the kernel. The agent hands in objects that satisfy it (`openRouteKernel`, `sysctlFiles`, `durableFile`). */
import type { Cidr, IpAddress, IpFamily } from '#kit';

export interface KernelLink {
  readonly index: number;
  readonly name: string;
  /** Administratively up. */
  readonly up: boolean;
  readonly carrier: boolean;
  /** `veth`, `bridge`, ...; empty for physical ones and loopback. */
  readonly kind: string;
}

export interface KernelAddress {
  readonly family: IpFamily;
  readonly ifIndex: number;
  readonly address: IpAddress;
  readonly prefixLength: number;
  /** 0 universe, 253 link, 254 host. */
  readonly scope: number;
  readonly tentative: boolean;
  /** Has a lifetime: from DHCP or router advertisements. */
  readonly dynamic: boolean;
}

interface KernelNextHop {
  readonly gateway?: IpAddress;
  readonly ifIndex: number;
  readonly onlink: boolean;
}

export interface KernelRoute {
  readonly family: IpFamily;
  readonly prefix: Cidr;
  readonly table: number;
  readonly protocol: number;
  readonly scope: number;
  readonly type: string;
  readonly metric: number;
  /** Next-hop object, 0 for none. */
  readonly nexthopId: number;
  readonly nextHops: readonly KernelNextHop[];
  readonly prefsrc?: IpAddress;
}

export interface KernelNexthop {
  readonly id: number;
  readonly protocol: number;
  /** 0 for a group. */
  readonly family: IpFamily | 0;
  readonly ifIndex: number;
  readonly gateway?: IpAddress;
  readonly onlink: boolean;
  readonly blackhole: boolean;
  /** Empty unless a group. */
  readonly group: readonly { readonly id: number; readonly weight: number }[];
}

export interface RouteSpec {
  readonly prefix: Cidr;
  readonly protocol: number;
  readonly scope?: number;
  readonly type?: 'unicast' | 'blackhole';
  readonly metric?: number;
  readonly nexthopId?: number;
  readonly ifIndex?: number;
  readonly prefsrc?: IpAddress;
}

type NexthopSpec = { readonly id: number; readonly protocol: number } & (
  | { readonly family: IpFamily; readonly ifIndex: number; readonly gateway?: IpAddress; readonly onlink?: boolean }
  /** Packets are dropped. A group may hold one such object, alone. */
  | { readonly family: IpFamily; readonly blackhole: true }
  | { readonly group: readonly { readonly id: number; readonly weight: number }[] }
);

export type RouteWrite =
  | { readonly op: 'nexthop'; readonly nexthop: NexthopSpec }
  | { readonly op: 'nexthopDelete'; readonly id: number }
  | { readonly op: 'route'; readonly route: RouteSpec; readonly mode: 'exclusive' | 'replace' }
  | { readonly op: 'routeDelete'; readonly route: RouteSpec }
  | { readonly op: 'linkDelete'; readonly index: number };

export interface WriteFailure {
  /** Position in the batch. */
  readonly index: number;
  /** Name of the errno. */
  readonly code: string;
  /** The kernel's words, or empty. */
  readonly text: string;
}

export type RouteEvent =
  | { readonly type: 'link'; readonly gone: boolean; readonly link: KernelLink }
  | { readonly type: 'address'; readonly gone: boolean; readonly address: KernelAddress }
  | { readonly type: 'route'; readonly gone: boolean; readonly route: KernelRoute }
  | { readonly type: 'nexthop'; readonly gone: boolean; readonly nexthop: KernelNexthop };

interface RouteFilter {
  readonly protocol?: number;
  readonly exceptProtocol?: number;
  readonly table?: number;
}

export interface RouteKernel {
  dumpLinks(): readonly KernelLink[];
  dumpAddresses(): readonly KernelAddress[];
  dumpNexthops(): readonly KernelNexthop[];
  dumpRoutes(family: IpFamily, filter: RouteFilter): readonly KernelRoute[];
  /** In slices between which the event loop turns: the table may change meanwhile. One at a time. */
  dumpRoutesSliced(family: IpFamily, filter: RouteFilter): Promise<readonly KernelRoute[]>;
  lookup(
    destination: IpAddress,
  ): { readonly ifIndex: number; readonly gateway?: IpAddress; readonly prefsrc?: IpAddress } | undefined;
  /** In order; a failing one does not stop those behind it. */
  write(batch: readonly RouteWrite[]): readonly WriteFailure[];
  /** Without blocking the thread; one at a time. */
  writeAsync(batch: readonly RouteWrite[]): Promise<readonly WriteFailure[]>;
  /** Events that its own writes did not cause. */
  watch(handlers: { onEvent(event: RouteEvent): void; onLost(): void; onTurn(): void }): { close(): void };
}

/** /proc/sys of the node's namespace; keys with slashes. */
export interface SysctlFiles {
  /** Undefined when there is no such key. */
  read(key: string): string | undefined;
  /** False when there is no such key. */
  write(key: string, value: string): boolean;
}

/** A durable text, whole or absent. */
export interface StateFile {
  read(): string | undefined;
  write(text: string): void;
  remove(): void;
}

export const TABLE_MAIN = 254;
