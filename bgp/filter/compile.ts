/**
 * A list of terms made ready for many prefixes: conditions on attributes are tested once per attribute set (`use`), those on
 * the prefix per prefix, with words compared instead of text. Nothing is allocated per prefix.
 */
import { parseCidr } from '#kit';
import { beginsWithAsns, hasCommunity, parseCommunity } from './attributes.ts';
import type { FilterTerm, PrefixMatch } from './types.ts';

/** Index of the deciding term is given so that the caller knows what to change; see {@link CompiledFilter.decide}. */
export const noTerm = -1;
export const rejected = -2;

interface CompiledTerm {
  readonly accept: boolean;
  readonly prefix: CompiledPrefix | undefined;
  readonly testsAttributes: boolean;
  readonly term: FilterTerm;
}

interface CompiledPrefix {
  readonly words: Int32Array;
  readonly masks: Int32Array;
  readonly min: number;
  readonly max: number;
  readonly negated: boolean;
}

export class CompiledFilter {
  readonly terms: readonly FilterTerm[];
  /** Whether any term looks at attributes: without one, `use` need not be called. */
  readonly testsAttributes: boolean;
  readonly #terms: readonly CompiledTerm[];
  /** Of the attribute set in use: whether the conditions of a term on attributes hold. */
  readonly #holds: Uint8Array;

  constructor(terms: readonly FilterTerm[]) {
    this.terms = terms;
    this.#terms = terms.map((term) => ({
      accept: term.action === 'accept',
      prefix: term.prefix && compilePrefix(term.prefix),
      testsAttributes: term.community !== undefined || term.asPathPrefix !== undefined,
      term,
    }));
    this.testsAttributes = this.#terms.some((term) => term.testsAttributes);
    this.#holds = new Uint8Array(terms.length).fill(1);
  }

  /** Tests what terms say of attributes: canonical ones at `bytes[start..end)`. Holds until the next call. */
  use(bytes: Uint8Array, start: number, end: number): void {
    for (let i = 0; i < this.#terms.length; i++) {
      const { testsAttributes, term } = this.#terms[i]!;
      if (testsAttributes) this.#holds[i] = attributesHold(term, bytes, start, end) ? 1 : 0;
    }
  }

  /**
   * The prefix whose words begin at `words[base]`: `rejected`, the index of the term that accepts it, or `noTerm` when none
   * matches, which accepts it as well.
   */
  decide(words: Int32Array, base: number, bits: number): number {
    for (let i = 0; i < this.#terms.length; i++) {
      if (this.#holds[i] === 0) continue;
      const { prefix, accept } = this.#terms[i]!;
      if (prefix && !prefixHolds(prefix, words, base, bits)) continue;
      return accept ? i : rejected;
    }
    return noTerm;
  }
}

/** Undefined for a list without terms. */
export function compileFilter(terms: readonly FilterTerm[] | undefined): CompiledFilter | undefined {
  return terms && terms.length > 0 ? new CompiledFilter(terms) : undefined;
}

function compilePrefix({ operator, cidr, minLength, maxLength }: PrefixMatch): CompiledPrefix {
  const parsed = parseCidr(cidr);
  if (!parsed) throw new Error(`filter: ${cidr} is not a prefix`);
  const { bytes, length } = parsed;
  const words = new Int32Array(bytes.length >> 2);
  const masks = new Int32Array(words.length);
  for (let i = 0; i < words.length; i++) {
    words[i] = (bytes[4 * i]! << 24) | (bytes[4 * i + 1]! << 16) | (bytes[4 * i + 2]! << 8) | bytes[4 * i + 3]!;
    const bits = Math.min(32, Math.max(0, length - 32 * i));
    masks[i] = bits === 0 ? 0 : -1 << (32 - bits);
  }
  const exact = operator === 'equal' || operator === 'notEqual';
  return {
    words,
    masks,
    min: Math.max(length, minLength ?? 0),
    max: Math.min(exact ? length : 8 * bytes.length, maxLength ?? 8 * bytes.length),
    negated: operator === 'notEqual' || operator === 'notIn',
  };
}

function prefixHolds(prefix: CompiledPrefix, words: Int32Array, base: number, bits: number): boolean {
  let inside = bits >= prefix.min && bits <= prefix.max;
  for (let i = 0; inside && i < prefix.words.length; i++) {
    inside = ((words[base + i]! ^ prefix.words[i]!) & prefix.masks[i]!) === 0;
  }
  return inside !== prefix.negated;
}

function attributesHold(term: FilterTerm, bytes: Uint8Array, start: number, end: number): boolean {
  if (term.community !== undefined) {
    const community = parseCommunity(term.community);
    if (!community || !hasCommunity(bytes, start, end, community)) return false;
  }
  return term.asPathPrefix === undefined || beginsWithAsns(bytes, start, end, term.asPathPrefix);
}
