/** One configured peer: its session, its rows in the RIBs, its update groups, and graceful restart as helper (RFC 4724 4.2). */
import type { Clock, Logger } from '#kit';
import { parseIp } from '#kit';
import { compileFilter } from '../filter/index.ts';
import type { SessionConfig, SessionDownReason } from '../fsm/index.ts';
import type { MemberSink, Rib, UpdateGroupOptions } from '../rib/index.ts';
import {
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
import type { Family, PeerConfig } from './config.ts';
import type { Groups, Membership } from './groups.ts';
import { peerQueueBytesMax, staleRoutesSecMax } from './limits.ts';
import { Session, type SessionDeps } from './session.ts';
import type { ByteConnection, PeerFamilyStatus, PeerStatus } from './types.ts';
import type { UpdateReader, UpdateSource } from './update-reader.ts';

/** What a peer needs of its speaker. */
export interface PeerHost {
  readonly clock: Clock;
  readonly groups: Groups;
  readonly reader: UpdateReader;
  rib(family: Family): Rib;
  readonly peerTable: { readonly ebgp: Uint8Array; readonly routerId: Uint32Array };
  /** Routes are selected already; until then only what we originate goes out. */
  readonly selecting: boolean;
  /** Paths or backlogs changed: a flush is due. */
  schedule(): void;
  /** Something that route selection deferral looks at changed. */
  progress(): void;
  changed(peer: Peer): void;
  established(peer: Peer): void;
  ownAddress(address: string): void;
}

interface FamilyState {
  endOfRib: boolean;
  membership?: Membership;
}

export class Peer {
  config: PeerConfig;
  readonly row: number;
  readonly session: Session;
  readonly #host: PeerHost;
  readonly #log: Logger;
  readonly #localAsn: number;
  readonly #families = new Map<Family, FamilyState>();
  #negotiated: Negotiated | undefined;
  #source: UpdateSource | undefined;
  readonly #counters = { prefixesReceived: 0, updateErrors: 0, pathsRefused: 0 };
  #keepaliveSeen = false;
  #cancelStaleTimer: (() => void) | undefined;
  /** The path to the peer is gone: its routes are not kept over the end of this session. */
  #pathLost = false;
  #lastToleratedLogMs = Number.NEGATIVE_INFINITY;

  constructor(host: PeerHost, deps: SessionDeps, config: PeerConfig, session: SessionConfig, row: number) {
    this.#host = host;
    this.config = config;
    this.row = row;
    this.#localAsn = session.localAsn;
    this.#log = deps.log.child({ peer: config.name });
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

  get established(): boolean {
    return this.#negotiated !== undefined;
  }
  /** Both sides offered graceful restart: closing without NOTIFICATION keeps our routes there. */
  get gracefulRestart(): boolean {
    return this.#negotiated?.gracefulRestart !== undefined;
  }
  /** The peer has told all it had to tell, as far as deferral is concerned. */
  get done(): boolean {
    const negotiated = this.#negotiated;
    if (!negotiated) return false;
    if (negotiated.gracefulRestart?.restarting) return true;
    if (!negotiated.gracefulRestart && this.#keepaliveSeen) return true;
    return negotiated.families.every((family) => this.#families.get(family)?.endOfRib);
  }

  /** The link to the peer is gone: the session ends at once and its routes go, graceful restart or not. */
  pathLost(reason: string): void {
    this.#pathLost = true;
    this.#log.info({ reason }, 'path to the peer is gone');
    this.session.stop({ subcode: 0, text: reason, silent: true });
    this.#pathLost = false;
    this.dropRoutes();
    this.session.start();
  }

  /** Drops all paths of the peer, stale ones included. */
  dropRoutes(): void {
    this.#cancelStale();
    for (const family of ['ipv4-unicast', 'ipv6-unicast'] as const) this.#host.rib(family).removePeer(this.row, false);
    this.#host.schedule();
  }

  /** Routes that were rejected may be wanted now, and the peer knows no ROUTE-REFRESH: only a new session brings them. */
  cannotImportAgain(next: PeerConfig): boolean {
    const wanted = next.import === 'accept' && importKey(this.config) !== importKey(next);
    return wanted && this.#negotiated !== undefined && !this.#negotiated.routeRefresh;
  }

  /** See `Session.rekey`. True when there is nothing to do. */
  rekey(password: string | undefined): boolean {
    return password === undefined || password === this.config.password || this.session.rekey(password);
  }

  /** New policies or next hops, without touching the session. */
  reconfigure(config: PeerConfig): void {
    const old = this.config;
    this.config = config;
    const negotiated = this.#negotiated;
    if (!negotiated) return;
    if (importKey(old) !== importKey(config)) this.#importAgain(negotiated);
    for (const [family, state] of this.#families) {
      const options = this.#groupOptions(family, negotiated);
      if (state.membership && options) state.membership = this.#host.groups.move(state.membership, options);
      else if (!state.membership && options) this.#join(family, negotiated);
    }
    this.#host.schedule();
  }

  /** What must no longer be goes at once; what may be now is asked for. */
  #importAgain(negotiated: Negotiated): void {
    this.#source = this.#makeSource(updateContext(negotiated));
    const source = this.#source;
    if (this.config.import === 'reject') {
      this.dropRoutes();
      return;
    }
    for (const [family, filter] of [
      ['ipv4-unicast', source.filter4],
      ['ipv6-unicast', source.filter6],
    ] as const) {
      if (filter) this.#host.rib(family).filterPeer(this.row, filter);
    }
    if (!negotiated.routeRefresh) return;
    for (const family of negotiated.families) this.session.writeMessage(encodeRouteRefresh(family));
  }

  /** Route selection began: End-of-RIB is due to those that get learned routes. */
  selectionStarted(): void {
    for (const { membership } of this.#families.values()) {
      if (membership && this.config.export === 'accept') membership.member.endOfRibDue = true;
    }
  }

  status(): PeerStatus {
    const { session, config } = this;
    const negotiated = this.#negotiated;
    return {
      name: config.name,
      address: config.address,
      asn: config.asn,
      state: session.stateName,
      stateForMs: Math.round(this.#host.clock.nowMs() - session.stateSinceMs),
      lastError: config.heldDown ?? session.lastError,
      ...(session.localAddress ? { localAddress: session.localAddress } : {}),
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
      families: config.families.map((family) => this.#familyStatus(family)),
      ...(negotiated ? { negotiated: negotiatedStatus(negotiated) } : {}),
    };
  }

  #familyStatus(family: Family): PeerFamilyStatus {
    const rib = this.#host.rib(family);
    const state = this.#families.get(family);
    return {
      family,
      accepted: rib.pathCount[this.row] ?? 0,
      stale: rib.staleCount[this.row] ?? 0,
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
    this.#source = this.#makeSource(updateContext(negotiated));
    this.#adoptStaleRoutes(negotiated);
    this.#families.clear();
    for (const family of negotiated.families) {
      this.#families.set(family, { endOfRib: false });
      this.#join(family, negotiated);
    }
    this.#host.established(this);
    this.#host.schedule();
  }

  #makeSource(context: UpdateContext): UpdateSource {
    const peer = this;
    const { importFilter, allowOwnAsn } = this.config;
    return {
      row: this.row,
      context,
      filter4: compileFilter(importFilter?.ipv4),
      filter6: compileFilter(importFilter?.ipv6),
      allowedOwnAsns: allowOwnAsn ?? 0,
      get accept() {
        return peer.config.import === 'accept';
      },
      counters: this.#counters,
      onEndOfRib: (family) => this.#endOfRib(family === 4 ? 'ipv4-unicast' : 'ipv6-unicast'),
      onTolerated: (error, discardedCount) => this.#tolerated(error, discardedCount),
    };
  }

  /** A peer that says nothing of forwarding state for a family has lost it: what we kept goes at once (RFC 4724 4.2). */
  #adoptStaleRoutes(negotiated: Negotiated): void {
    this.#cancelStale();
    let kept = false;
    for (const family of ['ipv4-unicast', 'ipv6-unicast'] as const) {
      const rib = this.#host.rib(family);
      if ((rib.staleCount[this.row] ?? 0) === 0) continue;
      const preserved =
        negotiated.families.includes(family) &&
        negotiated.gracefulRestart?.families.some((entry) => entry.family === family && entry.forwarding);
      if (preserved) kept = true;
      else rib.removePeer(this.row, true);
    }
    if (kept) this.#startStaleTimer(staleRoutesSecMax, 'no End-of-RIB after the restart');
  }

  #join(family: Family, negotiated: Negotiated): void {
    const state = this.#families.get(family)!;
    const options = this.#groupOptions(family, negotiated);
    if (!options) {
      this.#log.warn({ family }, 'no own address of this family to announce as next hop: announcing nothing');
      this.session.writeMessage(encodeEndOfRib(ipFamilyOf(family)));
      return;
    }
    const session = this.session;
    const sink: MemberSink = {
      write: (chunk) => session.writeUpdates(chunk),
      get writable() {
        return session.queuedBytes < peerQueueBytesMax;
      },
    };
    // What depends on selection is complete only after it; what we originate is complete now.
    const endOfRib = this.#host.selecting || this.config.export !== 'accept';
    state.membership = this.#host.groups.join(this.#host.rib(family), options, this.row, sink, endOfRib);
  }

  #groupOptions(family: Family, negotiated: Negotiated): UpdateGroupOptions | undefined {
    const ipFamily = ipFamilyOf(family);
    const configured = ipFamily === 4 ? this.config.nextHop4 : this.config.nextHop6;
    const local = parseIp(configured ?? this.session.localAddress ?? '');
    if (!local || local.length !== (ipFamily === 4 ? 4 : 16)) return undefined;
    const filter = ipFamily === 4 ? this.config.exportFilter?.ipv4 : this.config.exportFilter?.ipv6;
    const sendsPaths = negotiated.addPath.some((entry) => entry.family === family && entry.send);
    return {
      ...(filter && filter.length > 0 ? { filter } : {}),
      ...(sendsPaths ? { addPath: this.config.addPath?.send ?? 1 } : {}),
      ebgp: negotiated.ebgp,
      export: this.config.export,
      asn4: negotiated.asn4,
      localAsn: this.#localAsn,
      nextHopSelf: local,
    };
  }

  #down(negotiated: Negotiated, preserve: boolean, _reason: SessionDownReason): void {
    this.#negotiated = undefined;
    this.#source = undefined;
    for (const { membership } of this.#families.values()) if (membership) this.#host.groups.leave(membership);
    this.#families.clear();
    this.#cancelStale();
    const restart = negotiated.gracefulRestart;
    let kept = false;
    for (const family of ['ipv4-unicast', 'ipv6-unicast'] as const) {
      const rib = this.#host.rib(family);
      const survives = preserve && !this.#pathLost && restart?.families.some((entry) => entry.family === family);
      if (survives) rib.markStale(this.row);
      else rib.removePeer(this.row, false);
      if ((rib.staleCount[this.row] ?? 0) > 0) kept = true;
    }
    if (kept && restart) this.#startStaleTimer(restart.restartTimeSec, 'restart time is over');
    this.#host.schedule();
  }

  #update(bytes: Uint8Array, start: number, end: number): ProtocolError | undefined {
    if (!this.#source) return undefined;
    const error = this.#host.reader.apply(this.#source, bytes, start, end);
    this.#host.schedule();
    return error;
  }

  #endOfRib(family: Family): void {
    const state = this.#families.get(family);
    if (!state) return;
    state.endOfRib = true;
    this.#host.rib(family).removePeer(this.row, true);
    this.#log.debug({ family }, 'End-of-RIB');
    if ([...this.#families.values()].every((s) => s.endOfRib)) this.#cancelStale();
    this.#host.schedule();
    this.#host.progress();
  }

  #keepalive(): void {
    if (this.#keepaliveSeen) return;
    this.#keepaliveSeen = true;
    this.#host.progress();
  }

  #routeRefresh(refresh: RouteRefresh): void {
    const state = refresh.family && this.#families.get(refresh.family);
    if (refresh.subtype !== 0 || !state?.membership) return;
    state.membership.group.refresh(state.membership.member);
    this.#host.schedule();
  }

  #tolerated(error: ProtocolError | undefined, discardedCount: number): void {
    const now = this.#host.clock.nowMs();
    if (now - this.#lastToleratedLogMs < 1000) return;
    this.#lastToleratedLogMs = now;
    const reason = error?.reason ?? 'attributes discarded';
    this.#log.warn({ reason, discardedCount, updateErrors: this.#counters.updateErrors }, 'malformed UPDATE tolerated');
  }

  #startStaleTimer(delaySec: number, why: string): void {
    this.#cancelStaleTimer = this.#host.clock.schedule(delaySec * 1000, () => {
      this.#cancelStaleTimer = undefined;
      this.#log.warn({ why }, 'stale routes dropped');
      for (const family of ['ipv4-unicast', 'ipv6-unicast'] as const) this.#host.rib(family).removePeer(this.row, true);
      this.#host.schedule();
    });
  }
  #cancelStale(): void {
    this.#cancelStaleTimer?.();
    this.#cancelStaleTimer = undefined;
  }
}

/** Equal for settings that take in the same routes. */
function importKey({ import: policy, importFilter, allowOwnAsn }: PeerConfig): string {
  return JSON.stringify([policy, importFilter, allowOwnAsn ?? 0]);
}

function negotiatedStatus(negotiated: Negotiated): NonNullable<PeerStatus['negotiated']> {
  const { families, asn4, routeRefresh, holdTimeSec, keepaliveSec, addPath, gracefulRestart } = negotiated;
  return {
    families: [...families],
    asn4,
    routeRefresh,
    holdTimeSec,
    keepaliveSec,
    ...(addPath.length > 0 ? { addPath: addPath.map((entry) => ({ ...entry })) } : {}),
    ...(gracefulRestart
      ? {
          gracefulRestart: {
            restartTimeSec: gracefulRestart.restartTimeSec,
            restarting: gracefulRestart.restarting,
            families: gracefulRestart.families.map((entry) => ({ ...entry })),
          },
        }
      : {}),
  };
}
