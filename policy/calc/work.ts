/**
 * What the calculation did, counted: tests bound these numbers instead of time. All of them only grow.
 */
export interface Work {
  /** Selectors evaluated on one pod or namespace. */
  evaluations: number;
  /** Members added to or removed from a set. */
  memberChanges: number;
  /** Policies compiled into rules. */
  compiledPolicies: number;
  /** Endpoint programs computed. */
  endpointPrograms: number;
}

export function noWork(): Work {
  return { evaluations: 0, memberChanges: 0, compiledPolicies: 0, endpointPrograms: 0 };
}
