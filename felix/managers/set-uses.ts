/** Which rules name a set, counted: what they do with a packet that is in it, in which direction, and beside which other set. */
import type { PolicyRule, SetId } from '#model';
import type { Direction } from '../render/names.ts';

export interface SetUse {
  readonly allow: number;
  readonly deny: number;
  readonly pass: number;
  readonly ingress: number;
  readonly egress: number;
  /** As `ip,port` of the destination. */
  readonly namedPorts: number;
  /** Sets that some rule names together with this one. */
  readonly beside: ReadonlyMap<SetId, number>;
}
type Counted = { -readonly [K in keyof SetUse]: K extends 'beside' ? Map<SetId, number> : number };

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
    const ids = setsOf(rule);
    for (const id of ids) {
      const use = this.#uses.get(id) ?? newUse();
      this.#uses.set(id, use);
      use[rule.action] += by;
      use[direction] += by;
      if (rule.destinationNamedPorts === id) use.namedPorts += by;
      for (const other of ids) if (other !== id) countIn(use.beside, other, by);
      if (use.ingress + use.egress === 0) this.#uses.delete(id);
    }
  }
}

function setsOf({ source, destination, destinationNamedPorts }: PolicyRule): Set<SetId> {
  const out = new Set<SetId>();
  if (source?.type === 'set') out.add(source.set);
  if (destination?.type === 'set') out.add(destination.set);
  if (destinationNamedPorts !== undefined) out.add(destinationNamedPorts);
  return out;
}
function newUse(): Counted {
  return { allow: 0, deny: 0, pass: 0, ingress: 0, egress: 0, namedPorts: 0, beside: new Map() };
}
function countIn(counts: Map<SetId, number>, key: SetId, by: 1 | -1): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
