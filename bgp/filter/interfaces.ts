/** Which interface an address leads out by, by the longest of many prefixes. */
import { parseCidr, samePrefix } from '#kit';
import type { InterfaceWay } from './types.ts';

/**
 * A walk over the ways, longest first, for each array of bytes once: next hops are few, and each is asked about with every attribute set.
 *
 * @returns empty for an address (0, 4 or 16 bytes) that no way holds. @throws RangeError when one is no prefix.
 */
export function interfaceOf(ways: readonly InterfaceWay[]): (address: Uint8Array) => string {
  const parsed = ways.map((way) => {
    const prefix = parseCidr(way.cidr);
    if (!prefix) throw new RangeError(`${way.cidr} is not a prefix`);
    return { ...prefix, name: way.interface };
  });
  // Stable: of equal prefixes the first stays in front.
  parsed.sort((a, b) => b.length - a.length);
  const find = (address: Uint8Array): string => {
    for (const { bytes, length, name } of parsed) {
      if (bytes.length === address.length && samePrefix(bytes, address, length)) return name;
    }
    return '';
  };
  const known = new WeakMap<Uint8Array, string>();
  return (address) => {
    let name = known.get(address);
    if (name === undefined) {
      name = find(address);
      known.set(address, name);
    }
    return name;
  };
}
