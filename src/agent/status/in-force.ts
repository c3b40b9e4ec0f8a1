/**
 * Up to which resourceVersion of each kind everything is in force on this node.
 *
 * The datastore says up to where it has handed objects on; handed on is not in force: the policy engine still computes, an apply loop still writes.
 * So revisions are taken down first, then every part that acts on the kind is asked to say when all that it was given by then is done
 * (a barrier), and only when the last of them has answered do these revisions count. Revisions are opaque: they are never compared.
 * A part that cannot write holds up the kinds that need it, and no others.
 */
import type { Kind } from '#model';

/** `policy`: rules and sets. `routes`: routes and addresses. Kinds without one are in force once they were handed on. */
export type Barrier = 'policy' | 'routes';

export type Revisions = Readonly<Partial<Record<Kind, string>>>;

/** What must have been written after an object of this kind changed. */
const barriersOf: Readonly<Record<Kind, readonly Barrier[]>> = {
  Node: ['policy', 'routes'],
  Namespace: ['policy'],
  Pod: ['policy'],
  NetworkPolicy: ['policy'],
  ClusterNetworkPolicy: ['policy'],
  AdminNetworkPolicy: ['policy'],
  BaselineAdminNetworkPolicy: ['policy'],
  CalicoNetworkPolicy: ['policy'],
  GlobalNetworkPolicy: ['policy'],
  StagedNetworkPolicy: ['policy'],
  StagedGlobalNetworkPolicy: ['policy'],
  StagedKubernetesNetworkPolicy: ['policy'],
  Tier: ['policy'],
  NetworkSet: ['policy'],
  GlobalNetworkSet: ['policy'],
  HostEndpoint: ['policy'],
  ServiceAccount: ['policy'],
  EndpointSlice: ['policy'],
  IPPool: ['policy'],
  BGPConfiguration: ['routes'],
  BGPPeer: ['routes'],
  BGPFilter: ['routes'],
  CalicoNodeStatus: [],
  FelixConfiguration: ['policy'],
  Secret: [],
};

export interface InForceTracker {
  /** The datastore has handed on all up to `revisions`; call before the parts are asked. @returns for `done`. */
  begin(barrier: Barrier, revisions: Revisions): number;
  /** What `barrier` was given before `begin` returned this ticket is done. */
  done(barrier: Barrier, ticket: number): void;
  /** `handed`: as the datastore says now, for the kinds that wait for nothing. */
  inForce(handed: Revisions): Revisions;
}

export function createInForceTracker(): InForceTracker {
  let lastTicket = 0;
  const open = new Map<Barrier, Map<number, Revisions>>();
  const finished = new Map<Barrier, { readonly ticket: number; readonly revisions: Revisions }>();
  return {
    begin(barrier, revisions) {
      const ticket = ++lastTicket;
      const waiting = open.get(barrier) ?? new Map<number, Revisions>();
      open.set(barrier, waiting.set(ticket, revisions));
      return ticket;
    },
    done(barrier, ticket) {
      const waiting = open.get(barrier);
      const revisions = waiting?.get(ticket);
      if (!waiting || !revisions) return;
      // What was asked before is done as well.
      for (const each of [...waiting.keys()]) if (each <= ticket) waiting.delete(each);
      finished.set(barrier, { ticket, revisions });
    },
    inForce(handed) {
      const out: Partial<Record<Kind, string>> = {};
      for (const [kind, revision] of Object.entries(handed) as [Kind, string][]) {
        const ended = barriersOf[kind].map((barrier) => finished.get(barrier));
        // The oldest of the barriers: the others know at least as much.
        const oldest = ended.reduce(
          (one, other) => (one && other && one.ticket <= other.ticket ? one : other),
          ended[0],
        );
        const known =
          barriersOf[kind].length === 0 ? revision : ended.includes(undefined) ? undefined : oldest?.revisions[kind];
        if (known !== undefined) out[kind] = known;
      }
      return out;
    },
  };
}
