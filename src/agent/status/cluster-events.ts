/** What of the cluster's objects an operator must act on, as Events about them. Told by the one agent that sums up. Pure. */
import { type DatastoreFault, writtenKind } from '#datastore';
import type { Kind } from '#model';
import { byNodes, type NodeReport } from './cluster-report.ts';
import type { DesiredStatus } from './cluster-status.ts';
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
  StagedNetworkPolicy: CALICO,
  StagedGlobalNetworkPolicy: CALICO,
  StagedKubernetesNetworkPolicy: CALICO,
  Tier: CALICO,
  NetworkSet: CALICO,
  GlobalNetworkSet: CALICO,
  HostEndpoint: CALICO,
};

/** Reasons of False conditions that are somebody's to mend, with what the agents do meanwhile. */
const actions: Readonly<Record<string, string>> = {
  Invalid: 'KeptLastGood',
  CIDROverlap: 'FollowedBoth',
  InServiceRange: 'Followed',
  NotUsed: 'LeftOut',
  RefusedByNodes: 'DeniedInstead',
  PasswordMissing: 'HeldDown',
  HeldDown: 'HeldDown',
  FieldsNotApplied: 'AppliedInPart',
};

/** Of a host endpoint that is refused nothing is denied: its interface is as if it were not there, or another's. */
function actionOf(kind: string, reason: string): string {
  return reason === 'RefusedByNodes' && kind === 'HostEndpoint' ? 'LeftOut' : actions[reason]!;
}

export function clusterEvents(
  desired: readonly DesiredStatus[],
  faults: readonly DatastoreFault[],
  reports: readonly NodeReport[],
): readonly EventNote[] {
  // Where a kind's objects are not listed, as those of an old installation, they have no statuses.
  const listed = new Set<string>(desired.map(({ kind }) => kind));
  const others = faults.filter(({ object = '' }) => !listed.has(kindIn(object)));
  return [...desired.flatMap(ofStatus), ...others.flatMap(ofFault), ...ofRefusals(listed, faults, reports)];
}

function ofStatus({ kind, object, conditions }: DesiredStatus): readonly EventNote[] {
  const { name, namespace, uid } = object.metadata;
  const regarding: EventSubject = {
    apiVersion: apiVersions[kind] ?? CALICO,
    kind: writtenKind(kind),
    name,
    ...(namespace ? { namespace } : {}),
    ...(uid ? { uid } : {}),
  };
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
    action: actionOf(kind, reason),
    note: message,
  }));
}

/** Objects that have no status of ours. */
function ofFault({ object = '', field, message, effect }: DatastoreFault): readonly EventNote[] {
  const regarding = subjectOf(object);
  if (!regarding) return [];
  const note = `${field ? `${field}: ` : ''}${message} (${effect})`;
  return [{ regarding, type: 'Warning', reason: 'Invalid', action: actions['Invalid']!, note }];
}

/** Policies without a status that nodes refuse, although they can be read. */
function ofRefusals(
  listed: ReadonlySet<string>,
  faults: readonly DatastoreFault[],
  reports: readonly NodeReport[],
): readonly EventNote[] {
  const unread = new Set(faults.map(({ object }) => object));
  const said = reports.flatMap(({ node, refusals }) => refusals.map((refusal) => ({ ...refusal, node })));
  return [...Map.groupBy(said, ({ object }) => object)].flatMap(([object, by]): EventNote[] => {
    const regarding = unread.has(object) || listed.has(kindIn(object)) ? undefined : subjectOf(object);
    if (!regarding) return [];
    const note = byNodes(
      by.map(({ node, text }) => [node, text] as const),
      reports.length,
    );
    return [
      {
        regarding,
        type: 'Warning',
        reason: 'RefusedByNodes',
        action: actionOf(kindIn(object), 'RefusedByNodes'),
        note,
      },
    ];
  });
}

function kindIn(object: string): string {
  return object.slice(0, Math.max(0, object.indexOf(' ')));
}

/** Undefined: of a kind about which only statuses speak. */
function subjectOf(object: string): EventSubject | undefined {
  const [kind, ref] = object.split(' ') as [Kind, string?];
  const apiVersion = apiVersions[kind];
  if (ref === undefined || apiVersion === undefined) return undefined;
  const slash = ref.indexOf('/');
  return {
    apiVersion,
    kind: writtenKind(kind),
    name: ref.slice(slash + 1),
    ...(slash < 0 ? {} : { namespace: ref.slice(0, slash) }),
  };
}
