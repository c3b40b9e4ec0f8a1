/**
 * Adj-RIB-Out as update groups: peers that would be told the same share one table, and an UPDATE is encoded once and
 * written to all of them (FRR's idea: 32 peers cost what one does).
 *
 * Per prefix the group keeps what is announced (attribute set, next hop) and the peer it came from: a member holds
 * everything announced but what came from itself. Members keep nothing per prefix while they keep up. One that does
 * not (its socket is full), or that is new, has a bit per prefix it must still be told of; `pump` sends from that
 * what the group announces *now*, so a slow peer skips what happened in between and its backlog is bounded by one bit a prefix.
 *
 * Columns are indexed by prefix. Where several paths of a prefix are announced (RFC 7911) they are indexed by the rows of
 * `PathSlots` instead, which is all the difference that makes to them: each such path is announced, replaced and withdrawn on
 * its own, as a prefix is elsewhere.
 *
 * Within one `apply` changes are chained by source peer, then by attribute set, in columns: nothing is allocated per prefix.
 */
import { compileFilter, type FilterTerm } from '../filter/index.ts';
import { AnnouncementEncoder, type EncodingOptions } from './announcement-encoder.ts';
import { BitSet, ColumnGrowth, firstRows, grow, IntStack, resized } from './arrays.ts';
import { ChainSet } from './chain-set.ts';
import { type ExportPolicy, isExported } from './export-policy.ts';
import { FilteredSets, hopAsLearned, hopUntouched } from './filtered-sets.ts';
import { type Member, MemberList, type MemberSink } from './member.ts';
import { type HopMarks, noNextHop } from './next-hop-pool.ts';
import { PathSlots } from './path-slots.ts';
import { localPeer } from './path-table.ts';
import type { Rib } from './rib.ts';
import { encodingWeight, setCost } from './slice-cost.ts';

export interface UpdateGroupOptions extends ExportPolicy, EncodingOptions {
  /** Of what the policy lets out, for the group's family. */
  readonly filter?: readonly FilterTerm[] | undefined;
  /** Members are told the best so many paths of a prefix, each under its path identifier (RFC 7911). Absent: the best one alone. */
  readonly addPath?: number | undefined;
}

export interface Announcement {
  /** Row of the peer that the route was learned from. */
  readonly source: number;
  readonly nextHop: Uint8Array;
  /** As sent; 0 where none is. */
  readonly pathId: number;
  readonly attributes: Uint8Array;
}

export class UpdateGroup {
  readonly options: UpdateGroupOptions;
  readonly members: Member[] = [];
  /** Announced prefixes; paths where several are. */
  announcedCount = 0;
  readonly #rib: Rib;
  /** Absent: rows are prefixes. */
  readonly #slots: PathSlots | undefined;
  /** Rows of the `apply` under way: wanted, of the prefix at hand; and no more announced. */
  readonly #wanted = new BitSet();
  readonly #gone = new IntStack();
  /** Attribute set announced plus 1; 0: nothing. */
  #attributes = new Int32Array(firstRows);
  #source = new Uint16Array(firstRows);
  #nextHop = new Int32Array(firstRows);
  #announcedBySource = new Int32Array(16);
  // Work columns of one pass: chains by source peer.
  #link = new Int32Array(firstRows);
  readonly #announceBy = new ChainSet();
  readonly #withdrawBy = new ChainSet();
  readonly #takeBackBy = new ChainSet();
  /** In the order in which they are sent: what goes makes room for what comes. */
  readonly #chains = [this.#withdrawBy, this.#takeBackBy, this.#announceBy];
  #takeBackLink = new Int32Array(firstRows);
  /** Of the row that changed last: its source was told of the route while that was another's, and must forget it. */
  #takesBack = false;
  readonly #growth = new ColumnGrowth(firstRows, [
    (rows) => (this.#attributes = resized(this.#attributes, rows)),
    (rows) => (this.#source = resized(this.#source, rows)),
    (rows) => (this.#nextHop = resized(this.#nextHop, rows)),
    (rows) => (this.#link = resized(this.#link, rows)),
    (rows) => (this.#takeBackLink = resized(this.#takeBackLink, rows)),
  ]);
  // Members, as the `apply` under way finds them.
  readonly #keepingUp = new MemberList();
  readonly #behindNow = new MemberList();
  readonly #recipients = new MemberList();
  readonly #encoder: AnnouncementEncoder;
  readonly #filtered: FilteredSets | undefined;
  /** What can go out at all: a filter that may let more through than the policy has to see it. */
  readonly #widest: ExportPolicy;
  /** See `setCost`. */
  readonly #weight: number;
  /** Prefixes below are decided about; see `fill`. */
  #filled = 0;
  /** Rows below refer to nothing any more; see `dispose`. */
  #disposed = 0;

  /** Empty: `fill` decides about what is there already. */
  constructor(rib: Rib, options: UpdateGroupOptions) {
    this.#rib = rib;
    this.options = options;
    this.#slots = options.addPath === undefined ? undefined : new PathSlots(rib);
    if (this.#slots) rib.pathWatchers++;
    const filter = compileFilter(options.filter, options.localAsn);
    this.#filtered = filter && new FilteredSets(filter, rib.tables, options.ebgp);
    this.#weight = encodingWeight + (filter?.walks ?? 0);
    rib.setWeight += this.#weight;
    this.#widest = filter && options.export !== 'reject' ? { ...options, export: 'accept' } : options;
    this.#encoder = new AnnouncementEncoder(rib, options, this.#slots, filter?.setsMed ?? false);
  }

  /**
   * Decides about up to `limit` prefixes (fewer: see `Rib.decide`) of those that were there before the group; whether more are left. Until none are, its
   * members must not be pumped: what is not decided about yet would be withdrawn, and announced again later.
   */
  fill(limit: number): boolean {
    const { prefixes, locPeer, locAttributes } = this.#rib;
    const rib = this.#rib;
    const some = new IntStack();
    let prefix = this.#filled;
    let set = -1;
    for (let left = limit; prefix < prefixes.limit && left > 0; prefix++) {
      left -= this.#slots ? rib.decisionCost(rib.pathsOf(prefix)) : 1;
      if (locPeer[prefix] === 0) continue;
      some.push(prefix);
      if (this.#slots || locAttributes[prefix] !== set) left -= rib.tellingCost(prefix, this.#weight);
      set = locAttributes[prefix]!;
    }
    this.#filled = prefix;
    this.#applyAll(some);
    return prefix < prefixes.limit;
  }

  /** What may be told of a source's routes changed. */
  reapply(source: number): void {
    // Where several paths are told, others than the best may be the source's.
    this.#applyWhere((peer) => (this.#slots ? peer !== 0 : peer === source + 1));
  }

  #applyWhere(wanted: (locPeer: number) => boolean): void {
    const { prefixes, locPeer } = this.#rib;
    const all = new IntStack();
    for (let prefix = 0; prefix < prefixes.limit; prefix++) if (wanted(locPeer[prefix]!)) all.push(prefix);
    this.#applyAll(all);
  }

  #applyAll(prefixes: IntStack): void {
    this.apply(prefixes, 0, prefixes.length);
    for (let i = 0; i < prefixes.length; i++) this.#rib.settle(prefixes.items[i]!);
  }

  /** Prefixes a member has been told of, its backlog aside. */
  announcedTo(peer: number): number {
    return this.announcedCount - (this.#announcedBySource[peer] ?? 0);
  }

  /** What a member is told of a prefix, for people: attributes as on the wire, AS numbers of four octets. */
  announcements(prefix: number, peer: number): Announcement[] {
    const out: Announcement[] = [];
    const slots = this.#slots;
    for (let link = slots ? slots.first(prefix) : prefix + 1; link !== 0; link = slots ? slots.next[link - 1]! : 0) {
      const row = link - 1;
      const set = (this.#attributes[row] ?? 0) - 1;
      const source = this.#source[row]!;
      if (set < 0 || source === peer) continue;
      const attributes = this.#encoder.exportedBytes(set, source);
      if (!attributes) continue;
      const nextHop = this.#encoder.nextHopBytes(this.#nextHop[row]!);
      out.push({ source, nextHop, pathId: slots?.pathId[row] ?? 0, attributes });
    }
    return out;
  }

  /** Adds a peer: everything announced becomes its backlog, and End-of-RIB is due after it when `endOfRib`. */
  join(peer: number, sink: MemberSink, endOfRib: boolean): Member {
    const member: Member = { peer, sink, backlog: new BitSet(), cursor: 0, endOfRibDue: endOfRib };
    this.members.push(member);
    this.refresh(member);
    return member;
  }

  /** Everything announced is to be sent again (ROUTE-REFRESH). */
  refresh(member: Member): void {
    const limit = this.#limit;
    for (let row = 0; row < limit; row++) {
      if (this.#attributes[row] !== 0 && this.#source[row] !== member.peer) this.#behind(member, row);
    }
  }

  /**
   * `member` was told by another group before: that must be withdrawn unless it is announced here, too. Both groups are of the
   * same session, so that either both send several paths or neither does.
   */
  takeOver(member: Member, from: UpdateGroup, before: Member): void {
    const limit = from.#limit;
    for (let row = 0; row < limit; row++) {
      const told = from.#attributes[row] !== 0 && from.#source[row] !== before.peer;
      if (!told && !before.backlog.has(row)) continue;
      const theirs = from.#slots;
      this.#behind(member, theirs ? this.#slots!.row(theirs.prefix[row]!, theirs.pathId[row]!) : row);
    }
  }

  leave(member: Member): void {
    this.members.splice(this.members.indexOf(member), 1);
    for (const list of [this.#keepingUp, this.#behindNow, this.#recipients]) list.forget();
    for (let row = member.backlog.next(0); row >= 0; row = member.backlog.next(row + 1)) this.#unhold(row);
    member.backlog.clear();
  }

  /**
   * Drops what up to `limit` rows refer to; whether there are more. The group must have no members, and is told of nothing any more.
   */
  dispose(limit: number): boolean {
    const pool = this.#rib.tables.attributes;
    const rows = this.#limit;
    const end = Math.min(rows, this.#disposed + limit);
    for (let row = this.#disposed; row < end; row++) {
      if (this.#attributes[row] === 0) continue;
      pool.release(this.#attributes[row]! - 1);
      this.#attributes[row] = 0;
      this.#unhold(row);
    }
    this.#disposed = end;
    if (end < rows) return true;
    this.announcedCount = 0;
    this.#rib.setWeight -= this.#weight;
    if (this.#slots) this.#rib.pathWatchers--;
    return false;
  }

  /**
   * Brings the group up to date with the Loc-RIB for the prefixes `changed.items[start..end)` and tells its members. The caller settles
   * them after all groups have: one that is withdrawn stays until its withdrawal is sent.
   */
  apply(changed: IntStack, start: number, end: number): void {
    // Nothing is told, and nothing was.
    if (this.options.export === 'reject') return;
    if (end - start === 1 && !this.#slots) {
      this.#applyAlone(changed.items[start]!);
      return;
    }
    const behind = this.#behindNow;
    this.#keepingUp.clear();
    behind.clear();
    for (let i = 0; i < this.members.length; i++) {
      const member = this.members[i]!;
      if (keepsUp(member)) this.#keepingUp.push(member);
      else behind.push(member);
    }
    for (let i = start; i < end; i++) {
      const prefix = changed.items[i]!;
      if (this.#slots) this.#applyPaths(this.#slots, prefix);
      else if (this.#applyBest(prefix)) this.#changed(prefix);
    }
    this.#filtered?.release();
    if (this.#keepingUp.length > 0) this.#sendAll();
    for (const by of this.#chains) by.clear();
    for (let i = 0; i < this.#gone.length; i++) this.#unhold(this.#gone.items[i]!);
    this.#gone.clear();
  }

  /** The same for one prefix without lists and chains: between changes that come one at a time all code gets cold, and the less of it there is the better. */
  #applyAlone(prefix: number): void {
    const changed = this.#applyBest(prefix);
    this.#filtered?.release();
    if (!changed) return;
    if (this.#takesBack) this.#tellAlone(prefix, true);
    this.#tellAlone(prefix, false);
    this.#encoder.flush();
  }

  /** @param itself see `#tell`: it is told that what it was told of is gone. */
  #tellAlone(row: number, itself: boolean): void {
    const { members } = this;
    const source = this.#source[row]!;
    const told = this.#newRecipients();
    for (let i = 0; i < members.length; i++) {
      const member = members[i]!;
      if (!keepsUp(member)) this.#behind(member, row);
      else if ((member.peer === source) === itself) told.push(member);
    }
    if (told.length > 0) this.#encoder.sendRow(row, source, itself ? 0 : this.#attributes[row]!, this.#nextHop[row]!);
  }

  /** Sends up to `limit` prefixes of a member's backlog, fewer with long attribute sets, then End-of-RIB where due. Returns whether more is waiting. */
  pump(member: Member, limit: number): boolean {
    const encoder = this.#encoder;
    this.#newRecipients().push(member);
    let cursor = member.cursor;
    let withdrawals = false;
    const done = new IntStack();
    const pool = this.#rib.tables.attributes;
    let set = 0;
    for (let left = limit; left > 0 && member.backlog.count > 0; left--) {
      let row = member.backlog.next(cursor);
      if (row < 0) row = member.backlog.next(0);
      cursor = row + 1;
      member.backlog.delete(row);
      done.push(row);
      this.#ensure(row);
      if (this.#attributes[row] !== 0 && this.#source[row] !== member.peer) {
        this.#link[row] = this.#announceBy.add(this.#source[row]!, row);
        if (this.#attributes[row] !== set) {
          set = this.#attributes[row]!;
          left -= setCost(pool.length(set - 1), encodingWeight);
        }
      } else {
        if (!withdrawals) encoder.startWithdraw();
        withdrawals = true;
        encoder.add(row);
      }
    }
    member.cursor = cursor;
    const sources = this.#announceBy;
    for (let i = 0; i < sources.count; i++) {
      const source = sources.key(i);
      encoder.sendChain(source, sources.first(source), this.#link, this.#attributes, this.#nextHop);
    }
    this.#announceBy.clear();
    const endOfRib = member.backlog.count === 0 && member.endOfRibDue;
    if (endOfRib) {
      member.endOfRibDue = false;
      encoder.endOfRib();
    }
    encoder.flush();
    for (let i = 0; i < done.length; i++) this.#unhold(done.items[i]!);
    if (member.backlog.count === 0) member.sink.caughtUp?.(endOfRib);
    return member.backlog.count > 0;
  }

  /** Decides about the best path of a prefix; whether the announcement changed. */
  #applyBest(prefix: number): boolean {
    this.#ensure(prefix);
    const rib = this.#rib;
    const source = rib.locPeer[prefix]! - 1;
    const hop = rib.locNextHop[prefix]!;
    const wanted = source < 0 ? 0 : this.#exportedSet(prefix, source, rib.locAttributes[prefix]!, hop);
    return this.#become(prefix, wanted, source, hop);
  }

  /** The same for the best paths of a prefix that may go out: one that may not does not count. */
  #applyPaths(slots: PathSlots, prefix: number): void {
    const rib = this.#rib;
    const { peer, attributes, nextHop } = rib.paths;
    const wanted = this.#wanted;
    const most = this.options.addPath ?? 1;
    rib.rank(prefix);
    while (wanted.count < most) {
      const path = rib.nextRanked();
      if (path < 0) break;
      const set = this.#exportedSet(prefix, peer[path]!, attributes[path]!, nextHop[path]!);
      if (set === 0) continue;
      const slot = slots.row(prefix, rib.sentId(prefix, path));
      this.#ensure(slot);
      wanted.add(slot);
      if (this.#become(slot, set, peer[path]!, nextHop[path]!)) this.#changed(slot);
    }
    for (let link = slots.first(prefix); link !== 0; link = slots.next[link - 1]!) {
      const slot = link - 1;
      if (wanted.delete(slot)) continue;
      this.#ensure(slot);
      if (this.#become(slot, 0, localPeer, noNextHop)) this.#changed(slot);
    }
  }

  /** The attribute set, plus 1, that a route with this one is announced with; 0: it is not. What becomes of its next hop: `#filtered.hop`. */
  #exportedSet(prefix: number, source: number, attributes: number, hop: number): number {
    const { prefixes, tables } = this.#rib;
    const flags = tables.attributes.communityFlags[attributes]!;
    if (!isExported(this.#widest, source, tables.peers, flags)) return 0;
    const filtered = this.#filtered;
    if (!filtered) return 1 + attributes;
    const { words, stride, bits } = prefixes;
    const set = filtered.of(attributes, source, hop, words, prefix * stride, bits[prefix]!);
    if (!filtered.filter.decidedAboutLearned && !isExported(this.options, source, tables.peers, flags)) return 0;
    return 1 + set;
  }

  /**
   * A row is announced like this from now on, or with `wanted` 0 withdrawn: what both take stands here once, see `#sendAll`.
   *
   * @returns false: it was told like this already.
   */
  #become(row: number, wanted: number, source: number, hop: number): boolean {
    const old = this.#attributes[row]!;
    const oldSource = this.#source[row]!;
    const announced = wanted !== 0;
    // What is withdrawn goes to those to whom it was announced.
    const told = announced ? source : oldSource;
    const nextHop = announced ? this.#nextHopOf(source, hop) : noNextHop;
    if (old === wanted && (!announced || (oldSource === source && this.#nextHop[row] === nextHop))) return false;
    if (old !== wanted) {
      const pool = this.#rib.tables.attributes;
      if (announced) pool.retain(wanted - 1);
      if (old !== 0) pool.release(old - 1);
    }
    if (old === 0) this.#hold(row);
    else this.#count(oldSource, -1);
    this.#takesBack = old !== 0 && oldSource !== told;
    // The row and its prefix stay until the withdrawal is sent: prefixes are settled, and `apply` lets go of rows, after that.
    if (announced) this.#count(source, 1);
    else if (this.#slots) this.#gone.push(row);
    else this.#rib.unpin(row);
    this.#attributes[row] = wanted;
    this.#source[row] = told;
    this.#nextHop[row] = nextHop;
    return true;
  }

  /** After `#become`: the row is chained for those who keep up, and in the backlog of the others. */
  #changed(row: number): void {
    const source = this.#source[row]!;
    if (this.#takesBack) this.#takeBackLink[row] = this.#takeBackBy.add(source, row);
    this.#link[row] = (this.#attributes[row] !== 0 ? this.#announceBy : this.#withdrawBy).add(source, row);
    this.#allBehind(row);
  }

  #count(source: number, by: number): void {
    if (source >= this.#announcedBySource.length) this.#announcedBySource = grow(this.#announcedBySource, source + 1);
    this.#announcedBySource[source]! += by;
    this.announcedCount += by;
  }

  /** After the filter, which may have said something of it. @param hop that the route was learned with. */
  #nextHopOf(source: number, hop: number): number {
    const said = this.#filtered?.hop ?? hopUntouched;
    if (said >= noNextHop) return this.#onward(said);
    const asLearned = said === hopAsLearned || !this.options.ebgp;
    return asLearned && source !== localPeer ? this.#onward(hop) : noNextHop;
  }

  markHops({ hops }: HopMarks): void {
    for (let row = 0, limit = this.#limit; row < limit; row++) {
      if (this.#attributes[row] !== 0) hops[this.#nextHop[row]!] = 1;
    }
  }

  /** Rows that are in use are below this. */
  get #limit(): number {
    return Math.min(this.#attributes.length, (this.#slots ?? this.#rib.prefixes).limit);
  }
  #hold(row: number): void {
    if (this.#slots) this.#slots.hold(row);
    else this.#rib.pin(row);
  }
  /** Frees the row, and its prefix, when nobody holds it any more. */
  #unhold(row: number): void {
    if (this.#slots) {
      this.#slots.unhold(row);
      return;
    }
    this.#rib.unpin(row);
    this.#rib.settle(row);
  }

  /**
   * What withdraws and announces routes of one source goes to the same members: in one chunk, which is one write and one segment for each of them. One
   * way through the code for all chains: a withdrawal that follows an announcement finds it warm.
   */
  #sendAll(): void {
    const encoder = this.#encoder;
    let told = -1;
    for (let step = 0; step < this.#chains.length; step++) {
      const by = this.#chains[step]!;
      const itself = by === this.#takeBackBy;
      const link = itself ? this.#takeBackLink : this.#link;
      const attributes = by === this.#announceBy ? this.#attributes : undefined;
      for (let i = 0; i < by.count; i++) {
        const source = by.key(i);
        if (source !== told || itself) this.#tell(source, itself);
        told = itself ? -1 : source;
        if (encoder.recipients.length > 0) encoder.sendChain(source, by.first(source), link, attributes, this.#nextHop);
      }
    }
    encoder.flush();
  }

  /** Of the members that keep up, the source `itself`, or all others, are told what comes next. */
  #tell(source: number, itself: boolean): void {
    const { items, length } = this.#keepingUp;
    const told = this.#newRecipients();
    for (let i = 0; i < length; i++) {
      const member = items[i]!;
      if ((member.peer === source) === itself) told.push(member);
    }
  }
  /** Empty; those before them have been sent what was theirs. */
  #newRecipients(): MemberList {
    const recipients = this.#recipients;
    this.#encoder.flush();
    recipients.clear();
    this.#encoder.recipients = recipients;
    return recipients;
  }

  /** The next hop as it was received, or ours where the peer could not use it: link-local, or IPv6 without RFC 8950. */
  #onward(nextHop: number): number {
    const address = this.#rib.tables.nextHops.onward[nextHop];
    if (address === undefined) return noNextHop;
    const fits = this.#rib.family === 6 || address.length === 4 || this.options.extendedNextHop === true;
    return fits ? nextHop : noNextHop;
  }

  #allBehind(row: number): void {
    const { items, length } = this.#behindNow;
    for (let i = 0; i < length; i++) this.#behind(items[i]!, row);
  }

  #behind(member: Member, row: number): void {
    this.#ensure(row);
    if (member.backlog.add(row)) this.#hold(row);
  }

  #ensure(row: number): void {
    if (row >= this.#growth.due) this.#growth.makeRoom(row);
  }
}

/** It has been told everything, and can be told more. */
function keepsUp({ backlog, sink }: Member): boolean {
  return backlog.count === 0 && sink.writable;
}
