/**
 * What a filter makes of routes: nothing (rejected), the attribute set itself, or a changed one, interned like any other; and the
 * next hop. Each is worked out once a set between `release`s, whatever the number of prefixes.
 */
import { splitZone } from '#kit';
import type { CompiledFilter, FilterState, RouteOrigins } from '../filter/index.ts';
import { ownRoute } from '../filter/index.ts';
import { copy } from '../wire/bytes.ts';
import { attributeType, emptyAttributeValues, readCanonical, withoutAttribute } from '../wire/index.ts';
import type { AttributePool } from './attribute-pool.ts';
import { type NextHopPool, noNextHop } from './next-hop-pool.ts';
import { localPeer, type PeerTable } from './path-table.ts';

export interface FilterTables {
  readonly attributes: AttributePool;
  readonly nextHops: NextHopPool;
  readonly peers: PeerTable;
}

/** Values of `FilteredSets.hop` besides ids: the filter says nothing of the next hop; it is to stay as learned. */
export const hopUntouched = -1;
export const hopAsLearned = -2;

export class FilteredSets {
  readonly filter: CompiledFilter;
  /** After `of`: the next hop's id (`noNextHop`: our own address), or one of the values above. */
  hop = hopUntouched;
  readonly #tables: FilterTables;
  readonly #pool: AttributePool;
  /** MEDs of learned routes go unless the filter sets them: towards eBGP (RFC 4271 5.1.4), where it sets any. */
  readonly #dropsMed: boolean;
  readonly #bySource: boolean;
  #set = -1;
  #source = -1;
  #nextHop = -1;
  #bytes = new Uint8Array(256);
  /** Whoever has them may let go of them before they are asked for again. */
  readonly #held: number[] = [];

  constructor(filter: CompiledFilter, tables: FilterTables, toEbgp = false) {
    this.filter = filter;
    this.#tables = tables;
    this.#pool = tables.attributes;
    this.#dropsMed = toEbgp && filter.setsMed;
    this.#bySource = this.#dropsMed || filter.asksOrigins;
  }

  /**
   * The set of a route to the prefix whose words begin at `words[base]`, after the filter; -1: the route is rejected.
   *
   * @param source row of the peer that it was learned from. @param nextHop id that it was learned with.
   */
  of(set: number, source: number, nextHop: number, words: Int32Array, base: number, bits: number): number {
    if (set !== this.#set || (this.#bySource && (source !== this.#source || nextHop !== this.#nextHop))) {
      this.#use(set, source, nextHop);
    }
    const state = this.filter.run(words, base, bits);
    if (!state) return -1;
    if (state.set < 0) this.#finish(state);
    this.hop = state.hop;
    return state.set;
  }

  /** Lets go of what nobody took. Sets may be freed and their numbers given again from here on. */
  release(): void {
    if (this.#set < 0) return;
    for (let i = 0; i < this.#held.length; i++) this.#pool.release(this.#held[i]!);
    this.#held.length = 0;
    this.#set = -1;
  }

  #use(set: number, source: number, nextHop: number): void {
    this.#set = this.#hold(set);
    this.#source = source;
    this.#nextHop = nextHop;
    const pool = this.#pool;
    const start = pool.start(set);
    const length = pool.end(set) - start;
    if (length > this.#bytes.length) this.#bytes = new Uint8Array(2 * length);
    copy(pool.bytes(set), start, start + length, this.#bytes, 0);
    this.filter.use(this.#bytes, length, this.filter.asksOrigins ? this.#origins(source, nextHop) : ownRoute);
  }

  #origins(source: number, nextHop: number): RouteOrigins {
    if (source === localPeer) return ownRoute;
    const { peers, nextHops } = this.#tables;
    const bytes = nextHops.bytes[nextHop]!;
    return {
      peer: peers.names[source] ?? '',
      kind: peers.ebgp[source] === 1 ? 'ebgp' : 'ibgp',
      // Of a global and a link-local address the first (RFC 2545 3).
      nextHop: bytes.length === 32 ? bytes.subarray(0, 16) : bytes,
      link: splitZone(nextHops.addresses[nextHop]!).zone ?? '',
    };
  }

  #finish(state: FilterState): void {
    const { bytes, end, setsMed, nextHop } = state;
    const dropsMed = this.#dropsMed && !setsMed && this.#source !== localPeer;
    if (bytes === this.#bytes && !dropsMed) state.set = this.#set;
    else {
      const whole = bytes.subarray(0, end);
      state.set = this.#intern(dropsMed ? withoutAttribute(whole, attributeType.multiExitDisc) : whole);
    }
    if (nextHop === undefined) state.hop = hopUntouched;
    else if (nextHop === 'self') state.hop = noNextHop;
    else if (nextHop === 'unchanged') state.hop = hopAsLearned;
    else state.hop = this.#tables.nextHops.intern(latin1(nextHop), nextHop, 0, nextHop.length);
  }

  #intern(bytes: Uint8Array): number {
    const length = copy(bytes, 0, bytes.length, this.#pool.octets, 0);
    const known = this.#pool.find(length);
    if (known >= 0) return this.#hold(known);
    const values = emptyAttributeValues();
    // Loops were looked for when the route came in.
    readCanonical(bytes, 0, bytes.length, 0, 0, values);
    return this.#hold(this.#pool.add(length, values));
  }

  #hold(set: number): number {
    this.#pool.retain(set);
    this.#held.push(set);
    return set;
  }
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}
