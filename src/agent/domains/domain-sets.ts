/**
 * The addresses of names that policies name: learnt from answers, each for its time, shared by all sets that a name matches. What a set says of
 * its members goes to the kernel at once, and to the copy that people and the judge of flows look at.
 *
 *   answer -> facts --patterns--> sets: new, or more time -> kernel (there when `learn` returns)
 *                                    |                    -> `added`
 *                                    +-- time over -------> `removed`; the kernel did it by itself
 *
 * A restart finds the addresses in the kernel, with their names and the rest of their time. Pure but for the clock that is handed in.
 */
import type { MemberLife, PassingMember } from '#felix';
import type { Clock, IpAddress } from '#kit';
import type { DomainPattern, SetId } from '#model';
import type { LearntAddress } from '#policy';
import type { AddressFact } from './facts.ts';
import type { PastAddresses } from './past.ts';
import { DomainPatterns } from './patterns.ts';

/** Of one set; what comes then is not learnt. */
const addressesMaxDefault = 16_384;
/** Of all sets together. */
const addressesTotalMaxDefault = 131_072;
/** No answer counts longer, whatever it says: resolvers keep none for more (RFC 8767 5 speaks of days at most). */
const lifeSecMax = 86_400;
const SWEEP_MS = 1_000;

export interface DomainSetsDeps {
  readonly clock: Clock;
  /** Puts them into the kernel before it returns. */
  readonly learn: (set: SetId, members: readonly PassingMember[]) => void;
  /** Of an earlier agent. */
  readonly before: (set: SetId) => readonly PassingMember[];
  readonly onChange: (
    set: SetId,
    change: { readonly added: readonly IpAddress[]; readonly removed: readonly IpAddress[] },
  ) => void;
  readonly past: Pick<PastAddresses, 'add' | 'has'>;
  /** The first set came, or the last one went. */
  readonly onWanted?: (isWanted: boolean) => void;
  /** An address was not learnt. */
  readonly onFull: () => void;
}

export interface DomainSetsOptions {
  readonly addressesMax?: number;
  readonly addressesTotalMax?: number;
}

/** Seconds: how long an address counts at least, and longer than the answer says. */
export interface DomainTimes {
  readonly minTtlSec: number;
  readonly extraTtlSec: number;
}

interface Entry {
  name: string;
  /** On the clock that is handed in. */
  untilMs: number;
}
interface DomainSet {
  readonly id: SetId;
  readonly patterns: readonly DomainPattern[];
  readonly entries: Map<IpAddress, Entry>;
}

export class DomainSets {
  readonly #deps: DomainSetsDeps;
  readonly #addressesMax: number;
  readonly #totalMax: number;
  readonly #sets = new Map<SetId, DomainSet>();
  readonly #patterns = new DomainPatterns<DomainSet>();
  /** By the second in which they may be over; an entry that got more time moves when its old second comes. */
  readonly #due = new Map<number, (readonly [DomainSet, IpAddress])[]>();
  #sweptSec: number;
  #total = 0;
  #cancelSweep: (() => void) | undefined;

  constructor(deps: DomainSetsDeps, options: DomainSetsOptions = {}) {
    this.#deps = deps;
    this.#addressesMax = options.addressesMax ?? addressesMaxDefault;
    this.#totalMax = options.addressesTotalMax ?? addressesTotalMaxDefault;
    this.#sweptSec = Math.floor(deps.clock.nowMs() / 1000);
  }

  /** Some name is asked for: answers are worth a look. */
  get isWanted(): boolean {
    return this.#sets.size > 0;
  }
  get addressCount(): number {
    return this.#total;
  }

  /**
   * A set that policies name from now on. Returns the addresses that are known of its names: of other sets, and of an earlier agent. One that is told
   * again (a staged policy named it alone, or does from now on) keeps what it has.
   */
  addSet(id: SetId, patterns: readonly DomainPattern[]): readonly IpAddress[] {
    const known = this.#sets.get(id);
    if (known) return this.#living(known);
    const set: DomainSet = { id, patterns, entries: new Map() };
    const nowMs = this.#deps.clock.nowMs();
    for (const { address, timeoutSec, comment } of this.#deps.before(id))
      this.#put(set, address as IpAddress, { name: comment, untilMs: nowMs + timeoutSec * 1000 });
    const mine = new DomainPatterns<true>();
    for (const pattern of patterns) mine.add(pattern, true);
    for (const other of this.#sets.values()) {
      for (const [address, entry] of other.entries)
        if (entry.untilMs > nowMs && mine.matching(entry.name).size > 0) this.#put(set, address, { ...entry });
    }
    this.#sets.set(id, set);
    if (this.#sets.size === 1) this.#deps.onWanted?.(true);
    for (const pattern of patterns) this.#patterns.add(pattern, set);
    const addresses = [...set.entries.keys()];
    this.#deps.past.add(id, addresses);
    return addresses;
  }

  removeSet(id: SetId): void {
    const set = this.#sets.get(id);
    if (!set) return;
    this.#sets.delete(id);
    for (const pattern of set.patterns) this.#patterns.remove(pattern, set);
    this.#total -= set.entries.size;
    set.entries.clear();
    if (this.#sets.size === 0) this.#deps.onWanted?.(false);
  }

  /** What one answer says. */
  learn(facts: readonly AddressFact[], { minTtlSec, extraTtlSec }: DomainTimes): void {
    const nowMs = this.#deps.clock.nowMs();
    const news = new Map<DomainSet, { readonly members: PassingMember[]; readonly added: IpAddress[] }>();
    for (const { name, address, ttlSec } of facts) {
      const timeoutSec = Math.min(lifeSecMax, Math.max(1, minTtlSec, ttlSec + extraTtlSec));
      const entry: Entry = { name, untilMs: nowMs + timeoutSec * 1000 };
      for (const set of this.#patterns.matching(name)) {
        const isNew = !set.entries.has(address);
        if (!this.#put(set, address, entry)) continue;
        const of = news.get(set) ?? { members: [], added: [] };
        news.set(set, of);
        of.members.push({ address, timeoutSec, comment: name });
        if (isNew) of.added.push(address);
      }
    }
    for (const [{ id }, { members, added }] of news) {
      this.#deps.learn(id, members);
      this.#deps.past.add(id, added);
      if (added.length > 0) this.#deps.onChange(id, { added, removed: [] });
    }
  }

  /** What the kernel is to be told of a member, when sets are written anew. */
  lifeOf(id: SetId, address: string): MemberLife | undefined {
    const learnt = this.learnt(id, address as IpAddress);
    return learnt && { timeoutSec: learnt.leftSec, comment: learnt.name };
  }

  /** Which name gave an address, and for how many more seconds, 1 or more. */
  learnt(id: SetId, address: IpAddress): LearntAddress | undefined {
    const entry = this.#sets.get(id)?.entries.get(address);
    const leftSec = entry ? Math.ceil((entry.untilMs - this.#deps.clock.nowMs()) / 1000) : 0;
    return entry && leftSec > 0 ? { name: entry.name, leftSec } : undefined;
  }

  /** It is or was in the set: what an established flow is judged by. */
  wasLearnt(id: SetId, address: IpAddress): boolean {
    return this.#deps.past.has(id, address);
  }

  stop(): void {
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
  }

  /** What is over is forgotten at once: nobody is told of it later. */
  #living(set: DomainSet): readonly IpAddress[] {
    const nowMs = this.#deps.clock.nowMs();
    for (const [address, { untilMs }] of set.entries)
      if (untilMs <= nowMs && set.entries.delete(address)) this.#total--;
    return [...set.entries.keys()];
  }

  /** Whether that says something: the address gets more time than it had. */
  #put(set: DomainSet, address: IpAddress, { name, untilMs }: Entry): boolean {
    const known = set.entries.get(address);
    if (known) {
      if (untilMs <= known.untilMs) return false;
      known.untilMs = untilMs;
      known.name = name;
      return true;
    }
    if (set.entries.size >= this.#addressesMax || this.#total >= this.#totalMax) {
      this.#deps.onFull();
      return false;
    }
    set.entries.set(address, { name, untilMs });
    this.#total++;
    this.#expect(set, address, untilMs);
    return true;
  }

  #expect(set: DomainSet, address: IpAddress, untilMs: number): void {
    // A pause may have been long.
    if (this.#due.size === 0) this.#sweptSec = Math.floor(this.#deps.clock.nowMs() / 1000);
    const second = Math.max(Math.ceil(untilMs / 1000), this.#sweptSec + 1);
    const due = this.#due.get(second) ?? [];
    this.#due.set(second, due);
    due.push([set, address]);
    this.#cancelSweep ??= this.#deps.clock.schedule(SWEEP_MS, () => this.#sweep());
  }

  #sweep(): void {
    const nowMs = this.#deps.clock.nowMs();
    const removed = new Map<DomainSet, IpAddress[]>();
    for (const nowSec = Math.floor(nowMs / 1000); this.#sweptSec < nowSec; ) {
      const due = this.#due.get(++this.#sweptSec) ?? [];
      this.#due.delete(this.#sweptSec);
      for (const [set, address] of due) {
        const entry = set.entries.get(address);
        if (!entry) continue;
        if (entry.untilMs > nowMs) {
          this.#expect(set, address, entry.untilMs);
          continue;
        }
        set.entries.delete(address);
        this.#total--;
        const of = removed.get(set) ?? [];
        removed.set(set, of);
        of.push(address);
      }
    }
    for (const [{ id }, addresses] of removed) this.#deps.onChange(id, { added: [], removed: addresses });
    this.#cancelSweep = this.#due.size > 0 ? this.#deps.clock.schedule(SWEEP_MS, () => this.#sweep()) : undefined;
  }
}
