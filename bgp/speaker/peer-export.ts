/**
 * What we tell one peer: for each family of its session the update group that it is in, and how its requests to be told again
 * (ROUTE-REFRESH) are getting on.
 */
import type { Logger } from '#kit';
import type { MemberSink, Rib, UpdateGroupOptions } from '../rib/index.ts';
import { encodeEndOfRib, ipFamilyOf, type Negotiated } from '../wire/index.ts';
import { exportsLearned, type Family, type PeerConfig } from './config.ts';
import { groupOptions } from './group-options.ts';
import type { Groups, Membership } from './groups.ts';
import { peerQueueBytesMax } from './limits.ts';
import { RefreshAnswer } from './refresh-answer.ts';
import type { Session } from './session.ts';
import type { LocalLink } from './types.ts';

/** What it needs of the speaker. */
export interface ExportHost {
  readonly groups: Groups;
  rib(family: Family): Rib;
  /** Unsigned; see `SpeakerConfig`. */
  clusterId(): number;
  /** Routes are selected already; until then only what we originate goes out. */
  selecting(): boolean;
  /** All sessions are about to end (RFC 8326). */
  gracefulShutdown(): boolean;
}

export interface PeerExportDeps {
  readonly host: ExportHost;
  readonly log: Logger;
  /** Of the peer in the RIBs. */
  readonly row: number;
  readonly localAsn: number;
  readonly session: Pick<Session, 'localAddress' | 'queuedBytes' | 'writeMessage' | 'writeUpdates'>;
  /** Of the moment. */
  readonly config: () => PeerConfig;
  readonly link: () => LocalLink | undefined;
}

/** What a session knows of one family. */
interface FamilyExport {
  /** Absent: nothing of the family is announced. */
  membership?: Membership;
  readonly answer: RefreshAnswer;
}

/** A class, so that to all who write to members sinks are one kind of object: a literal with an accessor is another kind each time. */
class SessionSink implements MemberSink {
  readonly #session: PeerExportDeps['session'];
  readonly #answer: RefreshAnswer;

  constructor(session: PeerExportDeps['session'], answer: RefreshAnswer) {
    this.#session = session;
    this.#answer = answer;
  }

  get writable(): boolean {
    return this.#session.queuedBytes < peerQueueBytesMax;
  }
  write(bytes: Uint8Array, length: number): void {
    this.#session.writeUpdates(bytes, length);
  }
  caughtUp(endOfRib: boolean): void {
    this.#answer.caughtUp(endOfRib);
  }
}

export class PeerExport {
  readonly #deps: PeerExportDeps;
  readonly #families = new Map<Family, FamilyExport>();
  #negotiated: Negotiated | undefined;

  constructor(deps: PeerExportDeps) {
    this.#deps = deps;
  }

  membership(family: Family): Membership | undefined {
    return this.#families.get(family)?.membership;
  }
  /** Everything that is to be announced has been, and TCP has taken it. */
  get told(): boolean {
    if (this.#deps.session.queuedBytes > 0) return false;
    return [...this.#families.values()].every(({ membership }) => (membership?.member.backlog.count ?? 0) === 0);
  }
  get announcedCount(): number {
    let count = 0;
    for (const { membership } of this.#families.values()) count += membership?.group.announcedTo(this.#deps.row) ?? 0;
    return count;
  }
  /** The peer is told that our routes are about to go (RFC 8326). */
  get leaving(): boolean {
    return this.#deps.config().gracefulShutdown === true || this.#deps.host.gracefulShutdown();
  }

  sessionUp(negotiated: Negotiated): void {
    this.#negotiated = negotiated;
    this.#families.clear();
    for (const family of negotiated.families) {
      const answer = new RefreshAnswer({
        family,
        enhanced: negotiated.enhancedRouteRefresh,
        send: (message) => this.#deps.session.writeMessage(message),
        membership: () => this.membership(family),
      });
      this.#families.set(family, { answer });
      this.#join(family, negotiated);
    }
  }

  sessionDown(): void {
    this.#negotiated = undefined;
    for (const { membership } of this.#families.values()) if (membership) this.#deps.host.groups.leave(membership);
    this.#families.clear();
  }

  /** ROUTE-REFRESH of a family that is negotiated: it wants to be told again. */
  refreshAsked(family: Family): void {
    this.#families.get(family)?.answer.ask();
  }

  /** Route selection began: End-of-RIB is due to those that get learned routes. */
  selectionStarted(): void {
    for (const { membership } of this.#families.values()) {
      if (membership && exportsLearned(this.#deps.config())) membership.member.endOfRibDue = true;
    }
  }

  /** Something changed that decides on the group: the configuration, addresses of ours, that we are leaving. */
  reconfigure(): void {
    const negotiated = this.#negotiated;
    if (!negotiated) return;
    for (const [family, state] of this.#families) {
      const options = this.#groupOptions(family, negotiated);
      if (state.membership && options) state.membership = this.#deps.host.groups.move(state.membership, options);
      else if (!state.membership && options) this.#join(family, negotiated);
    }
  }

  #join(family: Family, negotiated: Negotiated): void {
    const { host, log, row, session, config } = this.#deps;
    const state = this.#families.get(family)!;
    const options = this.#groupOptions(family, negotiated);
    if (!options) {
      log.warn({ family }, 'no own address of this family to announce as next hop: announcing nothing');
      session.writeMessage(encodeEndOfRib(ipFamilyOf(family)));
      state.answer.caughtUp(true);
      return;
    }
    const sink = new SessionSink(session, state.answer);
    // What depends on selection is complete only after it; what we originate is complete now.
    const endOfRib = host.selecting() || !exportsLearned(config());
    state.membership = host.groups.join(host.rib(family), options, row, sink, endOfRib);
  }

  #groupOptions(family: Family, negotiated: Negotiated): UpdateGroupOptions | undefined {
    const { host, localAsn, session, config, link } = this.#deps;
    return groupOptions(family, config(), negotiated, {
      localAsn,
      clusterId: host.clusterId(),
      localAddress: session.localAddress ?? '',
      link: link(),
      leaving: this.leaving,
    });
  }
}
