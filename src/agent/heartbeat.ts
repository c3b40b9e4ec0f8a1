/** A part that is asked from time to time lives as long as it answers. */
import type { Clock } from '#kit';
import type { ComponentHealth } from '#obs';

/** How often a part is asked. */
export const BEAT_MS = 5_000;
/** A part that has not answered for so long is dead or stuck: the supervisor is to start the agent again. */
export const SILENCE_MAX_MS = 30_000;

/** Beats for every answer of `ask`, one question at a time; a failure is no answer. @returns how to end it. */
export function beatWhileAnswering(clock: Clock, health: ComponentHealth, ask: () => Promise<unknown>): () => void {
  let stopped = false;
  let cancel = (): void => undefined;
  const round = (): void => {
    const next = (): void => {
      if (!stopped) cancel = clock.schedule(BEAT_MS, round);
    };
    ask().then(() => {
      health.beat();
      next();
    }, next);
  };
  round();
  return () => {
    stopped = true;
    cancel();
  };
}
