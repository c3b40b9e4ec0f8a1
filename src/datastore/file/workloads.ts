/**
 * The pod that a workload's template makes, for looking at manifests without a cluster: one for each Deployment, StatefulSet,
 * DaemonSet, ReplicaSet, Job and CronJob, under its name. All of its pods have the same labels and ports.
 */
import { asMapping } from '../mapping.ts';

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
  const workload = asMapping(document);
  const path = workload && templatesAt[`${workload['apiVersion']} ${workload['kind']}`];
  if (!path) return document;
  let template: Readonly<Record<string, unknown>> | undefined = workload;
  for (const field of path) template = asMapping(template?.[field]);
  const { name, namespace } = asMapping(workload['metadata']) ?? {};
  const { labels } = asMapping(template?.['metadata']) ?? {};
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, ...(namespace !== undefined && { namespace }), ...(labels !== undefined && { labels }) },
    spec: template?.['spec'] ?? {},
  };
}
