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
 * Graceful restart: see deferral.ts for the restarting side and stale-routes.ts for the helper.
 */
import { splitZone } from '#kit';
import type { BfdSessionStatus } from '../bfd/index.ts';
import type { TableDump } from '../mrt/index.ts';
import {
  AttributePool,
  defaultMultipath,
  IntStack,
  NextHopPool,
  NextHopSetPool,
  PeerTable,
  Rib,
  RouteFeed,
} from '../rib/index.ts';
import { ceaseSubcode } from '../wire/index.ts';
import { BfdMonitor, bfdSession } from './bfd.ts';
import { type ChangePlan, planChange } from './change-plan.ts';
import type { PeerConfig, SpeakerConfig } from './config.ts';
import { Deferral, type DeferralPeer } from './deferral.ts';
import { awaitDrained } from './drain.ts';
import { Groups } from './groups.ts';
import { nextHopsSweepMin, prefixesPerSlice } from './limits.ts';
import { type GlassPeer, queryRoutes } from './looking-glass.ts';
import { Monitoring } from './monitoring.ts';
import { Newcomers } from './newcomers.ts';
import { Origination } from './originate.ts';
import { type Inheritance, Peer, type PeerHost } from './peer.ts';
import {
  addressOrder,
  clusterIdNumber,
  gracefulRestartOffer,
  isAnotherPeer,
  needsNewSession,
  openTexts,
  sessionConfig,
} from './session-config.ts';
import type {
  ByteConnection,
  LocalLink,
  PathSelector,
  PeerStatus,
  RouteAnswer,
  RouteQuery,
  SpeakerDeps,
  SpeakerStatus,
} from './types.ts';
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
  readonly #newcomers: Newcomers;
  /** With every peer that there is. */
  #config: SpeakerConfig;
  readonly #rib4: Rib;
  readonly #rib6: Rib;
  readonly #origination: Origination;
  readonly #peerTable = new PeerTable();
  readonly #attributes = new AttributePool();
  readonly #nextHops = new NextHopPool();
  readonly #hopSets = new NextHopSetPool();
  /** Doubles with what is in use, so that the passes over the tables stay rare. */
  #sweepHopsAbove = nextHopsSweepMin;
  readonly #groups = new Groups();
  readonly #feed: RouteFeed | undefined;
  readonly #reader: UpdateReader;
  readonly #monitoring: Monitoring;
  readonly #host: PeerHost;
  readonly #peers = new Map<string, Peer>();
  readonly #bfd: BfdMonitor;
  /** Rows of removed peers, free when nothing announced names them any more. */
  readonly #rowsToFree: number[] = [];
  readonly #ownAddresses = new Set<string>();
  readonly #changed = new IntStack();
  readonly #deferral: Deferral;
  /** Deferral is over, and what it held back is not all decided: see #flush. */
  #selectionPending = false;
  #draining = false;
  #flushScheduled = false;
  #feedAnnounced = false;
  #stopped = false;
  #cancelDrain: (() => void) | undefined;

  constructor(deps: SpeakerDeps, config: SpeakerConfig, options: SpeakerOptions) {
    this.#deps = deps;
    this.#newcomers = this.#makeNewcomers(config);
    this.#config = this.#newcomers.effective;
    this.#bfd = new BfdMonitor(deps.bfd, deps.clock, () => this.#configureBfd());
    const tables = {
      attributes: this.#attributes,
      nextHops: this.#nextHops,
      hopSets: this.#hopSets,
      peers: this.#peerTable,
    };
    this.#rib4 = new Rib(4, tables);
    this.#rib6 = new Rib(6, tables);
    this.#origination = new Origination(this.#rib4, this.#rib6, this.#attributes);
    this.#feed = options.withoutFeed ? undefined : new RouteFeed([this.#rib4, this.#rib6]);
    this.#reader = new UpdateReader(this.#rib4, this.#rib6, tables, (address) => this.#ownAddresses.has(address));
    this.#deferral = new Deferral(
      {
        clock: deps.clock,
        peers: () => this.#deferralPeers(),
        maxSec: () => this.#config.gracefulRestart.deferralTimeSec,
        onOver: (elapsedMs) => this.#startSelection(elapsedMs),
      },
      config.gracefulRestart.restarting,
    );
    this.#monitoring = new Monitoring({
      deps,
      ribs: [this.#rib4, this.#rib6],
      tables,
      groups: this.#groups,
      reader: this.#reader,
      config: () => this.#config,
      peers: () => this.#peers.values(),
      peerNamed: (name) => this.#peers.get(name),
      selecting: () => !this.#deferral.active,
      schedule: () => this.#schedule(),
    });
    this.#host = this.#makeHost();
  }

  /** Listens, originates, dials. */
  start(): void {
    this.#noteOwnAddresses();
    this.#setMultipath();
    this.#deps.transport.configure(this.#config);
    this.#deps.onConfigured?.(this.#config);
    this.#origination.change([], this.#config.originate);
    for (const peer of this.#config.peers) this.#addPeer(peer);
    this.#rankPeers();
    this.#monitoring.configure();
    if (this.#deferral.active) this.#deferral.start();
    else this.#feed?.markDeferralEnded();
    this.#configureBfd();
    this.#schedule();
  }

  /** A connection somebody opened to us: goes to the peer with that address, or to whom a range makes of it, or is refused. */
  accept(connection: ByteConnection): void {
    if (this.#acceptPeer(connection)) return;
    if (this.#stopped) connection.destroy();
    else this.#newcomers.accept(connection);
  }
  #acceptPeer(connection: ByteConnection): boolean {
    for (const peer of this.#peers.values()) {
      if (peer.config.address !== connection.remoteAddress) continue;
      if (peer.config.localAddress && peer.config.localAddress !== connection.localAddress) continue;
      peer.session.accept(connection);
      return true;
    }
    return false;
  }

  /**
   * A router is on an interface (router advertisement, the kernel's neighbours): the peer there, if one is wanted.
   *
   * @param address link-local, without zone.
   * @param certain it says itself that it is a router.
   */
  neighbourFound(interfaceName: string, address: string, certain: boolean): void {
    this.#newcomers.found(interfaceName, address, certain);
  }

  /** Addresses of interfaces changed: what is announced as next hop may be another. */
  linksChanged(): void {
    for (const peer of this.#peers.values()) peer.reconfigure(peer.config);
  }

  /** Brings everything in line with a new configuration; sessions that a change does not concern do not notice. */
  configure(config: SpeakerConfig): void {
    this.#apply(this.#newcomers.configure(config));
  }

  #apply(config: SpeakerConfig): void {
    const old = this.#config;
    this.#config = { ...config, gracefulRestart: { ...config.gracefulRestart, ...frozen(old) } };
    this.#deps.transport.configure(this.#config);
    this.#deps.onConfigured?.(this.#config);
    const wanted = new Map(config.peers.map((peer) => [peer.name, peer]));
    const { peerDeconfigured, otherConfigurationChange, administrativeShutdown } = ceaseSubcode;
    const inherit = new Map<string, Inheritance>();
    for (const [name, peer] of this.#peers) {
      const next = wanted.get(name);
      if (!next) this.#removePeer(peer, peerDeconfigured);
      else if (this.#mustRestart(peer, next, old, config)) {
        const another = isAnotherPeer({ speaker: old, peer: peer.config }, { speaker: config, peer: next });
        const heir = another ? undefined : this.#succeed(peer, next);
        if (heir) inherit.set(name, heir);
        else this.#removePeer(peer, next.heldDown === undefined ? otherConfigurationChange : administrativeShutdown);
      }
    }
    this.#noteOwnAddresses();
    this.#setMultipath();
    this.#origination.change(old.originate, config.originate);
    for (const peer of config.peers) {
      const known = this.#peers.get(peer.name);
      if (known) known.reconfigure(peer);
      else this.#addPeer(peer, inherit.get(peer.name));
    }
    this.#rankPeers();
    this.#monitoring.configure();
    this.#renewOffers();
    this.#deferral.check();
    this.#configureBfd();
    this.#schedule();
  }

  /** What `configure(config)` would do to each session. A password that a connection refuses to change makes a new session all the same. */
  plan(config: SpeakerConfig): ChangePlan {
    const after = this.#newcomers.preview(config);
    return planChange(this.#config, after, (name, next) => this.#peers.get(name)?.cannotImportAgain(next) ?? false);
  }

  /**
   * The first half of a drain (RFC 8326): peers are told that our routes are about to go. `done` is called, later, when they
   * had time to act on it, and `stop('drain')` should follow.
   */
  announceShutdown(done: () => void): void {
    this.#draining = true;
    for (const peer of this.#peers.values()) peer.reconfigure(peer.config);
    this.#cancelDrain = awaitDrained(this.#deps.clock, () => [...this.#peers.values()], done);
  }

  /** Ends all sessions. Connections may need a moment more to send what is queued: see `openConnections`. */
  stop(mode: StopMode): void {
    this.#stopped = true;
    this.#newcomers.stop();
    this.#deferral.stop();
    this.#cancelDrain?.();
    const hard = mode === 'drain';
    this.#bfd.stop();
    for (const peer of this.#peers.values()) {
      const silent = mode === 'graceful' && peer.gracefulRestart;
      const text = hard ? 'drained' : 'stopped';
      peer.stop(silent ? { subcode: 0, silent } : { subcode: ceaseSubcode.administrativeShutdown, text, hard });
      peer.dropRoutes();
    }
    this.#monitoring.bmp.stop();
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
   * instead of after the hold time. Matches the peer's name, its address, our own address on the link, or the interface of
   * link-local peers.
   */
  pathLost(which: PathSelector): void {
    if (which.interface !== undefined) this.#newcomers.linkDown(which.interface);
    for (const peer of this.#peers.values()) {
      const { name, address, localAddress } = peer.config;
      const own = peer.session.localAddress ?? localAddress;
      const hit =
        which.peer === name ||
        which.address === address ||
        (which.localAddress && which.localAddress === own) ||
        (which.interface && which.interface === splitZone(address).zone);
      if (hit) peer.pathLost('the link to the peer is down');
    }
    this.#schedule();
  }

  /** The way to a peer may be back: dial now. Without arguments: all that wait. */
  pathBack(which: PathSelector = {}): void {
    for (const peer of this.#peers.values()) {
      const { name, address } = peer.config;
      const all = which.peer === undefined && which.address === undefined && which.interface === undefined;
      const here = which.interface !== undefined && which.interface === splitZone(address).zone;
      if (all || here || which.peer === name || which.address === address) peer.session.hurry();
    }
  }

  /** News of a BFD session: see `SpeakerDeps.bfd`. */
  bfdChanged(status: BfdSessionStatus): void {
    const down = this.#bfd.changed(status);
    for (const peer of this.#peers.values()) {
      if (bfdSession(peer.config)?.key !== status.key) continue;
      if (down) peer.bfdDown(down);
      this.#deps.onPeerState(peer.status());
    }
    this.#schedule();
  }

  #configureBfd(): void {
    const peers = [...this.#peers.values()].map(({ config, session }) => ({
      config,
      wasEstablished: session.establishedCount > 0,
    }));
    this.#bfd.configure(peers, this.#deferral.active);
  }

  /** The next packed buffer of route changes (see `decodeRouteChanges`); undefined when there are none for now. */
  takeRoutes(): ArrayBuffer | undefined {
    const buffer = this.#feed?.take();
    if (!buffer) this.#feedAnnounced = false;
    return buffer;
  }

  status(): SpeakerStatus {
    const paths = (rib: Rib): number =>
      rib.pathCount.reduce((sum, count, row) => sum + count - rib.rejectedCount[row]!, 0);
    return {
      asn: this.#config.asn,
      routerId: this.#config.routerId,
      deferring: this.#deferral.active,
      waitingFor: this.#deferral.waitingFor,
      routes: { ipv4: this.#rib4.routeCount, ipv6: this.#rib6.routeCount },
      paths: { ipv4: paths(this.#rib4), ipv6: paths(this.#rib6) },
      attributeSets: this.#attributes.size,
      nextHops: this.#nextHops.size,
      peers: this.peerStatuses(),
      ...(this.#monitoring.bmp.active ? { stations: this.#monitoring.bmp.status() } : {}),
      ranges: this.#newcomers.rangeStatuses(),
    };
  }
  peerStatuses(): PeerStatus[] {
    return [...this.#peers.values()].map((peer) => peer.status());
  }
  /** @throws RangeError on a query that names what is not there. */
  routes(query: RouteQuery): RouteAnswer {
    const byRow = new Map([...this.#peers.values()].map((peer) => [peer.row, glassPeer(peer)]));
    return queryRoutes(
      {
        ribs: [this.#rib4, this.#rib6],
        peerOf: (row) => byRow.get(row),
        peer: (name) => byRow.get(this.#peers.get(name)?.row ?? -1),
      },
      query,
    );
  }
  /** The routes of all peers after import policy, and our own, as an MRT table dump (RFC 6396 4.3), to be read slice by slice. */
  tableDump(): TableDump {
    return this.#monitoring.tableDump();
  }
  get openConnections(): number {
    let count = 0;
    for (const peer of this.#peers.values()) count += peer.session.openConnections;
    return count;
  }

  #setMultipath(): void {
    for (const rib of [this.#rib4, this.#rib6]) rib.setMultipath(this.#config.multipath ?? defaultMultipath);
  }

  #makeNewcomers(config: SpeakerConfig): Newcomers {
    const { clock, log } = this.#deps;
    const setPeers = (peers: readonly PeerConfig[]): void => {
      this.#config = { ...this.#config, peers };
      this.#rankDue = true;
      this.#schedule();
    };
    return new Newcomers(
      {
        clock,
        log,
        peers: () => this.#peers.values(),
        peer: (name) => this.#peers.get(name),
        add: (peer) => {
          setPeers([...this.#config.peers, peer]);
          return this.#addPeer(peer);
        },
        remove: (peer) => {
          setPeers(this.#config.peers.filter(({ name }) => name !== peer.config.name));
          this.#removePeer(peer, ceaseSubcode.peerDeconfigured);
          this.#configureBfd();
        },
        apply: (effective) => this.#apply(effective),
        accept: (connection) => this.#acceptPeer(connection),
      },
      config,
    );
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
        return !speaker.#deferral.active && !speaker.#selectionPending;
      },
      get gracefulShutdown() {
        return speaker.#draining || speaker.#config.gracefulShutdown === true;
      },
      schedule: () => this.#schedule(),
      progress: () => this.#deferral.check(),
      changed: (peer) => {
        this.#deps.onPeerState(peer.status());
        this.#newcomers.changed(peer);
      },
      linkOf: (localAddress, remoteAddress) => this.#linkOf(localAddress, remoteAddress),
      established: ({ session, config }) => {
        session.setGracefulRestart(this.#offer(config, true));
        if (session.establishedCount === 1) this.#configureBfd();
      },
      bfdStatus: (config) => this.#bfd.statusOf(config),
      ownAddress: (address) => {
        if (this.#ownAddresses.has(address)) return;
        this.#ownAddresses.add(address);
        this.#reader.forgetNextHop();
      },
      monitor: this.#monitoring.bmp,
      wallUsec: this.#monitoring.wallUsec,
    };
  }

  /** Of a link-local peer the interface is known in any case. */
  #linkOf(localAddress: string, remoteAddress: string): LocalLink | undefined {
    const found = this.#deps.transport.linkOf?.(localAddress, remoteAddress);
    const { zone } = splitZone(remoteAddress);
    return found ?? (zone === undefined ? undefined : { interface: zone, global: [] });
  }

  #addPeer(config: PeerConfig, heir?: Inheritance): Peer {
    const { clock, transport, log, random, tap } = this.#deps;
    const offer = this.#offer(config, heir !== undefined);
    const session = sessionConfig(this.#config, config, offer);
    const from = heir ?? this.#peerTable.make();
    this.#peerTable.names[typeof from === 'number' ? from : from.row] = config.name;
    const peer = new Peer(
      this.#host,
      { clock, transport, log, random, ...(tap ? { tap } : {}) },
      config,
      session,
      from,
    );
    this.#peers.set(config.name, peer);
    // One that is held down stays stopped, and refuses who connects.
    if (config.heldDown === undefined) peer.session.start();
    return peer;
  }

  #mustRestart(peer: Peer, next: PeerConfig, before: SpeakerConfig, after: SpeakerConfig): boolean {
    const changed = needsNewSession({ speaker: before, peer: peer.config }, { speaker: after, peer: next });
    return changed || peer.cannotImportAgain(next) || !peer.rekey(next.password);
  }

  /** The peer stays who it is: with RFC 8538 both sides keep their routes while the session is made anew. */
  #succeed(peer: Peer, next: PeerConfig): Inheritance | undefined {
    const heir = peer.bequeath(next);
    if (!heir) return undefined;
    peer.stop({ subcode: ceaseSubcode.otherConfigurationChange });
    this.#peers.delete(peer.config.name);
    return heir;
  }

  #removePeer(peer: Peer, subcode: number): void {
    peer.stop({ subcode, hard: true });
    peer.dropRoutes();
    this.#peers.delete(peer.config.name);
    this.#newcomers.stop(peer.config.name);
    this.#rowsToFree.push(peer.row);
  }

  #rankDue = false;
  #rankPeers(): void {
    this.#rankDue = false;
    const order = addressOrder([...this.#peers.values()].map((peer) => peer.config));
    for (const peer of this.#peers.values()) this.#peerTable.addressOrder[peer.row] = order.get(peer.config.name)!;
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
    return gracefulRestartOffer(this.#config.gracefulRestart, peer, !this.#host.selecting, everEstablished);
  }
  #renewOffers(): void {
    for (const { session, config, everEstablished } of this.#peers.values()) {
      session.setGracefulRestart(this.#offer(config, everEstablished));
      session.setTexts(openTexts(this.#config));
    }
  }

  #deferralPeers(): DeferralPeer[] {
    // An unnumbered peer that is not found yet may come any moment.
    const live = [...this.#peers.values()].filter(
      ({ config }) => config.heldDown === undefined || (config.interface !== undefined && config.address === ''),
    );
    const peers = live.map((peer) => ({
      name: peer.config.name,
      passive: peer.config.passive || peer.config.address === '',
      opening: peer.session.stateName === 'OpenSent' || peer.session.stateName === 'OpenConfirm',
      established: peer.established,
      stateForMs: peer.stateForMs,
      done: peer.done,
    }));
    return [...peers, ...this.#newcomers.deferralPeers()];
  }

  /** End-of-RIB and the marker go out, and R goes off, once all of it is decided: see #flush. */
  #startSelection(elapsedMs: number): void {
    this.#deps.log.info({ elapsedMs: Math.round(elapsedMs) }, 'route selection begins');
    for (const rib of [this.#rib4, this.#rib6]) rib.markAllDirty();
    this.#configureBfd();
    this.#selectionPending = true;
    this.#schedule();
  }

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
    this.#monitoring.markHops(marks);
    this.#hopSets.sweep(marks);
    this.#nextHops.sweep(marks);
    this.#reader.forgetNextHop();
    this.#sweepHopsAbove = Math.max(nextHopsSweepMin, 2 * size());
  }

  #flush(): void {
    if (this.#stopped) return;
    if (this.#rankDue) this.#rankPeers();
    let reviewing = false;
    for (const peer of this.#peers.values()) if (peer.reviewImport(prefixesPerSlice)) reviewing = true;
    for (const rib of [this.#rib4, this.#rib6]) {
      if (rib.dirtyCount === 0) continue;
      this.#changed.clear();
      rib.decide(prefixesPerSlice, this.#deferral.active, this.#changed);
      this.#feed?.mark(rib, this.#changed);
      this.#monitoring.bmp.locRibChanged(rib, this.#changed);
      this.#groups.apply(rib, this.#changed);
      for (let i = 0; i < this.#changed.length; i++) rib.settle(this.#changed.items[i]!);
    }
    const decided = this.#rib4.dirtyCount + this.#rib6.dirtyCount === 0;
    if (decided && this.#selectionPending) {
      this.#selectionPending = false;
      for (const peer of this.#peers.values()) peer.selectionStarted();
      this.#renewOffers();
      this.#monitoring.bmp.selectionStarted();
      this.#feed?.markDeferralEnded();
    }
    if (decided) for (const row of this.#rowsToFree.splice(0)) this.#peerTable.free(row);
    const behind = this.#groups.pump(prefixesPerSlice);
    const more = this.#monitoring.bmp.pump() || behind;
    this.#sweepNextHops();
    if (more || reviewing || !decided) this.#schedule();
    if (this.#feed?.waiting && !this.#feedAnnounced) {
      this.#feedAnnounced = true;
      this.#deps.onRoutes();
    }
  }
}

function glassPeer(peer: Peer): GlassPeer {
  return {
    name: peer.config.name,
    row: peer.row,
    importPolicy: peer.importPolicy,
    membership: ({ family }) => peer.membership(family === 4 ? 'ipv4-unicast' : 'ipv6-unicast'),
  };
}

/** RFC 4724: what holds for the life of the process. */
function frozen(config: SpeakerConfig): Pick<SpeakerConfig['gracefulRestart'], 'restarting' | 'forwardingPreserved'> {
  const { restarting, forwardingPreserved } = config.gracefulRestart;
  return { restarting, forwardingPreserved };
}
