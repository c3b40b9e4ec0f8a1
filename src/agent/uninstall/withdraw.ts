/** What agents have written into the statuses of objects that stay is taken back; what others wrote there stays. */
import type { ClusterApi, KubeItem } from './cluster-api.ts';
import type { UninstallPlan } from './plan.ts';

/** Conditions of ours in objects of the Network Policy API, whose statuses are for whoever puts them in force. */
const policyConditions: ReadonlySet<string> = new Set(['Accepted', 'InForce', 'FieldsNotUsed']);
/** Nobody else writes a condition of this type there. */
const MARK = 'InForce';
const attemptsMax = 5;

interface Condition {
  readonly type: string;
}
export interface Conditioned extends KubeItem {
  readonly status?: { readonly conditions?: readonly Condition[] };
}

export function hasOurConditions({ status }: Conditioned): boolean {
  return status?.conditions?.some(({ type }) => type === MARK) ?? false;
}

/** @returns in words, what could not be taken back. @throws UninstallError */
export async function withdrawStatuses(api: ClusterApi, plan: UninstallPlan): Promise<readonly string[]> {
  // Of our own definitions nobody else writes the status.
  for (const path of plan.keptDefinitions.flatMap(({ withStatus }) => withStatus))
    await api.patch(`${path}/status`, 'application/json-patch+json', [{ op: 'remove', path: '/status' }]);
  const condition = { type: 'NetworkUnavailable', $patch: 'delete' };
  for (const { name } of plan.nodes.filter(({ hasOurCondition }) => hasOurCondition)) {
    await api.patch(`/api/v1/nodes/${encodeURIComponent(name)}/status`, 'application/strategic-merge-patch+json', {
      status: { conditions: [condition] },
    });
  }
  const left: string[] = [];
  for (const path of plan.policiesWithConditions) {
    if (!(await withdrawConditions(api, path))) left.push(`${path} has conditions of Poplin, and changes all the time`);
  }
  return left;
}

async function withdrawConditions(api: ClusterApi, path: string): Promise<boolean> {
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const object = await api.get<Conditioned>(path);
    const before = object?.status?.conditions;
    if (!object || !before || !hasOurConditions(object)) return true;
    const value = before.filter(({ type }) => !policyConditions.has(type));
    const outcome = await api.patchIfSame(`${path}/status`, [
      { op: 'test', path: '/status/conditions', value: before },
      { op: 'replace', path: '/status/conditions', value },
    ]);
    if (outcome !== 'changed') return true;
  }
  return false;
}
