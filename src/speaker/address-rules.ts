/** What the transport must know of who connects, by address: peers first, then the range with the longest prefix. Pure. */
import type { PeerConfig, PeerRange } from '#bgp';
import { type IpFamily, type ParsedCidr, parseCidr, parseIp, samePrefix, splitZone } from '#kit';

export interface AddressRule {
  /** What a TCP-MD5 key is set for: an address without zone, or a prefix. */
  readonly subject: string;
  readonly password?: string;
  readonly ttlSecurityHops?: number;
}

export interface RuleList {
  /** @param remoteAddress with its zone where it is link-local. */
  of(remoteAddress: string): AddressRule | undefined;
  /**
   * TCP-MD5 keys of a family: subject -> key. The kernel takes the longest prefix that matches *and has a key*, so that an address without one
   * inside a range that has one is held to the range's.
   */
  keys(family: IpFamily): ReadonlyMap<string, string>;
  /** Link-local addresses that stand on several interfaces with different passwords: a key knows no interface. */
  readonly ambiguous: readonly string[];
}

export function addressRules(peers: readonly PeerConfig[], ranges: readonly PeerRange[]): RuleList {
  const byAddress = new Map<string, AddressRule>();
  const keys = { 4: new Map<string, string>(), 6: new Map<string, string>() };
  const ambiguous: string[] = [];
  for (const peer of peers) {
    // A peer of a range is its range's affair, one that is not found yet nobody's.
    if (peer.range !== undefined || peer.address === '') continue;
    const subject = splitZone(peer.address).address;
    byAddress.set(peer.address, rule(subject, peer));
    if (peer.password === undefined) continue;
    const ofFamily = keys[subject.includes(':') ? 6 : 4];
    if (ofFamily.has(subject) && ofFamily.get(subject) !== peer.password) ambiguous.push(subject);
    ofFamily.set(subject, peer.password);
  }
  const byPrefix = ranges
    .map((range): { readonly prefix: ParsedCidr; readonly rule: AddressRule } => {
      const prefix = parseCidr(range.prefix)!;
      if (range.password !== undefined) keys[prefix.family].set(range.prefix, range.password);
      return { prefix, rule: rule(range.prefix, range) };
    })
    .sort((a, b) => b.prefix.length - a.prefix.length);
  return {
    of(remoteAddress) {
      const known = byAddress.get(remoteAddress);
      if (known || byPrefix.length === 0) return known;
      const address = parseIp(splitZone(remoteAddress).address);
      const inside = byPrefix.find(
        ({ prefix }) => address?.length === prefix.bytes.length && samePrefix(prefix.bytes, address, prefix.length),
      );
      return inside?.rule;
    },
    keys: (family) => keys[family],
    ambiguous,
  };
}

function rule(subject: string, { password, ttlSecurityHops }: PeerConfig | PeerRange): AddressRule {
  return {
    subject,
    ...(password === undefined ? {} : { password }),
    ...(ttlSecurityHops === undefined ? {} : { ttlSecurityHops }),
  };
}
