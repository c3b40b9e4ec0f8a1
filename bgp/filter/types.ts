/** Filters of routes as plain data: they cross the thread border, and equal ones are equal as JSON. */

/** Terms in order; the first that matches decides, and what no term matches is accepted. */
export interface RouteFilter {
  readonly ipv4: readonly FilterTerm[];
  readonly ipv6: readonly FilterTerm[];
}

/** Conditions are joined by and; a term without any matches every route. */
export interface FilterTerm {
  readonly action: 'accept' | 'reject';
  readonly prefix?: PrefixMatch;
  /** Standard `64512:100` or large `64512:1:2`: the route carries it. */
  readonly community?: string;
  /** AS_PATH begins with these, in this order. */
  readonly asPathPrefix?: readonly number[];
  /** What an accepted route is changed by, in order. */
  readonly changes?: readonly AttributeChange[];
}

export type AttributeChange =
  /** Standard or large, as in `community`. */
  | { readonly type: 'addCommunity'; readonly value: string }
  /** Put in front of AS_PATH, the first one foremost. */
  | { readonly type: 'prepend'; readonly asns: readonly number[] };

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
