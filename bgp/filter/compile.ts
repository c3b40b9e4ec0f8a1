/**
 * A list of terms made ready for many routes. What terms say of anything but the prefix is tested once per attribute set (`use`)
 * and leaves the list of terms still in the running; per prefix (`run`) those are walked, with words compared instead of
 * text. Nothing is allocated per prefix.
 *
 * Changes made on the way (`next`) lead from one state of the attributes to another; the states of one set form a tree, each
 * made once, so that however many prefixes share a set, it is changed and tested again once a way through the terms.
 */
import { AsPathExpressions } from './as-path-expression.ts';
import { type CompiledChanges, compileChanges } from './change.ts';
import { asksOrigins, type Condition, compileConditions, walksOf } from './conditions.ts';
import { PrefixIndex } from './prefix-index.ts';
import { PrefixColumns, PrefixSet } from './prefixes.ts';
import { ownRoute, type RouteOrigins, RouteView } from './route-view.ts';
import type { FilterTerm } from './types.ts';

interface CompiledTerm {
  readonly action: FilterTerm['action'];
  /** It has a prefix, see `#prefixes`. */
  readonly prefix: boolean;
  readonly prefixes: PrefixSet | undefined;
  readonly conditions: readonly Condition[];
  readonly changes: CompiledChanges | undefined;
  /** First term of the filter after this one's. */
  readonly nextFilter: number;
}

/** `FilterOutcome.term` of a route that no term decided. */
export const noTerm = -1;

/** Values of `FilterState.isLive` besides 0. Undecided: the path is too much for expressions, so that the route is rejected by the term. */
const holding = 1;
const undecided = 2;

const noTerms = new Int32Array(0);
const nothingLive = new Uint8Array(0);

/** Attributes as they are after some terms. */
export class FilterState {
  bytes: Uint8Array;
  end: number;
  nextHop: CompiledChanges['nextHop'];
  setsMed = false;
  /** The caller's: what it made of attributes and next hop; set -1: nothing yet. */
  set = -1;
  hop = 0;
  /** Terms whose conditions hold, ascending: `live[0..liveCount)`; and by term, `holding` where they do, or `undecided`. Not before it is `ready`. */
  live = noTerms;
  liveCount = 0;
  isLive = nothingLive;
  ready = false;
  /** By the term whose changes lead there; undefined: they cannot be made. */
  readonly children = new Map<number, FilterState | undefined>();

  constructor(bytes: Uint8Array, end: number) {
    this.bytes = bytes;
    this.end = end;
  }
}

/** Kinds of terms by their prefix: none, one IPv4 prefix, whatever else. */
const anyPrefix = 0;
const single4 = 1;
const other = 2;

export class CompiledFilter {
  readonly terms: readonly FilterTerm[];
  /** Whether any term asks where a route comes from: otherwise the last argument of `use` does not matter. */
  readonly asksOrigins: boolean;
  readonly setsMed: boolean;
  /** How often `use` may go through a list of the attributes. */
  readonly walks: number;
  /** Whether any route comes out otherwise than it went in. */
  readonly changes: boolean;
  /** After `run`: index of the term that decided, or `noTerm`. */
  decidedBy = noTerm;
  readonly #terms: readonly CompiledTerm[];
  readonly #prefixes: PrefixColumns;
  /** By term: how its prefix is tested. */
  readonly #kinds: Uint8Array;
  /** Of a long list. */
  readonly #index: PrefixIndex | undefined;
  readonly #view: RouteView;
  readonly #root = new FilterState(new Uint8Array(0), 0);
  #origins = ownRoute;

  /** @throws RangeError when a term is none: see {@link filterFault}. */
  constructor(terms: readonly FilterTerm[], localAsn: number) {
    this.terms = terms;
    const expressions = new Map<string, number>();
    this.#terms = terms.map((term, index) => ({
      action: term.action,
      prefix: term.prefix !== undefined,
      prefixes: term.prefixes && new PrefixSet(term.prefixes),
      conditions: compileConditions(term, expressions),
      changes: term.changes?.length ? compileChanges(term.changes, localAsn) : undefined,
      nextFilter: nextFilter(terms, index),
    }));
    this.#view = new RouteView(expressions.size > 0 ? new AsPathExpressions([...expressions.keys()]) : undefined);
    this.#prefixes = new PrefixColumns(terms.map((term) => term.prefix));
    this.#kinds = Uint8Array.from(this.#terms, ({ prefix, prefixes }) => {
      if (!prefix && !prefixes) return anyPrefix;
      return !prefixes && this.#prefixes.stride === 1 ? single4 : other;
    });
    this.#index = PrefixIndex.make(
      this.#prefixes.stride,
      terms.map(({ prefix }, index) => prefix && this.#prefixes.range(index)),
    );
    this.asksOrigins = terms.some(asksOrigins);
    this.walks = terms.reduce((sum, term) => sum + walksOf(term), 0);
    this.setsMed = this.#terms.some(({ changes }) => changes?.setsMed);
    this.changes = this.#terms.some(({ changes }) => changes !== undefined);
  }

  /** What `run` is about from now on: the canonical attributes at `bytes[0..end)`, which must stay as they are. */
  use(bytes: Uint8Array, end: number, origins: RouteOrigins): void {
    const root = this.#root;
    root.bytes = bytes;
    root.end = end;
    root.set = -1;
    root.children.clear();
    this.#origins = origins;
    this.#test(root, 0);
  }

  /** The state in which the prefix whose words begin at `words[base]` is accepted; undefined: it is rejected. */
  run(words: Int32Array, base: number, bits: number): FilterState | undefined {
    let state = this.#root;
    let from = 0;
    const prefixes = this.#prefixes;
    const kinds = this.#kinds;
    const word = words[base]!;
    const index = this.#index;
    if (index) index.find(words, base);
    let items = index ? index.items : state.live;
    let end = index ? index.end : state.liveCount;
    for (let k = index ? index.start : 0; k < end; k++) {
      const at = items[k]!;
      if (at < from || (index && state.isLive[at] === 0)) continue;
      if (kinds[at] === single4) {
        // What most terms are, without a call.
        let inside = 0;
        if (((word ^ prefixes.words[at]!) & prefixes.masks[at]!) === 0) {
          inside = bits >= prefixes.min[at]! && bits <= prefixes.max[at]! ? 1 : 0;
        }
        if (inside !== prefixes.inside[at]) continue;
      } else if (kinds[at] === other && !this.#prefixHolds(at, words, base, bits)) continue;
      const term = this.#terms[at]!;
      const { action } = term;
      if (action === 'reject' || state.isLive[at] === undecided) {
        this.decidedBy = at;
        return undefined;
      }
      if (action === 'nextFilter') from = term.nextFilter;
      if (term.changes) {
        const changed = this.#child(state, at, term.changes);
        // No message could carry it: nobody can be told, so that it counts as rejected by the term.
        if (!changed) {
          this.decidedBy = at;
          return undefined;
        }
        state = changed;
        if (action !== 'accept') {
          if (!state.ready) this.#test(state, at + 1);
          if (!index) {
            items = state.live;
            end = state.liveCount;
            k = -1;
          }
        }
      }
      if (action === 'accept') {
        this.decidedBy = at;
        return state;
      }
    }
    this.decidedBy = noTerm;
    return state;
  }

  #prefixHolds(index: number, words: Int32Array, base: number, bits: number): boolean {
    const { prefix, prefixes } = this.#terms[index]!;
    if (prefix && !this.#prefixes.holds(index, words, base, bits)) return false;
    return prefixes === undefined || prefixes.holds(words, base, bits);
  }

  /** The term that decided says that it is about routes that were learned. */
  get decidedAboutLearned(): boolean {
    return this.terms[this.decidedBy]?.source?.some((kind) => kind !== 'own') ?? false;
  }

  #test(state: FilterState, first: number): void {
    const { length } = this.#terms;
    if (state.live.length < length) {
      state.live = new Int32Array(length);
      state.isLive = new Uint8Array(length);
    } else state.isLive.fill(0);
    state.liveCount = 0;
    state.ready = true;
    this.#view.load(state.bytes, state.end, this.#origins);
    // The farthest that a term before can jump to.
    let jump = this.#terms[first - 1]?.action === 'nextFilter' ? this.#terms[first - 1]!.nextFilter : 0;
    for (let i = first; i < this.#terms.length; i++) {
      const { conditions, prefix, prefixes, action, nextFilter } = this.#terms[i]!;
      this.#view.undecided = false;
      if (!allHold(conditions, this.#view)) continue;
      state.live[state.liveCount++] = i;
      state.isLive[i] = this.#view.undecided ? undecided : holding;
      if (action === 'nextFilter') jump = nextFilter;
      // Whatever comes after a term that decides about every prefix is not in the running, unless it is jumped over.
      const always = !prefix && !prefixes && (action === 'accept' || action === 'reject');
      if (always && i >= jump) return;
    }
  }

  #child(state: FilterState, index: number, changes: CompiledChanges): FilterState | undefined {
    if (state.children.has(index)) return state.children.get(index);
    let bytes: Uint8Array | undefined = state.bytes.subarray(0, state.end);
    for (const change of changes.attributes) bytes = bytes && change(bytes);
    const child = bytes && new FilterState(bytes, bytes.length);
    if (child) {
      child.nextHop = changes.nextHop ?? state.nextHop;
      child.setsMed = state.setsMed || changes.setsMed;
    }
    state.children.set(index, child);
    return child;
  }
}

/** Undefined for a list without terms. @throws RangeError when a term is none. */
export function compileFilter(terms: readonly FilterTerm[] | undefined, localAsn: number): CompiledFilter | undefined {
  return terms && terms.length > 0 ? new CompiledFilter(terms, localAsn) : undefined;
}

/** What is wrong with a term of a list for `family`; undefined: nothing. */
export function termFault(term: FilterTerm, family: 4 | 6): string | undefined {
  try {
    new CompiledFilter([term], 1);
  } catch (error) {
    if (error instanceof RangeError) return error.message;
    throw error;
  }
  const nextHop = term.changes?.findLast((change) => change.type === 'setNextHop')?.value;
  const isAddress = nextHop !== undefined && nextHop !== 'self' && nextHop !== 'unchanged';
  if (isAddress && nextHop.includes(':') !== (family === 6)) return `${nextHop} is not an IPv${family} address`;
  return undefined;
}

function allHold(conditions: readonly Condition[], view: RouteView): boolean {
  for (let i = 0; i < conditions.length; i++) if (!conditions[i]!(view)) return false;
  return true;
}

/** The first term after `index` that is not of its filter: another name, or the same filter once more. */
function nextFilter(terms: readonly FilterTerm[], index: number): number {
  for (let i = index + 1; i < terms.length; i++) {
    const [before, from] = [terms[i - 1]!.from, terms[i]!.from];
    if (from?.filter !== before?.filter || (from && before && from.index <= before.index)) return i;
  }
  return terms.length;
}
