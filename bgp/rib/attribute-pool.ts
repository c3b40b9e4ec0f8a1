/**
 * Path attribute sets, interned by their canonical octets (all but next hop and NLRI): equal sets are one small integer,
 * counted by who refers to it, with the numbers that the decision process compares decoded once into columns.
 */

import { attributeType } from '../wire/attribute-types.ts';
import { attributeValue, onlyToCustomerBytes } from '../wire/index.ts';
import { type AttributeValues, canonicalAttributesBytesMax } from '../wire/types.ts';
import { ColumnGrowth, resized } from './arrays.ts';
import type { HashKey } from './half-sip-hash.ts';
import { OctetPool } from './octet-pool.ts';

/** RFC 4271 5.1.5 knows no default; 100 is everybody's. */
export const defaultLocalPref = 100;

const noOctets = new Uint8Array(0);

export class AttributePool {
  localPref = new Uint32Array(64);
  asPathLength = new Uint16Array(64);
  origin = new Uint8Array(64);
  /** Absent counts as 0 (RFC 4271 9.1.2.2 c). */
  med = new Uint32Array(64);
  firstAsn = new Uint32Array(64);
  /** 0: absent (ORIGINATOR_ID 0 is no router id). */
  originatorId = new Uint32Array(64);
  clusterListLength = new Uint16Array(64);
  communityFlags = new Uint8Array(64);
  /** Bytes per second (RFC 10005); -1: absent. */
  linkBandwidth = new Float32Array(64);
  /** How many sets say one: mostly none does, and nobody need look. */
  linkBandwidths = 0;
  /** Sets that were freed so far: while it stays, what an id stands for does. */
  freedCount = 0;
  #references = new Int32Array(64);
  /**
   * The set that was let go by all last, which is freed when the next one is: a route that flaps comes back with the attributes that it had, and who
   * remembers what became of those need not look again. -1: there was none yet.
   */
  #resting = -1;
  readonly #growth = new ColumnGrowth(64, [
    (rows) => (this.localPref = resized(this.localPref, rows)),
    (rows) => (this.asPathLength = resized(this.asPathLength, rows)),
    (rows) => (this.origin = resized(this.origin, rows)),
    (rows) => (this.med = resized(this.med, rows)),
    (rows) => (this.firstAsn = resized(this.firstAsn, rows)),
    (rows) => (this.originatorId = resized(this.originatorId, rows)),
    (rows) => (this.clusterListLength = resized(this.clusterListLength, rows)),
    (rows) => (this.communityFlags = resized(this.communityFlags, rows)),
    (rows) => (this.linkBandwidth = resized(this.linkBandwidth, rows)),
    (rows) => (this.#references = resized(this.#references, rows)),
  ]);
  readonly #sets: OctetPool;

  /** @param key that no peer knows: see `OctetPool`. */
  constructor(key: HashKey = [0, 0]) {
    this.#sets = new OctetPool(canonicalAttributesBytesMax + onlyToCustomerBytes, key);
  }

  /** Sets that somebody refers to. */
  get size(): number {
    return this.#sets.size - (this.#rests() ? 1 : 0);
  }
  /** Where the octets of a set are written before it is looked for. */
  get octets(): Uint8Array {
    return this.#sets.octets;
  }

  /** The id of the set that is `octets[0..length)`, or -1. No reference is taken. */
  find(length: number): number {
    return this.#sets.find(length);
  }

  /** Adds the set that `find` has just not known, with no reference yet: `retain` it, or `drop` it when nobody did. */
  add(length: number, values: AttributeValues): number {
    const id = this.#sets.add(length);
    if (id >= this.#growth.due) this.#growth.makeRoom(id);
    this.#references[id] = 0;
    this.localPref[id] = values.localPref < 0 ? defaultLocalPref : values.localPref;
    this.asPathLength[id] = values.asPathLength;
    this.origin[id] = values.origin;
    this.med[id] = Math.max(values.med, 0);
    this.firstAsn[id] = values.firstAsn;
    this.originatorId[id] = Math.max(values.originatorId, 0);
    this.clusterListLength[id] = values.clusterListLength;
    this.communityFlags[id] = values.communityFlags;
    this.linkBandwidth[id] = values.linkBandwidth;
    if (values.linkBandwidth >= 0) this.linkBandwidths++;
    return id;
  }
  /** `find`, and `add` where that knows nothing, of octets that are elsewhere. */
  intern(octets: Uint8Array, values: AttributeValues): number {
    this.octets.set(octets);
    const known = this.find(octets.length);
    return known < 0 ? this.add(octets.length, values) : known;
  }

  /** Where the octets of a set are: `bytes(id)[start(id)..end(id))`, until a set is added or freed. */
  bytes(id: number): Uint8Array {
    return this.#sets.bytes(id);
  }
  start(id: number): number {
    return this.#sets.start(id);
  }
  end(id: number): number {
    return this.#sets.start(id) + this.#sets.length(id);
  }
  /** How many they are. */
  length(id: number): number {
    return this.#sets.length(id);
  }
  /** A copy of them. */
  copy(id: number): Uint8Array {
    return this.bytes(id).slice(this.start(id), this.end(id));
  }
  /** Whether two sets have the same AS_PATH, octet by octet. */
  sameAsPath(a: number, b: number): boolean {
    const [ours, theirs] = [this.#asPath(a), this.#asPath(b)];
    return Buffer.compare(ours, theirs) === 0;
  }
  #asPath(id: number): Uint8Array {
    const bytes = this.bytes(id);
    const value = attributeValue(bytes, this.start(id), this.end(id), attributeType.asPath);
    return value ? bytes.subarray(value.start, value.end) : noOctets;
  }
  retain(id: number): void {
    this.#references[id]!++;
  }
  release(id: number): void {
    if (--this.#references[id]! === 0) this.#rest(id);
  }
  /** Lets go of a set that was added and nobody retained. */
  drop(id: number): void {
    if (this.#references[id] === 0) this.#rest(id);
  }

  #rest(id: number): void {
    if (id !== this.#resting && this.#rests()) this.#remove(this.#resting);
    this.#resting = id;
  }
  /** Whether nobody has come for `#resting` since. */
  #rests(): boolean {
    return this.#resting >= 0 && this.#references[this.#resting] === 0;
  }

  #remove(id: number): void {
    if (this.linkBandwidth[id]! >= 0) this.linkBandwidths--;
    this.#sets.remove(id);
    this.freedCount++;
  }
}
