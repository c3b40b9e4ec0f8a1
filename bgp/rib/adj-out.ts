/**
 * Adj-RIB-Out as update groups: peers that would be told the same share one table, and an UPDATE is encoded once and
 * written to all of them (FRR's idea: 32 peers cost what one does).
 *
 * Per prefix the group keeps what is announced (attribute set, next hop) and the peer it came from: a member holds
 * everything announced but what came from itself. Members keep nothing per prefix while they keep up. One that does
 * not (its socket is full), or that is new, has a bit per prefix it must still be told of; `pump` sends from that
 * what the group announces *now*, so a slow peer skips what happened in between and its backlog is bounded by one bit a prefix.
 *
 * Within one `apply` changes are chained by source peer, then by attribute set, in columns: nothing is allocated per prefix.
 */
import { compileFilter, type FilterTerm } from '../filter/index.ts';
import { createExportedAttributes, createUpdatePacker, exportAttributes } from '../wire/index.ts';
import type { ExportContext, UpdatePacker } from '../wire/types.ts';
import { BitSet, grow, IntStack } from './arrays.ts';
import { ChainSet } from './chain-set.ts';
import { type ExportPolicy, isExported } from './export-policy.ts';
import { FilteredSets } from './filtered-sets.ts';
import { type HopMarks, noNextHop } from './next-hop-pool.ts';
import { localPeer } from './path-table.ts';
import type { Rib } from './rib.ts';

export interface UpdateGroupOptions extends ExportPolicy {
  /** Of what the policy lets out, for the group's family. */
  readonly filter?: readonly FilterTerm[];
  readonly asn4: boolean;
  readonly localAsn: number;
  /** Our address, announced as next hop: 4 bytes (IPv4) or 16 (IPv6). */
  readonly nextHopSelf: Uint8Array;
}

/** Where a member's bytes go. */
export interface MemberSink {
  /** Takes whole messages. Always takes them; a full sink only says so in `writable`. */
  write(chunk: Uint8Array): void;
  /** False: the member falls behind and is pumped later. */
  readonly writable: boolean;
}

export interface Member {
  readonly peer: number;
  readonly sink: MemberSink;
  /** Prefixes the member must still be told of. */
  readonly backlog: BitSet;
  /** Where the last pump stopped. */
  cursor: number;
  endOfRibDue: boolean;
}

/** Attributes on the wire are at most this long (canonical form is wider than what fits one message). */
const scratchBytes = 8192;

export class UpdateGroup {
  readonly options: UpdateGroupOptions;
  readonly members: Member[] = [];
  /** Announced prefixes. */
  announcedCount = 0;
  readonly #rib: Rib;
  /** Attribute set announced plus 1; 0: nothing. */
  #attributes = new Int32Array(256);
  #source = new Uint16Array(256);
  #nextHop = new Int32Array(256);
  #announcedBySource = new Int32Array(16);
  // Work columns of one encoding pass: chains by source peer, and by attribute set within one.
  #link = new Int32Array(256);
  readonly #announceBy = new ChainSet();
  readonly #withdrawBy = new ChainSet();
  readonly #takeBackBy = new ChainSet();
  #takeBackLink = new Int32Array(256);
  readonly #sets = new ChainSet();
  #setLink = new Int32Array(256);
  readonly #exported = createExportedAttributes();
  readonly #scratch = Buffer.alloc(scratchBytes);
  readonly #packer: UpdatePacker;
  #recipients: readonly Member[] = [];
  readonly #filtered: FilteredSets | undefined;
  readonly #ownContext: ExportContext;
  readonly #learnedContext: ExportContext;

  constructor(rib: Rib, options: UpdateGroupOptions) {
    this.#rib = rib;
    this.options = options;
    const { ebgp, asn4, localAsn } = options;
    const filter = compileFilter(options.filter);
    this.#filtered = filter && new FilteredSets(filter, rib.tables.attributes);
    this.#ownContext = { ebgp, asn4, localAsn, keepMed: true };
    this.#learnedContext = { ebgp, asn4, localAsn, keepMed: false };
    this.#packer = createUpdatePacker((chunk) => {
      for (const member of this.#recipients) member.sink.write(chunk);
    });
    const all = new IntStack();
    for (let prefix = 0; prefix < rib.prefixes.limit; prefix++) if (rib.locPeer[prefix] !== 0) all.push(prefix);
    this.apply(all, 0, all.length);
  }

  /** Prefixes a member has been told of, its backlog aside. */
  announcedTo(peer: number): number {
    return this.announcedCount - (this.#announcedBySource[peer] ?? 0);
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
    const limit = this.#attributes.length;
    for (let prefix = 0; prefix < limit; prefix++) {
      if (this.#attributes[prefix] !== 0 && this.#source[prefix] !== member.peer) this.#behind(member, prefix);
    }
  }

  /** `member` was told by another group before: that must be withdrawn unless it is announced here, too. */
  takeOver(member: Member, from: UpdateGroup, before: Member): void {
    const limit = from.#attributes.length;
    for (let prefix = 0; prefix < limit; prefix++) {
      const told = from.#attributes[prefix] !== 0 && from.#source[prefix] !== before.peer;
      if (told || before.backlog.has(prefix)) this.#behind(member, prefix);
    }
  }

  leave(member: Member): void {
    this.members.splice(this.members.indexOf(member), 1);
    for (let prefix = member.backlog.next(0); prefix >= 0; prefix = member.backlog.next(prefix + 1)) {
      this.#rib.unpin(prefix);
      this.#rib.settle(prefix);
    }
    member.backlog.clear();
  }

  /** Drops every reference; the group must have no members. */
  dispose(): void {
    const pool = this.#rib.tables.attributes;
    for (let prefix = 0; prefix < this.#attributes.length; prefix++) {
      if (this.#attributes[prefix] === 0) continue;
      pool.release(this.#attributes[prefix]! - 1);
      this.#attributes[prefix] = 0;
      this.#rib.unpin(prefix);
      this.#rib.settle(prefix);
    }
    this.announcedCount = 0;
  }

  /** Brings the group up to date with the Loc-RIB for the prefixes `changed.items[start..end)` and tells its members. */
  apply(changed: IntStack, start: number, end: number): void {
    const keepsUp = (member: Member): boolean => member.backlog.count === 0 && member.sink.writable;
    const keepingUp = this.members.filter(keepsUp);
    const behind = keepingUp.length < this.members.length ? this.members.filter((m) => !keepingUp.includes(m)) : [];
    for (let i = start; i < end; i++) {
      const prefix = changed.items[i]!;
      if (this.#applyOne(prefix)) for (const member of behind) this.#behind(member, prefix);
    }
    this.#filtered?.release();
    this.#sendAll(keepingUp);
    for (let i = start; i < end; i++) this.#rib.settle(changed.items[i]!);
  }

  /** Sends up to `limit` prefixes of a member's backlog, then End-of-RIB where due. Returns whether more is waiting. */
  pump(member: Member, limit: number): boolean {
    this.#recipients = [member];
    let cursor = member.cursor;
    let withdrawals = false;
    const done = new IntStack();
    for (let n = 0; n < limit && member.backlog.count > 0; n++) {
      let prefix = member.backlog.next(cursor);
      if (prefix < 0) prefix = member.backlog.next(0);
      cursor = prefix + 1;
      member.backlog.delete(prefix);
      done.push(prefix);
      this.#ensure(prefix);
      if (this.#attributes[prefix] !== 0 && this.#source[prefix] !== member.peer) {
        this.#link[prefix] = this.#announceBy.add(this.#source[prefix]!, prefix);
      } else {
        if (!withdrawals) this.#packer.startWithdraw(this.#rib.family);
        withdrawals = true;
        this.#addToPacker(prefix);
      }
    }
    member.cursor = cursor;
    for (const source of this.#announceBy.keys()) this.#announceChain(source);
    this.#announceBy.clear();
    if (member.backlog.count === 0 && member.endOfRibDue) {
      member.endOfRibDue = false;
      this.#packer.endOfRib(this.#rib.family);
    }
    this.#packer.flush();
    for (let i = 0; i < done.length; i++) {
      this.#rib.unpin(done.items[i]!);
      this.#rib.settle(done.items[i]!);
    }
    return member.backlog.count > 0;
  }

  /** Decides about one prefix and chains it for sending; whether the announcement changed. */
  #applyOne(prefix: number): boolean {
    this.#ensure(prefix);
    const rib = this.#rib;
    const pool = rib.tables.attributes;
    const source = rib.locPeer[prefix]! - 1;
    const old = this.#attributes[prefix]!;
    const oldSource = this.#source[prefix]!;
    let wanted = 0;
    if (source >= 0) {
      const attributes = rib.locAttributes[prefix]!;
      const ebgp = rib.tables.peers.ebgp[source] === 1;
      if (isExported(this.options, source, ebgp, pool.communityFlags[attributes]!)) {
        wanted =
          1 +
          (this.#filtered?.of(
            attributes,
            rib.prefixes.words,
            prefix * rib.prefixes.stride,
            rib.prefixes.bits[prefix]!,
          ) ?? attributes);
      }
    }
    if (wanted === 0) {
      if (old === 0) return false;
      this.#forget(prefix);
      this.#link[prefix] = this.#withdrawBy.add(oldSource, prefix);
      return true;
    }
    const nextHop = this.options.ebgp || source === localPeer ? noNextHop : rib.locNextHop[prefix]!;
    if (old === wanted && oldSource === source && this.#nextHop[prefix] === nextHop) return false;
    if (old !== wanted) pool.retain(wanted - 1);
    if (old === 0) {
      rib.pin(prefix);
      this.announcedCount++;
    } else {
      if (old !== wanted) pool.release(old - 1);
      this.#announcedBySource[oldSource]!--;
      // The new source was told of the route while it was another's: it must forget it.
      if (oldSource !== source) this.#takeBackLink[prefix] = this.#takeBackBy.add(source, prefix);
    }
    if (source >= this.#announcedBySource.length) this.#announcedBySource = grow(this.#announcedBySource, source + 1);
    this.#announcedBySource[source]!++;
    this.#attributes[prefix] = wanted;
    this.#source[prefix] = source;
    this.#nextHop[prefix] = nextHop;
    this.#link[prefix] = this.#announceBy.add(source, prefix);
    return true;
  }

  markHops({ hops }: HopMarks): void {
    for (let prefix = 0; prefix < this.#attributes.length; prefix++) {
      if (this.#attributes[prefix] !== 0) hops.add(this.#nextHop[prefix]!);
    }
  }

  #forget(prefix: number): void {
    this.#rib.tables.attributes.release(this.#attributes[prefix]! - 1);
    this.#announcedBySource[this.#source[prefix]!]!--;
    this.#attributes[prefix] = 0;
    this.announcedCount--;
    this.#rib.unpin(prefix);
  }

  #sendAll(keepingUp: readonly Member[]): void {
    const without = (peer: number): readonly Member[] =>
      keepingUp.some((member) => member.peer === peer) ? keepingUp.filter((member) => member.peer !== peer) : keepingUp;
    if (keepingUp.length > 0) {
      for (const source of this.#withdrawBy.keys()) {
        this.#withdrawChain(without(source), this.#withdrawBy.first(source), this.#link);
      }
      for (const source of this.#takeBackBy.keys()) {
        const told = keepingUp.filter((member) => member.peer === source);
        this.#withdrawChain(told, this.#takeBackBy.first(source), this.#takeBackLink);
      }
      for (const source of this.#announceBy.keys()) {
        this.#recipients = without(source);
        if (this.#recipients.length > 0) this.#announceChain(source);
        this.#packer.flush();
      }
    }
    this.#withdrawBy.clear();
    this.#takeBackBy.clear();
    this.#announceBy.clear();
  }

  #withdrawChain(recipients: readonly Member[], first: number, link: Int32Array): void {
    if (recipients.length === 0) return;
    this.#recipients = recipients;
    this.#packer.startWithdraw(this.#rib.family);
    for (let at = first; at !== 0; at = link[at - 1]!) this.#addToPacker(at - 1);
    this.#packer.flush();
  }

  /** Announces what is chained under one source, grouped by attribute set and next hop. */
  #announceChain(source: number): void {
    const link = this.#link;
    for (let at = this.#announceBy.first(source); at !== 0; at = link[at - 1]!) {
      const prefix = at - 1;
      this.#setLink[prefix] = this.#sets.add(this.#attributes[prefix]! - 1, prefix);
    }
    for (const set of this.#sets.keys()) this.#announceSet(set, source);
    this.#sets.clear();
  }

  #announceSet(set: number, source: number): void {
    const length = this.#scratch.write(this.#rib.tables.attributes.key(set), 0, 'latin1');
    const context = source === localPeer ? this.#ownContext : this.#learnedContext;
    const fits = exportAttributes(this.#scratch, 0, length, context, this.#exported);
    const nextHops = this.#rib.tables.nextHops.bytes;
    const link = this.#setLink;
    let current = -1;
    let announced = false;
    for (let at = this.#sets.first(set); at !== 0; at = link[at - 1]!) {
      const prefix = at - 1;
      const nextHop = this.#nextHop[prefix]!;
      if (nextHop !== current) {
        current = nextHop;
        const bytes = nextHop === noNextHop ? this.options.nextHopSelf : nextHops[nextHop]!;
        announced = fits && this.#packer.startAnnounce(this.#rib.family, this.#exported, bytes);
        // Attributes that leave no room for a prefix: the peer must not keep an older route (RFC 4271 9.2, BIRD withdraws, too).
        if (!announced) this.#packer.startWithdraw(this.#rib.family);
      }
      this.#addToPacker(prefix);
    }
  }

  #addToPacker(prefix: number): void {
    const { words, bits, stride } = this.#rib.prefixes;
    if (stride === 1) {
      this.#packer.add4(words[prefix]!, bits[prefix]!);
    } else {
      const base = 4 * prefix;
      this.#packer.add6(words[base]!, words[base + 1]!, words[base + 2]!, words[base + 3]!, bits[prefix]!);
    }
  }

  #behind(member: Member, prefix: number): void {
    this.#ensure(prefix);
    if (member.backlog.add(prefix)) this.#rib.pin(prefix);
  }

  #ensure(prefix: number): void {
    if (prefix < this.#attributes.length) return;
    this.#attributes = grow(this.#attributes, prefix + 1);
    this.#source = grow(this.#source, prefix + 1);
    this.#nextHop = grow(this.#nextHop, prefix + 1);
    this.#link = grow(this.#link, prefix + 1);
    this.#takeBackLink = grow(this.#takeBackLink, prefix + 1);
    this.#setLink = grow(this.#setLink, prefix + 1);
  }
}
