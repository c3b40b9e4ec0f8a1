/** Policy as the engine would give it to a dataplane. */
import type { PolicyDataplane, PolicyDataplaneOptions } from '#felix';
import type { EndpointProgram, PolicyRule, PolicyUpdate, TierProgram } from '#model';
import type { PacketWorld } from './packet-world.ts';

/** What none of these policies decides is denied. */
export const tier = (...policies: readonly string[]): readonly TierProgram[] => [
  { tier: 'default', policies, endOfTier: 'deny' },
];
export const policy = (
  id: string,
  ingress: readonly PolicyRule[],
  egress: readonly PolicyRule[] = [],
): PolicyUpdate => ({ type: 'policy', id, program: { ingress, egress } });
/** A pod; open in a direction in which it has no tiers. */
export const endpoint = (name: string, { ingress = [], egress = [] }: Partial<EndpointProgram> = {}): PolicyUpdate => ({
  type: 'endpoint',
  id: `ns/${name}`,
  program: { ingress, egress },
});
export const setOf = (id: string, setType: 'ip' | 'net' | 'ip,port', ...members: readonly string[]): PolicyUpdate => ({
  type: 'set',
  id,
  setType,
  members,
});

/** A dataplane in which every pod of the world is open. */
export async function startOpen(world: PacketWorld, options: PolicyDataplaneOptions): Promise<PolicyDataplane> {
  const dataplane = await world.startDataplane(options);
  dataplane.apply([...world.pods.keys()].map((name) => endpoint(name)));
  await dataplane.whenApplied();
  return dataplane;
}
