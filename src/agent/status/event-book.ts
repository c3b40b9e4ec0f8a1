/**
 * Which Events to write about what is wrong now. Pure.
 *
 * What is wrong is told again and again while it lasts; an Event is written when it begins, and once in a while as a series (count, time) so that it does
 * not expire while it lasts. Every bound holds whatever is told: so many things at once, so many Events a minute in all, and for one object and
 * reason one every five minutes, even when its words change with each look.
 */

export interface EventSubject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  /** Absent for cluster-scoped kinds. */
  readonly namespace?: string;
  readonly uid?: string;
}

export interface EventNote {
  readonly regarding: EventSubject;
  readonly type: 'Normal' | 'Warning';
  /** CamelCase. */
  readonly reason: string;
  /** What the agent did about it, CamelCase, e.g. `KeptLastGood`. */
  readonly action: string;
  readonly note: string;
}

export interface EventBookLimits {
  /** Things known at once. */
  readonly entriesMax: number;
  /** Least time between two Events, or two counts, of one object and reason. */
  readonly newAfterMs: number;
  /** A series goes on while the thing lasts. */
  readonly againAfterMs: number;
  /** Not told for so long: it is over. */
  readonly overAfterMs: number;
  /** Writes at once, and one more each. */
  readonly burst: number;
  readonly refillMs: number;
}

export const EVENT_LIMITS: EventBookLimits = {
  entriesMax: 512,
  newAfterMs: 300_000,
  againAfterMs: 1_800_000,
  overAfterMs: 600_000,
  burst: 20,
  refillMs: 6_000,
};

export interface EventWrite {
  readonly note: EventNote;
  /** 1: a new Event. More: the same Event happened so often. */
  readonly count: number;
}

export interface EventBook {
  /** What is wrong at `nowMs`. @returns what to write, and how much had to be left out for the bounds. */
  tell(
    notes: readonly EventNote[],
    nowMs: number,
  ): { readonly writes: readonly EventWrite[]; readonly dropped: number };
  /** The Event that `count` was added to is not there any more: the next is a new one. */
  lost(note: EventNote): void;
}

interface Entry {
  text: string;
  count: number;
  writtenMs: number;
  toldMs: number;
}

export function createEventBook(limits: EventBookLimits = EVENT_LIMITS): EventBook {
  const entries = new Map<string, Entry>();
  let tokens = limits.burst;
  let refilledMs = 0;

  const takeToken = (nowMs: number): boolean => {
    const whole = Math.floor((nowMs - refilledMs) / limits.refillMs);
    if (whole > 0) {
      tokens = Math.min(limits.burst, tokens + whole);
      refilledMs += whole * limits.refillMs;
    }
    if (tokens === 0) return false;
    tokens--;
    return true;
  };
  const forgetOver = (nowMs: number): void => {
    for (const [key, { toldMs, writtenMs }] of entries) {
      // What comes and goes is still one thing: its Event counts until the least time has passed.
      if (nowMs - toldMs > limits.overAfterMs && nowMs - writtenMs > limits.newAfterMs) entries.delete(key);
    }
  };
  /** What to write about an entry that is known. */
  const due = (entry: Entry, note: EventNote, nowMs: number): number | undefined => {
    const sinceMs = nowMs - entry.writtenMs;
    if (sinceMs < limits.newAfterMs) return undefined;
    if (entry.text !== note.note) return 1;
    return sinceMs >= limits.againAfterMs ? entry.count + 1 : undefined;
  };

  return {
    tell(notes, nowMs) {
      const writes: EventWrite[] = [];
      let dropped = 0;
      forgetOver(nowMs);
      for (const note of notes) {
        const key = keyOf(note);
        const entry = entries.get(key);
        if (entry) entry.toldMs = nowMs;
        else if (entries.size >= limits.entriesMax) {
          dropped++;
          continue;
        }
        const count = entry ? due(entry, note, nowMs) : 1;
        if (count === undefined) continue;
        if (!takeToken(nowMs)) {
          dropped++;
          continue;
        }
        entries.set(key, { text: note.note, count, writtenMs: nowMs, toldMs: nowMs });
        writes.push({ note, count });
      }
      return { writes, dropped };
    },
    lost(note) {
      const entry = entries.get(keyOf(note));
      if (entry) entry.text = '';
    },
  };
}

function keyOf({ regarding, reason }: EventNote): string {
  return [regarding.kind, regarding.namespace ?? '', regarding.name, reason].join('|');
}
