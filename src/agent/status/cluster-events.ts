/** What of the cluster's objects an operator must act on, as Events about them. Told by the one agent that sums up. Pure. */
import type { DatastoreFault } from '#datastore';
import type { Kind } from '#model';
import { type DesiredStatus, type StatusKind, statusKinds } from './cluster-status.ts';
import type { ConditionNow } from './conditions.ts';
import type { EventNote, EventSubject } from './event-book.ts';

const CALICO = 'projectcalico.org/v3';
const apiVersions: Readonly<Partial<Record<Kind, string>>> = {
  Node: 'v1',
  Namespace: 'v1',
  Pod: 'v1',
  NetworkPolicy: 'networking.k8s.io/v1',
  ClusterNetworkPolicy: 'policy.networking.k8s.io/v1alpha2',
  AdminNetworkPolicy: 'policy.networking.k8s.io/v1alpha1',
  BaselineAdminNetworkPolicy: 'policy.networking.k8s.io/v1alpha1',
  CalicoNodeStatus: CALICO,
  CalicoNetworkPolicy: CALICO,
  GlobalNetworkPolicy: CALICO,
  Tier: CALICO,
  NetworkSet: CALICO,
  GlobalNetworkSet: CALICO,
};
/** As their API calls them. */
const writtenKinds: Readonly<Partial<Record<Kind, string>>> = { CalicoNetworkPolicy: 'NetworkPolicy' };

/** Reasons of False conditions that are somebody's to mend, with what the agents do meanwhile. */
const actions: Readonly<Record<string, string>> = {
  Invalid: 'KeptLastGood',
  CIDROverlap: 'FollowedBoth',
  InServiceRange: 'Followed',
  NotUsed: 'LeftOut',
  PasswordMissing: 'HeldDown',
  HeldDown: 'HeldDown',
  FieldsNotApplied: 'AppliedInPart',
};

export function clusterEvents(
  desired: readonly DesiredStatus[],
  faults: readonly DatastoreFault[],
): readonly EventNote[] {
  return [...desired.flatMap(ofStatus), ...faults.flatMap(ofFault)];
}

function ofStatus({ kind, object, conditions }: DesiredStatus): readonly EventNote[] {
  const { name, uid } = object.metadata;
  const regarding: EventSubject = { apiVersion: CALICO, kind, name, ...(uid ? { uid } : {}) };
  // The same thing may stand in two conditions.
  const wrong = new Map<string, ConditionNow>();
  for (const each of conditions) {
    const { status, reason } = each;
    if (status === 'False' && Object.hasOwn(actions, reason) && !wrong.has(reason)) wrong.set(reason, each);
  }
  return [...wrong.values()].map(({ reason, message }) => ({
    regarding,
    type: 'Warning',
    reason,
    action: actions[reason]!,
    note: message,
  }));
}

/** Objects of kinds that have no status of ours. */
function ofFault({ object = '', field, message, effect }: DatastoreFault): readonly EventNote[] {
  const [kind, ref] = object.split(' ') as [Kind, string?];
  const apiVersion = apiVersions[kind];
  if (ref === undefined || apiVersion === undefined || statusKinds.includes(kind as StatusKind)) return [];
  const slash = ref.indexOf('/');
  const regarding: EventSubject = {
    apiVersion,
    kind: writtenKinds[kind] ?? kind,
    name: ref.slice(slash + 1),
    ...(slash < 0 ? {} : { namespace: ref.slice(0, slash) }),
  };
  const note = `${field ? `${field}: ` : ''}${message} (${effect})`;
  return [{ regarding, type: 'Warning', reason: 'Invalid', action: actions['Invalid']!, note }];
}
