/**
 * `kernel-events.ts BACKEND SECONDS`: a thousand events of pods a second as they are due, whether or not the ones before are in force, to the
 * kernel; prints how far it was behind as JSON. A process of its own, with test/support/loop-turns.ts in it: its slices are nobody else's, and it
 * keeps no objects beside the node's, which an agent's collector would not have to look at.
 */
import { forgetTurns } from '../../support/loop-turns.ts';
import { rounded } from '../../support/numbers.ts';
import { batchEventsMax, churnModel, dice, event, eventsPerSec } from './churn.ts';
import { KernelNode } from './kernel-node.ts';
import { childCpuMs, spread } from './measure.ts';

const [backend, seconds] = process.argv.slice(2);
if (backend !== 'nft' && backend !== 'legacy') throw new Error('BACKEND is nft or legacy');

/** Handed to the dataplane, not in force yet: when the batch was due, and when it was handed over. */
const waiting: { readonly dueMs: number; readonly handedMs: number }[] = [];
const behindMs: number[] = [];
let runs = 0;

await using node = new KernelNode(backend, ({ runMs, ok }) => {
  runs++;
  if (!ok) return;
  const now = performance.now();
  // What was handed over before the run began is in force now.
  while (waiting[0] && waiting[0].handedMs <= now - runMs) behindMs.push(now - waiting.shift()!.dueMs);
});
const objects = await told();
await node.inSync();
node.taken();
forgetTurns();
runs = 0;
const roll = dice();
const total = Number(seconds) * eventsPerSec;
const from = performance.now();
const cpu = process.cpuUsage();
const programs = childCpuMs();
const handing: Promise<unknown>[] = [];
for (let sent = 0; sent < total; ) {
  const batch = Array.from({ length: 1 + roll(batchEventsMax) }, () => event(objects, roll));
  sent += batch.length;
  const dueMs = from + (sent * 1_000) / eventsPerSec;
  const early = dueMs - performance.now();
  // Overdue ones come in a turn each, as from a socket, and not all in one where another program had the processor for a while.
  await new Promise((resolve) => (early > 0 ? setTimeout(resolve, early) : setImmediate(resolve)));
  node.pipeline.update(batch);
  const settled = node.pipeline.settled().then(() => waiting.push({ dueMs, handedMs: performance.now() }));
  handing.push(settled);
}
await Promise.all(handing);
await node.dataplane.whenApplied();
const lastMs = performance.now();
for (const { dueMs } of waiting.splice(0)) behindMs.push(lastMs - dueMs);
const { user, system } = process.cpuUsage(cpu);
const { calls, members } = node.taken();
const { p50Ms, p99Ms, maxMs } = spread(behindMs);
const share = (ms: number): number => rounded(ms / (lastMs - from));
const figures = {
  runs,
  calls: calls.length,
  membersByNetlink: members,
  cpuShare: share((user + system) / 1_000),
  programsCpuShare: share(childCpuMs() - programs),
  behindP50Ms: p50Ms,
  behindP99Ms: p99Ms,
  longestBehindMs: maxMs,
};
process.stdout.write(`${JSON.stringify(figures)}\n`);

/** Returns what makes more of them. */
async function told(): Promise<Pick<ReturnType<typeof churnModel>, 'pod'>> {
  const { pod, ...model } = churnModel();
  await node.told(model);
  return { pod };
}
