import { type Cidr, cidrContains, formatIp, type IpAddress, parseIp } from '#kit';

/** The address of a prefix that holds one alone, as sets of Calico's selectors have pods; other text as it is. */
export function hostOf(prefix: string): string {
  return prefix.replace(prefix.includes(':') ? /\/128$/ : /\/32$/, '');
}

/** More prefixes than these are looked for by every length that they may have, instead of one by one. */
const walkedMax = 4;
/** Of so many addresses what covers them is kept: a packet asks many sets of its two. */
const coveringsKept = 4;
const coverings = new Map<IpAddress, readonly string[]>();

/** Whether one of `prefixes` (canonical) holds `address`. Takes 33 (IPv6: 129) lookups at most, however many there are. */
export function anyHolds(prefixes: ReadonlySet<string>, address: IpAddress): boolean {
  if (prefixes.size <= walkedMax) return prefixes.values().some((prefix) => cidrContains(prefix as Cidr, address));
  return coveringOf(address).some((prefix) => prefixes.has(prefix));
}

/** Every prefix that holds the address, the longest first. */
function coveringOf(address: IpAddress): readonly string[] {
  const known = coverings.get(address);
  if (known) return known;
  const found: string[] = [];
  const bytes = parseIp(address)!;
  for (let length = 8 * bytes.length; length > 0; length--) {
    found.push(`${formatIp(bytes)}/${length}`);
    // The last bit of this length is a host bit of the next.
    const at = (length - 1) >> 3;
    bytes[at] = bytes[at]! & ~(0x80 >> ((length - 1) & 7));
  }
  found.push(`${formatIp(bytes)}/0`);
  if (coverings.size >= coveringsKept) coverings.delete(coverings.keys().next().value!);
  coverings.set(address, found);
  return found;
}
