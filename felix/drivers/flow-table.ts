/** Tracked connections, as the flow cutter wants them; src/sys has the kernel's. */
import type { IpAddress } from '#kit';

export interface TrackedFlow {
  /** As it was before any source NAT. */
  readonly source: IpAddress;
  /** As it is behind any destination NAT. */
  readonly destination: IpAddress;
  /** Its source is an address of this machine. */
  readonly fromHost: boolean;
  /** IP protocol number. */
  readonly protocol: number;
  /** 0 for protocols without ports. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Of ICMP and ICMPv6. */
  readonly icmp?: { readonly type: number; readonly code: number };
  /** The connection's mark. */
  readonly mark: number;
}

export interface FlowTable<F extends TrackedFlow = TrackedFlow> {
  /**
   * Flows whose source or destination is one of `addresses`, some hundreds at a time; one between two of them may come twice, and is then as it is
   * by then. One scan at a time.
   */
  scan(addresses: ReadonlySet<IpAddress>): AsyncIterable<F[]>;
  /** Bits under `mask` become those of `value`. Returns how many were still there. */
  mark(flows: readonly F[], mark: { readonly value: number; readonly mask: number }): number;
}
