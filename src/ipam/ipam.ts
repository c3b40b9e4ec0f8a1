import { type Cidr, type Clock, type IpAddress, PoplinError, toCidr } from '#kit';
import { createPool, type Pool } from './pool.ts';

export type IpamFailure =
  /** The node has no podCIDR (yet). */
  | { readonly code: 'NO_POOL' }
  | {
      readonly code: 'POOL_EXHAUSTED';
      readonly pool: Cidr;
      /** Addresses that the pool can give out, all in use. */
      readonly size: number;
    };

/** An address could not be had now; it may be later. */
export class IpamError extends PoplinError<IpamFailure> {}

/** How long a freed address rests, so that what still flies to its last owner does not reach the next one. */
export const ADDRESS_REST_MS = 30_000;

export interface IpamOptions {
  /** Milliseconds; default ADDRESS_REST_MS. */
  readonly restMs?: number;
}

export interface PoolUsage {
  readonly cidr: Cidr;
  readonly size: number;
  readonly used: number;
  readonly resting: number;
}

/**
 * Addresses of a node's pods, one of each family that the node has a podCIDR for. In memory: whoever uses it makes each answer durable
 * before passing it on, and at start adopts what it finds on disk before it allocates.
 */
export interface Ipam {
  /** The node's podCIDRs, at most one of each family. What is allocated stays so, even outside of the new pools. */
  setPools(podCIDRs: readonly Cidr[]): void;
  /** One address of every pool for `owner`, or none at all. @throws IpamError. An owner that has addresses is a programmer's error. */
  allocate(owner: string): readonly IpAddress[];
  /** Addresses that `owner` has already, found on disk; they may lie outside of every pool. Returns those that another owner holds. */
  adopt(owner: string, addresses: readonly IpAddress[]): readonly IpAddress[];
  /** Frees what `owner` has; unknown owners are none. The addresses rest for `restMs` (default: the whole rest). */
  release(owner: string, restMs?: number): void;
  /** Puts addresses to rest that nobody owns, found on disk as freed lately. */
  rest(addresses: readonly IpAddress[], restMs: number): void;
  addressesOf(owner: string): readonly IpAddress[];
  usage(): readonly PoolUsage[];
}

export interface IpamDeps {
  readonly clock: Clock;
  /** Somebody still speaks of the address as a pod's (its Pod object is not gone): given out only when nothing else is left. */
  readonly spokenOf?: (address: IpAddress) => boolean;
}

export function createIpam(deps: IpamDeps, options: IpamOptions = {}): Ipam {
  const restMs = options.restMs ?? ADDRESS_REST_MS;
  let pools: readonly Pool[] = [];
  const addressesByOwner = new Map<string, readonly IpAddress[]>();
  const ownerByAddress = new Map<IpAddress, string>();
  /** Outlives a change of pools, so that one taken back and given again still knows them. */
  const restsUntilMs = new Map<IpAddress, number>();

  const wake = (): void => {
    const nowMs = deps.clock.nowMs();
    for (const [address, untilMs] of restsUntilMs) if (untilMs <= nowMs) restsUntilMs.delete(address);
    for (const pool of pools) pool.wake(nowMs);
  };
  const own = (owner: string, addresses: readonly IpAddress[]): void => {
    addressesByOwner.set(owner, addresses);
    for (const address of addresses) {
      ownerByAddress.set(address, owner);
      restsUntilMs.delete(address);
    }
  };
  const putToRest = (address: IpAddress, forMs: number): void => {
    const untilMs = deps.clock.nowMs() + forMs;
    restsUntilMs.set(address, untilMs);
    for (const pool of pools) pool.release(address, untilMs);
  };

  return {
    setPools(podCIDRs) {
      const wanted = podCIDRs.map((text) => {
        const cidr = toCidr(text);
        if (!cidr) throw new Error(`podCIDR ${text} is no prefix: mend spec.podCIDRs of the Node`);
        return cidr;
      });
      const families = new Set(wanted.map((cidr) => cidr.includes(':')));
      if (families.size < wanted.length)
        throw new Error(`podCIDRs ${wanted.join(', ')}: at most one of each family is possible`);
      pools = wanted.map(
        (cidr) => pools.find((pool) => pool.cidr === cidr) ?? filledPool(cidr, ownerByAddress, restsUntilMs),
      );
    },
    allocate(owner) {
      if (addressesByOwner.has(owner)) throw new Error(`${owner} has addresses already`);
      if (pools.length === 0)
        throw new IpamError('the node has no podCIDR: set spec.podCIDRs of the Node', { code: 'NO_POOL' });
      wake();
      const full = pools.find((pool) => pool.used >= pool.size);
      if (full) {
        const text = `address pool ${full.cidr} is exhausted: all ${full.size} addresses are in use; delete pods or give the node a larger podCIDR`;
        throw new IpamError(text, { code: 'POOL_EXHAUSTED', pool: full.cidr, size: full.size });
      }
      const taken = pools.map((pool) => pool.take(deps.spokenOf ?? (() => false)));
      own(owner, taken);
      return taken;
    },
    adopt(owner, addresses) {
      const conflicts = addresses.filter((address) => (ownerByAddress.get(address) ?? owner) !== owner);
      const free = addresses.filter((address) => !conflicts.includes(address));
      for (const address of free) for (const pool of pools) pool.reserve(address);
      own(owner, free);
      return conflicts;
    },
    release(owner, forMs = restMs) {
      const addresses = addressesByOwner.get(owner) ?? [];
      addressesByOwner.delete(owner);
      for (const address of addresses) {
        ownerByAddress.delete(address);
        putToRest(address, forMs);
      }
    },
    rest(addresses, forMs) {
      for (const address of addresses) {
        if (ownerByAddress.has(address)) continue;
        // Through use into rest, the one way a pool knows.
        for (const pool of pools) pool.reserve(address);
        putToRest(address, Math.min(forMs, restMs));
      }
    },
    addressesOf: (owner) => addressesByOwner.get(owner) ?? [],
    usage: () => {
      wake();
      return pools.map(({ cidr, size, used, resting }) => ({ cidr, size, used, resting }));
    },
  };
}

function filledPool(
  cidr: Cidr,
  ownerByAddress: ReadonlyMap<IpAddress, string>,
  restsUntilMs: ReadonlyMap<IpAddress, number>,
): Pool {
  const pool = createPool(cidr);
  for (const address of ownerByAddress.keys()) pool.reserve(address);
  // In order of release, which is the order of the map.
  for (const [address, untilMs] of restsUntilMs) if (pool.reserve(address)) pool.release(address, untilMs);
  return pool;
}
