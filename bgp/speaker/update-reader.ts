/** From UPDATEs to the Adj-RIB-In: decode, intern, announce or withdraw. One for all peers; allocates nothing for what it knows. */
import type { IpFamily } from '#kit';
import {
  announcementFound,
  type FilteredSets,
  type NextHopPool,
  noNextHop,
  type Rib,
  type RibTables,
} from '../rib/index.ts';
import { read16 } from '../wire/bytes.ts';
import {
  addOnlyToCustomer,
  canonicalAttributes,
  communityFlag,
  createPrefixCursor,
  createUpdateView,
  type Disposition,
  decodeUpdate,
  headerBytes,
  onlyToCustomerOf,
  type ProtocolError,
  prefixesWellFormed,
  type UpdateContext,
  type UpdateView,
} from '../wire/index.ts';
import { blackholeBits, type IntakeMarks, isMarkedIn, markIntake } from './intake-marks.ts';
import { isLeak, type LeakRule } from './leak-prevention.ts';
import type { OwnAddresses } from './own-addresses.ts';
import type { ReceivedRoutes } from './received-routes.ts';
import type { RepeatedAttributes } from './repeated-attributes.ts';

/** Of a session; `updateErrors` of all sessions. */
export interface UpdateCounters {
  prefixesReceived: number;
  updateErrors: number;
  pathsRefused: number;
  /** Announcements that left no path: refused, rejected, loops, treated as withdrawn. What is withdrawn then may have been announced. */
  pathsNotKept: number;
  /** By import policy. */
  prefixesRejected: number;
  /** UPDATEs with our own AS more often than allowed. */
  asPathLoops: number;
  /** UPDATEs with our router id as ORIGINATOR_ID; others with our cluster in CLUSTER_LIST (RFC 4456 8). */
  originatorLoops: number;
  clusterListLoops: number;
  updatesTreatedAsWithdraw: number;
  prefixesTreatedAsWithdraw: number;
  /** Announced as they stand there already, as far as what was received is known: where no filter changes it, or it is kept. */
  duplicateAnnouncements: number;
  /** Withdrawn, and not there, while all that was announced in this session is kept. */
  duplicateWithdrawals: number;
  /** UPDATEs of nothing but such prefixes. */
  duplicateUpdates: number;
}

export function updateCounters(): UpdateCounters {
  return {
    prefixesReceived: 0,
    updateErrors: 0,
    pathsRefused: 0,
    pathsNotKept: 0,
    prefixesRejected: 0,
    asPathLoops: 0,
    originatorLoops: 0,
    clusterListLoops: 0,
    updatesTreatedAsWithdraw: 0,
    prefixesTreatedAsWithdraw: 0,
    duplicateAnnouncements: 0,
    duplicateWithdrawals: 0,
    duplicateUpdates: 0,
  };
}

export interface UpdateSource {
  readonly row: number;
  /** The interface that the peer is on; undefined: it is not on a link of ours, and its link-local next hops mean nothing. */
  readonly link: string | undefined;
  /** The session is between link-local addresses: of two addresses in a next hop the link-local one is used. */
  readonly linkLocal?: boolean;
  readonly context: UpdateContext;
  readonly accept: boolean;
  /** Routes that the import policy rejects or changes are kept as received; see `PeerConfig.adjRibIn`. */
  readonly keeps: boolean;
  /** Of the peer, by family. */
  readonly filter4: FilteredSets | undefined;
  readonly filter6: FilteredSets | undefined;
  readonly marks: IntakeMarks;
  /** How often our AS may stand in AS_PATH. */
  readonly allowedOwnAsns: number;
  /** RFC 9234, where we have a role. */
  readonly leakRule: LeakRule | undefined;
  /** Of the session; written here. */
  readonly repeated: RepeatedAttributes;
  /** Counters of the session, written here. */
  readonly counters: UpdateCounters;
  onEndOfRib(family: IpFamily): void;
  /** For the log: an UPDATE that RFC 7606 let through in part. */
  onTolerated(error: ProtocolError | undefined, discardedCount: number): void;
}

/** Octets of withdrawn routes above which they are looked at first: of one or two there is nothing to wait for together. */
const touchedAbove = 16;

export class UpdateReader {
  /** Where everything goes before policy, while somebody looks at that. */
  received: ReceivedRoutes | undefined;
  readonly #rib4: Rib;
  readonly #rib6: Rib;
  readonly #tables: RibTables;
  readonly #ownAddresses: Pick<OwnAddresses, 'has'>;
  readonly #view = createUpdateView();
  readonly #cursor = createPrefixCursor();
  /** Four-byte next hops are looked up as a number first: most peers have one. */
  #lastWord = 0;
  #lastWordId = -1;
  #hopsForgotten = 0;
  /** By the UPDATE that is being applied. */
  #prefixesWithdrawn = 0;
  /** Of the last `#change`: prefixes; those that have no path now, or had none to lose; those announced that had the same one already. */
  #changes = 0;
  #without = 0;
  #same = 0;

  constructor(rib4: Rib, rib6: Rib, tables: RibTables, ownAddresses: Pick<OwnAddresses, 'has'>) {
    this.#rib4 = rib4;
    this.#rib6 = rib6;
    this.#tables = tables;
    this.#ownAddresses = ownAddresses;
  }

  /** Applies the message; returns the error that resets the session, and has applied nothing then. */
  apply(source: UpdateSource, bytes: Uint8Array, start: number, end: number): ProtocolError | undefined {
    const { counters } = source;
    const duplicatesBefore = counters.duplicateAnnouncements + counters.duplicateWithdrawals;
    const receivedBefore = counters.prefixesReceived;
    this.#prefixesWithdrawn = 0;
    const error = this.#applyPlain(source, bytes, start, end) ? undefined : this.#applyWhole(source, bytes, start, end);
    const prefixes = this.#prefixesWithdrawn + counters.prefixesReceived - receivedBefore;
    const duplicates = counters.duplicateAnnouncements + counters.duplicateWithdrawals - duplicatesBefore;
    if (duplicates > 0 && duplicates === prefixes) counters.duplicateUpdates++;
    return error;
  }

  /** Whether it announces IPv4 routes with the attributes of the peer's last announcement, or withdraws some, and does nothing else; it is done then. */
  #applyPlain(source: UpdateSource, bytes: Uint8Array, start: number, end: number): boolean {
    if (this.received) return false;
    const { repeated, context } = source;
    const withdraws = context.ipv4 && withdrawsAlone(bytes, start, end);
    const from = withdraws ? start + headerBytes + 2 : repeated.nlriIn(bytes, start, end, this.#era());
    const to = withdraws ? end - 2 : end;
    if (from < 0 || !prefixesWellFormed(4, bytes, from, to, hasPathIds(source, 4))) return false;
    this.#view.bytes = bytes;
    if (withdraws) this.#withdraw(4, source, from, to);
    else this.#announceAgain(source, from, to);
    return true;
  }

  #announceAgain(source: UpdateSource, start: number, end: number): void {
    const { set, nextHop, communityFlags } = source.repeated;
    const pool = this.#tables.attributes;
    this.#view.communityFlags = communityFlags;
    pool.retain(set);
    this.#announce(4, source, start, end, set, true, nextHop);
    pool.release(set);
  }

  #applyWhole(source: UpdateSource, bytes: Uint8Array, start: number, end: number): ProtocolError | undefined {
    const view = this.#view;
    const disposition = decodeUpdate(view, source.context, bytes, start, end);
    if (disposition === 'reset') return view.error;
    if (view.endOfRib !== 0) {
      source.onEndOfRib(view.endOfRib);
      return undefined;
    }
    if (disposition === 'withdraw' || view.discardedCount > 0) {
      source.counters.updateErrors++;
      source.onTolerated(view.error, view.discardedCount);
    }
    this.received?.apply(source.row, source.context, view);
    if (view.withdrawnEnd > view.withdrawnStart) {
      this.#withdraw(4, source, view.withdrawnStart, view.withdrawnEnd);
    }
    if (view.mpUnreachFamily !== 0) {
      this.#withdraw(view.mpUnreachFamily, source, view.mpUnreachStart, view.mpUnreachEnd);
    }
    const hasNlri = view.nlriEnd > view.nlriStart;
    const hasMpReach = view.mpReachFamily !== 0 && view.mpReachNlriEnd > view.mpReachNlriStart;
    if (hasNlri || hasMpReach) this.#announcements(source, disposition, hasNlri, hasMpReach);
    return undefined;
  }

  #announcements(source: UpdateSource, disposition: Disposition, hasNlri: boolean, hasMpReach: boolean): void {
    const view = this.#view;
    const receivedBefore = source.counters.prefixesReceived;
    let attributes = -1;
    // RFC 4271 9.1.2, RFC 4456 8: what comes back to us is not used.
    const loop = view.ownAsnCount > source.allowedOwnAsns || view.reflectionLoop;
    const rule = source.leakRule;
    const onlyToCustomer = rule === undefined ? -1 : onlyToCustomerOf(view);
    const leak = rule !== undefined && isLeak(rule, onlyToCustomer, source.context.peerAsn);
    const accepted = source.accept && !loop && !leak;
    if (disposition === 'accept' && (accepted || source.keeps)) {
      const pool = this.#tables.attributes;
      let length = canonicalAttributes(view, pool.octets, 0);
      if (rule?.addIn && onlyToCustomer < 0) {
        length = addOnlyToCustomer(pool.octets, length, source.context.peerAsn);
        view.communityFlags |= communityFlag.onlyToCustomer;
      }
      const { ebgp } = source.context;
      if (isMarkedIn(source.marks, view.communityFlags, ebgp)) {
        length = markIntake(source.marks, ebgp, view, pool.octets, length);
      }
      attributes = pool.find(length);
      if (attributes < 0) attributes = pool.add(length, view);
      // The prefix that has it may be one that is taken out here, before others are given it.
      pool.retain(attributes);
    }
    const known = attributes >= 0;
    if (hasNlri) {
      const hop = known && view.nextHopStart >= 0 ? this.#nextHop(source, view.nextHopStart, 4) : -1;
      this.#announce(4, source, view.nlriStart, view.nlriEnd, attributes, accepted, hop);
      if (accepted && hop >= 0 && isPlain(view)) source.repeated.note(view, attributes, hop, this.#era());
    }
    if (hasMpReach) {
      const { mpReachNlriStart: from, mpReachNlriEnd: to, mpNextHopStart: hopStart } = view;
      const hop = known && hopStart >= 0 ? this.#nextHop(source, hopStart, view.mpNextHopLength) : -1;
      this.#announce(view.mpReachFamily as IpFamily, source, from, to, attributes, accepted, hop);
    }
    if (known) this.#tables.attributes.release(attributes);
    if (attributes < 0 || !accepted) {
      this.#countUnused(source, disposition, source.counters.prefixesReceived - receivedBefore);
    }
  }

  /** Of an announcement that is not used: why not. */
  #countUnused(source: UpdateSource, disposition: Disposition, prefixes: number): void {
    const { counters, accept, allowedOwnAsns, context } = source;
    const { ownAsnCount, originatorId, reflectionLoop } = this.#view;
    if (disposition === 'withdraw') {
      counters.updatesTreatedAsWithdraw++;
      counters.prefixesTreatedAsWithdraw += prefixes;
    } else if (ownAsnCount > allowedOwnAsns) {
      counters.asPathLoops++;
    } else if (reflectionLoop) {
      if (originatorId === context.localRouterId) counters.originatorLoops++;
      else counters.clusterListLoops++;
    } else if (!accept) {
      counters.prefixesRejected += prefixes;
    }
  }

  #announce(
    family: IpFamily,
    source: UpdateSource,
    start: number,
    end: number,
    attributes: number,
    accepted: boolean,
    hop: number,
  ): void {
    const { counters } = source;
    if (hop < 0) {
      // Treat-as-withdraw, loop, import policy, own next hop: an older route of the peer must go (RFC 4271 9.1.2, 3.1).
      this.#change(family, source, start, end, -1, noNextHop);
      counters.prefixesReceived += this.#changes;
      counters.pathsNotKept += this.#changes;
      return;
    }
    const rib = family === 4 ? this.#rib4 : this.#rib6;
    const filter = family === 4 ? source.filter4 : source.filter6;
    const least = (this.#view.communityFlags & communityFlag.blackhole) === 0 ? 0 : blackholeBits(source.marks, family);
    if (!source.keeps && least === 0 && !filter) {
      this.#change(family, source, start, end, attributes, hop);
      counters.prefixesReceived += this.#changes;
      refused(counters, this.#without);
      counters.duplicateAnnouncements += this.#same;
      return;
    }
    this.#cursor.reset(family, this.#view.bytes, start, end, hasPathIds(source, family));
    if (source.keeps || least > 0) this.#announceJudged(accepted, least, filter, rib, source, attributes, hop);
    else if (filter) this.#announceFiltered(filter, rib, source, attributes, hop);
  }

  /**
   * Each prefix gets this path, or with `attributes` -1 loses the one that it has; see `Rib.change`. What came of it: `#changes`, `#without` and `#same`.
   */
  #change(family: IpFamily, source: UpdateSource, start: number, end: number, attributes: number, hop: number): void {
    const rib = family === 4 ? this.#rib4 : this.#rib6;
    const { row } = source;
    const cursor = this.#cursor;
    this.#changes = 0;
    this.#without = 0;
    this.#same = 0;
    cursor.reset(family, this.#view.bytes, start, end, hasPathIds(source, family));
    while (cursor.next()) {
      this.#changes++;
      if (rib.change(row, cursor.words, cursor.bits, attributes, hop, cursor.pathId) < 0) this.#without++;
      else if (attributes >= 0 && rib.found === announcementFound.same) this.#same++;
    }
  }

  #announceFiltered(sets: FilteredSets, rib: Rib, source: UpdateSource, attributes: number, hop: number): void {
    const cursor = this.#cursor;
    while (cursor.next()) {
      source.counters.prefixesReceived++;
      const set = sets.of(attributes, source.row, hop, cursor.words, 0, cursor.bits);
      if (set < 0) {
        source.counters.prefixesRejected++;
        source.counters.pathsNotKept++;
        rib.withdraw(source.row, cursor.words, cursor.bits, cursor.pathId);
        continue;
      }
      const changedHop = sets.hop > noNextHop ? sets.hop : hop;
      const path = rib.announce(source.row, cursor.words, cursor.bits, set, changedHop, cursor.pathId);
      if (path < 0) refused(source.counters);
      else if (rib.found === announcementFound.same && !sets.filter.changes) source.counters.duplicateAnnouncements++;
    }
    sets.release();
  }

  /**
   * Of a peer whose routes are kept, what is rejected is a path that is never chosen; of what is changed the attributes as received are kept
   * beside it.
   *
   * @param least of the length of prefixes; shorter ones are rejected (RFC 7999 3.3).
   */
  #announceJudged(
    accepted: boolean,
    least: number,
    sets: FilteredSets | undefined,
    rib: Rib,
    source: UpdateSource,
    attributes: number,
    hop: number,
  ): void {
    const cursor = this.#cursor;
    while (cursor.next()) {
      source.counters.prefixesReceived++;
      let set = accepted && cursor.bits >= least ? attributes : -1;
      if (set >= 0 && sets) set = sets.of(attributes, source.row, hop, cursor.words, 0, cursor.bits);
      if (accepted && set < 0) source.counters.prefixesRejected++;
      if (set < 0 && !source.keeps) {
        source.counters.pathsNotKept++;
        rib.withdraw(source.row, cursor.words, cursor.bits, cursor.pathId);
        continue;
      }
      const changedHop = set >= 0 && sets && sets.hop > noNextHop ? sets.hop : hop;
      const used = set < 0 ? attributes : set;
      const path = rib.announce(source.row, cursor.words, cursor.bits, used, changedHop, cursor.pathId);
      if (path < 0) {
        refused(source.counters);
        continue;
      }
      if (!source.keeps) {
        if (rib.found === announcementFound.same && !sets?.filter.changes) source.counters.duplicateAnnouncements++;
        continue;
      }
      if (rib.found !== announcementFound.nothing && rib.received.isSame(path, attributes, hop)) {
        source.counters.duplicateAnnouncements++;
      }
      rib.setRejected(path, set < 0);
      rib.received.note(path, attributes, hop);
    }
    sets?.release();
  }

  #withdraw(family: IpFamily, source: UpdateSource, start: number, end: number): void {
    const { counters } = source;
    if (end - start > touchedAbove) this.#touch(family, source, start, end);
    this.#change(family, source, start, end, -1, noNextHop);
    this.#prefixesWithdrawn += this.#changes;
    if (counters.pathsNotKept === 0) counters.duplicateWithdrawals += this.#without;
  }

  /** Loads what the look-ups will look at, of all prefixes at a time, unless they come in the order in which they were made. */
  #touch(family: IpFamily, source: UpdateSource, start: number, end: number): void {
    const { prefixes } = family === 4 ? this.#rib4 : this.#rib6;
    const cursor = this.#cursor;
    cursor.reset(family, this.#view.bytes, start, end, hasPathIds(source, family));
    if (!cursor.next() || prefixes.expects(cursor.words, cursor.bits)) return;
    do prefixes.touch(cursor.words, cursor.bits);
    while (cursor.next());
  }

  /** The id of the next hop, or -1 when it is one of our own addresses (RFC 4271 6.3), or link-local with nobody knows which link. */
  #nextHop(source: UpdateSource, start: number, length: number): number {
    const bytes = this.#view.bytes;
    const pool: NextHopPool = this.#tables.nextHops;
    let word = 0;
    if (length === 4) {
      word = (bytes[start]! << 24) | (bytes[start + 1]! << 16) | (bytes[start + 2]! << 8) | bytes[start + 3]!;
      if (word === this.#lastWord && this.#lastWordId >= 0) return this.#lastWordId;
    }
    let text = '';
    for (let i = 0; i < length; i++) text += String.fromCharCode(bytes[start + i]!);
    const single = length === 16 && isLinkLocalAt(bytes, start);
    if (single && source.link === undefined) return -1;
    const link = single || (length === 32 && source.linkLocal) ? source.link : '';
    const id = pool.intern(text, bytes, start, start + length, link);
    if (this.#ownAddresses.has(pool.addresses[id]!)) return -1;
    if (length === 4) {
      this.#lastWord = word;
      this.#lastWordId = id;
    }
    return id;
  }

  /** Forgets what was looked up last: own addresses changed, or next hops were freed. */
  forgetNextHop(): void {
    this.#lastWordId = -1;
    this.#hopsForgotten++;
  }
  /** Grows with whatever makes another thing of the id of a set or a next hop. */
  #era(): number {
    return this.#tables.attributes.freedCount + this.#hopsForgotten;
  }
}

function refused(counters: UpdateCounters, paths = 1): void {
  counters.pathsRefused += paths;
  counters.pathsNotKept += paths;
}

/** Whether the UPDATE at `bytes[start..end)` has withdrawn routes in the field of RFC 4271, and nothing behind it. */
function withdrawsAlone(bytes: Uint8Array, start: number, end: number): boolean {
  const body = start + headerBytes;
  const length = read16(bytes, body);
  return length > 0 && body + 4 + length === end && read16(bytes, end - 2) === 0;
}

/** All that it says of IPv4 routes stands in the fields of RFC 4271, and it was taken as it is. */
function isPlain(view: UpdateView): boolean {
  return view.discardedCount === 0 && view.mpReachFamily === 0 && view.mpUnreachFamily === 0;
}

function hasPathIds({ context }: UpdateSource, family: IpFamily): boolean {
  return (family === 4 ? context.addPath4 : context.addPath6) === true;
}

function isLinkLocalAt(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 0xfe && (bytes[at + 1]! & 0xc0) === 0x80;
}
