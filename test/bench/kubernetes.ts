/**
 * What the agent costs behind a real API server with etcd, beside the bounds that it has to keep. Objects are made by a script and pods have
 * no kubelets. All share the machine, so CPU seconds and memory of the agent count, not wall time. Prints one JSON object; needs root.
 *
 *   kubernetes.ts [PART...]    start-10k start-50k latency idle outage kubelet; all without a name
 */
import type { Undo } from './kubernetes/agent.ts';
import { measureIdle } from './kubernetes/idle.ts';
import { measureKubelet } from './kubernetes/kubelet.ts';
import { measureLatency } from './kubernetes/latency.ts';
import { measureOutage } from './kubernetes/outage.ts';
import { measureStart } from './kubernetes/start.ts';

/** Ten minutes, or what $POPLINBENCH_OUTAGE_SEC says. */
const OUTAGE_SEC = Number(process.env['POPLINBENCH_OUTAGE_SEC'] ?? 600);

const say = (line: string): void => void process.stderr.write(`${line}\n`);

const parts: Readonly<Record<string, (undo: Undo) => Promise<object>>> = {
  'start-10k': async (undo) => {
    const result = await measureStart(undo, { pods: 10_000, policies: 1_000, nodes: 500 }, say);
    return { ...result, atMost: { cpuSec: 3, peakRssMb: 180 }, met: result.cpuSec <= 3 && result.peakRssMb <= 180 };
  },
  'start-50k': async (undo) => {
    const result = await measureStart(undo, { pods: 50_000, policies: 5_000, nodes: 1_000 }, say);
    return { ...result, atMost: { cpuSec: 8, peakRssMb: 250 }, met: result.cpuSec <= 8 && result.peakRssMb <= 250 };
  },
  latency: async (undo) => {
    const result = await measureLatency(undo, 60, say);
    const labels = [result.labelSet, result.labelRemoved];
    const denies = [result.denyCreated, result.denyDeleted];
    return {
      ...result,
      atMost: { label: { p50Ms: 50, p99Ms: 150 }, deny: { p50Ms: 30, maxMs: 100 } },
      met: labels.every((l) => l.p50Ms <= 50 && l.p99Ms <= 150) && denies.every((l) => l.p50Ms <= 30 && l.maxMs <= 100),
    };
  },
  idle: async (undo) => {
    const result = await measureIdle(undo, say);
    return {
      ...result,
      atMost: { percentOfCore: 1, rssMb: 120 },
      met: result.percentOfCore <= 1 && result.rssMb <= 120,
    };
  },
  outage: async (undo) => {
    const result = await measureOutage(undo, OUTAGE_SEC, say);
    return { ...result, atMost: { inSyncSec: 5 }, met: result.inSyncSec <= 5 };
  },
  kubelet: async () => {
    const result = await measureKubelet(20, say);
    return { ...result, atMost: { ratio: 1 }, met: result.ratio <= 1 };
  },
};

const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(parts);
const unknown = wanted.filter((name) => !Object.hasOwn(parts, name));
if (unknown.length > 0) {
  say(`no part named ${unknown.join(', ')}; there are: ${Object.keys(parts).join(', ')}`);
  process.exit(2);
}
const results: Record<string, object> = {};
for (const name of wanted) {
  say(`-- ${name}`);
  const undo: (() => unknown)[] = [];
  try {
    results[name] = await parts[name]!({ after: (fn) => void undo.push(fn) });
  } finally {
    for (const fn of undo.reverse()) await fn();
  }
}
process.stdout.write(`${JSON.stringify(results, null, 2)}\n`);
