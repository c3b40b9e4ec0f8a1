/** What the transport must know of who connects, by address: peers first, then the range with the longest prefix. Pure. */
import type { PeerConfig, PeerRange, TcpAoKey } from '#bgp';
import { type IpFamily, type ParsedCidr, parseCidr, parseIp, samePrefix, splitZone } from '#kit';

export interface AddressRule {
  /** What keys are set for: an address without zone, or a prefix. */
  readonly subject: string;
  readonly password?: string;
  readonly tcpAo?: readonly TcpAoKey[];
  readonly ttlSecurityHops?: number;
}

/** Keys of a family, by subject. */
export interface RuleKeys {
  /** TCP-MD5. */
  readonly md5: ReadonlyMap<string, string>;
  /** TCP-AO; of peers that are held down none, perhaps because of them. */
  readonly ao: ReadonlyMap<string, readonly TcpAoKey[]>;
}

export interface RuleList {
  /** @param remoteAddress with its zone where it is link-local. */
  of(remoteAddress: string): AddressRule | undefined;
  /**
   * The kernel takes the longest prefix that matches *and has a TCP-MD5 key*, so that an address without one inside a range that has one
   * is held to the range's.
   */
  keys(family: IpFamily): RuleKeys;
  /** Link-local addresses that stand on several interfaces with different keys: a key knows no interface. */
  readonly ambiguous: readonly string[];
}

export function addressRules(peers: readonly PeerConfig[], ranges: readonly PeerRange[]): RuleList {
  const byAddress = new Map<string, AddressRule>();
  const keys = { 4: new KeyTable(), 6: new KeyTable() };
  const ambiguous: string[] = [];
  for (const peer of peers) {
    // A peer of a range is its range's affair, one that is not found yet nobody's.
    if (peer.range !== undefined || peer.address === '') continue;
    const subject = splitZone(peer.address).address;
    byAddress.set(peer.address, rule(subject, peer));
    if (!keys[subject.includes(':') ? 6 : 4].add(subject, peer)) ambiguous.push(subject);
  }
  const byPrefix = ranges
    .map((range): { readonly prefix: ParsedCidr; readonly rule: AddressRule } => {
      const prefix = parseCidr(range.prefix)!;
      keys[prefix.family].add(range.prefix, range);
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

class KeyTable implements RuleKeys {
  readonly md5 = new Map<string, string>();
  readonly ao = new Map<string, readonly TcpAoKey[]>();

  /** False when the subject had another key. */
  add(subject: string, { password, tcpAo, heldDown }: PeerConfig | PeerRange): boolean {
    const [md5, ao] = [this.md5.get(subject), this.ao.get(subject)];
    let same = true;
    if (password !== undefined) {
      same = ao === undefined && (md5 === undefined || md5 === password);
      this.ao.delete(subject);
      this.md5.set(subject, password);
    } else if (tcpAo !== undefined && heldDown === undefined) {
      same = md5 === undefined && (ao === undefined || JSON.stringify(ao) === JSON.stringify(tcpAo));
      this.md5.delete(subject);
      this.ao.set(subject, tcpAo);
    }
    return same;
  }
}

function rule(subject: string, { password, tcpAo, ttlSecurityHops }: PeerConfig | PeerRange): AddressRule {
  return {
    subject,
    ...(password === undefined ? {} : { password }),
    ...(tcpAo === undefined ? {} : { tcpAo }),
    ...(ttlSecurityHops === undefined ? {} : { ttlSecurityHops }),
  };
}
