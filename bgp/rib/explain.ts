/** Why a path is the best one and the others are not: the decision once more, with its steps watched. For people; it allocates. */
import type { Decision, DecisionStep } from './decision.ts';
import { unreachable } from './next-hop-pool.ts';
import { pathFlag } from './path-table.ts';
import type { Rib } from './rib.ts';

export interface DecisionOutcome {
  /** Row of the path; -1: none is usable. */
  readonly best: number;
  /** The step that left the best one alone; undefined where it had no rival. */
  readonly decidedBy: DecisionStep | undefined;
  /** By the others' rows: where each lost. */
  readonly lostBy: ReadonlyMap<number, DecisionStep>;
}

export function explainDecision(decision: Decision, rib: Rib, prefix: number): DecisionOutcome {
  const lostBy = new Map<number, DecisionStep>();
  let decidedBy: DecisionStep | undefined;
  decision.trace = (path, step) => {
    lostBy.set(path, step);
    decidedBy = step;
  };
  decision.run(rib.firstPath(prefix), false);
  decision.trace = undefined;
  const { paths, tables } = rib;
  for (let link = rib.firstPath(prefix); link > 0; link = paths.next[link - 1]!) {
    const path = link - 1;
    if (path === decision.best || lostBy.has(path)) continue;
    if ((paths.flags(path) & pathFlag.rejected) !== 0) lostBy.set(path, 'rejected');
    else if (tables.nextHops.igpMetric[paths.nextHop[path]!] === unreachable) lostBy.set(path, 'next-hop-unreachable');
    else {
      lostBy.set(path, 'own-route');
      decidedBy = 'own-route';
    }
  }
  return { best: decision.best, decidedBy, lostBy };
}
