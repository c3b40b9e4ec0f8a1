/**
 * The BGP speaker: sessions, RIBs, update groups and the feed of chosen routes, wired together. Pure: sockets, clock and
 * log are handed in.
 *
 *   Transport --bytes--> Session (fsm, wire) --UPDATE--> UpdateReader --> Rib (Adj-RIB-In)
 *                                                                        | decide, a slice at a time
 *   Transport <--bytes-- Session <--chunks-- UpdateGroup (Adj-RIB-Out) <-+-> RouteFeed --> takeRoutes()
 *
 * Nothing is decided or sent from within an event: events mark, and `#flush` runs once they are all in (deps.defer), so that
 * a burst is one decision a prefix and full messages.
 *
 * Graceful restart: see deferral.ts for the restarting side and peer.ts for the helper.
 */
import {
  AttributePool,
  IntStack,
  localPeer,
  NextHopPool,
  NextHopSetPool,
  noNextHop,
  PeerTable,
  Rib,
  RouteFeed,
} from '../rib/index.ts';
import { ceaseSubcode, emptyAttributeValues, originatedAttributes, readCanonical } from '../wire/index.ts';
import type { PeerConfig, SpeakerConfig } from './config.ts';
import { deferralState } from './deferral.ts';
import { Groups } from './groups.ts';
import { deferralGraceSec, nextHopsSweepMin, prefixesPerSlice } from './limits.ts';
import { queryRoutes } from './looking-glass.ts';
import { Peer, type PeerHost } from './peer.ts';
import {
  addressOrder,
  clusterIdNumber,
  gracefulRestartOffer,
  needsNewSession,
  openTexts,
  sessionConfig,
} from './session-config.ts';
import type { ByteConnection, PeerStatus, RouteAnswer, RouteQuery, SpeakerDeps, SpeakerStatus } from './types.ts';
import { UpdateReader } from './update-reader.ts';

export interface SpeakerOptions {
  /** Chosen routes are not wanted: no feed is kept (a speaker that programs nothing). */
  readonly withoutFeed?: boolean;
}

export type StopMode =
  /** Peers keep our routes: no NOTIFICATION where graceful restart is negotiated, Cease elsewhere. */
  | 'graceful'
  /** Peers drop our routes: Cease everywhere. */
  | 'drain';

export function createSpeaker(deps: SpeakerDeps, config: SpeakerConfig, options: SpeakerOptions = {}): Speaker {
  return new Speaker(deps, config, options);
}

export class Speaker {
  readonly #deps: SpeakerDeps;
  #config: SpeakerConfig;
  readonly #rib4: Rib;
  readonly #rib6: Rib;
  readonly #peerTable = new PeerTable();
  readonly #attributes = new AttributePool();
  readonly #nextHops = new NextHopPool();
  readonly #hopSets = new NextHopSetPool();
  /** Doubles with what is in use, so that the passes over the tables stay rare. */
  #sweepHopsAbove = nextHopsSweepMin;
  readonly #groups = new Groups();
  readonly #feed: RouteFeed | undefined;
  readonly #reader: UpdateReader;
  readonly #host: PeerHost;
  readonly #peers = new Map<string, Peer>();
  /** Rows of removed peers, free when nothing announced names them any more. */
  readonly #rowsToFree: number[] = [];
  readonly #ownAddresses = new Set<string>();
  readonly #changed = new IntStack();
  readonly #startedMs: number;
  #originatedSet = -1;
  #deferring: boolean;
  #flushScheduled = false;
  #feedAnnounced = false;
  #stopped = false;
  readonly #cancelTimers: (() => void)[] = [];

  constructor(deps: SpeakerDeps, config: SpeakerConfig, options: SpeakerOptions) {
    this.#deps = deps;
    this.#config = config;
    this.#startedMs = deps.clock.nowMs();
    const tables = {
      attributes: this.#attributes,
      nextHops: this.#nextHops,
      hopSets: this.#hopSets,
      peers: this.#peerTable,
    };
    this.#rib4 = new Rib(4, tables);
    this.#rib6 = new Rib(6, tables);
    this.#feed = options.withoutFeed ? undefined : new RouteFeed([this.#rib4, this.#rib6]);
    this.#reader = new UpdateReader(this.#rib4, this.#rib6, tables, (address) => this.#ownAddresses.has(address));
    this.#deferring = config.gracefulRestart.restarting;
    this.#host = this.#makeHost();
  }

  /** Listens, originates, dials. */
  start(): void {
    const { clock, transport } = this.#deps;
    const { deferralTimeSec } = this.#config.gracefulRestart;
    this.#noteOwnAddresses();
    transport.configure(this.#config);
    this.#originate([], this.#config.originate);
    for (const peer of this.#config.peers) this.#addPeer(peer);
    this.#rankPeers();
    if (this.#deferring) {
      for (const sec of [Math.min(deferralGraceSec, deferralTimeSec), deferralTimeSec]) {
        this.#cancelTimers.push(clock.schedule(sec * 1000 + 1, () => this.#checkDeferral()));
      }
    } else {
      this.#feed?.markDeferralEnded();
    }
    this.#schedule();
  }

  /** A connection somebody opened to us: goes to the peer with that address, or is refused. */
  accept(connection: ByteConnection): void {
    for (const peer of this.#peers.values()) {
      if (peer.config.address !== connection.remoteAddress) continue;
      if (peer.config.localAddress && peer.config.localAddress !== connection.localAddress) continue;
      peer.session.accept(connection);
      return;
    }
    this.#deps.log.debug({ remoteAddress: connection.remoteAddress }, 'connection from an address that is no peer');
    connection.destroy();
  }

  /** Brings everything in line with a new configuration; sessions that a change does not concern do not notice. */
  configure(config: SpeakerConfig): void {
    const old = this.#config;
    this.#config = { ...config, gracefulRestart: { ...config.gracefulRestart, ...frozen(old) } };
    this.#deps.transport.configure(this.#config);
    const wanted = new Map(config.peers.map((peer) => [peer.name, peer]));
    const { peerDeconfigured, otherConfigurationChange, administrativeShutdown } = ceaseSubcode;
    for (const [name, peer] of this.#peers) {
      const next = wanted.get(name);
      if (!next) this.#removePeer(peer, peerDeconfigured);
      else if (this.#mustRestart(peer, next, old, config)) {
        this.#removePeer(peer, next.heldDown === undefined ? otherConfigurationChange : administrativeShutdown);
      }
    }
    this.#noteOwnAddresses();
    this.#originate(old.originate, config.originate);
    for (const peer of config.peers) {
      const known = this.#peers.get(peer.name);
      if (known) known.reconfigure(peer);
      else this.#addPeer(peer);
    }
    this.#rankPeers();
    this.#renewOffers();
    this.#checkDeferral();
    this.#schedule();
  }

  /** Ends all sessions. Connections may need a moment more to send what is queued: see `openConnections`. */
  stop(mode: StopMode): void {
    this.#stopped = true;
    for (const cancel of this.#cancelTimers.splice(0)) cancel();
    for (const peer of this.#peers.values()) {
      const silent = mode === 'graceful' && peer.gracefulRestart;
      const text = mode === 'drain' ? 'drained' : 'stopped';
      peer.stop(silent ? { subcode: 0, silent } : { subcode: ceaseSubcode.administrativeShutdown, text });
      peer.dropRoutes();
    }
  }

  /**
   * Ends the session of a peer, which begins anew at once.
   *
   * @param text for its operator (RFC 9003).
   * @throws RangeError when no peer is called so.
   */
  resetPeer(name: string, text = ''): void {
    const peer = this.#peers.get(name);
    if (!peer) throw new RangeError(`no peer is called ${name}`);
    peer.reset(text);
    this.#schedule();
  }

  /**
   * The way to some peers is gone (loss of carrier, address removed): their sessions end now and their routes with them,
   * instead of after the hold time. Matches the peer's name, its address, or our own address on the link.
   */
  pathLost(which: { readonly peer?: string; readonly address?: string; readonly localAddress?: string }): void {
    for (const peer of this.#peers.values()) {
      const { name, address, localAddress } = peer.config;
      const own = peer.session.localAddress ?? localAddress;
      const hit =
        which.peer === name || which.address === address || (which.localAddress && which.localAddress === own);
      if (hit) peer.pathLost('the link to the peer is down');
    }
    this.#schedule();
  }

  /** The way to a peer may be back: dial now. Without arguments: all that wait. */
  pathBack(which: { readonly peer?: string; readonly address?: string } = {}): void {
    for (const peer of this.#peers.values()) {
      const all = which.peer === undefined && which.address === undefined;
      if (all || which.peer === peer.config.name || which.address === peer.config.address) peer.session.hurry();
    }
  }

  /** The next packed buffer of route changes (see `decodeRouteChanges`); undefined when there are none for now. */
  takeRoutes(): ArrayBuffer | undefined {
    const buffer = this.#feed?.take();
    if (!buffer) this.#feedAnnounced = false;
    return buffer;
  }

  status(): SpeakerStatus {
    const { waitingFor } = this.#deferralState();
    const paths = (rib: Rib): number => rib.pathCount.reduce((sum, count) => sum + count, 0);
    return {
      asn: this.#config.asn,
      routerId: this.#config.routerId,
      deferring: this.#deferring,
      waitingFor: this.#deferring ? waitingFor : [],
      routes: { ipv4: this.#rib4.routeCount, ipv6: this.#rib6.routeCount },
      paths: { ipv4: paths(this.#rib4), ipv6: paths(this.#rib6) },
      attributeSets: this.#attributes.size,
      nextHops: this.#nextHops.size,
      peers: this.peerStatuses(),
    };
  }
  peerStatuses(): PeerStatus[] {
    return [...this.#peers.values()].map((peer) => peer.status());
  }
  /** @throws RangeError on a query that names what is not there. */
  routes(query: RouteQuery): RouteAnswer {
    const byRow = new Map([...this.#peers.values()].map((peer) => [peer.row, peer.config.name]));
    return queryRoutes(
      {
        ribs: [this.#rib4, this.#rib6],
        peerName: (row) => byRow.get(row),
        peerRow: (name) => this.#peers.get(name)?.row,
      },
      query,
    );
  }
  get openConnections(): number {
    let count = 0;
    for (const peer of this.#peers.values()) count += peer.session.openConnections;
    return count;
  }

  #makeHost(): PeerHost {
    const speaker = this;
    return {
      clock: this.#deps.clock,
      groups: this.#groups,
      reader: this.#reader,
      rib: (family) => (family === 'ipv4-unicast' ? this.#rib4 : this.#rib6),
      peerTable: this.#peerTable,
      get clusterId() {
        return clusterIdNumber(speaker.#config);
      },
      get selecting() {
        return !speaker.#deferring;
      },
      schedule: () => this.#schedule(),
      progress: () => this.#checkDeferral(),
      changed: (peer) => this.#deps.onPeerState(peer.status()),
      established: ({ session, config }) => session.setGracefulRestart(this.#offer(config, true)),
      ownAddress: (address) => {
        if (this.#ownAddresses.has(address)) return;
        this.#ownAddresses.add(address);
        this.#reader.forgetNextHop();
      },
    };
  }

  #addPeer(config: PeerConfig): void {
    const { clock, transport, log, random } = this.#deps;
    const offer = this.#offer(config, false);
    const session = sessionConfig(this.#config, config, offer);
    const row = this.#peerTable.make();
    const peer = new Peer(this.#host, { clock, transport, log, random }, config, session, row);
    this.#peers.set(config.name, peer);
    // One that is held down stays stopped, and refuses who connects.
    if (config.heldDown === undefined) peer.session.start();
  }

  #mustRestart(peer: Peer, next: PeerConfig, before: SpeakerConfig, after: SpeakerConfig): boolean {
    const changed = needsNewSession({ speaker: before, peer: peer.config }, { speaker: after, peer: next });
    return changed || peer.cannotImportAgain(next) || !peer.rekey(next.password);
  }

  #removePeer(peer: Peer, subcode: number): void {
    peer.stop({ subcode });
    peer.dropRoutes();
    this.#peers.delete(peer.config.name);
    this.#rowsToFree.push(peer.row);
  }

  #rankPeers(): void {
    const order = addressOrder([...this.#peers.values()].map((peer) => peer.config));
    for (const peer of this.#peers.values()) this.#peerTable.addressOrder[peer.row] = order.get(peer.config.name)!;
  }

  #originate(before: readonly string[], after: readonly string[]): void {
    if (this.#originatedSet < 0) {
      const bytes = originatedAttributes({});
      const values = emptyAttributeValues();
      readCanonical(bytes, 0, bytes.length, 0, 0, values);
      const key = Buffer.from(bytes).toString('latin1');
      const known = this.#attributes.find(key);
      this.#originatedSet = known >= 0 ? known : this.#attributes.add(key, values);
      this.#attributes.retain(this.#originatedSet);
    }
    const wanted = new Set(after);
    for (const text of before) {
      if (wanted.has(text)) continue;
      const rib = text.includes(':') ? this.#rib6 : this.#rib4;
      const prefix = rib.prefixes.byText(text, false);
      if (prefix !== undefined && prefix >= 0) rib.withdrawId(localPeer, prefix);
    }
    for (const text of after) {
      const rib = text.includes(':') ? this.#rib6 : this.#rib4;
      const prefix = rib.internText(text);
      if (prefix === undefined) throw new Error(`originate: ${text} is not a prefix`);
      rib.announceId(localPeer, prefix, this.#originatedSet, noNextHop);
    }
  }

  /** From nothing each time: an address that moved to another router is a next hop like any other. */
  #noteOwnAddresses(): void {
    this.#ownAddresses.clear();
    for (const { session } of this.#peers.values()) {
      if (session.localAddress) this.#ownAddresses.add(session.localAddress);
    }
    for (const { localAddress, nextHop4, nextHop6 } of this.#config.peers) {
      for (const address of [localAddress, nextHop4, nextHop6]) if (address) this.#ownAddresses.add(address);
    }
    this.#reader.forgetNextHop();
  }

  #offer(peer: PeerConfig, everEstablished: boolean): ReturnType<typeof gracefulRestartOffer> {
    return gracefulRestartOffer(this.#config.gracefulRestart, peer, this.#deferring, everEstablished);
  }
  #renewOffers(): void {
    for (const { session, config } of this.#peers.values()) {
      session.setGracefulRestart(this.#offer(config, session.establishedCount > 0));
      session.setTexts(openTexts(this.#config));
    }
  }

  #deferralState(): ReturnType<typeof deferralState> {
    const live = [...this.#peers.values()].filter((peer) => peer.config.heldDown === undefined);
    const peers = live.map((peer) => ({
      name: peer.config.name,
      opening: peer.session.stateName === 'OpenSent' || peer.session.stateName === 'OpenConfirm',
      established: peer.established,
      done: peer.done,
    }));
    const maxMs = this.#config.gracefulRestart.deferralTimeSec * 1000;
    const times = { graceMs: Math.min(deferralGraceSec * 1000, maxMs), maxMs };
    return deferralState(peers, this.#deps.clock.nowMs() - this.#startedMs, times);
  }

  #checkDeferral(): void {
    if (!this.#deferring || this.#stopped || !this.#deferralState().over) return;
    this.#deferring = false;
    this.#deps.log.info(
      { elapsedMs: Math.round(this.#deps.clock.nowMs() - this.#startedMs) },
      'route selection begins',
    );
    for (const rib of [this.#rib4, this.#rib6]) rib.markAllDirty();
    this.#renewOffers();
    // End-of-RIB and the marker go out once all of it is decided: see #flush.
    this.#selectionPending = true;
    this.#schedule();
  }
  #selectionPending = false;

  #schedule(): void {
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    this.#deps.defer(() => {
      this.#flushScheduled = false;
      this.#flush();
    });
  }

  #sweepNextHops(): void {
    const size = (): number => Math.max(this.#nextHops.size, this.#hopSets.size);
    if (size() <= this.#sweepHopsAbove) return;
    const marks = { hops: new Set<number>(), sets: new Set<number>() };
    for (const rib of [this.#rib4, this.#rib6]) rib.markHops(marks);
    this.#feed?.markHops(marks);
    this.#groups.markHops(marks);
    this.#hopSets.sweep(marks);
    this.#nextHops.sweep(marks);
    this.#reader.forgetNextHop();
    this.#sweepHopsAbove = Math.max(nextHopsSweepMin, 2 * size());
  }

  #flush(): void {
    if (this.#stopped) return;
    for (const rib of [this.#rib4, this.#rib6]) {
      if (rib.dirtyCount === 0) continue;
      this.#changed.clear();
      rib.decide(prefixesPerSlice, this.#deferring, this.#changed);
      this.#feed?.mark(rib, this.#changed);
      this.#groups.apply(rib, this.#changed);
      for (let i = 0; i < this.#changed.length; i++) rib.settle(this.#changed.items[i]!);
    }
    const decided = this.#rib4.dirtyCount + this.#rib6.dirtyCount === 0;
    if (decided && this.#selectionPending) {
      this.#selectionPending = false;
      for (const peer of this.#peers.values()) peer.selectionStarted();
      this.#feed?.markDeferralEnded();
    }
    if (decided) for (const row of this.#rowsToFree.splice(0)) this.#peerTable.free(row);
    const more = this.#groups.pump(prefixesPerSlice);
    this.#sweepNextHops();
    if (more || !decided) this.#schedule();
    if (this.#feed?.waiting && !this.#feedAnnounced) {
      this.#feedAnnounced = true;
      this.#deps.onRoutes();
    }
  }
}

/** RFC 4724: what holds for the life of the process. */
function frozen(config: SpeakerConfig): Pick<SpeakerConfig['gracefulRestart'], 'restarting' | 'forwardingPreserved'> {
  const { restarting, forwardingPreserved } = config.gracefulRestart;
  return { restarting, forwardingPreserved };
}
