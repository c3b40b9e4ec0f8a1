/**
 * Who reaches whom, for many ends, without a look at every pair.
 *
 *   ends -> classes: equal programs, equal matches of their addresses (see matches.ts), equal ports
 *   a direction of a class is decided by its program against the matches of the other end that the program's rules name:
 *     row = (program, near matches) x class of the other end, one evaluation for each combination of these matches
 *   allowed = row of the source's egress and row of the destination's ingress
 *
 * Exact: each evaluation is the explainer's own (`evaluate`), of a representative that no rule of the program tells from the ends that it
 * stands for. Cost: ends x matches that hold for them, then rows x classes bytes for each port that is asked for; pods that a
 * Deployment multiplies cost nothing more.
 */
import { familyOf, type IpAddress, type IpFamily } from '#kit';
import type { TierProgram } from '#model';
import { hostQueries } from '../explain/connection.ts';
import { evaluate } from '../explain/evaluate.ts';
import { evaluateHost } from '../explain/host.ts';
import type { PolicyState } from '../explain/policy-state.ts';
import type { Direction } from '../rules/peer-rules.ts';
import { connectionEnds, isFromOwnNode, type ServedPort, type SimulatedEnd } from './cluster.ts';
import { baseOf, keyAt, MatchIndex, matchesOfRule } from './matches.ts';

/** A packet's port and family. */
export interface Asked extends ServedPort {
  readonly family: IpFamily;
}

export interface EndClass {
  readonly index: number;
  /** Never empty; in the order of the ends. */
  readonly members: readonly SimulatedEnd[];
}

/** A direction of an endpoint, with the bases of the matches in its rules. */
interface Program {
  readonly id: number;
  readonly near: ReadonlySet<string>;
  readonly far: readonly string[];
}

interface ClassFacts extends EndClass {
  readonly members: SimulatedEnd[];
  readonly programs: Readonly<Record<Direction, Program>> | undefined;
  readonly addresses: Readonly<Record<IpFamily, IpAddress | undefined>>;
  readonly keys: Readonly<Record<IpFamily, readonly string[]>>;
}

/** Of one port and family. */
interface Rows {
  readonly byKey: Readonly<Record<Direction, Map<string, Uint8Array>>>;
  readonly byClass: Readonly<Record<Direction, (Uint8Array | undefined)[]>>;
}

export const families: readonly IpFamily[] = [4, 6];

export function addressOfEnd(end: SimulatedEnd, family: IpFamily): IpAddress | undefined {
  return end.addresses.find((address) => familyOf(address) === family);
}

export class VerdictTable {
  readonly classes: readonly EndClass[];
  readonly #state: PolicyState;
  readonly #facts: ClassFacts[] = [];
  readonly #classOf = new Map<string, ClassFacts>();
  readonly #programs = new Map<string, Program>();
  /** Class indexes for which a match holds. */
  readonly #holders: Readonly<Record<IpFamily, Map<string, number[]>>> = { 4: new Map(), 6: new Map() };
  readonly #rows = new Map<string, Rows>();
  /** What was asked for last: the same object comes many times in a row. */
  #last: { readonly asked: Asked; readonly rows: Rows } | undefined;
  #evaluations = 0;

  /** @param ends with distinct ids. */
  constructor(state: PolicyState, ends: readonly SimulatedEnd[]) {
    this.#state = state;
    this.#classify(ends);
    this.classes = this.#facts;
    for (const { index, keys } of this.#facts) {
      for (const family of families) {
        for (const key of keys[family]) {
          const holders = this.#holders[family].get(key);
          if (holders) holders.push(index);
          else this.#holders[family].set(key, [index]);
        }
      }
    }
  }

  /** Packets looked at one by one so far. */
  get evaluations(): number {
    return this.#evaluations;
  }

  /** @throws Error for an end that the table was not made with. */
  classOf(id: string): EndClass {
    const found = this.#classOf.get(id);
    if (!found) throw new Error(`no end ${id}`);
    return found;
  }

  /** Undefined where an end has no address of the family. Ends of one class are different ones here: see `allows` for an end and itself. */
  classAllows(from: EndClass, to: EndClass, asked: Asked): boolean | undefined {
    const source = this.#facts[from.index]!;
    const target = this.#facts[to.index]!;
    if (source.addresses[asked.family] === undefined || target.addresses[asked.family] === undefined) return undefined;
    if (isFromOwnNode(source.members[0]!, target.members[0]!)) return true;
    const { byClass } = this.#rowsOf(asked);
    const egress = byClass.egress[source.index] ?? this.#row(source, 'egress', asked);
    if (egress[target.index] !== 1) return false;
    const ingress = byClass.ingress[target.index] ?? this.#row(target, 'ingress', asked);
    return ingress[source.index] === 1 && this.#hostsAllow(source, target, asked);
  }

  /** Of each pair anew: clusters have host endpoints on few nodes, or few policies for them. */
  #hostsAllow(source: ClassFacts, target: ClassFacts, { family, protocol, port }: Asked): boolean {
    const [from, to] = [source.members[0]!, target.members[0]!];
    if (!from.host && !to.host) return true;
    const ends = connectionEnds(from, to, source.addresses[family]!, target.addresses[family]!);
    return hostQueries({ ...ends, protocol, port }).every(
      (query) => !query || evaluateHost(this.#state, query).verdict === 'allow',
    );
  }

  /** As `evaluateConnection` says it of the two. */
  allows(from: SimulatedEnd, to: SimulatedEnd, asked: Asked): boolean | undefined {
    const verdict = this.classAllows(this.classOf(from.id), this.classOf(to.id), asked);
    return verdict === undefined || from.endpoint === undefined || from.endpoint !== to.endpoint ? verdict : true;
  }

  /** Frees what was computed for ports so far. */
  forget(): void {
    this.#rows.clear();
    this.#last = undefined;
  }

  #classify(ends: readonly SimulatedEnd[]): void {
    const index = new MatchIndex(this.#state);
    const bySignature = new Map<string, ClassFacts>();
    // Nodes reach their own pods, and host endpoints stand between nodes: with them in the table it matters where a pod runs.
    const byNode = ends.some(({ endpoint, node, host }) => host || (endpoint === undefined && node !== undefined));
    for (const end of ends) {
      const programs = this.#programsOf(end);
      const addresses = { 4: addressOfEnd(end, 4), 6: addressOfEnd(end, 6) };
      const keys = {
        4: addresses[4] === undefined ? [] : index.keysOf(addresses[4]),
        6: addresses[6] === undefined ? [] : index.keysOf(addresses[6]),
      };
      const signature = JSON.stringify([
        programs ? [programs.egress.id, programs.ingress.id] : [],
        families.map((family) => [addresses[family] !== undefined, keys[family]]),
        end.ports,
        byNode ? end.node : '',
      ]);
      let facts = bySignature.get(signature);
      if (!facts) {
        facts = { index: this.#facts.length, members: [], programs, addresses, keys };
        bySignature.set(signature, facts);
        this.#facts.push(facts);
      }
      facts.members.push(end);
      this.#classOf.set(end.id, facts);
    }
  }

  #programsOf({ endpoint }: SimulatedEnd): Record<Direction, Program> | undefined {
    if (endpoint === undefined) return undefined;
    const program = this.#state.endpoints.get(endpoint);
    const of = (direction: Direction): Program => this.#program(direction, program?.[direction]);
    return { egress: of('egress'), ingress: of('ingress') };
  }

  #program(direction: Direction, tiers: readonly TierProgram[] | undefined): Program {
    const text = `${direction} ${JSON.stringify(tiers ?? null)}`;
    const known = this.#programs.get(text);
    if (known) return known;
    const near = new Set<string>();
    const far = new Set<string>();
    for (const id of new Set((tiers ?? []).flatMap((tier) => tier.policies))) {
      for (const rule of this.#state.policies.get(id)![direction]) {
        const matches = matchesOfRule(rule, direction);
        for (const base of matches.near) near.add(base);
        for (const base of matches.far) far.add(base);
      }
    }
    const program = { id: this.#programs.size, near, far: [...far] };
    this.#programs.set(text, program);
    return program;
  }

  #rowsOf(asked: Asked): Rows {
    if (this.#last?.asked === asked) return this.#last.rows;
    const port = `${asked.family} ${asked.protocol} ${asked.port}`;
    let rows = this.#rows.get(port);
    if (!rows) {
      rows = { byKey: { egress: new Map(), ingress: new Map() }, byClass: { egress: [], ingress: [] } };
      this.#rows.set(port, rows);
    }
    this.#last = { asked, rows };
    return rows;
  }

  /** By index of the other end's class: 1 where the direction allows. */
  #row(near: ClassFacts, direction: Direction, asked: Asked): Uint8Array {
    const { byKey, byClass } = this.#rowsOf(asked);
    const { programs } = near;
    const key = programs
      ? `${programs[direction].id} ${near.keys[asked.family].filter((one) => programs[direction].near.has(baseOf(one))).join(' ')}`
      : '';
    let row = byKey[direction].get(key);
    if (!row) {
      row = programs ? this.#compute(near, programs[direction], direction, asked) : this.#everybody();
      byKey[direction].set(key, row);
    }
    byClass[direction][near.index] = row;
    return row;
  }

  #everybody(): Uint8Array {
    return new Uint8Array(this.#facts.length).fill(1);
  }

  #compute(near: ClassFacts, program: Program, direction: Direction, asked: Asked): Uint8Array {
    const { family } = asked;
    // Which of the program's matches hold for a class, as text; classes for which none does are alike.
    const held = new Map<number, string>();
    program.far.forEach((base, place) => {
      for (const index of this.#holders[family].get(keyAt(base, asked)) ?? []) {
        held.set(index, `${held.get(index) ?? ''}${place},`);
      }
    });
    const row = new Uint8Array(this.#facts.length);
    const other = this.#facts.find(({ index, addresses }) => addresses[family] !== undefined && !held.has(index));
    if (other) row.fill(this.#evaluate(near, other.addresses[family]!, direction, asked));
    const verdicts = new Map<string, number>();
    for (const [index, key] of held) {
      let verdict = verdicts.get(key);
      if (verdict === undefined) {
        verdict = this.#evaluate(near, this.#facts[index]!.addresses[family]!, direction, asked);
        verdicts.set(key, verdict);
      }
      row[index] = verdict;
    }
    return row;
  }

  #evaluate(near: ClassFacts, far: IpAddress, direction: Direction, asked: Asked): number {
    this.#evaluations++;
    const own = near.addresses[asked.family]!;
    const [fromAddress, toAddress] = direction === 'egress' ? [own, far] : [far, own];
    const { protocol, port } = asked;
    const endpoint = near.members[0]!.endpoint!;
    const { verdict } = evaluate(this.#state, { fromAddress, toAddress, protocol, port, endpoint, direction });
    return verdict === 'allow' ? 1 : 0;
  }
}
