/**
 * In which order sets and rules change, so that at no moment a packet passes that neither the old nor the new state lets pass. Pure.
 *
 * Rules of one family change at one moment; members of sets come and go one by one around it:
 *
 *   held addresses in | first half of the members | rules | second half | held addresses out
 *
 * 1. Where it can do no harm, members come first and go last, so that a pod which leaves one set for another is never in neither. That is so when no
 *    rule changes and no packet can meet more than a union of what was and what will be, within one direction of one pod: see `isUnion`.
 * 2. Else what closes comes first and what opens comes last. A set that only allow rules name closes by removals, one that only deny rules name by
 *    additions; where a rule excludes the set, the other way round. Before the rules change, no more passes than in the old state, and after it no more than in the new one. The price: a packet that both
 *    states let pass for different reasons may be dropped in between.
 * 3. A set that pass rules name, or rules of several actions, closes neither way. New connections of the addresses that it gains or loses are held
 *    (dropped) for the time of the change.
 */
import type { SetId } from '#model';
import type { SetUse } from './set-uses.ts';

/** What of a set that is in the kernel already is about to change there. */
export interface SetChange {
  readonly id: SetId;
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

export interface Transition {
  /** Sets that lose members before the rules change and gain them after; the others the other way round. */
  readonly contested: ReadonlySet<SetId>;
  /** Addresses whose new connections are dropped meanwhile. */
  readonly held: ReadonlySet<string>;
}

export interface TransitionInput {
  readonly changes: readonly SetChange[];
  /** By the rules in force and by those wanted. */
  readonly useOf: (id: SetId) => SetUse | undefined;
  readonly rulesChange: boolean;
  /** False while the rules in force are those of an earlier run: what they do with a set is not known. */
  readonly usesKnown: boolean;
}

interface UsedChange extends SetChange {
  readonly use: SetUse | undefined;
}

const nothing: Transition = { contested: new Set(), held: new Set() };

export function planTransition({ changes, useOf, rulesChange, usesKnown }: TransitionInput): Transition {
  const used = changes
    .map((change): UsedChange => ({ ...change, use: useOf(change.id) }))
    .filter(({ use }) => use !== undefined || !usesKnown);
  if (used.length === 0) return nothing;
  if (!rulesChange && usesKnown && (isOneWay(used) || isUnion(used) || isSingle(used))) return nothing;
  const contested = new Set<SetId>();
  const held = new Set<string>();
  for (const change of used) {
    const action = usesKnown ? onlyAction(change) : undefined;
    if (action === 'allow') contested.add(change.id);
    else if (action === undefined) for (const address of memberAddresses([change])) held.add(address);
  }
  return { contested, held };
}

/** Undefined: pass, or several. */
function onlyAction({ use }: UsedChange): 'allow' | 'deny' | undefined {
  if (!use || use.pass > 0 || (use.allow > 0 && use.deny > 0)) return undefined;
  return use.allow > 0 ? 'allow' : 'deny';
}

/** All of it opens, or all of it closes: every order does. */
function isOneWay(changes: readonly UsedChange[]): boolean {
  const ways = new Set<string>();
  for (const change of changes) {
    const action = onlyAction(change);
    if (action === undefined) return false;
    if (change.added.length > 0) ways.add(action === 'allow' ? 'opens' : 'closes');
    if (change.removed.length > 0) ways.add(action === 'allow' ? 'closes' : 'opens');
  }
  return ways.size === 1;
}

/**
 * Members come before others go, and nothing passes that neither state lets pass: allow rules alone are concerned, none of them needs two of the
 * sets, and no packet meets a change at both of its ends. A rule that matches in between then matched before or will match after, and so the whole walk.
 */
function isUnion(changes: readonly UsedChange[]): boolean {
  const ids = new Set(changes.map(({ id }) => id));
  const alone = changes.every(
    (change) =>
      onlyAction(change) === 'allow' &&
      change.use!.negated === 0 &&
      ![...change.use!.beside.keys()].some((other) => ids.has(other)),
  );
  return alone && (isOneDirection(changes) || (isOneAddress(changes) && isFarAlone(changes)));
}

/** No packet meets more than one of the changes: it is judged as before, and then as after. */
function isSingle(changes: readonly UsedChange[]): boolean {
  const [, second] = memberAddresses(changes);
  if (second === undefined) return true;
  if (!isFarAlone(changes) || !(isOneDirection(changes) || isOneAddress(changes))) return false;
  const seen = new Set<string>();
  for (const address of memberAddresses(changes)) {
    if (isPrefix(address) || seen.has(address)) return false;
    seen.add(address);
  }
  return true;
}

function isOneDirection(changes: readonly UsedChange[]): boolean {
  return changes.every(({ use }) => use!.egress === 0) || changes.every(({ use }) => use!.ingress === 0);
}
/** Of each family: a pod at its own address is never asked. Both ends of a packet may be within one prefix. */
function isOneAddress(changes: readonly UsedChange[]): boolean {
  const seen = new Map<boolean, string>();
  for (const address of memberAddresses(changes)) {
    const isIpv6 = address.includes(':');
    if (isPrefix(address) || (seen.get(isIpv6) ?? address) !== address) return false;
    seen.set(isIpv6, address);
  }
  return true;
}
/** A direction asks of them about the other end of a packet alone, and not about its port. */
function isFarAlone(changes: readonly UsedChange[]): boolean {
  return changes.every(({ use }) => use!.near === 0 && use!.namedPorts === 0);
}
/** One by one: of thousands the first few mostly tell. */
function* memberAddresses(changes: readonly SetChange[]): Generator<string> {
  for (const { added, removed } of changes) {
    for (const member of added) yield addressIn(member);
    for (const member of removed) yield addressIn(member);
  }
}
/** Hosts stand without a length, see drivers/ipset/members.ts. */
function isPrefix(member: string): boolean {
  return member.includes('/');
}
function addressIn(member: string): string {
  const comma = member.indexOf(',');
  return comma < 0 ? member : member.slice(0, comma);
}
