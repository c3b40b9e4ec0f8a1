/** The agent's policy pipeline over a packet world. */
import { createPolicyPipeline, type PolicyPipeline } from '#agent';
import type { Backend, PolicyDataplane } from '#felix';
import { silentLogger, systemClock } from '#kit';
import type { ModelUpdate } from '#model';
import { podObject } from './model-objects.ts';
import type { PacketWorld } from './packet-world.ts';

export interface PolicyAgent {
  readonly dataplane: PolicyDataplane;
  readonly pipeline: PolicyPipeline;
  /** Resolves when it is in force; flows are cut a little later. */
  update(...updates: ModelUpdate[]): Promise<void>;
  attach(name: string): Promise<void>;
  stop(): Promise<void>;
}

/** An agent's policy half that finds these pods wired already, as after a restart. */
export async function startAgent(
  world: PacketWorld,
  backend: Backend,
  names: readonly string[],
  ...updates: ModelUpdate[]
): Promise<PolicyAgent> {
  const dataplane = world.dataplane({ backend }, silentLogger, (flow) => pipeline.flowAllowed(flow));
  const pipeline = createPolicyPipeline({
    nodeName: 'n1',
    clock: systemClock(),
    dataplane,
    onEndpoints: () => undefined,
    flushConntrack: async (addresses) => {
      for (const address of addresses) await world.forget(address);
    },
  });
  await dataplane.start();
  pipeline.adopt(names.map((name) => world.endpoint(name)));
  pipeline.update([...names.map((name) => podObject(name)), ...updates]);
  await pipeline.inSync();
  await dataplane.whenApplied();
  return {
    dataplane,
    pipeline,
    async update(...changes) {
      pipeline.update(changes);
      await pipeline.settled();
      await dataplane.whenApplied();
    },
    attach: (name) => pipeline.attach(world.endpoint(name), AbortSignal.timeout(10_000)),
    stop: () => dataplane.stop(),
  };
}
