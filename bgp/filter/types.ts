/** Filters of routes as plain data: they cross the thread border, and equal ones are equal as JSON. */

/** Terms in order; the first that matches and says accept or reject decides, and what none decides is accepted. */
export interface RouteFilter {
  readonly ipv4: readonly FilterTerm[];
  readonly ipv6: readonly FilterTerm[];
}

/** Conditions are joined by and; a term without any matches every route. Lists within a condition are joined by or. */
export interface FilterTerm {
  /** `next`: its changes are made and the terms after it see them. `nextFilter`: the same, and the rest of its filter is left out. */
  readonly action: 'accept' | 'reject' | 'next' | 'nextFilter';
  /** Where it was written, for people, and the border that `nextFilter` goes to. */
  readonly from?: TermOrigin;
  readonly prefix?: PrefixMatch;
  readonly prefixes?: PrefixSetMatch;
  /** Prefixes, one of which has the next hop (of two IPv6 ones: the global one). Our own routes have none. */
  readonly nextHop?: readonly string[];
  readonly interface?: InterfaceMatch;
  /** Standard `64512:100` or large `64512:1:2`: the route carries it. */
  readonly community?: string;
  readonly communities?: CommunitiesMatch;
  /** AS_PATH begins with these, in this order. */
  readonly asPathPrefix?: readonly number[];
  readonly asPath?: AsPathMatch;
  /** Names of peers that the route was learned from, `*` standing for anything. Our own routes are from none. */
  readonly peers?: readonly string[];
  readonly source?: readonly RouteSource[];
  readonly origin?: readonly RouteOrigin[];
  /** Absent counts as 0 (RFC 4271 9.1.2.2 c). */
  readonly med?: NumberRange;
  /** Absent counts as 100. */
  readonly localPref?: NumberRange;
  /** Made in order where the route is not rejected. */
  readonly changes?: readonly AttributeChange[];
}

export interface TermOrigin {
  readonly filter: string;
  /** Of the rule in that filter, from 0. */
  readonly index: number;
}

export type RouteOrigin = 'igp' | 'egp' | 'incomplete';
export type RouteSource = 'own' | 'learned' | 'ebgp' | 'ibgp';

/**
 * Name of the interface that the next hop leads out by, `*` standing for anything: its link where it is link-local, else what the longest way
 * that holds it says (of two IPv6 ones: the global one). Our own routes, and next hops that no way holds, have the empty name.
 */
export interface InterfaceMatch {
  readonly pattern: string;
  readonly ways: readonly InterfaceWay[];
}

/** `interface` empty: several, or none (a blackhole). Of one prefix the first counts. */
export interface InterfaceWay {
  readonly cidr: string;
  readonly interface: string;
}

/** Inclusive; an absent bound is none. */
export interface NumberRange {
  readonly min?: number;
  readonly max?: number;
}

/**
 * `in`: the prefix itself or a part of it, of a length from `minLength` to `maxLength` (default: any). `equal`: exactly it. The
 * other two are their opposites, lengths included.
 */
export interface PrefixMatch {
  readonly operator: 'equal' | 'notEqual' | 'in' | 'notIn';
  /** Canonical text, of the family of the list. */
  readonly cidr: string;
  readonly minLength?: number;
  readonly maxLength?: number;
}

/** Any of many prefixes; negated: none of them. */
export interface PrefixSetMatch {
  readonly negated?: boolean;
  readonly entries: readonly PrefixSetEntry[];
}

/** The prefix or a part of it of a length in the range; default of both bounds: its own, which is exactly it. */
export interface PrefixSetEntry {
  readonly cidr: string;
  readonly minLength?: number;
  readonly maxLength?: number;
}

/**
 * Patterns of communities of any kind, see `parseCommunityPattern`: `64512:100`, `64512:*`, `64512:100-199`, `no-export`,
 * `64512:1:*` (large), `rt:64512:100`, `soo:*:1` or 16 hex digits (extended).
 */
export interface CommunitiesMatch {
  /** The route carries one that matches one of these. */
  readonly any?: readonly string[];
  /** For each of these it carries one. */
  readonly all?: readonly string[];
  readonly none?: readonly string[];
}

export interface AsPathMatch {
  /** The neighbouring AS: leftmost of a sequence; a path that is empty or begins with a set has none. */
  readonly first?: readonly AsnRange[];
  /** The originating AS: rightmost of a sequence, none where the path ends in a set (RFC 6811 2). */
  readonly last?: readonly AsnRange[];
  /** Some AS of the path, sets included. */
  readonly contains?: readonly AsnRange[];
  /** As the decision process counts: a set is 1 (RFC 4271 9.1.2.2 a). */
  readonly length?: NumberRange;
  /** Expressions over the path as text, see as-path-expression.ts; one of them matches. */
  readonly matches?: readonly string[];
}
export type AsnRange = number | NumberRange;

export type AttributeChange =
  /** Standard, large or extended, as in `communities` without wildcards; nothing where it is there already. */
  | { readonly type: 'addCommunity'; readonly value: string }
  /** All communities of this kind are replaced. */
  | { readonly type: 'setCommunities'; readonly kind: CommunityKind; readonly values: readonly string[] }
  /** Whatever matches one of the patterns goes. */
  | { readonly type: 'deleteCommunities'; readonly patterns: readonly string[] }
  /** Put in front of AS_PATH, the first one foremost. */
  | { readonly type: 'prepend'; readonly asns: readonly number[] }
  /** Our own AS of the session, so many times, 1..{@link prependTimesMax}. */
  | { readonly type: 'prependOwn'; readonly times: number }
  /** Leading private ASes (RFC 6996, 64512..65534 and 4200000000..4294967294) go, up to the first public one. */
  | { readonly type: 'stripPrivateAsns' }
  /** Absent: the attribute goes. On export to eBGP a MED is sent only when set here or our own (RFC 4271 5.1.4). */
  | { readonly type: 'setMed'; readonly value?: number }
  /** Never sent to eBGP (RFC 4271 5.1.5). */
  | { readonly type: 'setLocalPref'; readonly value: number }
  | { readonly type: 'setOrigin'; readonly value: RouteOrigin }
  /** An address of the list's family; on export also our own on the session, or the one it was learned with. */
  | { readonly type: 'setNextHop'; readonly value: string };

export type CommunityKind = 'standard' | 'extended' | 'large';

/** Prepending more than this is a mistake: implementations have been known to fail on very long paths. */
export const prependTimesMax = 32;
