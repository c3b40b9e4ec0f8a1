import { type Cidr, familyOf, formatIp, type IpAddress, type IpFamily, maskBytes, parseIp } from '#kit';

/** Length of canonical prefix text. */
function prefixLength(prefix: Cidr): number {
  return Number(prefix.slice(prefix.lastIndexOf('/') + 1));
}

/** The prefix of that length around an address. */
function prefixAround(bytes: Uint8Array, length: number): Cidr {
  return `${formatIp(maskBytes(bytes, length))}/${length}` as Cidr;
}

/** Then all are forgotten: some 10 MB. */
const ADDRESSES_REMEMBERED_MAX = 50_000;

/** Prefix lengths in use, each with a count, longest first. */
export class PrefixLengths {
  readonly #counts: Readonly<Record<IpFamily, Map<number, number>>> = { 4: new Map(), 6: new Map() };
  readonly #sorted: Record<IpFamily, number[]> = { 4: [], 6: [] };

  /** Address -> prefixes, and the lengths that they were made for. */
  readonly #around = new Map<IpAddress, { readonly lengths: readonly number[]; readonly prefixes: readonly Cidr[] }>();

  add(prefix: Cidr): void {
    const family = familyOf(prefix);
    const length = prefixLength(prefix);
    const count = this.#counts[family].get(length) ?? 0;
    this.#counts[family].set(length, count + 1);
    if (count === 0) this.#sorted[family] = [...this.#counts[family].keys()].sort((a, b) => b - a);
  }
  remove(prefix: Cidr): void {
    const family = familyOf(prefix);
    const length = prefixLength(prefix);
    const count = this.#counts[family].get(length) ?? 0;
    if (count > 1) this.#counts[family].set(length, count - 1);
    else if (this.#counts[family].delete(length)) {
      this.#sorted[family] = this.#sorted[family].filter((other) => other !== length);
    }
  }

  /** The prefixes around an address of every length in use, longest first; undefined when it is not an address. */
  around(address: IpAddress): readonly Cidr[] | undefined {
    const sorted = this.#sorted[familyOf(address)];
    const known = this.#around.get(address);
    if (known?.lengths === sorted) return known.prefixes;
    const bytes = parseIp(address);
    if (!bytes) return undefined;
    if (this.#around.size >= ADDRESSES_REMEMBERED_MAX) this.#around.clear();
    const prefixes = sorted.map((length) => prefixAround(bytes, length));
    this.#around.set(address, { lengths: sorted, prefixes });
    return prefixes;
  }
}

/**
 * Which watched addresses lie within a prefix, at O(1) a question: every address stands under each of the lengths that are
 * ever asked for.
 */
export class AddressIndex {
  readonly #addresses: Readonly<Record<IpFamily, Map<IpAddress, Uint8Array>>> = { 4: new Map(), 6: new Map() };
  readonly #lengths: Readonly<Record<IpFamily, Set<number>>> = { 4: new Set(), 6: new Set() };
  readonly #within = new Map<Cidr, Set<IpAddress>>();

  add(address: IpAddress): void {
    const family = familyOf(address);
    if (this.#addresses[family].has(address)) return;
    const bytes = parseIp(address)!;
    this.#addresses[family].set(address, bytes);
    for (const length of this.#lengths[family]) this.#file(address, bytes, length);
  }
  delete(address: IpAddress): void {
    const family = familyOf(address);
    const bytes = this.#addresses[family].get(address);
    if (!bytes) return;
    this.#addresses[family].delete(address);
    for (const length of this.#lengths[family]) {
      const prefix = prefixAround(bytes, length);
      const within = this.#within.get(prefix);
      within?.delete(address);
      if (within?.size === 0) this.#within.delete(prefix);
    }
  }
  within(prefix: Cidr): Iterable<IpAddress> {
    const family = familyOf(prefix);
    const length = prefixLength(prefix);
    if (!this.#lengths[family].has(length)) {
      this.#lengths[family].add(length);
      for (const [address, bytes] of this.#addresses[family]) this.#file(address, bytes, length);
    }
    return this.#within.get(prefix) ?? [];
  }

  #file(address: IpAddress, bytes: Uint8Array, length: number): void {
    const prefix = prefixAround(bytes, length);
    const within = this.#within.get(prefix);
    if (within) within.add(address);
    else this.#within.set(prefix, new Set([address]));
  }
}
