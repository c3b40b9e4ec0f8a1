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
}

interface State {
  reason: string | (() => string) | undefined;
  lastBeatMs: number;
  readonly heartbeatMs: number | undefined;
}

export function createHealthRegistry(clock: Clock): HealthRegistry {
  const components = new Map<string, State>();
  const report = (reasons: string[]): HealthReport => ({ ok: reasons.length === 0, reasons: reasons.sort() });
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
    ready: () =>
      report(
        [...components].flatMap(([name, { reason }]) =>
          reason === undefined ? [] : [`${name}: ${typeof reason === 'function' ? reason() : reason}`],
        ),
      ),
    alive: () =>
      report(
        [...components].flatMap(([name, { heartbeatMs, lastBeatMs }]) => {
          const silentMs = clock.nowMs() - lastBeatMs;
          if (heartbeatMs === undefined || silentMs <= heartbeatMs) return [];
          return [
            `${name}: no heartbeat for ${Math.round(silentMs / 1000)} s (at most ${heartbeatMs / 1000} s is right)`,
          ];
        }),
      ),
  };
}
