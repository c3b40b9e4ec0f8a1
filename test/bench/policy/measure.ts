/** Processor time, heap and spread of what a bench of the engine does. */

import fs from 'node:fs';
import v8 from 'node:v8';
import vm from 'node:vm';
import type { PolicyUpdate } from '#model';
import { createPolicyEngine, type PolicyEngine } from '#policy';
import { rounded } from '../../support/numbers.ts';
import type { Workload } from './objects.ts';

v8.setFlagsFromString('--expose-gc');
const collect = vm.runInNewContext('gc') as () => void;

/** After a collection, in MB. */
export function heapMb(): number {
  collect();
  return process.memoryUsage().heapUsed / 1e6;
}

export interface Timed {
  readonly ms: number;
  /** Of this thread, whatever else the machine does. */
  readonly cpuMs: number;
  /** With the collector's and compiler's helpers, which may run beside it. */
  readonly allCpuMs: number;
}

export function timed(work: () => unknown): Timed {
  const from = performance.now();
  const thread = process.threadCpuUsage();
  const all = process.cpuUsage();
  work();
  const cpuMs = sumMs(process.threadCpuUsage(thread));
  return { ms: performance.now() - from, cpuMs, allCpuMs: sumMs(process.cpuUsage(all)) };
}

export function sumMs({ user, system }: NodeJS.CpuUsage): number {
  return (user + system) / 1000;
}

/** Processor time of all programs that this process started and that have ended, to 10 ms. */
export function childCpuMs(): number {
  const stat = fs.readFileSync('/proc/self/stat', 'utf8');
  // Behind the name, which may hold anything: state is field 3, cutime and cstime 16 and 17, in 1/100 s.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return 10 * (Number(fields[13]) + Number(fields[14]));
}

export function spread(valuesMs: readonly number[]): { p50Ms: number; p99Ms: number; maxMs: number } {
  const sorted = valuesMs.toSorted((a, b) => a - b);
  const at = (part: number): number => rounded(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]!);
  return { p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
}

/** From the first input to the last output. `flush`: what cannot be taken in slices. */
export function load(workload: Workload): { engine: PolicyEngine; out: PolicyUpdate[]; flush: Timed } {
  const engine = createPolicyEngine();
  for (const update of workload.updates) engine.update(update);
  for (const { id, addresses } of workload.local) engine.setLocalEndpoint(id, addresses);
  engine.inSync();
  while (!engine.settle(1000));
  let out: PolicyUpdate[] = [];
  const flush = timed(() => {
    out = engine.flush();
  });
  return { engine, out, flush };
}
