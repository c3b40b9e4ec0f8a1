/**
 * What one peer tells us: its UPDATEs on their way into the Adj-RIB-In, judged by its import policy. A new policy is taken up without
 * a new session: what is there is judged again, and what is not kept is asked for (ROUTE-REFRESH). Also how far its End-of-RIBs
 * and its enhanced route refreshes (RFC 7313) have got.
 */
import type { Clock, IpFamily, Logger } from '#kit';
import { isLinkLocal } from '#kit';
import type { Rib } from '../rib/index.ts';
import {
  encodeRouteRefresh,
  type Negotiated,
  type ProtocolError,
  type UpdateContext,
  updateContext,
} from '../wire/index.ts';
import type { Family, PeerConfig } from './config.ts';
import { ImportPolicy, ImportReview, importKey } from './import-policy.ts';
import { intakeMarks, marksKey } from './intake-marks.ts';
import { RefreshIntake } from './refresh-intake.ts';
import { RepeatedAttributes } from './repeated-attributes.ts';
import type { Session } from './session.ts';
import type { LocalLink } from './types.ts';
import { type UpdateReader, type UpdateSource, updateCounters } from './update-reader.ts';

/** What it needs of the speaker. */
export interface ImportHost {
  readonly clock: Clock;
  readonly reader: UpdateReader;
  rib(family: Family): Rib;
  /** Unsigned; see `SpeakerConfig`. */
  clusterId(): number;
  /** Paths or backlogs changed: a flush is due. */
  schedule(): void;
  /** Routes of the peer are to be judged again: `review` is due. */
  reviewDue(): void;
}

export interface PeerImportDeps {
  readonly host: ImportHost;
  readonly log: Logger;
  /** Of the peer in the RIBs. */
  readonly row: number;
  readonly session: Pick<Session, 'remoteAddress' | 'writeMessage'>;
  /** Of the moment. */
  readonly config: () => PeerConfig;
  readonly link: () => LocalLink | undefined;
  /** End-of-RIB of a family that is negotiated. */
  readonly onEndOfRib: (family: Family) => void;
}

/** What a session knows of one family. */
interface FamilyIntake {
  endOfRib: boolean;
  readonly refresh: RefreshIntake;
}

/** The log has no more than one line of a peer in this time about UPDATEs that were let through in part. */
const toleratedLogMs = 1000;

export class PeerImport {
  readonly counters = updateCounters();
  readonly #deps: PeerImportDeps;
  readonly #families = new Map<Family, FamilyIntake>();
  #negotiated: Negotiated | undefined;
  #source: UpdateSource | undefined;
  #policy: ImportPolicy | undefined;
  #review: ImportReview | undefined;
  #lastToleratedLogMs = Number.NEGATIVE_INFINITY;

  constructor(deps: PeerImportDeps) {
    this.#deps = deps;
  }

  /** What its routes are judged by, since the first session. */
  get policy(): ImportPolicy | undefined {
    return this.#policy;
  }
  endOfRibReceived(family: Family): boolean {
    return this.#families.get(family)?.endOfRib ?? false;
  }

  sessionUp(negotiated: Negotiated): void {
    const { host, log, row } = this.#deps;
    this.#negotiated = negotiated;
    const { updateErrors } = this.counters;
    Object.assign(this.counters, updateCounters(), { updateErrors });
    const policy = this.#makePolicy(updateContext(negotiated, host.clusterId()));
    policy.complete = policy.keeps;
    this.#source = this.#makeSource(policy);
    this.#families.clear();
    for (const family of negotiated.families) {
      const refresh = new RefreshIntake({
        clock: host.clock,
        log,
        rib: host.rib(family),
        row,
        changed: () => host.schedule(),
      });
      this.#families.set(family, { endOfRib: false, refresh });
    }
  }

  sessionDown(): void {
    this.#negotiated = undefined;
    this.#source = undefined;
    for (const { refresh } of this.#families.values()) refresh.cancel();
    this.#families.clear();
  }

  /** An UPDATE of the session that is there; returns the error that resets it. */
  update(bytes: Uint8Array, start: number, end: number): ProtocolError | undefined {
    return this.#source && this.#deps.host.reader.apply(this.#source, bytes, start, end);
  }

  /** BoRR or EoRR of a family that is negotiated; other subtypes are ignored (RFC 7313 5). */
  refreshMark(family: Family, subtype: number): void {
    const state = this.#families.get(family);
    if (!state || !this.#negotiated?.enhancedRouteRefresh) return;
    if (subtype === 2) state.refresh.end();
    else if (subtype === 1) {
      // RFC 7313 4.2: what graceful restart still waits for, End-of-RIB sweeps.
      if (state.endOfRib || !this.#negotiated.gracefulRestart) state.refresh.begin();
      else this.#deps.log.warn({}, 'BoRR before End-of-RIB is ignored (RFC 7313 4.2)');
    }
  }

  /** After a change of configuration. */
  reconfigure(old: PeerConfig): void {
    const config = this.#deps.config();
    const marksChanged = marksKey(old) !== marksKey(config);
    // Without ROUTE-REFRESH those that are here already stay as they came: ending the session is what is to be avoided.
    const otherCluster = this.#negotiated && this.#source?.context.localClusterId !== this.#deps.host.clusterId();
    const anew = otherCluster || marksChanged;
    if (anew || importKey(old) !== importKey(config)) this.#importAgain(anew);
  }

  /** See `Peer.cannotImportAgain`. */
  cannotImportAgain(next: PeerConfig): boolean {
    const config = this.#deps.config();
    const wanted =
      next.import === 'accept' && importKey(config) !== importKey({ ...next, adjRibIn: config.adjRibIn ?? false });
    return wanted && !this.#policy?.complete && this.#negotiated !== undefined && !this.#negotiated.routeRefresh;
  }

  get reviewing(): boolean {
    return this.#review !== undefined;
  }
  /** Judges up to `limit` paths by a new import policy; whether there are more. */
  review(limit: number): boolean {
    if (this.#review && !this.#review.run(limit)) this.#review = undefined;
    return this.reviewing;
  }

  /** What must no longer be goes at once, stale routes included; what may be now is known, or asked for; `anew`: in any case. */
  #importAgain(anew = false): void {
    const before = this.#policy;
    if (!before) return;
    const { host, row, session } = this.#deps;
    const negotiated = this.#negotiated;
    const policy = this.#makePolicy(negotiated ? updateContext(negotiated, host.clusterId()) : before.context);
    if (negotiated) this.#source = this.#makeSource(policy);
    policy.complete = policy.keeps && (before.complete || (negotiated?.routeRefresh ?? false));
    const ribs = (['ipv4-unicast', 'ipv6-unicast'] as const).map((family) => host.rib(family));
    // The review may drop what the peer announced.
    if (!policy.keeps || !before.complete) this.counters.pathsNotKept++;
    this.#review = new ImportReview(row, policy, before, ribs);
    host.reviewDue();
    if (!negotiated?.routeRefresh || (!policy.accept && !policy.keeps)) return;
    if (before.complete && !anew) return;
    for (const family of negotiated.families) session.writeMessage(encodeRouteRefresh(family));
  }

  #makePolicy(context: UpdateContext): ImportPolicy {
    const { config, host } = this.#deps;
    this.#policy = new ImportPolicy(config(), context, host.rib('ipv4-unicast').tables);
    return this.#policy;
  }

  #makeSource(policy: ImportPolicy): UpdateSource {
    const { context, keeps, filter4, filter6, allowedOwnAsns, leakRule, accept } = policy;
    const { config, row, session } = this.#deps;
    return {
      row,
      linkLocal: isLinkLocal(session.remoteAddress ?? ''),
      link: this.#deps.link()?.interface,
      context,
      keeps,
      filter4,
      filter6,
      allowedOwnAsns,
      leakRule,
      marks: intakeMarks(config(), context.localAsn),
      accept,
      repeated: new RepeatedAttributes(),
      counters: this.counters,
      onEndOfRib: (family) => this.#endOfRib(family),
      onTolerated: (error, discardedCount) => this.#tolerated(error, discardedCount),
    };
  }

  #endOfRib(ipFamily: IpFamily): void {
    const family = ipFamily === 4 ? 'ipv4-unicast' : 'ipv6-unicast';
    const state = this.#families.get(family);
    if (!state) return;
    state.endOfRib = true;
    this.#deps.log.debug({ family }, 'End-of-RIB');
    this.#deps.onEndOfRib(family);
  }

  #tolerated(error: ProtocolError | undefined, discardedCount: number): void {
    const { host, log } = this.#deps;
    const now = host.clock.nowMs();
    if (now - this.#lastToleratedLogMs < toleratedLogMs) return;
    this.#lastToleratedLogMs = now;
    const reason = error?.reason ?? 'attributes discarded';
    log.warn({ reason, discardedCount, updateErrors: this.counters.updateErrors }, 'malformed UPDATE tolerated');
  }
}
