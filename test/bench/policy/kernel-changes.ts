/**
 * Labels of pods that change one at a time among 50,000 pods and 1,000 policies, from the model to the kernel in force, both families; and
 * a thousand events of pods a second, in a process of their own with the settings of the image (kernel-events.ts).
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Backend } from '#felix';
import { nodeFlags } from '#image';
import { exec } from '#sys';
import { loopTurns, loopTurnsEnvironment } from '../../support/loop-turns.ts';
import { rounded } from '../../support/numbers.ts';
import { churnModel, churnShape, dice, eventsPerSec } from './churn.ts';
import { KernelNode, type NodeModel } from './kernel-node.ts';
import { childCpuMs, spread } from './measure.ts';
import { networkPolicy, ruleOf } from './objects.ts';

const labelMustMs = { p50Ms: 20, p99Ms: 60 };
const changes = 1_000;
/** Between the end of one change and the next, up to. */
const pauseMsMax = 50;
const eventSeconds = 60;
const sliceMustMs = 20;
const behindMustMs = 1_000;

const hasRole = { matchLabels: { role: 'chosen' }, matchExpressions: [] };

/** The last of the namespace's policies is for pods with a role alone: who gets it, gets another policy. */
function labelledModel(): NodeModel & { readonly scale: ReturnType<typeof churnModel> } {
  const scale = churnModel(churnShape.policiesPerNamespace - 1);
  const chosen = Array.from({ length: churnShape.namespaces }, (_, n) =>
    networkPolicy(`n${n}`, 'np-chosen', { podSelector: hasRole, ingress: [ruleOf(hasRole)], egress: [] }),
  );
  return { scale, updates: [...scale.updates, ...chosen], endpoints: scale.endpoints };
}

/** @param local labels of the node's own pods: each gets or loses a policy; else of others', which change members of sets. */
export async function labelToKernel(
  backend: Backend,
  local: boolean,
  scale: (full: number) => number,
): Promise<object> {
  const model = labelledModel();
  await using node = new KernelNode(backend);
  await node.told(model);
  await node.inSync();
  node.taken();
  const roll = dice();
  const values: number[] = [];
  let calls = 0;
  let cpuMs = -childCpuMs();
  const chosen = new Set<string>();
  const apps = new Map<string, number>();
  for (let i = 0; i < scale(changes); i++) {
    // Where the node has a pod; elsewhere nothing would be to do.
    const [namespace = '', own = ''] = model.endpoints[i % model.endpoints.length]!.id.split('/');
    const index = local ? Number(own.slice(1)) : 1 + roll(churnShape.podsPerNamespace - 1);
    const key = `${namespace}/p${index}`;
    const app = ((apps.get(key) ?? index) + (local ? 0 : 1)) % churnShape.apps;
    apps.set(key, app);
    const labels: Record<string, string> = { app: `a${app}` };
    if (local && !chosen.delete(key)) {
      chosen.add(key);
      labels['role'] = 'chosen';
    }
    values.push(await node.inForceMs(model.scale.pod(Number(namespace.slice(1)), index, labels)));
    const { calls: made, members } = node.taken();
    calls += made.length;
    assert.ok(made.length + members > 0, 'a change that nothing is written for');
    await pause(roll(pauseMsMax));
  }
  cpuMs += childCpuMs();
  const figures = spread(values);
  return {
    bench: 'policy',
    workload: `label to kernel, ${local ? 'own' : 'other'} pods, ${backend}`,
    pods: churnShape.namespaces * churnShape.podsPerNamespace,
    policies: churnShape.namespaces * churnShape.policiesPerNamespace,
    changes: values.length,
    callsPerChange: rounded(calls / values.length),
    programsCpuMsPerChange: rounded(cpuMs / values.length),
    ...figures,
    must: labelMustMs,
    ok: figures.p50Ms <= labelMustMs.p50Ms && figures.p99Ms <= labelMustMs.p99Ms,
  };
}

/** Both bounds are of one run: slices by processor time, which others on the machine do not lengthen. */
export async function eventsToKernel(backend: Backend, scale: (full: number) => number): Promise<object> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-turns-'));
  const script = path.join(import.meta.dirname, 'kernel-events.ts');
  const seconds = Math.max(1, scale(eventSeconds));
  const env = { ...process.env, ...loopTurnsEnvironment(folder) } as Record<string, string>;
  const { code, stdout, stderr } = await exec(process.execPath, [...nodeFlags, script, backend, String(seconds)], {
    env,
    timeoutMs: (seconds + 300) * 1_000,
  });
  const { turns, longestCpuMs, longestWallMs } = loopTurns(folder);
  fs.rmSync(folder, { recursive: true });
  assert.equal(code, 0, stderr);
  const { longestBehindMs, ...figures } = JSON.parse(stdout) as { readonly longestBehindMs: number };
  return {
    bench: 'policy',
    workload: `events to kernel, ${backend}`,
    pods: churnShape.namespaces * churnShape.podsPerNamespace,
    policies: churnShape.namespaces * churnShape.policiesPerNamespace,
    eventsPerSec,
    seconds,
    ...figures,
    turns,
    longestSliceMs: rounded(longestCpuMs),
    longestSliceWallMs: rounded(longestWallMs),
    longestBehindMs,
    must: { sliceMs: sliceMustMs, behindMs: behindMustMs },
    ok: longestCpuMs < sliceMustMs && longestBehindMs < behindMustMs,
  };
}
