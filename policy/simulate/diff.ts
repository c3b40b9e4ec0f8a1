/**
 * What a change of objects does to who reaches whom: pairs of ends whose verdict changes, by classes of ends that are alike before and
 * after, and ends that come or go.
 */
import type { SimulatedCluster, SimulatedEnd } from './cluster.ts';
import { familyNames, type MatrixResult } from './matrix.ts';
import { type Asked, addressOfEnd, families, VerdictTable } from './verdict-table.ts';

/** Pairs that change alike; `from` and `to` are the first of each side. */
export interface VerdictChange extends Omit<MatrixResult, 'verdict'> {
  readonly before: 'allow' | 'deny';
  readonly after: 'allow' | 'deny';
  /** How many pairs it stands for, itself among them, and how many ends on each side. */
  readonly pairs: number;
  readonly sources: number;
  readonly targets: number;
}

export interface PolicyDiff {
  readonly changes: readonly VerdictChange[];
  /** Of all changes, also those beyond the limit. */
  readonly changesCount: number;
  readonly pairs: { readonly opened: number; readonly closed: number; readonly unchanged: number };
  /** Ends that only one of the two has: nothing is compared of them. */
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

export interface DiffOptions {
  /** Ends outside that both sides have. */
  readonly others?: readonly SimulatedEnd[];
  /** Asked of every target instead of what it serves (after the change). */
  readonly ports?: SimulatedEnd['ports'];
  readonly changesMax: number;
  readonly keep?: (end: SimulatedEnd) => boolean;
}

/** Ends that neither state tells apart. */
interface Group {
  readonly before: SimulatedEnd;
  readonly after: SimulatedEnd;
  readonly size: number;
}

export function diffClusters(before: SimulatedCluster, after: SimulatedCluster, options: DiffOptions): PolicyDiff {
  const { others = [], changesMax, keep = () => true } = options;
  const beforeEnds = new Map([...before.pods.filter(keep), ...others].map((end) => [end.id, end]));
  const afterEnds = new Map([...after.pods.filter(keep), ...others].map((end) => [end.id, end]));
  const tables = [
    new VerdictTable(before.state, [...beforeEnds.values()]),
    new VerdictTable(after.state, [...afterEnds.values()]),
  ] as const;
  const groups = groupsOf(beforeEnds, afterEnds, tables);
  const changes: VerdictChange[] = [];
  const pairs = { opened: 0, closed: 0, unchanged: 0 };
  let changesCount = 0;
  const compare = (from: Group, to: Group, asked: Asked): void => {
    const count = from === to ? from.size * (from.size - 1) : from.size * to.size;
    // An end reaches itself, before and after.
    if (count === 0) return;
    const was = allows(tables[0], from.before, to.before, asked);
    const is = allows(tables[1], from.after, to.after, asked);
    if (was === undefined || is === undefined) return;
    if (was === is) {
      pairs.unchanged += count;
      return;
    }
    pairs[is ? 'opened' : 'closed'] += count;
    changesCount++;
    if (changes.length < changesMax) changes.push(change(from, to, asked, is, count));
  };
  for (const asked of askedOf([...afterEnds.values()], options.ports)) {
    const targets = groups.filter(({ after: end }) => serves(options.ports ?? end.ports, asked));
    for (const from of groups) for (const to of targets) compare(from, to, asked);
    for (const table of tables) table.forget();
  }
  return {
    changes,
    changesCount,
    pairs,
    added: [...afterEnds.keys()].filter((id) => !beforeEnds.has(id)),
    removed: [...beforeEnds.keys()].filter((id) => !afterEnds.has(id)),
  };
}

function allows(table: VerdictTable, from: SimulatedEnd, to: SimulatedEnd, asked: Asked): boolean | undefined {
  return table.classAllows(table.classOf(from.id), table.classOf(to.id), asked);
}

function groupsOf(
  before: ReadonlyMap<string, SimulatedEnd>,
  after: ReadonlyMap<string, SimulatedEnd>,
  [old, now]: readonly [VerdictTable, VerdictTable],
): Group[] {
  const groups = new Map<string, { before: SimulatedEnd; after: SimulatedEnd; size: number }>();
  for (const [id, end] of after) {
    const earlier = before.get(id);
    if (!earlier) continue;
    const key = `${old.classOf(id).index} ${now.classOf(id).index}`;
    const known = groups.get(key);
    if (known) known.size++;
    else groups.set(key, { before: earlier, after: end, size: 1 });
  }
  return [...groups.values()];
}

function change(from: Group, to: Group, { protocol, port, family }: Asked, is: boolean, pairs: number): VerdictChange {
  return {
    from: from.after.id,
    to: to.after.id,
    protocol,
    port,
    family: familyNames[family],
    before: is ? 'deny' : 'allow',
    after: is ? 'allow' : 'deny',
    pairs,
    sources: from.size,
    targets: to.size,
  };
}

function askedOf(ends: readonly SimulatedEnd[], chosen: DiffOptions['ports']): Asked[] {
  const ports = chosen ?? [
    ...new Map(ends.flatMap((end) => end.ports).map((port) => [`${port.protocol} ${port.port}`, port])).values(),
  ];
  const here = families.filter((family) => ends.some((end) => addressOfEnd(end, family) !== undefined));
  return ports.flatMap(({ protocol, port }) => here.map((family) => ({ protocol, port, family })));
}

function serves(ports: SimulatedEnd['ports'], { protocol, port }: Asked): boolean {
  return ports.some((one) => one.protocol === protocol && one.port === port);
}
