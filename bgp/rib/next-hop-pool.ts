/**
 * Next hops and sets of them (ECMP) as small integers. There are few of either, so they are never freed: a router has
 * tens, and a fabric as many sets as it has ways to lose links.
 */
import { formatIp, type IpAddress } from '#kit';

/** The next hop of what we originate. */
export const noNextHop = 0;

export class NextHopPool {
  /** By id: the address bytes as received: 4, 16, or 32 (global then link-local). */
  readonly bytes: Uint8Array[] = [new Uint8Array(0)];
  readonly addresses: IpAddress[] = ['' as IpAddress];
  /** Cost to reach it, injected; 0 by default (RFC 4271 9.1.2.2 e). `unreachable` takes its routes out. */
  readonly igpMetric: number[] = [0];
  readonly #ids = new Map<string, number>();
  #lastText = '';
  #lastId = -1;

  /** @param text the bytes as a latin1 string: the caller has it at hand. */
  intern(text: string, bytes: Uint8Array, start: number, end: number): number {
    if (text === this.#lastText) return this.#lastId;
    let id = this.#ids.get(text);
    if (id === undefined) {
      id = this.bytes.length;
      const copy = bytes.slice(start, end);
      this.bytes.push(copy);
      // 32 bytes: the global address. A global of `::` means link-local alone (seen in the wild).
      const zero = copy.length === 32 && copy.subarray(0, 16).every((b) => b === 0);
      this.addresses.push(formatIp(copy, zero ? 16 : 0, copy.length === 4 ? 4 : 16));
      this.igpMetric.push(0);
      this.#ids.set(text, id);
    }
    this.#lastText = text;
    this.#lastId = id;
    return id;
  }
  /** Ids of every next hop with this address. */
  withAddress(address: string): number[] {
    return this.addresses.flatMap((a, id) => (a === address ? [id] : []));
  }
}

/** A metric that makes every path through the next hop unusable. */
export const unreachable = 0xffffffff;

/** Sets of next hops; set 0 is empty. */
export class NextHopSetPool {
  readonly members: (readonly number[])[] = [[]];
  readonly #ids = new Map<string, number>([['', 0]]);
  readonly #single: number[] = [];

  /** @param ids sorted, distinct. */
  intern(ids: readonly number[]): number {
    if (ids.length === 1) {
      const known = this.#single[ids[0]!];
      if (known !== undefined) return known;
    }
    const key = ids.join();
    let set = this.#ids.get(key);
    if (set === undefined) {
      set = this.members.length;
      this.members.push([...ids]);
      this.#ids.set(key, set);
      if (ids.length === 1) this.#single[ids[0]!] = set;
    }
    return set;
  }
}
