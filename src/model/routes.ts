/** What crosses from the speaker to the route programmer. */
import type { Cidr, IpAddress, ScopedAddress } from '#kit';

/** A route as BGP chose it. Several next hops: equal-cost paths, sorted, distinct. They resolve recursively. */
export interface LearnedRoute {
  readonly prefix: Cidr;
  readonly nextHops: readonly (IpAddress | ScopedAddress)[];
  /** Shares of the traffic by next hop, 1..256; absent: equal ones. */
  readonly weights?: readonly number[];
  /** Packets to it are dropped; there are no next hops then. */
  readonly blackhole?: true;
}

/** Changes in order; `withdraw` names prefixes. */
export interface LearnedRouteDelta {
  readonly upsert: readonly LearnedRoute[];
  readonly withdraw: readonly Cidr[];
}
