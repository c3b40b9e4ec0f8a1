/** Ways of the kernel as filters ask for them: which interface a next hop leads out by. Pure. */
import type { InterfaceWay } from '#bgp';
import { type Cidr, formatIp, maskBytes, type ParsedCidr, parseCidr } from '#kit';

/** Ways that are looked at; of more the longest prefixes are left out. */
export const waysMax = 4096;

export interface KernelWay {
  readonly prefix: Cidr;
  /** Empty: several, or a blackhole. */
  readonly device: string;
}

export interface InterfaceWays {
  /** Without those that say what a shorter one around them says already. */
  readonly ways: readonly InterfaceWay[];
  /** How many were left out. */
  readonly omitted: number;
}

export function interfaceWays(kernel: Iterable<KernelWay>): InterfaceWays {
  const all = [...kernel]
    .map(({ prefix, device }) => ({ prefix, device, parsed: parseCidr(prefix)! }))
    .sort((a, b) => a.parsed.length - b.parsed.length || (a.prefix < b.prefix ? -1 : 1));
  const ways: InterfaceWay[] = [];
  const kept = new Map<string, string>();
  const lengths = { 4: new Set<number>(), 6: new Set<number>() };
  for (const { prefix, device, parsed } of all.slice(0, waysMax)) {
    if (around(parsed, lengths[parsed.family], kept) === device) continue;
    ways.push({ cidr: prefix, interface: device });
    kept.set(prefix, device);
    lengths[parsed.family].add(parsed.length);
  }
  return { ways, omitted: Math.max(0, all.length - waysMax) };
}

/** What the longest of the prefixes around it says; nothing holds it: no interface. */
function around({ bytes }: ParsedCidr, lengths: ReadonlySet<number>, kept: ReadonlyMap<string, string>): string {
  // Shorter prefixes come first, so that the last length is the longest.
  for (const length of [...lengths].reverse()) {
    const device = kept.get(`${formatIp(maskBytes(bytes, length))}/${length}`);
    if (device !== undefined) return device;
  }
  return '';
}
