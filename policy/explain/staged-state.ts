/** The same state as if the staged policies were in force: what explains and compares it needs to know nothing of them. */
import type { EndpointId, EndpointProgram } from '#model';
import type { PolicyState } from './policy-state.ts';

/** @param endpoints those that are asked for; default all. */
export function stagedState(state: PolicyState, endpoints: Iterable<EndpointId> = state.endpoints.keys()): PolicyState {
  const programs = new Map<EndpointId, EndpointProgram>();
  for (const id of endpoints) {
    const program = state.endpoints.get(id);
    if (program) programs.set(id, stagedProgram(program));
  }
  return { ...state, endpoints: programs };
}

function stagedProgram({ ingress, egress, host, staged }: EndpointProgram): EndpointProgram {
  return {
    ingress: staged?.ingress ?? ingress,
    egress: staged?.egress ?? egress,
    ...(host && { host: { ...host, ...staged?.host } }),
  };
}
