/** Routes of a table as they stand there, written as UPDATEs with AS numbers of 4 octets. One for many tables: it has large buffers. */
import { noNextHop, type Rib } from '../rib/index.ts';
import { attributeType } from '../wire/attribute-types.ts';
import { copy } from '../wire/bytes.ts';
import {
  createExportedAttributes,
  createUpdatePacker,
  extendedMessageBytesMax,
  messageBytesMax,
  type UpdatePacker,
} from '../wire/index.ts';
import { valueEnd } from '../wire/update.ts';

/** The next hop of what we originate, in the Loc-RIB. */
const unspecified = { 4: new Uint8Array(4), 6: new Uint8Array(16) } as const;

/** Large, and used within one call. */
const exported = createExportedAttributes();

export class RouteEncoder {
  readonly #packer: UpdatePacker;
  /** Of messages that only RFC 8654 allows, for attributes that fit no others; made when there are such. */
  #widePacker: UpdatePacker | undefined;
  /** The one that the open announcement is in. */
  #current: UpdatePacker;
  readonly #take: (updates: Uint8Array) => void;
  readonly #withPathIds: boolean;
  /** Of the announcement that is open in the packer; -1: none. */
  #openSet = -1;
  #openHop = -1;
  #withdrawing = false;

  /**
   * @param take gets whole UPDATEs, no later than in `flush`.
   * @param withPathIds of the peer's sessions: prefixes have path identifiers (RFC 7911 3).
   */
  constructor(take: (updates: Uint8Array) => void, withPathIds: boolean) {
    this.#take = take;
    this.#withPathIds = withPathIds;
    this.#packer = createUpdatePacker(take, messageBytesMax, withPathIds);
    this.#current = this.#packer;
  }

  /** @param set attribute set of the route, -1: there is none any more. Sets and next hops hold until `flush`. */
  send(rib: Rib, prefix: number, set: number, hop: number, pathId = 0): void {
    // What no message can carry must not stay as it was before, either.
    if (set < 0 || !this.#announces(rib, set, hop)) {
      if (!this.#withdrawing) this.#packer.startWithdraw(rib.family);
      this.#current = this.#packer;
      this.#withdrawing = true;
      this.#openSet = -1;
    }
    const packer = this.#current;
    packer.pathId = pathId;
    const { words, bits, stride } = rib.prefixes;
    if (stride === 1) {
      packer.add4(words[prefix]!, bits[prefix]!);
    } else {
      const base = 4 * prefix;
      packer.add6(words[base]!, words[base + 1]!, words[base + 2]!, words[base + 3]!, bits[prefix]!);
    }
  }
  endOfRib(rib: Rib): void {
    this.#packer.endOfRib(rib.family);
    this.#close();
  }
  flush(): void {
    this.#packer.flush();
    this.#widePacker?.flush();
    this.#close();
  }

  #close(): void {
    this.#openSet = -1;
    this.#withdrawing = false;
  }

  /** Opens an announcement unless it is open already; false when no message can carry the attributes. */
  #announces(rib: Rib, set: number, hop: number): boolean {
    if (set === this.#openSet && hop === this.#openHop) return true;
    const { attributes, nextHops } = rib.tables;
    const length = copy(attributes.bytes(set), attributes.start(set), attributes.end(set), exported.bytes, 0);
    let split = 0;
    while (split < length && exported.bytes[split + 1]! <= attributeType.asPath)
      split = valueEnd(exported.bytes, split);
    exported.split = split;
    exported.length = length;
    const bytes = hop === noNextHop ? unspecified[rib.family] : nextHops.bytes[hop]!;
    this.#current = this.#packer;
    if (!this.#packer.startAnnounce(rib.family, exported, bytes)) {
      this.#widePacker ??= createUpdatePacker(this.#take, extendedMessageBytesMax, this.#withPathIds);
      this.#current = this.#widePacker;
      if (!this.#widePacker.startAnnounce(rib.family, exported, bytes)) return false;
    }
    this.#openSet = set;
    this.#openHop = hop;
    this.#withdrawing = false;
    return true;
  }
}
