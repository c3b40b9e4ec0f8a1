/**
 * A logger that no peer can flood: whoever connects a thousand times a second, or sends what deserves a line in every message, costs so many
 * lines a second and a number. Lines cross a thread's border and wait there for a main thread that may be busy.
 */
import type { Clock, Logger } from '#kit';

/** Lines that may come at once, and those a second after that. */
export const linesBurstMax = 500;
export const linesPerSec = 50;

/** What is left out is counted; the next line that passes says how many (`linesLeftOut`). */
export function boundedLog(log: Logger, clock: Clock): Logger {
  let tokens = linesBurstMax;
  let filledMs = clock.nowMs();
  let leftOut = 0;
  const bound = (inner: Logger): Logger => {
    const line = (level: 'error' | 'warn' | 'info' | 'debug') => (fields: object, message: string) => {
      const now = clock.nowMs();
      tokens = Math.min(linesBurstMax, tokens + ((now - filledMs) / 1000) * linesPerSec);
      filledMs = now;
      if (tokens < 1) {
        leftOut++;
        return;
      }
      tokens--;
      inner[level](leftOut > 0 ? { ...fields, linesLeftOut: leftOut } : fields, message);
      leftOut = 0;
    };
    return {
      ...inner,
      error: line('error'),
      warn: line('warn'),
      info: line('info'),
      debug: line('debug'),
      child: (fields) => bound(inner.child(fields)),
    };
  };
  return bound(log);
}
