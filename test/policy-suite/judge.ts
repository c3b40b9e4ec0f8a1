/** What decides a suite's cases: one life cycle for what is computed and for what packets do. */
import type { ModelUpdate } from '#model';
import type { SuiteFlow, SuiteProbe } from './suite.ts';
import type { SuiteWorld } from './world.ts';

export interface Outcome {
  readonly verdict: 'allow' | 'deny';
  /** Why not, or by which rule. */
  readonly reason?: string;
}

export interface Judge {
  readonly name: string;
  /** A fresh cluster without policies; nothing of an earlier case is left. */
  begin(world: SuiteWorld): Promise<void>;
  /** The world has changed by `updates`, or in what pods and services are. */
  changed(updates: readonly ModelUpdate[]): Promise<void>;
  stopAgent(): Promise<void>;
  startAgent(): Promise<void>;
  /** Everything that was told is in force (as far as agents run). */
  settle(): Promise<void>;
  /** Verdicts in the order of `probes`; undefined where it cannot be tried. */
  probe(probes: readonly SuiteProbe[]): Promise<(Outcome | undefined)[]>;
  /** Returns when the connection stands, or will not. `address`: of a pod that is still to come. */
  openFlow(flow: SuiteFlow, address?: string): Promise<void>;
  closeFlow(id: string): Promise<void>;
  /** `expected` says how long to wait for a sign of life. @throws Error when there is no such flow. */
  flowState(id: string, expected: 'alive' | 'dead'): Promise<'alive' | 'dead'>;
  /** Nothing of it is left on the machine. */
  end(): Promise<void>;
}
