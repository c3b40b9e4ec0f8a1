/** The truth table in the form of `poplin lab probe`, by pods or by classes of pods that no rule tells apart. */
import type { IpFamily } from '#kit';
import type { Protocol } from '#model';
import type { ServedPort, SimulatedEnd } from './cluster.ts';
import { type Asked, addressOfEnd, type EndClass, families, type VerdictTable } from './verdict-table.ts';

/** One line of `poplin policy matrix -o json`; what a probe of a lab prints of the same pair. */
export interface MatrixResult {
  readonly from: string;
  readonly to: string;
  readonly protocol: Protocol;
  readonly port: number;
  readonly family: 'ipv4' | 'ipv6';
  readonly verdict: 'allow' | 'deny';
}

export interface MatrixSelection {
  /** Sources and targets, among the ends of the table. */
  readonly from: readonly SimulatedEnd[];
  readonly to: readonly SimulatedEnd[];
  /** Asked of every target instead of what it serves. */
  readonly ports?: readonly ServedPort[];
}

export const familyNames: Readonly<Record<IpFamily, 'ipv4' | 'ipv6'>> = { 4: 'ipv4', 6: 'ipv6' };

/** How many lines `matrixResults` gives; computed from counts, whatever the size. */
export function countResults({ from, to, ports }: MatrixSelection): number {
  let count = 0;
  for (const family of families) {
    const sources = from.filter((end) => addressOfEnd(end, family) !== undefined).length;
    for (const end of to) if (addressOfEnd(end, family) !== undefined) count += sources * (ports ?? end.ports).length;
  }
  return count;
}

/** Every ordered pair, port and family, in the order of a probe: by source, target, port, family. */
export function* matrixResults(table: VerdictTable, { from, to, ports }: MatrixSelection): Generator<MatrixResult> {
  for (const source of from) {
    for (const target of to) {
      for (const asked of askedOf(ports ?? target.ports)) {
        const allowed = table.allows(source, target, asked);
        if (allowed !== undefined) yield result(source.id, target.id, asked, allowed);
      }
    }
  }
}

function* askedOf(ports: readonly ServedPort[]): Generator<Asked> {
  for (const { protocol, port } of ports) for (const family of families) yield { protocol, port, family };
}

function result(from: string, to: string, { protocol, port, family }: Asked, allowed: boolean): MatrixResult {
  return { from, to, protocol, port, family: familyNames[family], verdict: allowed ? 'allow' : 'deny' };
}

export interface ClassMatrix {
  readonly classes: readonly NamedClass[];
  /** `from` and `to` are names of classes; of a class and itself, two different members of it are meant. */
  readonly results: Iterable<MatrixResult>;
  readonly resultsCount: number;
}

export interface NamedClass {
  /** Its first member, with how many more there are: `shop/web-1 (+23)`. */
  readonly name: string;
  readonly members: readonly string[];
}

/** The same table by classes: as many lines as there are kinds of pods, whatever their numbers. */
export function classMatrix(table: VerdictTable, { from, to, ports }: MatrixSelection): ClassMatrix {
  const sources = classesOf(table, from);
  const targets = classesOf(table, to);
  const representatives = { from: firstOf(sources), to: firstOf(targets), ...(ports && { ports }) };
  const names = new Map<number, NamedClass>();
  for (const [cls, members] of [...sources, ...targets])
    if (!names.has(cls.index)) names.set(cls.index, named(members));
  const name = (cls: EndClass): string => names.get(cls.index)!.name;
  function* results(): Generator<MatrixResult> {
    for (const source of sources.keys()) {
      for (const [target, members] of targets) {
        for (const asked of askedOf(ports ?? members[0]!.ports)) {
          const alone = source === target && source.members.length === 1;
          const allowed = alone
            ? table.allows(members[0]!, members[0]!, asked)
            : table.classAllows(source, target, asked);
          if (allowed !== undefined) yield result(name(source), name(target), asked, allowed);
        }
      }
    }
  }
  return {
    classes: [...names.values()],
    results: { [Symbol.iterator]: results },
    resultsCount: countResults(representatives),
  };
}

function classesOf(table: VerdictTable, ends: readonly SimulatedEnd[]): Map<EndClass, SimulatedEnd[]> {
  return Map.groupBy(ends, (end) => table.classOf(end.id));
}

function firstOf(classes: ReadonlyMap<EndClass, readonly SimulatedEnd[]>): SimulatedEnd[] {
  return [...classes.values()].map((members) => members[0]!);
}

function named(ends: readonly SimulatedEnd[]): NamedClass {
  const members = ends.map(({ id }) => id);
  return { name: members.length === 1 ? members[0]! : `${members[0]} (+${members.length - 1})`, members };
}

export interface MatrixTotals {
  readonly allowed: number;
  readonly denied: number;
}

/** Of all lines of `matrixResults`, from classes alone: for any number of pods. */
export function matrixTotals(table: VerdictTable, selection: MatrixSelection): MatrixTotals {
  const sources = classesOf(table, selection.from);
  const targets = [...classesOf(table, selection.to)];
  let allowed = 0;
  let denied = 0;
  const count = (verdict: boolean | undefined, pairs: number): void => {
    if (verdict === true) allowed += pairs;
    else if (verdict === false) denied += pairs;
  };
  const byPort = portsOf(selection);
  for (const asked of askedOf(byPort)) {
    for (const [target, members] of targets) {
      if (!serves(selection.ports ?? members[0]!.ports, asked)) continue;
      const own = new Set(members.map(({ endpoint }) => endpoint));
      for (const [source, others] of sources) {
        const themselves =
          source === target ? others.filter(({ endpoint }) => endpoint !== undefined && own.has(endpoint)) : [];
        count(table.classAllows(source, target, asked), others.length * members.length - themselves.length);
        if (themselves.length > 0) count(table.allows(themselves[0]!, themselves[0]!, asked), themselves.length);
      }
    }
    table.forget();
  }
  return { allowed, denied };
}

function serves(ports: readonly ServedPort[], { protocol, port }: ServedPort): boolean {
  return ports.some((one) => one.protocol === protocol && one.port === port);
}

/** Every port that some target is asked for. */
function portsOf({ to, ports }: MatrixSelection): ServedPort[] {
  if (ports) return [...ports];
  return [...new Map(to.flatMap((end) => end.ports).map((port) => [`${port.protocol} ${port.port}`, port])).values()];
}
