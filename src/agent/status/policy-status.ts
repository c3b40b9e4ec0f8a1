/**
 * InForce of a policy, a tier, a network set or a host endpoint, and Staged of a staged policy: on how many nodes its current generation holds, and which nodes refuse it and why. Pure.
 *
 * A node says up to which resourceVersion of a kind everything is in force, and what of that is not. A generation holds there when the node is as far as
 * the object was when this generation was first seen: writing a status moves the object's resourceVersion and says nothing new.
 */
import { compareResourceVersions, type DatastoreFault } from '#datastore';
import { byNodes, type NodeReport } from './cluster-report.ts';
import type { ApiObject } from './cluster-status.ts';
import { type ConditionNow, condition } from './conditions.ts';
import { type InForceKind, isStagedPolicyKind } from './policy-kinds.ts';

/** What a node says of itself, and its name. */
type Said = readonly [node: string, text: string];

/** How far all nodes are with one kind. */
export interface Progress {
  readonly nodes: number;
  /** Nodes that are not as far as `since`. The same list for policies that the same nodes lack: most of a cluster's. */
  lacking(since: string): Lacking;
}
interface Lacking {
  readonly said: readonly Said[];
  readonly names: ReadonlySet<string>;
  readonly text: string;
}

/** Gone through once a round and kind; then a policy costs a search, however many nodes there are. */
export function progressOf(kind: InForceKind, reports: readonly NodeReport[]): Progress {
  const silent = reports.filter(({ revisions }) => !revisions.has(kind)).map(({ node }) => node);
  const known = reports
    .flatMap(({ node, revisions }) => {
      const revision = revisions.get(kind);
      return revision === undefined ? [] : [{ node, revision }];
    })
    .sort((one, other) => compareResourceVersions(one.revision, other.revision));
  const lists = new Map<number, Lacking>();
  // A staged policy goes into no kernel.
  const waiting = isStagedPolicyKind(kind) ? 'not yet calculated' : 'not yet in the kernel';
  const listed = (behind: number): Lacking => {
    const names = new Set([...silent, ...known.slice(0, behind).map(({ node }) => node)]);
    // In the order of the reports: the text of a state is the same whoever is further behind.
    const said = reports
      .filter(({ node }) => names.has(node))
      .map(({ node, policyFault }): Said => [node, policyFault ?? waiting]);
    const list = { said, names, text: byNodes(said, reports.length) };
    lists.set(behind, list);
    return list;
  };
  return {
    nodes: reports.length,
    lacking(since) {
      let [low, high] = [0, known.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (compareResourceVersions(known[middle]!.revision, since) < 0) low = middle + 1;
        else high = middle;
      }
      return lists.get(low) ?? listed(low);
    },
  };
}

export interface PolicyStatusInput {
  readonly kind: InForceKind;
  readonly progress: Progress;
  /** Why the object as it is cannot be read. */
  readonly fault: DatastoreFault | undefined;
  /** The oldest resourceVersion known to be of this generation; empty: older than all that nodes report. */
  readonly since: string;
  /** By node, what it does not have in force of this object. */
  readonly refusals: readonly { readonly node: string; readonly text: string }[];
}

export function policyInForce(
  { metadata }: ApiObject,
  { kind, progress, fault, since, refusals }: PolicyStatusInput,
): ConditionNow {
  const [type, holds] = isStagedPolicyKind(kind) ? ['Staged', 'is reported on'] : ['InForce', 'is in force on'];
  const { nodes } = progress;
  const generation = `generation ${metadata.generation ?? 0}`;
  if (fault) {
    const { field, message, effect } = fault;
    const why = `${field ? `${field}: ` : ''}${message} (${effect})`;
    return condition(type, false, 'Invalid', `${generation} ${holds} no node: ${why}`);
  }
  if (nodes === 0) return condition(type, 'Unknown', 'NoNodeReports', 'no node reports what it has in force');
  const lacking = progress.lacking(since);
  const refused = refusals.filter(({ node }) => !lacking.names.has(node)).map(({ node, text }): Said => [node, text]);
  const refusing = new Set(refused.map(([node]) => node)).size;
  const count = `${generation} ${holds} ${nodes - lacking.said.length - refusing} of ${nodes} nodes`;
  if (refusing > 0) {
    const why = byNodes([...refused, ...lacking.said], nodes);
    return condition(type, false, 'RefusedByNodes', `${count}; ${why}`);
  }
  if (lacking.said.length === 0) return condition(type, true, `${type}OnAllNodes`, count);
  return condition(type, false, 'NotYetOnAllNodes', `${count}; ${lacking.text}`);
}
