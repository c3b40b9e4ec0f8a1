/**
 * The half of an update group that writes: chains of rows become UPDATEs, grouped by attribute set and next hop, for those whom the
 * group names as recipients. It knows what a set looks like to a peer of the group, and nothing of what was announced before.
 */
import {
  createExportedAttributes,
  createUpdatePackerFor,
  exportAttributes,
  extendedMessageBytesMax,
  messageBytesMax,
} from '../wire/index.ts';
import type { ChunkTaker, ExportContext, UpdatePacker } from '../wire/types.ts';
import { firstRows, grow } from './arrays.ts';
import { ChainSet } from './chain-set.ts';
import { type ExportMarks, isMarked, markExported } from './export-marks.ts';
import { MemberList } from './member.ts';
import { noNextHop } from './next-hop-pool.ts';
import type { PathSlots } from './path-slots.ts';
import { localPeer } from './path-table.ts';
import type { Rib } from './rib.ts';

export interface EncodingOptions extends ExportMarks {
  readonly ebgp: boolean;
  readonly asn4: boolean;
  /** Messages up to 65,535 octets (RFC 8654). */
  readonly extendedMessages?: boolean;
  readonly localAsn: number;
  /** Where a route has none, ONLY_TO_CUSTOMER of `localAsn` is added (RFC 9234 5). */
  readonly addOnlyToCustomer?: boolean;
  /** Internal peers: of ours as route reflector, put into CLUSTER_LIST (RFC 4456 8). Unsigned. */
  readonly clusterId?: number | undefined;
  /** Our address, announced as next hop: 4 bytes (IPv4), 16 or 32 (IPv6: one address, or a global and a link-local one). */
  readonly nextHopSelf: Uint8Array;
  /** RFC 8950 is negotiated: IPv4 prefixes may have an IPv6 next hop. */
  readonly extendedNextHop?: boolean;
}

/** In the place of an attribute set plus 1. */
const withdrawn = 0;

/** Exported attributes while a set is announced: within one call, so that all groups share them. */
const exported = createExportedAttributes();

export class AnnouncementEncoder implements ChunkTaker {
  /** Who gets what is written; `flush` comes before another choice. */
  recipients = new MemberList();
  readonly #rib: Rib;
  readonly #options: EncodingOptions;
  /** Absent: rows are prefixes. */
  readonly #slots: PathSlots | undefined;
  readonly #packer: UpdatePacker;
  // Work columns of one pass: chains by attribute set.
  readonly #sets = new ChainSet();
  #setLink = new Int32Array(firstRows);
  readonly #ownContext: ExportContext;
  readonly #learnedContext: ExportContext;
  /** For what one internal peer said to another; the originator is filled in for each source. */
  readonly #reflectedContext: ExportContext;
  readonly #reflection: { originatorId: number; readonly clusterId: number };
  /**
   * Of whose attributes the packer has what it was given last: a set, as long as none was freed, in a context. Where changes come one at a time they mostly
   * have the same ones, and what counts is how little code each needs: all of it is cold.
   */
  #packedSet = -1;
  #packedFreedCount = 0;
  #packedContext: ExportContext | undefined;

  /** @param setsMed a filter may set MED and means it to be sent then; those of other routes are off by then. */
  constructor(rib: Rib, options: EncodingOptions, slots: PathSlots | undefined, setsMed: boolean) {
    this.#rib = rib;
    this.#options = options;
    this.#slots = slots;
    const bytesMax = options.extendedMessages ? extendedMessageBytesMax : messageBytesMax;
    this.#ownContext = exportContext(options, bytesMax, true);
    this.#learnedContext = exportContext(options, bytesMax, setsMed);
    this.#reflection = { originatorId: 0, clusterId: options.clusterId ?? 0 };
    this.#reflectedContext = exportContext(options, bytesMax, setsMed, this.#reflection);
    this.#packer = createUpdatePackerFor(this, bytesMax, slots !== undefined);
  }

  /** Of the packer: whole messages for all recipients. */
  take(bytes: Uint8Array, length: number): void {
    const { recipients } = this;
    for (let i = 0; i < recipients.length; i++) recipients.items[i]!.sink.write(bytes, length);
  }

  /**
   * Announces what is chained under one source, grouped by attribute set and next hop, or withdraws it.
   *
   * @param first row plus 1. @param attributes by row: the set plus 1; undefined: all is withdrawn.
   */
  sendChain(
    source: number,
    first: number,
    link: Int32Array,
    attributes: Int32Array | undefined,
    nextHops: Int32Array,
  ): void {
    const sets = this.#sets;
    if (this.#setLink.length < link.length) this.#setLink = grow(this.#setLink, link.length);
    for (let at = first; at !== 0; at = link[at - 1]!) {
      const row = at - 1;
      this.#setLink[row] = sets.add(attributes === undefined ? withdrawn : attributes[row]!, row);
    }
    for (let i = 0; i < sets.count; i++) this.#sendSet(sets.key(i), source, nextHops);
    sets.clear();
  }

  /** The same for one row alone. @param key its attribute set plus 1; 0: it is withdrawn. */
  sendRow(row: number, source: number, key: number, nextHop: number): void {
    this.#startSet(this.#fits(key, source), nextHop);
    this.add(row);
  }

  startWithdraw(): void {
    this.#start(undefined);
  }
  #start(nextHop: Uint8Array | undefined): boolean {
    return this.#packer.start(this.#rib.family, nextHop, this.#options.extendedNextHop === true);
  }
  /** The prefix of a row, and the path identifier where there is one. */
  add(row: number): void {
    const { words, bits, stride } = this.#rib.prefixes;
    let prefix = row;
    if (this.#slots) {
      prefix = this.#slots.prefix[row]!;
      this.#packer.pathId = this.#slots.pathId[row]!;
    }
    if (stride === 1) {
      this.#packer.add4(words[prefix]!, bits[prefix]!);
    } else {
      const base = 4 * prefix;
      this.#packer.add6(words[base]!, words[base + 1]!, words[base + 2]!, words[base + 3]!, bits[prefix]!);
    }
  }
  endOfRib(): void {
    this.#packer.endOfRib(this.#rib.family);
  }
  flush(): void {
    this.#packer.flush();
  }

  /** A set as a peer of the group is told it, but AS numbers of four octets; undefined: no message can carry it. */
  exportedBytes(set: number, source: number): Uint8Array | undefined {
    if (!this.#export(set, { ...this.#contextOf(source), asn4: true }) || exported.length === 0) return undefined;
    return exported.bytes.slice(0, exported.length);
  }
  /** @param nextHop as announced; `noNextHop` stands for ours. */
  nextHopBytes(nextHop: number): Uint8Array {
    return nextHop === noNextHop ? this.#options.nextHopSelf : this.#rib.tables.nextHops.onward[nextHop]!;
  }

  /** Writes a set as a peer of the group is told it to `exported`; false: no message can carry it. */
  #export(set: number, context: ExportContext): boolean {
    const pool = this.#rib.tables.attributes;
    const flags = pool.communityFlags[set]!;
    if (!isMarked(flags, this.#options)) {
      return exportAttributes(pool.bytes(set), pool.start(set), pool.end(set), context, exported);
    }
    const marked = markExported(pool.copy(set), flags, this.#options);
    return marked !== undefined && exportAttributes(marked, 0, marked.length, context, exported);
  }

  /** @param key a set plus 1, or `withdrawn`. */
  #sendSet(key: number, source: number, nextHops: Int32Array): void {
    const fits = this.#fits(key, source);
    const link = this.#setLink;
    let current = -1;
    for (let at = this.#sets.first(key); at !== 0; at = link[at - 1]!) {
      const row = at - 1;
      const nextHop = fits ? nextHops[row]! : noNextHop;
      if (nextHop !== current) {
        current = nextHop;
        this.#startSet(fits, nextHop);
      }
      this.add(row);
    }
  }
  #fits(key: number, source: number): boolean {
    return key !== withdrawn && this.#pack(key - 1, this.#contextOf(source));
  }
  /** @param fits the packer has the attributes; or what comes next is withdrawn. */
  #startSet(fits: boolean, nextHop: number): void {
    // Attributes that leave no room for a prefix: the peer must not keep an older route (RFC 4271 9.2, BIRD withdraws, too).
    if (!this.#start(fits ? this.nextHopBytes(nextHop) : undefined)) this.#start(undefined);
  }

  /** Gives the packer a set as a peer of the group is told it; false: no message can carry it. */
  #pack(set: number, context: ExportContext): boolean {
    const { freedCount } = this.#rib.tables.attributes;
    if (set === this.#packedSet && context === this.#packedContext && freedCount === this.#packedFreedCount)
      return true;
    this.#packedSet = -1;
    if (!this.#export(set, context)) return false;
    this.#packer.useAttributes(exported);
    // What is reflected depends on its source, too.
    if (context !== this.#reflectedContext) this.#packedSet = set;
    this.#packedContext = context;
    this.#packedFreedCount = freedCount;
    return true;
  }

  #contextOf(source: number): ExportContext {
    if (source === localPeer) return this.#ownContext;
    const { ebgp, routerId } = this.#rib.tables.peers;
    if (this.#options.ebgp || ebgp[source] === 1) return this.#learnedContext;
    this.#reflection.originatorId = routerId[source]!;
    return this.#reflectedContext;
  }
}

/** Of one kind of object, whatever the group: it is asked of each attribute. */
function exportContext(
  { ebgp, asn4, localAsn, addOnlyToCustomer = false }: EncodingOptions,
  bytesMax: number,
  keepMed: boolean,
  reflection?: ExportContext['reflection'],
): ExportContext {
  return { ebgp, asn4, localAsn, addOnlyToCustomer, keepMed, messageBytesMax: bytesMax, reflection };
}
