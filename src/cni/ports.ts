/**
 * What this folder needs of the rest of the agent and of the system. `#sys` has all of the system's part; src/agent/cni-wiring.ts puts it
 * into these shapes.
 */
import type { Cidr, IpAddress, IpFamily } from '#kit';
import type { PodObject, WorkloadEndpoint } from '#model';

/** The model: which pods there are. */
export interface PodSource {
  /**
   * Resolves once the Pod `namespace/name` is in the model, with that UID when one is given (a static pod's CNI UID is the hash of its
   * configuration: the annotation kubernetes.io/config.hash or config.mirror of its mirror pod). Rejects when `signal` aborts; never by itself.
   */
  wait(key: string, uid: string | undefined, signal: AbortSignal): Promise<PodObject>;
}

/**
 * Policy and conntrack of pods. An endpoint is known by its interface name: while a sandbox is replaced two may carry one pod's id.
 */
export interface EndpointDataplane {
  /** Resolves when what applies to the endpoint is in the kernel; it has no interface yet. Rejects when `signal` aborts or it cannot be. */
  attach(endpoint: WorkloadEndpoint, signal: AbortSignal): Promise<void>;
  /** The interface is gone; unknown endpoints are none. */
  detach(endpoint: WorkloadEndpoint): Promise<void>;
  /** Deletes every conntrack entry of these addresses, so that no flow of their last owner passes as established. */
  flushConntrack(addresses: readonly IpAddress[]): Promise<void>;
}

/** Owner of one descriptor. */
export interface Descriptor {
  readonly number: number;
  readonly closed: boolean;
  /** Hands it over: closing is the taker's business from now on. */
  take(): number;
  close(): void;
}

export interface Watcher {
  restart(events?: WatchEvents): void;
  close(): void;
}
export interface WatchEvents {
  readonly readable?: boolean;
  readonly writable?: boolean;
  readonly disconnect?: boolean;
}

/** AF_UNIX with credentials and descriptors. Results are >= 0 or -errno. */
export interface ShimTransport {
  listen(options: {
    readonly path: string;
    readonly onConnection: (
      connection: Descriptor,
      credentials: { readonly pid: number; readonly uid: number },
    ) => void;
    readonly onRefused: () => void;
  }): { close(): void };
  watch(fd: number, events: WatchEvents, onReady: (status: number, events: WatchEvents) => void): Watcher;
  /** `data` is valid until the next call. */
  receive(fd: number): {
    readonly result: number;
    readonly data: Buffer;
    readonly descriptors: readonly Descriptor[];
    readonly truncated: boolean;
  };
  send(fd: number, bytes: Buffer): number;
}

export interface LinkState {
  readonly index: number;
  readonly name: string;
  readonly up: boolean;
  readonly kind: string;
  readonly mac: string;
  readonly mtu: number;
}

export interface RequestFailure {
  /** Which message of the batch, from 0. */
  readonly index: number;
  /** Name of the errno, e.g. `EEXIST`. */
  readonly code: string;
  /** The kernel's words; may be empty. */
  readonly text: string;
}

/** Requests collect until `flush`, which runs them in order; a failing one does not stop those behind it. */
export interface NetlinkRequests {
  addVeth(options: {
    readonly name: string;
    readonly peerName: string;
    readonly mac: Uint8Array;
    readonly peerMac: Uint8Array;
    readonly peerNetns: number;
    readonly mtu?: number;
  }): void;
  changeLink(change: {
    readonly index?: number;
    readonly byName?: string;
    readonly up?: boolean;
    /** Strict rp_filter, forwarding and proxy ARP. */
    readonly hostEnd?: boolean;
    /** No IPv6 link-local address. EAFNOSUPPORT where the kernel has no IPv6. */
    readonly noIpv6LinkLocal?: boolean;
  }): void;
  deleteLink(index: number): void;
  addAddress(address: { readonly ifIndex: number; readonly address: IpAddress; readonly prefixLength: number }): void;
  setNeighbour(neighbour: { readonly ifIndex: number; readonly address: IpAddress; readonly mac: Uint8Array }): void;
  addRoute(route: {
    readonly prefix: Cidr;
    readonly protocol: number;
    readonly scope?: number;
    readonly ifIndex: number;
    readonly gateway?: IpAddress;
  }): void;
  flush(): readonly RequestFailure[];
  /** Off the main thread; nothing else may use the socket meanwhile. */
  flushAsync(): Promise<readonly RequestFailure[]>;
  link(name: string): LinkState | undefined;
  links(): readonly LinkState[];
  addresses(): readonly { readonly ifIndex: number; readonly address: IpAddress; readonly prefixLength: number }[];
  /** Packets to this address are taken. */
  isLocal(address: IpAddress): boolean;
  routes(family: IpFamily): readonly {
    readonly prefix: Cidr;
    readonly protocol: number;
    readonly nextHops: readonly { readonly ifIndex: number; readonly gateway?: IpAddress }[];
  }[];
  close(): void;
}

export interface NetworkSystem {
  /** A socket in the agent's namespace. */
  openHost(): NetlinkRequests;
  /** Takes over a NETLINK_ROUTE socket that the shim made inside a pod. */
  openPod(socket: Descriptor): NetlinkRequests;
  /** Undefined when these are a network namespace that is not the agent's and a NETLINK_ROUTE socket in it; else what is wrong. */
  misfit(netns: Descriptor, socket: Descriptor): string | undefined;
}
