/**
 * What the engine takes for changes among 50,000 pods and 1,000 policies, 200 of the pods local: the label of one pod at a time; a
 * thousand events of pods a second (labels, addresses, pods that come and go), and policies about every pod, taken in slices as the agent does.
 */
import type { ModelUpdate } from '#model';
import type { PolicyEngine } from '#policy';
import { rounded } from '../../support/numbers.ts';
import { scaleModel } from '../../support/policy-scale.ts';
import { load, spread, timed } from './measure.ts';
import { clusterPolicy, everything, hasLabel } from './objects.ts';

export const churnShape = { namespaces: 250, podsPerNamespace: 200, policiesPerNamespace: 4, apps: 4, localPods: 200 };
const shape = churnShape;
const pods = shape.namespaces * shape.podsPerNamespace;
const changes = 5_000;
const seconds = 60;
export const eventsPerSec = 1_000;
export const batchEventsMax = 20;
const wideRounds = 20;
/** As src/agent/policy-pipeline.ts. */
const sliceMs = 8;
const settleSteps = 16;
const sliceMustMs = 20;

type Model = ReturnType<typeof scaleModel>;
export const churnModel = (policiesPerNamespace = shape.policiesPerNamespace): Model =>
  scaleModel({ ...shape, policiesPerNamespace });

function started(scale: Model): PolicyEngine {
  return load({ updates: scale.updates, local: scale.endpoints }).engine;
}

/** Of the engine alone; the way into the kernel is in kernel-changes.ts. */
export function labelChange(): object {
  const scale = churnModel();
  const engine = started(scale);
  const values: number[] = [];
  let messages = 0;
  for (let i = 0; i < changes; i++) {
    const namespace = i % shape.namespaces;
    const index = Math.floor(i / shape.namespaces);
    const change = scale.pod(namespace, index, { app: `a${(index + 1) % shape.apps}` });
    const { cpuMs } = timed(() => {
      engine.update(change);
      messages += engine.flush().length;
    });
    values.push(cpuMs);
  }
  return { bench: 'policy', workload: 'label change', pods, policies: 1000, changes, messages, ...spread(values) };
}

/** Every sequence is the same each time. */
export function dice(): (sides: number) => number {
  let state = 1;
  return (sides) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * sides);
  };
}

/** Half of them label changes; the others pods that go, come back, or lose their address. */
export function event(scale: Pick<Model, 'pod'>, roll: ReturnType<typeof dice>): ModelUpdate {
  const app = { app: `a${roll(shape.apps)}` };
  const update = scale.pod(roll(shape.namespaces), roll(shape.podsPerNamespace), app);
  if (update.kind !== 'Pod' || update.type !== 'upsert') return update;
  switch (roll(6)) {
    case 0:
      return { type: 'delete', kind: 'Pod', key: update.key };
    case 1:
      return { ...update, object: { ...update.object, phase: 'Pending', podIPs: [] } };
    default:
      return update;
  }
}

/** Works off what the engine was told in slices of the main loop, and keeps the processor time of each. */
class Slices {
  readonly #engine: PolicyEngine;
  readonly cpuMs: number[] = [];
  messages = 0;

  constructor(engine: PolicyEngine) {
    this.#engine = engine;
  }
  tell(batch: readonly ModelUpdate[]): void {
    this.#slice(() => {
      for (const update of batch) this.#engine.update(update);
    });
    for (let settled = false; !settled; ) {
      this.#slice(() => {
        const end = performance.now() + sliceMs;
        while (!settled && performance.now() < end) settled = this.#engine.settle(settleSteps);
        if (settled) this.messages += this.#engine.flush().length;
      });
    }
  }
  figures(): Readonly<Record<string, unknown>> {
    const { p50Ms, p99Ms, maxMs } = spread(this.cpuMs);
    return {
      messages: this.messages,
      slices: this.cpuMs.length,
      sliceP50Ms: p50Ms,
      sliceP99Ms: p99Ms,
      longestSliceMs: maxMs,
      must: { sliceMs: sliceMustMs },
      ok: maxMs < sliceMustMs,
    };
  }
  #slice(work: () => void): void {
    this.cpuMs.push(timed(work).cpuMs);
  }
}

/**
 * Events of 60 seconds as they would come, a batch of one each 1 to 20 ms. Each slice's processor time counts, the collector's on this
 * thread too. `cpuShare`: of one processor, at that rate.
 */
export function events(): object {
  const scale = churnModel();
  const slices = new Slices(started(scale));
  const roll = dice();
  for (let sent = 0; sent < seconds * eventsPerSec; ) {
    const batch: ModelUpdate[] = [];
    for (let n = 1 + roll(batchEventsMax); n > 0; n--, sent++) batch.push(event(scale, roll));
    slices.tell(batch);
  }
  const cpuMs = slices.cpuMs.reduce((sum, ms) => sum + ms, 0);
  const cpuShare = rounded(cpuMs / (seconds * 1000));
  return {
    bench: 'policy',
    workload: 'events',
    pods,
    policies: 1000,
    eventsPerSec,
    seconds,
    cpuShare,
    ...slices.figures(),
  };
}

/** A policy comes whose peer is every pod of the cluster, and goes; and another whose peer is every pod that has a label at all. */
export function everyPod(): object {
  const scale = churnModel();
  const slices = new Slices(started(scale));
  for (let i = 0; i < wideRounds; i++) {
    const sources = [i % 2 === 0 ? everything : hasLabel('app')];
    const come = clusterPolicy(`wide-${i}`, everything, sources);
    slices.tell([come]);
    slices.tell([{ type: 'delete', kind: 'ClusterNetworkPolicy', key: come.key }]);
  }
  return { bench: 'policy', workload: 'every pod', pods, ...slices.figures() };
}
