/**
 * Whether the agent lives and can serve, by component. Ready: every component said so. Alive: every component that promised a
 * heartbeat gave one in time.
 */
import type { Clock } from '#kit';

export interface HealthReport {
  readonly ok: boolean;
  /** `component: reason`, sorted; empty when ok. */
  readonly reasons: readonly string[];
}

/** One component: why it is not ready, or does not live, if so. */
export interface ComponentReport {
  readonly name: string;
  readonly notReady?: string;
  readonly notAlive?: string;
}

export interface ComponentHealth {
  /** Say why not to be ready (a function is asked each time), or undefined to be. Components begin as `starting`. */
  notReadyBecause(reason: string | (() => string) | undefined): void;
  /** Call at least every `heartbeatMs` given when it was registered. */
  beat(): void;
}

export interface HealthRegistry {
  /** @param options.heartbeatMs longest time between two beats; absent: none are expected. */
  component(name: string, options?: { readonly heartbeatMs?: number }): ComponentHealth;
  ready(): HealthReport;
  alive(): HealthReport;
  /** Sorted by name. */
  components(): readonly ComponentReport[];
}

interface State {
  reason: string | (() => string) | undefined;
  lastBeatMs: number;
  readonly heartbeatMs: number | undefined;
}

export function createHealthRegistry(clock: Clock): HealthRegistry {
  const components = new Map<string, State>();
  const notReady = ({ reason }: State): string | undefined => (typeof reason === 'function' ? reason() : reason);
  const notAlive = ({ heartbeatMs, lastBeatMs }: State): string | undefined => {
    const silentMs = clock.nowMs() - lastBeatMs;
    if (heartbeatMs === undefined || silentMs <= heartbeatMs) return undefined;
    return `no heartbeat for ${Math.round(silentMs / 1000)} s (at most ${heartbeatMs / 1000} s is right)`;
  };
  const report = (why: (state: State) => string | undefined): HealthReport => {
    const reasons = [...components].flatMap(([name, state]) => {
      const reason = why(state);
      return reason === undefined ? [] : [`${name}: ${reason}`];
    });
    return { ok: reasons.length === 0, reasons: reasons.sort() };
  };
  return {
    component(name, options = {}) {
      const state: State = { reason: 'starting', lastBeatMs: clock.nowMs(), heartbeatMs: options.heartbeatMs };
      components.set(name, state);
      return {
        notReadyBecause: (reason) => {
          state.reason = reason;
        },
        beat: () => {
          state.lastBeatMs = clock.nowMs();
        },
      };
    },
    ready: () => report(notReady),
    alive: () => report(notAlive),
    components: () =>
      [...components]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, state]) => {
          const [ready, alive] = [notReady(state), notAlive(state)];
          return {
            name,
            ...(ready === undefined ? {} : { notReady: ready }),
            ...(alive === undefined ? {} : { notAlive: alive }),
          };
        }),
  };
}
