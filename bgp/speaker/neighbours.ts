/**
 * Peers that the configuration names without an address: routers found on interfaces (unnumbered), and who connects out of a range.
 * The speaker works with what `effective` makes of both: ordinary peers.
 *
 *   interface: eth0     --found(eth0, fe80::1)-->   address fe80::1%eth0; until then held down
 *   range 10.0.0.0/8    --admit(10.0.0.5)------->   address 10.0.0.5, passive; until `forget`
 *
 * One peer an interface: the first that is found stays while it has a session or is heard of, so that a second router on the link
 * changes nothing, and one that took the place of a dead one is taken. Pure.
 */
import { type Logger, type ParsedCidr, parseCidr, parseIp, samePrefix, splitZone } from '#kit';
import type { PeerConfig, PeerRange, SpeakerConfig } from './config.ts';
import { neighbourAgeSec } from './limits.ts';
import { authenticationOf } from './tcp-ao.ts';
import type { RangeStatus } from './types.ts';

interface Found {
  readonly address: string;
  /** Milliseconds; -Infinity: anybody else may take its place. */
  heardMs: number;
  /** It said itself that it is a router. */
  certain: boolean;
  /** Addresses that were turned away, each told once. */
  readonly others: Set<string>;
}

interface Range {
  readonly config: PeerRange;
  readonly prefix: ParsedCidr;
  /** Address -> name. */
  readonly peers: Map<string, string>;
  refused: number;
}

/** Addresses turned away that are remembered, so that each is logged once. */
const othersMax = 16;
const bgpPort = 179;

export type Admission =
  | { readonly type: 'peer'; readonly config: PeerConfig }
  /** The range is full. */
  | { readonly type: 'full'; readonly prefix: string }
  | { readonly type: 'stranger' };

export class Neighbours {
  readonly #log: Logger;
  #config: SpeakerConfig;
  readonly #found = new Map<string, Found>();
  /** Longest prefix first. */
  #ranges: readonly Range[] = [];

  constructor(log: Logger, config: SpeakerConfig) {
    this.#log = log;
    this.#config = config;
    this.configure(config);
  }

  configure(config: SpeakerConfig): void {
    this.#config = config;
    const interfaces = new Set(config.peers.map((peer) => peer.interface));
    for (const name of this.#found.keys()) if (!interfaces.has(name)) this.#found.delete(name);
    this.#ranges = this.#rangesOf(config);
    const configured = configuredNames(config);
    for (const { peers } of this.#ranges) {
      for (const [address, name] of peers) if (configured.has(address) || configured.has(name)) peers.delete(address);
    }
  }

  #rangesOf(config: SpeakerConfig): readonly Range[] {
    const before = new Map(this.#ranges.map((range) => [range.config.prefix, range]));
    return (config.ranges ?? [])
      .map((range): Range => {
        const prefix = parseCidr(range.prefix);
        if (!prefix) throw new Error(`ranges: ${range.prefix} is not a prefix`);
        const known = before.get(range.prefix);
        // Under another name they are other peers.
        const peers = known?.config.name === range.name ? known?.peers : undefined;
        return { config: range, prefix, peers: peers ?? new Map(), refused: known?.refused ?? 0 };
      })
      .sort((a, b) => b.prefix.length - a.prefix.length);
  }

  /** The configuration, or one that may become it, with an address for every peer that can have one. */
  effective(config = this.#config): SpeakerConfig {
    const ranges = config === this.#config ? this.#ranges : this.#rangesOf(config);
    const configured = configuredNames(config);
    const peers = config.peers.map((peer) => this.#withAddress(peer, config, ranges));
    for (const range of ranges) {
      for (const [address, name] of range.peers) {
        if (!configured.has(address) && !configured.has(name)) peers.push(rangePeer(range.config, address, name));
      }
    }
    return { ...config, peers };
  }

  #withAddress(peer: PeerConfig, config: SpeakerConfig, ranges: readonly Range[]): PeerConfig {
    if (peer.interface === undefined) return this.#besideRange(peer, ranges);
    const first = config.peers.find((other) => other.interface === peer.interface);
    if (first !== peer)
      return { ...peer, address: '', heldDown: `peer ${first?.name} is on ${peer.interface} already` };
    const found = this.#found.get(peer.interface);
    if (found) return { ...peer, address: `${found.address}%${peer.interface}` };
    return { ...peer, address: '', heldDown: peer.heldDown ?? `no router was heard of on ${peer.interface} yet` };
  }

  /**
   * The kernel takes no unsigned connection from a prefix that has a key, whatever is configured for one address in it, and no keys of
   * both kinds where they overlap.
   */
  #besideRange(peer: PeerConfig, ranges: readonly Range[]): PeerConfig {
    if (!peer.passive || peer.heldDown !== undefined) return peer;
    const range = rangeOf(peer.address, ranges)?.config;
    const [own, theirs] = [authenticationOf(peer), range === undefined ? 'none' : authenticationOf(range)];
    if (range === undefined || theirs === 'none' || own === theirs) return peer;
    const lies = `its address lies in the range ${range.prefix}, which has`;
    if (own !== 'none') return { ...peer, heldDown: `it never dials and has ${own}, but ${lies} ${theirs}` };
    const [what, one] = theirs === 'TCP-MD5' ? ['password', 'one'] : ['TCP-AO keys', 'some'];
    return { ...peer, heldDown: `it never dials and has no ${what}, but ${lies} ${one}` };
  }

  /**
   * A router was heard of on an interface.
   *
   * @param address link-local, without zone.
   * @param certain it said itself that it is one; else it gives way to one that does.
   * @param connected whether the peer on that interface has a session.
   * @returns whether `effective` is another now.
   */
  found(interfaceName: string, address: string, nowMs: number, certain: boolean, connected: boolean): boolean {
    if (!this.#config.peers.some((peer) => peer.interface === interfaceName)) return false;
    const known = this.#found.get(interfaceName);
    if (known?.address === address) {
      known.heardMs = nowMs;
      known.certain ||= certain;
      return false;
    }
    const silent = known !== undefined && nowMs - known.heardMs >= neighbourAgeSec * 1000;
    if (known && (connected || !(silent || (certain && !known.certain)))) {
      if (certain && known.others.size < othersMax && !known.others.has(address)) {
        known.others.add(address);
        const fields = { interface: interfaceName, peer: known.address, ignored: address };
        this.#log.warn(fields, 'another router on the link of an unnumbered peer is not used: one peer an interface');
      }
      return false;
    }
    this.#found.set(interfaceName, { address, heardMs: nowMs, certain, others: new Set() });
    this.#log.info({ interface: interfaceName, address }, 'router found for an unnumbered peer');
    return true;
  }

  /** The link was down: what was on it may be gone. */
  linkDown(interfaceName: string): void {
    const known = this.#found.get(interfaceName);
    if (known) known.heardMs = Number.NEGATIVE_INFINITY;
  }

  /** Whether a connection from a link-local address may tell who the peer on its interface is: nothing else has told yet. */
  wantsToKnow(interfaceName: string): boolean {
    const wanted = this.#config.peers.some((peer) => peer.interface === interfaceName && peer.heldDown === undefined);
    return wanted && !this.#found.has(interfaceName);
  }

  /** Somebody connects who is no peer: perhaps one of a range. */
  admit(remoteAddress: string, localAddress: string): Admission {
    const range = rangeOf(remoteAddress, this.#ranges);
    if (!range || range.config.heldDown !== undefined) return { type: 'stranger' };
    const { peers, config } = range;
    const elsewhere = config.localAddress !== undefined && config.localAddress !== localAddress;
    if (elsewhere || peers.has(remoteAddress)) return { type: 'stranger' };
    if (peers.size >= config.limit) {
      range.refused++;
      return { type: 'full', prefix: config.prefix };
    }
    const wanted = config.name === undefined ? remoteAddress : `${config.name}/${remoteAddress}`;
    const taken = this.#config.peers.some((peer) => peer.name === wanted);
    const name = taken ? `${wanted} of ${config.prefix}` : wanted;
    peers.set(remoteAddress, name);
    return { type: 'peer', config: rangePeer(config, remoteAddress, name) };
  }

  /** The peer of a range is no more. */
  forget(peer: PeerConfig): void {
    const range = this.#ranges.find(({ config }) => config.prefix === peer.range);
    range?.peers.delete(peer.address);
  }

  rangeStatuses(): RangeStatus[] {
    return this.#ranges.map(({ config: { prefix, limit }, peers, refused }) => ({
      prefix,
      limit,
      peers: peers.size,
      refused,
    }));
  }
}

function rangeOf(remoteAddress: string, ranges: readonly Range[]): Range | undefined {
  if (ranges.length === 0) return undefined;
  const address = parseIp(splitZone(remoteAddress).address);
  if (!address) return undefined;
  return ranges.find(
    ({ prefix }) => prefix.bytes.length === address.length && samePrefix(prefix.bytes, address, prefix.length),
  );
}

/** Names and addresses: who is configured by one of them is no longer its range's. */
function configuredNames({ peers }: SpeakerConfig): ReadonlySet<string> {
  return new Set(peers.flatMap(({ name, address }) => [name, address]));
}

function rangePeer(range: PeerRange, address: string, name: string): PeerConfig {
  const { prefix, limit: _, ...template } = range;
  return { ...template, name, address, range: prefix, port: bgpPort, passive: true, connectRetrySec: 1 };
}
