/** The first calculation of a workload: time of three, and what the engine keeps of it. */

import assert from 'node:assert/strict';
import { median, rounded } from '../../support/numbers.ts';
import { heapMb, load, type Timed, timed } from './measure.ts';
import type { Workload } from './objects.ts';

const runs = 3;

export interface FirstLimits {
  readonly mustSec: number;
  readonly mustMb: number;
}

export function first(workload: string, make: () => Workload, limits?: FirstLimits): object {
  let inputs: Workload | undefined = make();
  const inputsHeapMb = heapMb();
  const times: Timed[] = [];
  for (let i = 0; i < runs; i++) times.push(timed(() => load(inputs!)));
  const { engine, out, flush } = load(inputs);
  const figures = {
    inputs: inputs.updates.length,
    messages: out.length,
    members: out.reduce((sum, update) => sum + (update.type === 'set' ? update.members.length : 0), 0),
    sets: engine.stats().sets,
  };
  out.length = 0;
  const engineHeapMb = heapMb() - inputsHeapMb;
  // What carried the objects goes; they themselves are the engine's.
  inputs = undefined;
  const heap = heapMb();
  assert.equal(engine.isDirty(), false);
  const cpuSec = median(times.map((time) => time.allCpuMs)) / 1000;
  return {
    bench: 'policy',
    workload,
    ...figures,
    sec: rounded(median(times.map((time) => time.ms)) / 1000),
    threadCpuSec: rounded(median(times.map((time) => time.cpuMs)) / 1000),
    cpuSec: rounded(cpuSec),
    /** The last turn of the main loop; all before it is taken in slices. */
    flushCpuMs: rounded(flush.cpuMs),
    /** Everything, the decoded objects and this program too; and what the engine adds to the objects. */
    heapMb: rounded(heap),
    engineHeapMb: rounded(engineHeapMb),
    ...(limits && { must: limits, ok: cpuSec <= limits.mustSec && heap <= limits.mustMb }),
  };
}
