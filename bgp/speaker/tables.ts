/**
 * The tables of one speaker, and what a change of them goes through: decided a slice at a time, then marked in the feed of chosen
 * routes, shown to who watches the Loc-RIB, and applied to the update groups.
 */
import {
  AttributePool,
  defaultMultipath,
  type HopMarks,
  IntStack,
  type MultipathOptions,
  NextHopPool,
  NextHopSetPool,
  PeerTable,
  Rib,
  type RibTables,
  RouteFeed,
  type Zeroes,
} from '../rib/index.ts';
import type { Family } from './config.ts';
import { Groups } from './groups.ts';
import { nextHopsSweepMin, prefixesPerSlice, prefixesPerSliceFirst } from './limits.ts';
import type { SpeakerDeps } from './types.ts';

/** Sees what was decided before groups do. */
export interface LocRibWatcher {
  locRibChanged(rib: Rib, changed: IntStack): void;
}

export class Tables implements RibTables {
  readonly attributes: AttributePool;
  readonly nextHops = new NextHopPool();
  readonly hopSets = new NextHopSetPool();
  readonly peers = new PeerTable();
  readonly seed: number;
  readonly zeroes?: Zeroes;
  readonly rib4: Rib;
  readonly rib6: Rib;
  readonly ribs: readonly [Rib, Rib];
  readonly groups = new Groups();
  /** Absent: nobody wants chosen routes. */
  readonly feed: RouteFeed | undefined;
  readonly #changed = new IntStack();
  #prefixesPerSlice = prefixesPerSliceFirst;
  /** Doubles with what is in use, so that the passes over the tables stay rare. */
  #sweepHopsAbove = nextHopsSweepMin;

  constructor(withFeed: boolean, { random, zeroes }: Pick<SpeakerDeps, 'random' | 'zeroes'>) {
    const word = (): number => Math.floor(random() * 0x1_0000_0000) | 0;
    this.seed = word();
    if (zeroes) this.zeroes = zeroes;
    this.attributes = new AttributePool([word(), word()]);
    this.rib4 = new Rib(4, this);
    this.rib6 = new Rib(6, this);
    this.ribs = [this.rib4, this.rib6];
    this.feed = withFeed ? new RouteFeed([this.rib4, this.rib6]) : undefined;
  }

  rib(family: Family): Rib {
    return family === 'ipv4-unicast' ? this.rib4 : this.rib6;
  }
  setMultipath(multipath: MultipathOptions = defaultMultipath): void {
    for (const rib of this.ribs) rib.setMultipath(multipath);
  }
  /** Nothing waits for a decision. */
  get decided(): boolean {
    return this.rib4.decided && this.rib6.decided;
  }

  /** One slice of each family. @param deferring see `Rib.decide`. */
  decide(deferring: boolean, watcher: LocRibWatcher): void {
    const changed = this.#changed;
    const limit = this.#prefixesPerSlice;
    for (const rib of this.ribs) {
      if (rib.removals.waiting) rib.removals.step();
      if (rib.dirtyCount === 0) continue;
      changed.clear();
      rib.decide(limit, deferring, changed);
      this.feed?.mark(rib, changed);
      watcher.locRibChanged(rib, changed);
      this.groups.apply(rib, changed);
      for (let i = 0; i < changed.length; i++) rib.settle(changed.items[i]!);
    }
    if (!this.decided) this.#prefixesPerSlice = Math.min(prefixesPerSlice, 2 * limit);
  }

  get #hops(): number {
    return Math.max(this.nextHops.size, this.hopSets.size);
  }

  /**
   * Frees next hops and sets of them that nothing names, once there are many. True: some were; numbers may be given again.
   *
   * @param markOthers marks those that are in use elsewhere.
   */
  sweepNextHops(markOthers: (marks: HopMarks) => void): boolean {
    if (this.#hops <= this.#sweepHopsAbove) return false;
    const marks = { hops: new Uint8Array(this.nextHops.limit), sets: new Uint8Array(this.hopSets.limit) };
    for (const rib of this.ribs) rib.markHops(marks);
    this.feed?.markHops(marks);
    this.groups.markHops(marks);
    markOthers(marks);
    this.hopSets.sweep(marks);
    this.nextHops.sweep(marks);
    this.#sweepHopsAbove = Math.max(nextHopsSweepMin, 2 * this.#hops);
    return true;
  }
}
