/** Every limit that was hit, counted in one place: by name, with what happened said once in a while by whoever hit it. */
import type { Metrics } from './metrics.ts';

export interface Limits {
  /** @param limit a constant name, e.g. `cni_callers`. */
  hit(limit: string): void;
}

export function createLimits(metrics: Metrics): Limits {
  const counter = metrics.counter({
    name: 'limit_hits_total',
    help: 'Times that a bound of the agent was reached, by limit; what happens then is said where the limit is documented.',
    labels: ['limit'],
  });
  return { hit: (limit) => counter.inc({ limit }) };
}
