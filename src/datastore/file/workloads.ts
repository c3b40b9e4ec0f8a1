/**
 * The pod that a workload's template makes, for looking at manifests without a cluster: one for each Deployment, StatefulSet,
 * DaemonSet, ReplicaSet, Job and CronJob, under its name. All of its pods have the same labels and ports.
 */
const templatesAt: Readonly<Record<string, readonly string[]>> = {
  'apps/v1 Deployment': ['spec', 'template'],
  'apps/v1 StatefulSet': ['spec', 'template'],
  'apps/v1 DaemonSet': ['spec', 'template'],
  'apps/v1 ReplicaSet': ['spec', 'template'],
  'v1 ReplicationController': ['spec', 'template'],
  'batch/v1 Job': ['spec', 'template'],
  'batch/v1 CronJob': ['spec', 'jobTemplate', 'spec', 'template'],
};

/** A Pod document, or the document itself where it is no workload. */
export function podOfWorkload(document: unknown): unknown {
  const workload = mapping(document);
  const path = workload && templatesAt[`${workload['apiVersion']} ${workload['kind']}`];
  if (!path) return document;
  let template: Readonly<Record<string, unknown>> | undefined = workload;
  for (const field of path) template = mapping(template?.[field]);
  const { name, namespace } = mapping(workload['metadata']) ?? {};
  const { labels } = mapping(template?.['metadata']) ?? {};
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, ...(namespace !== undefined && { namespace }), ...(labels !== undefined && { labels }) },
    spec: template?.['spec'] ?? {},
  };
}

function mapping(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}
