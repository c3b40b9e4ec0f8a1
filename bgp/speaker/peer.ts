/** One configured peer: its session, its rows in the RIBs, what becomes of its routes when the session ends. */
import type { Clock, Logger } from '#kit';
import type { BmpMonitor, BmpPeer } from '../bmp/index.ts';
import type { SessionConfig, SessionDownReason } from '../fsm/index.ts';
import type { PeerTable } from '../rib/index.ts';
import { ceaseSubcode, ipFamilyOf, type Negotiated, type ProtocolError, type RouteRefresh } from '../wire/index.ts';
import { type BfdDown, countsAsRestart, type PeerBfdStatus } from './bfd.ts';
import type { Family, PeerConfig } from './config.ts';
import type { Membership } from './groups.ts';
import { type ImportPolicy, importKey } from './import-policy.ts';
import { blackholeBits } from './intake-marks.ts';
import { deferralRestartingSec, deferralSettleMs } from './limits.ts';
import { monitoredPeer } from './monitored-peer.ts';
import { type ExportHost, PeerExport } from './peer-export.ts';
import { type ImportHost, PeerImport } from './peer-import.ts';
import { peerStatus } from './peer-status.ts';
import { PrefixLimits } from './prefix-limit.ts';
import { Session, type SessionDeps, type SessionHooks } from './session.ts';
import { knownAsn } from './session-config.ts';
import { StaleRoutes } from './stale-routes.ts';
import { type SessionKeys, sameKeys, sessionKeys } from './tcp-ao.ts';
import type { ByteConnection, DialRequest, LocalLink, PeerStatus } from './types.ts';

/** What a peer needs of its speaker. */
export interface PeerHost extends ImportHost, ExportHost {
  readonly clock: Clock;
  readonly peerTable: Pick<PeerTable, 'ebgp' | 'client' | 'routerId' | 'blackhole4' | 'blackhole6'>;
  /** Something that route selection deferral looks at changed. */
  progress(): void;
  changed(peer: Peer): void;
  established(peer: Peer): void;
  linkOf(localAddress: string, remoteAddress: string): LocalLink | undefined;
  ownAddress(address: string): void;
  readonly monitor: BmpMonitor;
  /** Of the wall clock; 0: not known. */
  wallUsec(): number;
  bfdStatus(peer: PeerConfig): PeerBfdStatus | undefined;
}

/** What a new session of a peer takes over from the one that a change of settings ended: its routes, which the peer keeps as well. */
export interface Inheritance {
  readonly row: number;
  readonly stale: StaleRoutes;
}

/** Of its session it is told as its `SessionHooks`: by methods, for the reason of `FrameTaker`. */
export class Peer implements SessionHooks {
  config: PeerConfig;
  readonly row: number;
  readonly session: Session;
  /** Sessions of this peer before a change of settings made `session` anew. */
  earlierSessions = 0;
  /** The session that is there, for monitoring stations. */
  monitored: BmpPeer | undefined;
  readonly #host: PeerHost;
  readonly #log: Logger;
  readonly #imports: PeerImport;
  readonly #exports: PeerExport;
  #negotiated: Negotiated | undefined;
  readonly #stale: StaleRoutes;
  readonly #limits: PrefixLimits;
  #keepaliveSeen = false;
  #answered = false;
  /** An earlier session of this process told the peer routes, which have been forwarded ever since. */
  readonly #inherited: boolean;
  /** The session begins later: see `OwnRestart.holdMs`. */
  #cancelHold: (() => void) | undefined;
  #awaitedUntilMs = Number.NEGATIVE_INFINITY;
  /** The path to the peer is gone: its routes are not kept over the end of this session. */
  #pathLost = false;

  /** @param from its row in the RIBs, or what an earlier session leaves to it. */
  constructor(
    host: PeerHost,
    deps: SessionDeps,
    config: PeerConfig,
    session: SessionConfig,
    from: number | Inheritance,
  ) {
    this.#host = host;
    this.config = config;
    this.#inherited = typeof from !== 'number';
    this.row = typeof from === 'number' ? from : from.row;
    this.#log = deps.log.child({ peer: config.name });
    this.#noteBlackhole();
    this.#limits = this.#makeLimits();
    const stale = {
      clock: host.clock,
      log: this.#log,
      rib: (family: Family) => host.rib(family),
      schedule: () => host.schedule(),
    };
    this.#stale = typeof from === 'number' ? new StaleRoutes(stale, from) : from.stale;
    // Families that are not wanted any more have nobody to wait for.
    this.#stale.drop(config.families);
    this.session = new Session({ ...deps, log: this.#log }, session, dialRequest(config), this);
    const side = {
      host,
      log: this.#log,
      row: this.row,
      session: this.session,
      config: () => this.config,
      link: () => this.#link(),
    };
    this.#imports = new PeerImport({ ...side, onEndOfRib: (family) => this.#endOfRib(family) });
    this.#exports = new PeerExport({ ...side, localAsn: session.localAsn });
  }

  #makeLimits(): PrefixLimits {
    return new PrefixLimits(
      {
        clock: this.#host.clock,
        log: this.#log,
        held: (family) => this.#host.rib(family).heldOf(this.row),
        end: (data) => {
          this.session.stop({ subcode: ceaseSubcode.maximumNumberOfPrefixesReached, data, hard: true });
          this.dropRoutes();
        },
        start: () => this.session.start(),
      },
      this.config.maxPrefixes,
    );
  }

  /** It has a connection, or routes kept over its restart. */
  get inUse(): boolean {
    return this.session.openConnections > 0 || this.holdsStaleRoutes;
  }
  /** Its AS; 0: not known yet. */
  get asn(): number {
    return this.#negotiated?.peerAsn ?? knownAsn(this.config.asn);
  }
  get holdsStaleRoutes(): boolean {
    return (['ipv4-unicast', 'ipv6-unicast'] as const).some((family) => this.#host.rib(family).staleCount[this.row]);
  }
  /** It has taken a connection, whatever became of that. */
  get answered(): boolean {
    return this.#answered;
  }
  get established(): boolean {
    return this.#negotiated !== undefined;
  }
  /** Both sides offered graceful restart: closing without NOTIFICATION keeps our routes there. */
  get gracefulRestart(): boolean {
    return this.#negotiated?.gracefulRestart !== undefined;
  }
  /** What we told the peer in this process it may still know, and we have gone on forwarding it. */
  get everEstablished(): boolean {
    return this.#inherited || this.session.establishedCount > 0;
  }
  get establishedCount(): number {
    return this.earlierSessions + this.session.establishedCount;
  }
  /** Everything that is to be announced has been, and TCP has taken it. */
  get told(): boolean {
    return this.#exports.told;
  }
  get announcedCount(): number {
    return this.#exports.announcedCount;
  }
  /** The peer has told all it had to tell, as far as deferral is concerned. */
  get done(): boolean {
    const negotiated = this.#negotiated;
    if (!negotiated) return false;
    if (negotiated.gracefulRestart?.restarting && this.stateForMs >= deferralRestartingSec * 1000) return true;
    // RFC 4724 4.1 does not wait for it at all; so what it has is mostly there when routes are selected.
    if (!negotiated.gracefulRestart && (this.#keepaliveSeen || this.stateForMs >= deferralSettleMs)) return true;
    return negotiated.families.every((family) => this.#imports.endOfRibReceived(family));
  }

  /** Begins sessions, `holdMs` from now. */
  start(holdMs = 0): void {
    this.#endHold();
    if (holdMs === 0) {
      this.session.start();
      return;
    }
    this.#log.info({ holdMs: Math.round(holdMs) }, 'BGP waits until BFD of the peer has noticed the restart');
    this.#awaitedUntilMs = this.#host.clock.nowMs() + holdMs + deferralSettleMs;
    this.#cancelHold = this.#host.clock.schedule(holdMs, () => this.start());
  }
  /** Its session has not begun yet, and connections of its own are refused. */
  get held(): boolean {
    return this.#cancelHold !== undefined;
  }
  /** It is held, or has had no time to connect since. */
  get awaited(): boolean {
    return this.held || (!this.established && this.#host.clock.nowMs() < this.#awaitedUntilMs);
  }
  #endHold(): void {
    this.#cancelHold?.();
    this.#cancelHold = undefined;
  }

  /** Ends the session and whatever would begin another. */
  stop(options: Parameters<Session['stop']>[0]): void {
    this.#endHold();
    this.#limits.cancel();
    this.session.stop(options);
  }

  /** Ends the session with Administrative Reset (RFC 4486) and begins another, from nothing on both sides (RFC 8538 5.1). */
  reset(text: string): void {
    this.stop({ subcode: ceaseSubcode.administrativeReset, text, hard: true });
    this.dropRoutes();
    if (this.config.heldDown === undefined) this.start();
  }

  get stateForMs(): number {
    return Math.round(this.#host.clock.nowMs() - this.session.stateSinceMs);
  }

  /** The link to the peer is gone: the session ends at once and its routes go, graceful restart or not. */
  pathLost(reason: string): void {
    this.#pathLost = true;
    this.#log.info({ reason }, 'path to the peer is gone');
    this.session.stop({ subcode: 0, text: reason, silent: true });
    this.#pathLost = false;
    this.dropRoutes();
    if (!this.#limits.holding) this.start();
  }

  /**
   * BFD fell (RFC 5882 4.2, 10.2). A session that is there ends; of one that is restarting the routes are kept, unless the fall
   * means that nothing is forwarded (4.3.1).
   */
  bfdDown(down: BfdDown): void {
    this.#log.warn({ reason: down.text, forwardingLost: down.forwardingLost }, 'BFD session down');
    if (!this.established) {
      if (down.forwardingLost) this.dropRoutes();
      return;
    }
    const restart = this.gracefulRestart && countsAsRestart(this.config.bfd, down);
    this.#pathLost = !restart;
    this.session.bfdDown(down.text, restart);
    this.#pathLost = false;
  }

  /** Drops all paths of the peer, stale ones included. */
  dropRoutes(): void {
    this.#stale.drop();
  }

  /** After its session was stopped for another one with such settings; undefined when its routes are not to be kept. */
  bequeath(next: PeerConfig): Inheritance | undefined {
    if (importKey(this.config) !== importKey(next)) return undefined;
    return { row: this.row, stale: this.#stale };
  }

  /** Routes that were rejected may be wanted now, nobody kept them, and the peer knows no ROUTE-REFRESH: only a new session brings them. */
  cannotImportAgain(next: PeerConfig): boolean {
    return this.#imports.cannotImportAgain(next);
  }

  /** See `Session.rekey`. True when there is nothing to do. */
  rekey(next: SessionKeys): boolean {
    return sameKeys(this.config, next) || this.session.rekey(sessionKeys(next));
  }

  /** New policies or next hops, without touching the session. */
  reconfigure(config: PeerConfig): void {
    const old = this.config;
    this.config = config;
    if (JSON.stringify(old.maxPrefixes) !== JSON.stringify(config.maxPrefixes))
      this.#limits.reconfigure(config.maxPrefixes);
    this.#imports.reconfigure(old);
    this.#noteBlackhole();
    this.#host.schedule();
    const negotiated = this.#negotiated;
    if (!negotiated) return;
    if (old.routeReflectorClient !== config.routeReflectorClient) {
      this.#noteClient(negotiated);
      this.#host.groups.reapply(this.row);
    }
    this.#exports.reconfigure();
    this.#host.monitor.peerFollow(this.row);
  }

  /** Judges up to `limit` paths by a new import policy; whether there are more. */
  reviewImport(limit: number): boolean {
    if (!this.#imports.reviewing) return false;
    const more = this.#imports.review(limit);
    this.#stale.judgedAnew();
    return more;
  }
  /** What it is judged by while there is a session. */
  get importPolicy(): ImportPolicy | undefined {
    return this.#imports.policy;
  }
  membership(family: Family): Membership | undefined {
    return this.#exports.membership(family);
  }

  /** Route selection began: End-of-RIB is due to those that get learned routes. */
  selectionStarted(): void {
    this.#exports.selectionStarted();
  }

  status(): PeerStatus {
    return peerStatus({
      config: this.config,
      row: this.row,
      asn: this.asn,
      stateForMs: this.stateForMs,
      session: this.session,
      establishedCount: this.establishedCount,
      negotiated: this.#negotiated,
      restartInSec: this.#limits.restartInSec,
      imports: this.#imports,
      exports: this.#exports,
      stale: this.#stale,
      bfd: this.#host.bfdStatus(this.config),
      rib: (family) => this.#host.rib(family),
    });
  }

  onUp(negotiated: Negotiated, connection: ByteConnection): void {
    this.#negotiated = negotiated;
    this.#keepaliveSeen = false;
    this.#host.ownAddress(connection.localAddress);
    this.#host.peerTable.ebgp[this.row] = negotiated.ebgp ? 1 : 0;
    this.#host.peerTable.routerId[this.row] = negotiated.peerRouterId;
    this.#noteClient(negotiated);
    this.#imports.sessionUp(negotiated);
    this.#stale.sessionUp(negotiated);
    this.#host.reader.received?.peerUp(this.row);
    this.#exports.sessionUp(negotiated);
    const about = { row: this.row, config: this.config, upAtUsec: this.#host.wallUsec() };
    this.monitored = monitoredPeer(
      about,
      negotiated,
      connection,
      this.session.opens,
      this.#imports.counters,
      (family) => this.membership(family === 4 ? 'ipv4-unicast' : 'ipv6-unicast'),
    );
    this.#host.monitor.peerUp(this.monitored);
    this.#host.established(this);
    this.#host.schedule();
  }

  #noteClient({ ebgp }: Negotiated): void {
    this.#host.peerTable.client[this.row] = this.config.routeReflectorClient && !ebgp ? 1 : 0;
  }

  /** Routes that are here are decided about again when another BLACKHOLE is obeyed than before. */
  #noteBlackhole(): void {
    const { blackhole4, blackhole6 } = this.#host.peerTable;
    for (const [column, family] of [[blackhole4, 4] as const, [blackhole6, 6] as const]) {
      const least = blackholeBits(this.config, family);
      if (column[this.row] === least) continue;
      column[this.row] = least;
      this.#host.rib(family === 4 ? 'ipv4-unicast' : 'ipv6-unicast').markAllDirty();
    }
  }

  /** As it is now: addresses come and go. */
  #link(): LocalLink | undefined {
    return this.#host.linkOf(this.session.localAddress ?? '', this.session.remoteAddress ?? '');
  }

  onDown(negotiated: Negotiated, preserve: boolean, reason: SessionDownReason): void {
    this.#host.monitor.peerDown(this.row, reason);
    this.#host.reader.received?.dropPeer(this.row);
    this.monitored = undefined;
    this.#negotiated = undefined;
    this.#imports.sessionDown();
    this.#exports.sessionDown();
    this.#stale.sessionLost(negotiated, preserve && !this.#pathLost);
    this.#host.schedule();
  }

  onUpdate(bytes: Uint8Array, start: number, end: number): ProtocolError | undefined {
    if (!this.#negotiated) return undefined;
    const error = this.#imports.update(bytes, start, end);
    this.#limits.check();
    this.#host.schedule();
    return error;
  }

  onDrained(): void {
    this.#host.schedule();
  }

  onStateChange(): void {
    if (this.session.stateName === 'OpenSent') this.#answered = true;
    this.#host.progress();
    this.#host.changed(this);
  }

  #endOfRib(family: Family): void {
    this.#stale.endOfRib(family);
    this.#host.monitor.endOfRib(this.row, ipFamilyOf(family));
    this.#host.progress();
  }

  onKeepalive(): void {
    if (this.#keepaliveSeen) return;
    this.#keepaliveSeen = true;
    this.#host.progress();
  }

  onRouteRefresh({ family, subtype }: RouteRefresh): void {
    if (!family || !this.#negotiated?.families.includes(family)) return;
    if (subtype === 0) this.#exports.refreshAsked(family);
    else this.#imports.refreshMark(family, subtype);
    this.#host.schedule();
  }
}

function dialRequest(config: PeerConfig): DialRequest {
  return {
    peer: config.name,
    address: config.address,
    port: config.port,
    ...(config.localAddress === undefined ? {} : { localAddress: config.localAddress }),
    ...sessionKeys(config),
    ...(config.ttlSecurityHops === undefined ? {} : { ttlSecurityHops: config.ttlSecurityHops }),
  };
}
