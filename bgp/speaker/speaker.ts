/**
 * The BGP speaker: sessions, RIBs, update groups and the feed of chosen routes, wired together. Pure: sockets, clock and
 * log are handed in.
 *
 *   Transport --bytes--> Session (fsm, wire) --UPDATE--> UpdateReader --> Rib (Adj-RIB-In)
 *                                                                        | decide, a slice at a time
 *   Transport <--bytes-- Session <--chunks-- UpdateGroup (Adj-RIB-Out) <-+-> RouteFeed --> takeRoutes()
 *
 * Nothing is decided or sent from within an event: events mark, and the flush (flush.ts) runs once they are all in, so that a
 * burst is one decision a prefix and full messages. When it runs is the shell's: a message that comes alone need not wait for others.
 *
 * Graceful restart: see own-restart.ts for the restarting side and stale-routes.ts for the helper.
 */
import { splitZone } from '#kit';
import type { BfdSessionStatus } from '../bfd/index.ts';
import type { TableDump } from '../mrt/index.ts';
import { ceaseSubcode } from '../wire/index.ts';
import { BfdWatch } from './bfd-watch.ts';
import { type ChangePlan, planChange } from './change-plan.ts';
import type { PeerConfig, SpeakerConfig } from './config.ts';
import { awaitDrained } from './drain.ts';
import { Flush } from './flush.ts';
import { Monitoring } from './monitoring.ts';
import { Newcomers } from './newcomers.ts';
import { Origination } from './originate.ts';
import { OwnAddresses } from './own-addresses.ts';
import { OwnRestart } from './own-restart.ts';
import { isOnPath, mayBeBack } from './path-selection.ts';
import type { PeerHost } from './peer.ts';
import { PeerRegistry } from './peer-registry.ts';
import { clusterIdNumber } from './session-config.ts';
import { routesFor, speakerStatus } from './speaker-views.ts';
import { Tables } from './tables.ts';
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
  readonly #tables: Tables;
  readonly #origination: Origination;
  readonly #reader: UpdateReader;
  readonly #monitoring: Monitoring;
  readonly #peers: PeerRegistry;
  readonly #flush: Flush;
  readonly #bfd: BfdWatch;
  readonly #ownAddresses = new OwnAddresses(() => this.#reader.forgetNextHop());
  readonly #restart: OwnRestart;
  #draining = false;
  #stopped = false;
  #cancelDrain: (() => void) | undefined;

  constructor(deps: SpeakerDeps, config: SpeakerConfig, options: SpeakerOptions) {
    this.#deps = deps;
    this.#newcomers = this.#makeNewcomers(config);
    this.#config = this.#newcomers.effective;
    this.#bfd = new BfdWatch({
      port: deps.bfd,
      clock: deps.clock,
      peers: () => this.#peers,
      restarting: () => this.#restart.deferring,
      onChanged: (peer) => deps.onPeerState(peer.status()),
    });
    this.#tables = new Tables(!options.withoutFeed, deps);
    const { rib4, rib6, attributes } = this.#tables;
    this.#origination = new Origination(rib4, rib6, attributes);
    this.#reader = new UpdateReader(rib4, rib6, this.#tables, this.#ownAddresses);
    this.#restart = new OwnRestart(
      {
        clock: deps.clock,
        log: deps.log,
        processAgeMs: deps.processAgeMs ?? 0,
        config: () => this.#config,
        peers: () => this.#peers,
        expected: () => this.#newcomers.deferralPeers(),
        onOver: () => this.#startSelection(),
      },
      config.gracefulRestart.restarting,
    );
    this.#monitoring = new Monitoring({
      deps,
      ribs: this.#tables.ribs,
      tables: this.#tables,
      groups: this.#tables.groups,
      reader: this.#reader,
      config: () => this.#config,
      peers: () => this.#peers,
      peerNamed: (name) => this.#peers.get(name),
      selecting: () => !this.#restart.deferring,
      schedule: () => this.#flush.schedule(),
    });
    const { clock, transport, log, random, tap } = deps;
    this.#peers = new PeerRegistry({
      session: { clock, transport, log, random, ...(tap ? { tap } : {}) },
      host: this.#makeHost(),
      table: this.#tables.peers,
      restart: this.#restart,
      config: () => this.#config,
      removed: (name) => this.#newcomers.stop(name),
    });
    this.#flush = new Flush({
      deps,
      tables: this.#tables,
      peers: this.#peers,
      restart: this.#restart,
      monitoring: this.#monitoring,
      reader: this.#reader,
    });
  }

  /** Listens, originates, dials. */
  start(): void {
    this.#renewOwnAddresses();
    this.#tables.setMultipath(this.#config.multipath);
    this.#deps.transport.configure(this.#config);
    this.#deps.onConfigured?.(this.#config);
    this.#origination.change([], this.#config.originate);
    for (const peer of this.#config.peers) this.#peers.add(peer);
    this.#peers.rank();
    this.#monitoring.configure();
    if (this.#restart.deferring) this.#restart.start();
    else this.#tables.feed?.markDeferralEnded();
    this.#bfd.configure();
    this.#flush.schedule();
  }

  /** A connection somebody opened to us: goes to the peer with that address, or to whom a range makes of it, or is refused. */
  accept(connection: ByteConnection): void {
    if (this.#peers.accept(connection)) return;
    if (this.#stopped) connection.destroy();
    else this.#newcomers.accept(connection);
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
    for (const peer of this.#peers) peer.reconfigure(peer.config);
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
    const inherit = this.#peers.endChanged(old, config);
    this.#renewOwnAddresses();
    this.#tables.setMultipath(this.#config.multipath);
    this.#origination.change(old.originate, config.originate);
    for (const peer of config.peers) {
      const known = this.#peers.get(peer.name);
      if (known) known.reconfigure(peer);
      else this.#peers.add(peer, inherit.get(peer.name));
    }
    this.#peers.rank();
    this.#monitoring.configure();
    this.#restart.renewOffers();
    this.#restart.check();
    this.#bfd.configure();
    this.#flush.schedule();
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
    for (const peer of this.#peers) peer.reconfigure(peer.config);
    this.#cancelDrain = awaitDrained(this.#deps.clock, () => [...this.#peers], done);
  }

  /** Ends all sessions. Connections may need a moment more to send what is queued: see `openConnections`. */
  stop(mode: StopMode): void {
    this.#stopped = true;
    this.#flush.stop();
    this.#newcomers.stop();
    this.#restart.stop();
    this.#cancelDrain?.();
    const hard = mode === 'drain';
    this.#bfd.stop();
    for (const peer of this.#peers) {
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
    this.#flush.schedule();
  }

  /**
   * The way to some peers is gone (loss of carrier, address removed): their sessions end now and their routes with them,
   * instead of after the hold time. Matches the peer's name, its address, our own address on the link, or the interface of
   * link-local peers.
   */
  pathLost(which: PathSelector): void {
    if (which.interface !== undefined) this.#newcomers.linkDown(which.interface);
    for (const peer of this.#peers) {
      const lost = isOnPath(which, peer.config, peer.session.localAddress);
      if (lost) peer.pathLost('the link to the peer is down');
    }
    this.#flush.schedule();
  }

  /** The way to a peer may be back: dial now. Without arguments: all that wait. */
  pathBack(which: PathSelector = {}): void {
    for (const peer of this.#peers) {
      if (mayBeBack(which, peer.config)) peer.session.hurry();
    }
  }

  /** News of a BFD session: see `SpeakerDeps.bfd`. */
  bfdChanged(status: BfdSessionStatus): void {
    this.#bfd.changed(status);
    this.#flush.schedule();
  }

  /** The next packed buffer of route changes (see `decodeRouteChanges`); undefined when there are none for now. */
  takeRoutes(): ArrayBuffer | undefined {
    return this.#flush.takeRoutes();
  }

  status(): SpeakerStatus {
    const { bmp } = this.#monitoring;
    return speakerStatus({
      config: this.#config,
      tables: this.#tables,
      peers: this.#peers,
      restart: this.#restart,
      stations: bmp.active ? bmp.status() : undefined,
      ranges: this.#newcomers.rangeStatuses(),
    });
  }
  peerStatuses(): PeerStatus[] {
    return [...this.#peers].map((peer) => peer.status());
  }
  /** @throws RangeError on a query that names what is not there. */
  routes(query: RouteQuery): RouteAnswer {
    return routesFor(query, this.#tables, this.#peers);
  }
  /** The routes of all peers after import policy, and our own, as an MRT table dump (RFC 6396 4.3), to be read slice by slice. */
  tableDump(): TableDump {
    return this.#monitoring.tableDump();
  }
  get openConnections(): number {
    let count = 0;
    for (const peer of this.#peers) count += peer.session.openConnections;
    return count;
  }

  #makeNewcomers(config: SpeakerConfig): Newcomers {
    const { clock, log, transport } = this.#deps;
    const setPeers = (peers: readonly PeerConfig[]): void => {
      this.#config = { ...this.#config, peers };
      this.#peers.rankLater();
      this.#flush.schedule();
    };
    return new Newcomers(
      {
        clock,
        log,
        tcpAoFault: (key) => transport.tcpAoFault?.(key),
        peers: () => this.#peers,
        peer: (name) => this.#peers.get(name),
        add: (peer) => {
          setPeers([...this.#config.peers, peer]);
          return this.#peers.add(peer);
        },
        remove: (peer) => {
          setPeers(this.#config.peers.filter(({ name }) => name !== peer.config.name));
          this.#peers.remove(peer, ceaseSubcode.peerDeconfigured);
          this.#bfd.configure();
        },
        apply: (effective) => this.#apply(effective),
        accept: (connection) => this.#peers.accept(connection),
      },
      config,
    );
  }

  /** Without accessors: the engine keeps an object that has its own as a dictionary, and every UPDATE asks this one. */
  #makeHost(): PeerHost {
    return {
      clock: this.#deps.clock,
      groups: this.#tables.groups,
      reader: this.#reader,
      rib: (family) => this.#tables.rib(family),
      peerTable: this.#tables.peers,
      clusterId: () => clusterIdNumber(this.#config),
      selecting: () => this.#restart.selecting,
      gracefulShutdown: () => this.#draining || this.#config.gracefulShutdown === true,
      schedule: () => this.#flush.schedule(),
      reviewDue: () => this.#flush.reviewDue(),
      progress: () => this.#restart.check(),
      changed: (peer) => {
        this.#deps.onPeerState(peer.status());
        this.#newcomers.changed(peer);
      },
      linkOf: (localAddress, remoteAddress) => this.#linkOf(localAddress, remoteAddress),
      established: ({ session, config }) => {
        session.setGracefulRestart(this.#restart.offer(config, true));
        if (session.establishedCount === 1) this.#bfd.configure();
      },
      bfdStatus: (config) => this.#bfd.statusOf(config),
      ownAddress: (address) => this.#ownAddresses.add(address),
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

  #renewOwnAddresses(): void {
    this.#ownAddresses.renew(this.#peers, this.#config.peers);
  }

  /** End-of-RIB and the marker go out, and R goes off, once all of it is decided: see flush.ts. */
  #startSelection(): void {
    for (const rib of this.#tables.ribs) rib.markAllDirty();
    this.#bfd.configure();
    this.#flush.schedule();
  }
}

/** RFC 4724: what holds for the life of the process. */
function frozen(config: SpeakerConfig): Pick<SpeakerConfig['gracefulRestart'], 'restarting' | 'forwardingPreserved'> {
  const { restarting, forwardingPreserved } = config.gracefulRestart;
  return { restarting, forwardingPreserved };
}
