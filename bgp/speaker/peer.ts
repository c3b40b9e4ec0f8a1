/** One configured peer: its session, its rows in the RIBs, its update groups. */
import type { Clock, Logger } from '#kit';
import { isLinkLocal } from '#kit';
import type { BmpMonitor, BmpPeer } from '../bmp/index.ts';
import type { SessionConfig, SessionDownReason } from '../fsm/index.ts';
import type { MemberSink, Rib, UpdateGroupOptions } from '../rib/index.ts';
import {
  ceaseSubcode,
  dottedQuad,
  encodeEndOfRib,
  encodeRouteRefresh,
  ipFamilyOf,
  type Negotiated,
  type ProtocolError,
  type RouteRefresh,
  type UpdateContext,
  updateContext,
} from '../wire/index.ts';
import { type BfdDown, countsAsRestart, type PeerBfdStatus } from './bfd.ts';
import { exportsLearned, type Family, type PeerConfig } from './config.ts';
import type { Groups, Membership } from './groups.ts';
import { ImportPolicy, ImportReview, importKey } from './import-policy.ts';
import { leakRules } from './leak-prevention.ts';
import { deferralSettleMs, peerQueueBytesMax } from './limits.ts';
import { monitoredPeer } from './monitored-peer.ts';
import { negotiatedStatus } from './negotiated-status.ts';
import { nextHopSelf } from './next-hop-self.ts';
import { PrefixLimits } from './prefix-limit.ts';
import { RefreshAnswer } from './refresh-answer.ts';
import { RefreshIntake } from './refresh-intake.ts';
import { Session, type SessionDeps } from './session.ts';
import { knownAsn } from './session-config.ts';
import { StaleRoutes } from './stale-routes.ts';
import type { ByteConnection, LocalLink, PeerFamilyStatus, PeerStatus } from './types.ts';
import { type UpdateReader, type UpdateSource, updateCounters } from './update-reader.ts';

/** What a peer needs of its speaker. */
export interface PeerHost {
  readonly clock: Clock;
  readonly groups: Groups;
  readonly reader: UpdateReader;
  rib(family: Family): Rib;
  readonly peerTable: { readonly ebgp: Uint8Array; readonly client: Uint8Array; readonly routerId: Uint32Array };
  /** Unsigned; see `SpeakerConfig`. */
  readonly clusterId: number;
  /** Routes are selected already; until then only what we originate goes out. */
  readonly selecting: boolean;
  /** All sessions are about to end (RFC 8326). */
  readonly gracefulShutdown: boolean;
  /** Paths or backlogs changed: a flush is due. */
  schedule(): void;
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

interface FamilyState {
  endOfRib: boolean;
  membership?: Membership;
  readonly answer: RefreshAnswer;
  readonly intake: RefreshIntake;
}

/** What a new session of a peer takes over from the one that a change of settings ended: its routes, which the peer keeps as well. */
export interface Inheritance {
  readonly row: number;
  readonly stale: StaleRoutes;
}

export class Peer {
  config: PeerConfig;
  readonly row: number;
  readonly session: Session;
  /** The session that is there, for monitoring stations. */
  monitored: BmpPeer | undefined;
  readonly #host: PeerHost;
  readonly #log: Logger;
  readonly #localAsn: number;
  readonly #families = new Map<Family, FamilyState>();
  #negotiated: Negotiated | undefined;
  #remoteAddress = '';
  #source: UpdateSource | undefined;
  #importPolicy: ImportPolicy | undefined;
  #importReview: ImportReview | undefined;
  readonly #stale: StaleRoutes;
  readonly #counters = updateCounters();
  readonly #limits: PrefixLimits;
  #keepaliveSeen = false;
  /** An earlier session of this process told the peer routes, which have been forwarded ever since. */
  readonly #inherited: boolean;
  /** The path to the peer is gone: its routes are not kept over the end of this session. */
  #pathLost = false;
  #lastToleratedLogMs = Number.NEGATIVE_INFINITY;

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
    this.#localAsn = session.localAsn;
    this.#log = deps.log.child({ peer: config.name });
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
    const dial = {
      peer: config.name,
      address: config.address,
      port: config.port,
      ...(config.localAddress === undefined ? {} : { localAddress: config.localAddress }),
      ...(config.password === undefined ? {} : { password: config.password }),
      ...(config.ttlSecurityHops === undefined ? {} : { ttlSecurityHops: config.ttlSecurityHops }),
    };
    this.session = new Session({ ...deps, log: this.#log }, session, dial, {
      onUp: (negotiated, connection) => this.#up(negotiated, connection),
      onDown: (negotiated, preserve, reason) => this.#down(negotiated, preserve, reason),
      onUpdate: (bytes, start, end) => this.#update(bytes, start, end),
      onKeepalive: () => this.#keepalive(),
      onRouteRefresh: (refresh) => this.#routeRefresh(refresh),
      onDrained: () => this.#host.schedule(),
      onStateChange: () => {
        this.#host.progress();
        this.#host.changed(this);
      },
    });
  }

  #makeLimits(): PrefixLimits {
    return new PrefixLimits(
      {
        clock: this.#host.clock,
        log: this.#log,
        held: (family) => this.#host.rib(family).pathCount[this.row] ?? 0,
        end: (data) => {
          this.session.stop({ subcode: ceaseSubcode.maximumNumberOfPrefixesReached, data });
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
  /** Everything that is to be announced has been, and TCP has taken it. */
  get told(): boolean {
    if (this.session.queuedBytes > 0) return false;
    return [...this.#families.values()].every(({ membership }) => (membership?.member.backlog.count ?? 0) === 0);
  }
  get announcedCount(): number {
    let count = 0;
    for (const { membership } of this.#families.values()) count += membership?.group.announcedTo(this.row) ?? 0;
    return count;
  }
  /** The peer has told all it had to tell, as far as deferral is concerned. */
  get done(): boolean {
    const negotiated = this.#negotiated;
    if (!negotiated) return false;
    if (negotiated.gracefulRestart?.restarting) return true;
    // RFC 4724 4.1 does not wait for it at all; so what it has is mostly there when routes are selected.
    if (!negotiated.gracefulRestart && (this.#keepaliveSeen || this.stateForMs >= deferralSettleMs)) return true;
    return negotiated.families.every((family) => this.#families.get(family)?.endOfRib);
  }

  /** Ends the session and whatever would begin another. */
  stop(options: Parameters<Session['stop']>[0]): void {
    this.#limits.cancel();
    this.session.stop(options);
  }

  /** Ends the session with Administrative Reset (RFC 4486) and begins another. */
  reset(text: string): void {
    this.stop({ subcode: ceaseSubcode.administrativeReset, text });
    this.dropRoutes();
    if (this.config.heldDown === undefined) this.session.start();
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
    if (!this.#limits.holding) this.session.start();
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
    const wanted =
      next.import === 'accept' &&
      importKey(this.config) !== importKey({ ...next, adjRibIn: this.config.adjRibIn ?? false });
    return wanted && !this.#importPolicy?.complete && this.#negotiated !== undefined && !this.#negotiated.routeRefresh;
  }

  /** See `Session.rekey`. True when there is nothing to do. */
  rekey(password: string | undefined): boolean {
    return password === undefined || password === this.config.password || this.session.rekey(password);
  }

  /** New policies or next hops, without touching the session. */
  reconfigure(config: PeerConfig): void {
    const old = this.config;
    this.config = config;
    if (JSON.stringify(old.maxPrefixes) !== JSON.stringify(config.maxPrefixes))
      this.#limits.reconfigure(config.maxPrefixes);
    const negotiated = this.#negotiated;
    const leavingChanged = (old.gracefulShutdown ?? false) !== (config.gracefulShutdown ?? false);
    // Without ROUTE-REFRESH those that are here already stay as they came: ending the session is what is to be avoided.
    const otherCluster = negotiated && this.#source?.context.localClusterId !== this.#host.clusterId;
    const anew = otherCluster || leavingChanged;
    if (anew || importKey(old) !== importKey(config)) this.#importAgain(negotiated, anew);
    this.#host.schedule();
    if (!negotiated) return;
    if (old.routeReflectorClient !== config.routeReflectorClient) {
      this.#noteClient(negotiated);
      this.#host.groups.reapply(this.row);
    }
    for (const [family, state] of this.#families) {
      const options = this.#groupOptions(family, negotiated);
      if (state.membership && options) state.membership = this.#host.groups.move(state.membership, options);
      else if (!state.membership && options) this.#join(family, negotiated);
    }
    this.#host.monitor.peerFollow(this.row);
  }

  /** What must no longer be goes at once, stale routes included; what may be now is known, or asked for; `anew`: in any case. */
  #importAgain(negotiated: Negotiated | undefined, anew = false): void {
    const before = this.#importPolicy;
    if (!before) return;
    const policy = this.#makeImportPolicy(
      negotiated ? updateContext(negotiated, this.#host.clusterId) : before.context,
    );
    if (negotiated) this.#source = this.#makeSource(policy);
    policy.complete = policy.keeps && (before.complete || (negotiated?.routeRefresh ?? false));
    const ribs = (['ipv4-unicast', 'ipv6-unicast'] as const).map((family) => this.#host.rib(family));
    this.#importReview = new ImportReview(this.row, policy, before, ribs);
    if (!negotiated?.routeRefresh || (!policy.accept && !policy.keeps)) return;
    if (before.complete && !anew) return;
    for (const family of negotiated.families) this.session.writeMessage(encodeRouteRefresh(family));
  }
  #makeImportPolicy(context: UpdateContext): ImportPolicy {
    this.#importPolicy = new ImportPolicy(this.config, context, this.#host.rib('ipv4-unicast').tables);
    return this.#importPolicy;
  }

  /** Judges up to `limit` paths by a new import policy; whether there are more. */
  reviewImport(limit: number): boolean {
    if (this.#importReview && !this.#importReview.run(limit)) this.#importReview = undefined;
    return this.#importReview !== undefined;
  }
  /** What it is judged by while there is a session. */
  get importPolicy(): ImportPolicy | undefined {
    return this.#importPolicy;
  }
  membership(family: Family): Membership | undefined {
    return this.#families.get(family)?.membership;
  }

  /** Route selection began: End-of-RIB is due to those that get learned routes. */
  selectionStarted(): void {
    for (const { membership } of this.#families.values()) {
      if (membership && exportsLearned(this.config)) membership.member.endOfRibDue = true;
    }
  }

  status(): PeerStatus {
    const { session, config } = this;
    const negotiated = this.#negotiated;
    const bfd = this.#host.bfdStatus(config);
    return {
      name: config.name,
      address: config.address,
      port: config.port,
      ...(config.interface === undefined ? {} : { interface: config.interface }),
      ...(config.range === undefined ? {} : { range: config.range }),
      asn: this.asn,
      state: session.stateName,
      stateForMs: this.stateForMs,
      lastError: config.heldDown ?? session.lastError,
      ...(session.localAddress ? { localAddress: session.localAddress } : {}),
      ...(this.#limits.restartInSec === undefined ? {} : { restartInSec: this.#limits.restartInSec }),
      ...(negotiated ? { peerRouterId: dottedQuad(negotiated.peerRouterId) } : {}),
      establishedCount: session.establishedCount,
      messagesIn: session.messagesIn,
      messagesOut: session.messagesOut,
      updatesIn: session.updatesIn,
      updatesOut: session.updatesOut,
      prefixesReceived: this.#counters.prefixesReceived,
      ...(this.#counters.pathsRefused > 0 ? { pathsRefused: this.#counters.pathsRefused } : {}),
      updateErrors: this.#counters.updateErrors,
      queuedBytes: session.queuedBytes,
      ...(this.#leaving ? { gracefulShutdown: true } : {}),
      families: config.families.map((family) => this.#familyStatus(family)),
      ...(negotiated ? { negotiated: negotiatedStatus(negotiated) } : {}),
      ...(bfd ? { bfd } : {}),
    };
  }

  get #leaving(): boolean {
    return this.config.gracefulShutdown === true || this.#host.gracefulShutdown;
  }

  #familyStatus(family: Family): PeerFamilyStatus {
    const rib = this.#host.rib(family);
    const state = this.#families.get(family);
    const stalePhase = this.#stale.phase(family);
    return {
      family,
      accepted: (rib.pathCount[this.row] ?? 0) - (rib.rejectedCount[this.row] ?? 0),
      ...(this.config.adjRibIn ? { rejected: rib.rejectedCount[this.row] ?? 0 } : {}),
      stale: rib.staleCount[this.row] ?? 0,
      ...(stalePhase ? { stalePhase } : {}),
      sent: state?.membership ? state.membership.group.announcedTo(this.row) : 0,
      endOfRibReceived: state?.endOfRib ?? false,
    };
  }

  #up(negotiated: Negotiated, connection: ByteConnection): void {
    this.#negotiated = negotiated;
    this.#keepaliveSeen = false;
    this.#counters.prefixesReceived = 0;
    this.#counters.pathsRefused = 0;
    this.#host.ownAddress(connection.localAddress);
    this.#host.peerTable.ebgp[this.row] = negotiated.ebgp ? 1 : 0;
    this.#host.peerTable.routerId[this.row] = negotiated.peerRouterId;
    this.#remoteAddress = connection.remoteAddress;
    this.#noteClient(negotiated);
    const policy = this.#makeImportPolicy(updateContext(negotiated, this.#host.clusterId));
    policy.complete = policy.keeps;
    this.#source = this.#makeSource(policy);
    this.#stale.sessionUp(negotiated);
    this.#families.clear();
    for (const family of negotiated.families) {
      this.#families.set(family, this.#familyState(family, negotiated.enhancedRouteRefresh));
      this.#join(family, negotiated);
    }
    const about = { row: this.row, config: this.config, upAtUsec: this.#host.wallUsec() };
    this.monitored = monitoredPeer(
      about,
      negotiated,
      connection,
      this.session.opens,
      this.#counters,
      (family) => this.#families.get(family === 4 ? 'ipv4-unicast' : 'ipv6-unicast')?.membership,
    );
    this.#host.monitor.peerUp(this.monitored);
    this.#host.established(this);
    this.#host.schedule();
  }

  #familyState(family: Family, enhanced: boolean): FamilyState {
    const { clock } = this.#host;
    const rib = this.#host.rib(family);
    const state: FamilyState = {
      endOfRib: false,
      answer: new RefreshAnswer({
        family,
        enhanced,
        send: (message) => this.session.writeMessage(message),
        membership: () => state.membership,
      }),
      intake: new RefreshIntake({ clock, log: this.#log, rib, row: this.row, changed: () => this.#host.schedule() }),
    };
    return state;
  }

  #noteClient({ ebgp }: Negotiated): void {
    this.#host.peerTable.client[this.row] = this.config.routeReflectorClient && !ebgp ? 1 : 0;
  }

  #makeSource(policy: ImportPolicy): UpdateSource {
    const { context, keeps, filter4, filter6, allowedOwnAsns, leakRule, accept } = policy;
    const link = this.#link()?.interface;
    return {
      row: this.row,
      linkLocal: isLinkLocal(this.#remoteAddress),
      ...(link === undefined ? {} : { link }),
      context,
      keeps,
      filter4,
      filter6,
      allowedOwnAsns,
      leakRule,
      gracefulShutdown: this.config.gracefulShutdown ?? false,
      accept,
      counters: this.#counters,
      onEndOfRib: (family) => this.#endOfRib(family === 4 ? 'ipv4-unicast' : 'ipv6-unicast'),
      onTolerated: (error, discardedCount) => this.#tolerated(error, discardedCount),
    };
  }

  #join(family: Family, negotiated: Negotiated): void {
    const state = this.#families.get(family)!;
    const options = this.#groupOptions(family, negotiated);
    if (!options) {
      this.#log.warn({ family }, 'no own address of this family to announce as next hop: announcing nothing');
      this.session.writeMessage(encodeEndOfRib(ipFamilyOf(family)));
      state.answer.caughtUp(true);
      return;
    }
    const session = this.session;
    const sink: MemberSink = {
      write: (chunk) => session.writeUpdates(chunk),
      get writable() {
        return session.queuedBytes < peerQueueBytesMax;
      },
      caughtUp: (endOfRib) => state.answer.caughtUp(endOfRib),
    };
    // What depends on selection is complete only after it; what we originate is complete now.
    const endOfRib = this.#host.selecting || !exportsLearned(this.config);
    state.membership = this.#host.groups.join(this.#host.rib(family), options, this.row, sink, endOfRib);
  }

  #groupOptions(family: Family, negotiated: Negotiated): UpdateGroupOptions | undefined {
    const ipFamily = ipFamilyOf(family);
    const local = nextHopSelf(ipFamily, this.config, negotiated, this.session.localAddress ?? '', this.#link());
    if (!local) return undefined;
    const filter = ipFamily === 4 ? this.config.exportFilter?.ipv4 : this.config.exportFilter?.ipv6;
    const rule = negotiated.ebgp && this.config.role ? leakRules[this.config.role] : undefined;
    const sendsPaths = negotiated.addPath.some((entry) => entry.family === family && entry.send);
    return {
      ...(filter && filter.length > 0 ? { filter } : {}),
      ...(sendsPaths ? { addPath: this.config.addPath?.send ?? 1 } : {}),
      ebgp: negotiated.ebgp,
      export: this.config.export,
      ...(negotiated.ebgp
        ? {}
        : {
            routeReflectorClient: this.config.routeReflectorClient ?? false,
            clusterId: this.#host.clusterId,
          }),
      asn4: negotiated.asn4,
      extendedMessages: negotiated.extendedMessages,
      localAsn: this.#localAsn,
      addOnlyToCustomer: rule?.addOut ?? false,
      withholdOnlyToCustomer: rule?.withhold ?? false,
      nextHopSelf: local,
      ...(this.#leaving ? { gracefulShutdown: true } : {}),
      ...longLivedExport(negotiated, this.config),
      extendedNextHop: ipFamily === 4 && negotiated.extendedNextHop,
    };
  }

  /** As it is now: addresses come and go. */
  #link(): LocalLink | undefined {
    return this.#host.linkOf(this.session.localAddress ?? '', this.#remoteAddress);
  }

  #down(negotiated: Negotiated, preserve: boolean, reason: SessionDownReason): void {
    this.#host.monitor.peerDown(this.row, reason);
    this.#host.reader.received?.dropPeer(this.row);
    this.monitored = undefined;
    this.#negotiated = undefined;
    this.#source = undefined;
    for (const { membership, intake } of this.#families.values()) {
      intake.cancel();
      if (membership) this.#host.groups.leave(membership);
    }
    this.#families.clear();
    this.#stale.sessionLost(negotiated, preserve && !this.#pathLost);
    this.#host.schedule();
  }

  #update(bytes: Uint8Array, start: number, end: number): ProtocolError | undefined {
    if (!this.#source) return undefined;
    const error = this.#host.reader.apply(this.#source, bytes, start, end);
    if (this.config.maxPrefixes) this.#limits.check();
    this.#host.schedule();
    return error;
  }

  #endOfRib(family: Family): void {
    const state = this.#families.get(family);
    if (!state) return;
    state.endOfRib = true;
    this.#log.debug({ family }, 'End-of-RIB');
    this.#stale.endOfRib(family);
    this.#host.monitor.endOfRib(this.row, ipFamilyOf(family));
    this.#host.progress();
  }

  #keepalive(): void {
    if (this.#keepaliveSeen) return;
    this.#keepaliveSeen = true;
    this.#host.progress();
  }

  #routeRefresh({ family, subtype }: RouteRefresh): void {
    const state = family && this.#families.get(family);
    if (!state) return;
    if (subtype === 0) state.answer.ask();
    else if (!this.#negotiated?.enhancedRouteRefresh) return;
    else if (subtype === 2) state.intake.end();
    else if (subtype === 1) {
      // RFC 7313 4.2: what graceful restart still waits for, End-of-RIB sweeps.
      if (state.endOfRib || !this.#negotiated.gracefulRestart) state.intake.begin();
      else this.#log.warn({ family }, 'BoRR before End-of-RIB is ignored (RFC 7313 4.2)');
    }
    this.#host.schedule();
  }

  #tolerated(error: ProtocolError | undefined, discardedCount: number): void {
    const now = this.#host.clock.nowMs();
    if (now - this.#lastToleratedLogMs < 1000) return;
    this.#lastToleratedLogMs = now;
    const reason = error?.reason ?? 'attributes discarded';
    this.#log.warn({ reason, discardedCount, updateErrors: this.#counters.updateErrors }, 'malformed UPDATE tolerated');
  }
}

/** RFC 9494 4.3, 4.6. */
function longLivedExport(negotiated: Negotiated, config: PeerConfig): Pick<UpdateGroupOptions, 'longLived'> {
  if (negotiated.longLivedAware) return { longLived: 'aware' };
  return config.longLivedToAllInternal && !negotiated.ebgp ? { longLived: 'internal' } : {};
}
