/** Failed CNI calls of the last minutes: one is a pod's, many are the node's. Pure. */

const WINDOW_MS = 300_000;
/** So many within the window are worth an Event. */
const MANY = 5;
const KEPT_MAX = 256;
/** The agent said "not yet", or the caller hung up: the runtime asks again. */
const harmless = new Set(['ok', 'hung_up', 'not_available']);

export interface CniFailures {
  add(command: string, outcome: string, nowMs: number): void;
  /** In words, when there are many. */
  summary(nowMs: number): string | undefined;
}

export function createCniFailures(): CniFailures {
  let recent: { readonly command: string; readonly outcome: string; readonly atMs: number }[] = [];
  return {
    add(command, outcome, nowMs) {
      if (harmless.has(outcome)) return;
      recent.push({ command, outcome, atMs: nowMs });
      if (recent.length > KEPT_MAX) recent = recent.slice(-KEPT_MAX);
    },
    summary(nowMs) {
      recent = recent.filter(({ atMs }) => nowMs - atMs < WINDOW_MS);
      if (recent.length < MANY) return undefined;
      const kinds = [...new Set(recent.map(({ command, outcome }) => `${command} ${outcome}`))].sort();
      // No exact number: another one at each look would be another text.
      return `${recent.length >= 50 ? 'at least 50' : 'several'} CNI calls failed within ${WINDOW_MS / 60_000} minutes (${kinds.join(', ')}); the agent's log names the pods`;
    },
  };
}
