/** Which rules name a set, counted: what they do with a packet that is in it, in which direction, at which end, and beside which other set. */
import type { PolicyRule, SetId } from '#model';
import type { Direction } from '../render/names.ts';

export interface SetUse {
  /** Rules that let pass whoever comes into the set: allow rules, and deny rules that exclude it. */
  readonly allow: number;
  /** Rules that drop whoever comes into it: deny rules, and allow rules that exclude it. */
  readonly deny: number;
  readonly pass: number;
  /** Rules that exclude it, among all of these. */
  readonly negated: number;
  readonly ingress: number;
  readonly egress: number;
  /** At the end whose rules they are: the destination of ingress, the source of egress. */
  readonly near: number;
  /** As `ip,port`. */
  readonly namedPorts: number;
  /** Sets that some rule names together with this one, itself where a rule names it twice. */
  readonly beside: ReadonlyMap<SetId, number>;
}
type Counted = { -readonly [K in keyof SetUse]: K extends 'beside' ? Map<SetId, number> : number };

/** A set in a rule. */
interface Named {
  readonly id: SetId;
  readonly side: 'source' | 'destination';
  readonly not: boolean;
  readonly isPorts: boolean;
}

const opposite = { allow: 'deny', deny: 'allow', pass: 'pass' } as const;

export class SetUses {
  readonly #uses = new Map<SetId, Counted>();

  /** Undefined: no rule names it. */
  of(id: SetId): SetUse | undefined {
    return this.#uses.get(id);
  }
  add(direction: Direction, rules: readonly PolicyRule[]): void {
    for (const rule of rules) this.#count(direction, rule, 1);
  }
  /** Rules that were added before. */
  remove(direction: Direction, rules: readonly PolicyRule[]): void {
    for (const rule of rules) this.#count(direction, rule, -1);
  }

  #count(direction: Direction, rule: PolicyRule, by: 1 | -1): void {
    // It decides nothing.
    if (rule.action === 'log') return;
    const nearSide = direction === 'ingress' ? 'destination' : 'source';
    const all = namedBy(rule);
    for (const named of all) {
      const { id, side, not, isPorts } = named;
      const use = this.#uses.get(id) ?? newUse();
      this.#uses.set(id, use);
      use[not ? opposite[rule.action] : rule.action] += by;
      use[direction] += by;
      if (not) use.negated += by;
      if (side === nearSide) use.near += by;
      if (isPorts) use.namedPorts += by;
      for (const other of all) if (other !== named) countIn(use.beside, other.id, by);
      if (use.ingress + use.egress === 0) this.#uses.delete(id);
    }
  }
}

function namedBy({ source, destination, destinationNamedPorts, conditions = [] }: PolicyRule): readonly Named[] {
  const out: Named[] = [];
  if (source?.type === 'set') out.push({ id: source.set, side: 'source', not: false, isPorts: false });
  if (destination?.type === 'set') out.push({ id: destination.set, side: 'destination', not: false, isPorts: false });
  if (destinationNamedPorts !== undefined)
    out.push({ id: destinationNamedPorts, side: 'destination', not: false, isPorts: true });
  for (const condition of conditions) {
    if (condition.type === 'ports') continue;
    const { set: id, side, not } = condition;
    out.push({ id, side, not, isPorts: condition.type === 'namedPorts' });
  }
  return out;
}
function newUse(): Counted {
  return {
    allow: 0,
    deny: 0,
    pass: 0,
    negated: 0,
    ingress: 0,
    egress: 0,
    near: 0,
    namedPorts: 0,
    beside: new Map(),
  };
}
function countIn(counts: Map<SetId, number>, key: SetId, by: 1 | -1): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
