/**
 * Next hops and sets of them (ECMP) as small integers. There are few of either: a router has tens, and a fabric as many sets
 * as it has ways to lose links. So they carry no counts; when there are many all the same (a peer that makes them up), the
 * holders mark what they use and `sweep` frees the rest.
 */
import { formatIp, type IpAddress, isLinkLocal, type ScopedAddress, scoped } from '#kit';
import { grow } from './arrays.ts';

/** The next hop of what we originate. */
export const noNextHop = 0;

export class NextHopPool {
  /** By id: the address bytes as received: 4, 16, or 32 (global then link-local). */
  readonly bytes: Uint8Array[] = [new Uint8Array(0)];
  /** What of it may be passed on to other routers: 4 or 16 bytes; undefined for a link-local address, which only its link knows. */
  readonly onward: (Uint8Array | undefined)[] = [undefined];
  /** Where packets go. */
  readonly addresses: (IpAddress | ScopedAddress)[] = ['' as IpAddress];
  /** Cost to reach it, injected; 0 by default (RFC 4271 9.1.2.2 e). `unreachable` takes its routes out. */
  readonly igpMetric: number[] = [0];
  readonly #ids = new Map<string, number>();
  readonly #free: number[] = [];
  #lastText = '';
  #lastId = noNextHop;

  /**
   * @param octets 4, 16, or 32 bytes (global then link-local) as a latin1 string: the caller has it at hand.
   * @param link the interface of the link-local address, which is the one that packets go to; empty: they go to the first address.
   */
  intern(octets: string, bytes: Uint8Array, start: number, end: number, link = ''): number {
    const text = link === '' ? octets : `${octets}%${link}`;
    if (text === this.#lastText) return this.#lastId;
    let id = this.#ids.get(text);
    if (id === undefined) {
      id = this.#free.pop() ?? this.addresses.length;
      const copy = bytes.slice(start, end);
      const size = copy.length;
      const first = formatIp(copy, 0, size === 4 ? 4 : 16);
      this.bytes[id] = copy;
      this.onward[id] = isLinkLocal(first) ? undefined : copy.subarray(0, 16);
      this.addresses[id] = link === '' ? first : scoped(size === 32 ? formatIp(copy, 16, 16) : first, link);
      this.igpMetric[id] = 0;
      this.#ids.set(text, id);
    }
    this.#lastText = text;
    this.#lastId = id;
    return id;
  }
  /** Ids are below it. */
  get limit(): number {
    return this.addresses.length;
  }
  /** Number of next hops held, used or not. */
  get size(): number {
    return this.#ids.size;
  }
  /** Frees all that are not marked. */
  sweep(marks: HopMarks): void {
    for (const [text, id] of this.#ids) {
      if (marks.hops[id] === 1) continue;
      this.#ids.delete(text);
      this.addresses[id] = '' as IpAddress;
      this.onward[id] = undefined;
      this.#free.push(id);
    }
    this.#lastText = '';
    this.#lastId = noNextHop;
  }
  /** Ids of every next hop with this address. */
  withAddress(address: string): number[] {
    return this.addresses.flatMap((a, id) => (a === address ? [id] : []));
  }
}

/** What is in use, as its holders say: 1 by id. A store for each of a million paths: to put them in sets would stall the loop. */
export interface HopMarks {
  readonly hops: Uint8Array;
  readonly sets: Uint8Array;
}

/** A metric that makes every path through the next hop unusable. */
export const unreachable = 0xffffffff;

/** The set of a route whose packets are dropped (RFC 7999); it has no members, as the set 0, which is that of no route. */
export const discardSet = 1;

/** Sets of next hops, with their shares of the traffic where those differ. */
export class NextHopSetPool {
  readonly members: (readonly number[])[] = [[], []];
  /** By member, 1..256; undefined: equal shares. */
  readonly weights: (readonly number[] | undefined)[] = [undefined, undefined];
  readonly #ids = new Map<string, number>([['', 0]]);
  /** Of one next hop alone, by its id; 0: there is none. */
  #single = new Int32Array(16);
  readonly #free: number[] = [];

  get size(): number {
    return this.#ids.size;
  }
  /** Ids are below it. */
  get limit(): number {
    return this.members.length;
  }

  /** @param hops the first `count` are the ids: sorted, distinct. @param weights by id; empty: equal ones. */
  intern(hops: Int32Array, count: number, weights: readonly number[]): number {
    if (count === 0) return 0;
    const first = hops[0]!;
    if (count === 1 && first < this.#single.length && this.#single[first] !== 0) return this.#single[first]!;
    return this.#find(Array.from(hops.subarray(0, count)), weights);
  }

  #find(ids: readonly number[], weights: readonly number[]): number {
    const key = weights.length === 0 ? ids.join() : `${ids.join()}*${weights.join()}`;
    let set = this.#ids.get(key);
    if (set === undefined) {
      set = this.#free.pop() ?? this.members.length;
      this.members[set] = ids;
      this.weights[set] = weights.length === 0 ? undefined : [...weights];
      this.#ids.set(key, set);
      if (ids.length === 1) {
        this.#single = grow(this.#single, ids[0]! + 1);
        this.#single[ids[0]!] = set;
      }
    }
    return set;
  }
  /** Frees all that are not marked, and marks the next hops of those that are. */
  sweep(marks: HopMarks): void {
    for (const [key, set] of this.#ids) {
      const members = this.members[set]!;
      if (set === 0 || marks.sets[set] === 1) {
        for (const hop of members) marks.hops[hop] = 1;
        continue;
      }
      this.#ids.delete(key);
      if (members.length === 1) this.#single[members[0]!] = 0;
      this.members[set] = [];
      this.#free.push(set);
    }
  }
}
