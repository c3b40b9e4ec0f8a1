/** The policy engine over a packet world: objects of the model in, rules and sets of the node's kernel out. */
import type { PolicyDataplane } from '#felix';
import type { ModelUpdate, PolicyUpdate, WorkloadEndpoint } from '#model';
import { createPolicyEngine } from '#policy';
import { podObject } from './model-objects.ts';
import type { PacketWorld } from './packet-world.ts';

/** What is there from the beginning. */
export interface FirstModel {
  readonly updates: readonly ModelUpdate[];
  /** Pods of this node. */
  readonly endpoints: readonly WorkloadEndpoint[];
}

/** The pods of the world, and no policy. */
export function podsOf(world: PacketWorld): FirstModel {
  const updates = [...world.pods].map(([name, { addresses }]) => podObject(name, { name }, Object.values(addresses)));
  return { updates, endpoints: world.endpoints() };
}

/** Resolves when it is in force. */
export type Apply = (updates: readonly PolicyUpdate[]) => Promise<void>;

export const applyTo =
  (dataplane: PolicyDataplane): Apply =>
  async (updates) => {
    dataplane.apply(updates);
    await dataplane.whenApplied();
  };

/** @returns takes changes of the model, and resolves when what follows from them is in force. */
export async function startEngine(
  apply: Apply,
  { updates: first, endpoints }: FirstModel,
): Promise<(...updates: readonly ModelUpdate[]) => Promise<void>> {
  const engine = createPolicyEngine((node) => node === 'n1');
  const change = async (...updates: readonly ModelUpdate[]): Promise<void> => {
    for (const update of updates) engine.update(update);
    await apply(engine.flush());
  };
  for (const update of first) engine.update(update);
  for (const { id, addresses } of endpoints) engine.setLocalEndpoint(id, addresses);
  engine.inSync();
  await change();
  return change;
}
