/**
 * The flows that were seen last, bounded. Packets of one flow under one rule within a window count into one entry, so that a client that tries again
 * does not fill the ring. Pure but for the clock that is handed in.
 */
import type { FlowView } from '#api';
import type { Clock } from '#kit';
import type { FlowDescription } from './describe.ts';

/** Some 600 octets each. */
const flowsKeptDefault = 4096;
/** Packets within it, counted from the first one, are one entry. */
const windowMsDefault = 10_000;

export interface FlowRingOptions {
  readonly node: string;
  readonly flowsKept?: number;
  readonly windowMs?: number;
}

interface Entry {
  readonly key: string;
  readonly sequence: number;
  readonly startedMs: number;
  readonly time: string;
  lastTime: string;
  packets: number;
  readonly flow: FlowDescription;
}

export interface FlowRing {
  /**
   * @param key equal for packets of one flow under one rule.
   * @param describe called for the first packet of an entry only.
   */
  add(key: string, timeMs: number, describe: () => FlowDescription): FlowDescription;
  /** From now on; undefined: the usual. */
  setWindow(ms: number | undefined): void;
  /** Sequence of the newest flow; 0: none yet. */
  readonly newest: number;
  /** Behind `after`, the newest `limit` that match, oldest first. */
  since(after: number, limit: number, matches: (flow: FlowDescription) => boolean): FlowView[];
  /** Flows behind `after` that are not kept any more. */
  missedSince(after: number): number;
}

export function createFlowRing(clock: Clock, options: FlowRingOptions): FlowRing {
  const { node, flowsKept = flowsKeptDefault } = options;
  let windowMs = options.windowMs ?? windowMsDefault;
  const ring: Entry[] = [];
  const open = new Map<string, Entry>();
  let newest = 0;
  const at = (sequence: number): Entry => ring[(sequence - 1) % flowsKept]!;
  const oldest = (): number => Math.max(1, newest - flowsKept + 1);
  return {
    add(key, timeMs, describe) {
      const time = new Date(timeMs).toISOString();
      const known = open.get(key);
      if (known && clock.nowMs() - known.startedMs < windowMs) {
        known.packets++;
        known.lastTime = time;
        return known.flow;
      }
      const slot = newest % flowsKept;
      const evicted = ring[slot];
      if (evicted && open.get(evicted.key) === evicted) open.delete(evicted.key);
      newest++;
      const entry = {
        key,
        sequence: newest,
        startedMs: clock.nowMs(),
        time,
        lastTime: time,
        packets: 1,
        flow: describe(),
      };
      ring[slot] = entry;
      open.set(key, entry);
      return entry.flow;
    },
    setWindow(ms) {
      windowMs = ms ?? windowMsDefault;
    },
    get newest() {
      return newest;
    },
    since(after, limit, matches) {
      const found: FlowView[] = [];
      const first = Math.max(oldest(), after + 1);
      for (let sequence = newest; sequence >= first && found.length < limit; sequence--) {
        const { time, lastTime, packets, flow } = at(sequence);
        if (matches(flow)) found.push({ sequence, time, lastTime, packets, node, ...flow });
      }
      return found.reverse();
    },
    missedSince: (after) => Math.max(0, oldest() - 1 - after),
  };
}
