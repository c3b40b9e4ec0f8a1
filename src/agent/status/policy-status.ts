/**
 * InForce of a policy: on how many nodes its current generation holds, and which nodes refuse it and why. Pure.
 *
 * A node says up to which resourceVersion of a kind everything is in force, and what of that is not. A generation holds there when the node is as far as
 * the object was when this generation was first seen: writing a status moves the object's resourceVersion and says nothing new.
 */
import { compareResourceVersions, type DatastoreFault } from '#datastore';
import { byNodes, type NodeReport } from './cluster-report.ts';
import type { ApiObject } from './cluster-status.ts';
import { type ConditionNow, condition } from './conditions.ts';
import type { ClusterPolicyKind } from './policy-kinds.ts';

export interface PolicyStatusInput {
  readonly reports: readonly NodeReport[];
  /** Why the object as it is cannot be read. */
  readonly fault: DatastoreFault | undefined;
  /** The oldest resourceVersion known to be of this generation; empty: older than all that nodes report. */
  readonly since: string;
  /** By node, what it does not have in force of this object. */
  readonly refusals: readonly { readonly node: string; readonly text: string }[];
}

export function policyInForce(
  kind: ClusterPolicyKind,
  { metadata }: ApiObject,
  { reports, fault, since, refusals }: PolicyStatusInput,
): ConditionNow {
  const type = 'InForce';
  const generation = `generation ${metadata.generation ?? 0}`;
  if (fault) {
    const { field, message, effect } = fault;
    return condition(
      type,
      false,
      'Invalid',
      `${generation} is in force on no node: ${field ? `${field}: ` : ''}${message} (${effect})`,
    );
  }
  if (reports.length === 0) return condition(type, 'Unknown', 'NoNodeReports', 'no node reports what it has in force');
  const refused = Map.groupBy(refusals, ({ node }) => node);
  const missing: (readonly [node: string, text: string])[] = [];
  let lacking = 0;
  let refusing = 0;
  for (const { node, revisions, policyFault } of reports) {
    const revision = revisions.get(kind);
    if (revision === undefined || compareResourceVersions(revision, since) < 0) {
      lacking++;
      missing.push([node, policyFault ?? 'not yet in the kernel']);
    } else if (refused.has(node)) {
      refusing++;
      for (const { text } of refused.get(node)!) missing.push([node, text]);
    }
  }
  const count = `${generation} is in force on ${reports.length - lacking - refusing} of ${reports.length} nodes`;
  if (missing.length === 0) return condition(type, true, 'InForceOnAllNodes', count);
  const reason = refusing > 0 ? 'RefusedByNodes' : 'NotYetOnAllNodes';
  return condition(type, false, reason, `${count}; ${byNodes(missing, reports.length)}`);
}
