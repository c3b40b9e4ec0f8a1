/**
 * What counts for a policy of policy.networking.k8s.io whose subject cannot be read and of which no good version is known.
 *
 * Upstream says what an unknown peer does (it fails closed) and nothing of an unknown subject. Here: what can be read of the subject and names
 * somebody (labels, or an In or Exists requirement) bounds whom it is about; for all of those Deny and Pass rules deny, and Accept rules accept nothing.
 * So no pod that it may have meant is more open than it would be. Where nothing that can be read names anybody, it may have meant every pod of the
 * cluster: then it is not in force and everybody is told. To close all of a cluster, its DNS included, for one field of one object would be an outage that
 * needs the cluster to be mended.
 */
import type { ClusterPodSelector, ClusterPolicyObject, ClusterPolicyRule, Kind, LabelSelector } from '#model';
import { asMapping } from '../mapping.ts';
import { decodeObject } from './decode.ts';
import { readLabelSelector } from './metadata.ts';
import { Reader } from './reader.ts';

const clusterPolicyKinds: readonly Kind[] = [
  'ClusterNetworkPolicy',
  'AdminNetworkPolicy',
  'BaselineAdminNetworkPolicy',
];

/** Undefined: of another kind, wrong in more than its subject, or about nobody that can be named. */
export function clusterPolicyStandIn(kind: Kind, value: unknown): ClusterPolicyObject | undefined {
  if (!clusterPolicyKinds.includes(kind)) return undefined;
  const document = asMapping(value);
  const spec = asMapping(document?.['spec']);
  const subject = readableSubject(asMapping(spec?.['subject']));
  if (!subject) return undefined;
  const { typed } = decodeObject(kind, { ...document, spec: { ...spec, subject: { namespaces: {} } } }, 'api');
  const policy = typed?.object as ClusterPolicyObject | undefined;
  if (!policy) return undefined;
  return {
    ...policy,
    subject,
    ingress: policy.ingress.flatMap(closed),
    egress: policy.egress.flatMap(closed),
    standIn: true,
  };
}

function closed(rule: ClusterPolicyRule): readonly ClusterPolicyRule[] {
  return rule.action === 'Accept' ? [] : [{ ...rule, action: 'Deny' }];
}

/** Everybody whom it can be about; undefined when nothing of it names anybody. */
function readableSubject(subject: Readonly<Record<string, unknown>> | undefined): ClusterPodSelector | undefined {
  // Of two forms, or one that is not known, it is not said how they go together.
  const [form, ...others] = Object.keys(subject ?? {});
  if (others.length > 0) return undefined;
  const pods = form === 'pods' ? asMapping(subject?.['pods']) : {};
  const namespaces = form === 'namespaces' ? subject?.['namespaces'] : pods?.['namespaceSelector'];
  const found = { namespaceSelector: readablePart(namespaces), podSelector: readablePart(pods?.['podSelector']) };
  return namesSomebody(found.namespaceSelector) || namesSomebody(found.podSelector) ? found : undefined;
}

/** The requirements that can be read, each by itself. */
function readablePart(value: unknown): LabelSelector {
  const selector = asMapping(value);
  const labels = Object.entries(asMapping(selector?.['matchLabels']) ?? {});
  const expressions = selector?.['matchExpressions'];
  const parts = [
    ...labels.map(([key, text]) => ({ matchLabels: { [key]: text } })),
    ...(Array.isArray(expressions) ? expressions : []).map((each) => ({ matchExpressions: [each] })),
  ].flatMap((part) => {
    const alone = Reader.of(part, 'fault');
    const found = readLabelSelector(alone);
    return alone.faults.length === 0 ? [found] : [];
  });
  return {
    matchLabels: Object.fromEntries(parts.flatMap(({ matchLabels }) => Object.entries(matchLabels))),
    matchExpressions: parts.flatMap(({ matchExpressions }) => matchExpressions),
  };
}

/** NotIn and DoesNotExist name whom it is not about, which may be nearly everybody else. */
function namesSomebody({ matchLabels, matchExpressions }: LabelSelector): boolean {
  const names = matchExpressions.some(({ operator }) => operator === 'In' || operator === 'Exists');
  return names || Object.keys(matchLabels).length > 0;
}
