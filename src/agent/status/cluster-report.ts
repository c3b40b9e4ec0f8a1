/** What the PoplinNode objects of all nodes say about the objects that are for many of them. Pure. */
import type { IssueEffect } from '../bgp/issue.ts';
import { isPolicyKind } from './policy-kinds.ts';
import { effectTexts } from './poplin-node.ts';

/** One node's word, as far as it is about objects. */
export interface NodeReport {
  readonly node: string;
  readonly sessions: readonly SessionReport[];
  readonly issues: readonly IssueReport[];
  /** What of policies it does not have in force. */
  readonly refusals: readonly RefusalReport[];
  /** By kind, the resourceVersion up to which everything is in force. */
  readonly revisions: ReadonlyMap<string, string>;
  /** Why its kernel cannot be written. */
  readonly policyFault?: string;
}
export interface RefusalReport {
  /** E.g. `ClusterNetworkPolicy tenants`. */
  readonly object: string;
  /** Field, reason, and what holds instead. */
  readonly text: string;
}
export interface SessionReport {
  /** Name of the BGPPeer. */
  readonly peer: string;
  readonly address: string;
  readonly state: string;
  readonly lastError: string;
}
export interface IssueReport {
  /** E.g. `BGPPeer tor-1`. */
  readonly object: string;
  readonly field: string;
  readonly message: string;
  readonly effect: IssueEffect;
}

const effectOf = new Map(Object.entries(effectTexts).map(([effect, text]) => [text, effect as IssueEffect]));

/** Undefined for a node whose agent has said that it stopped: what it wrote before holds no more. */
export function nodeReport(object: unknown): NodeReport | undefined {
  const { metadata, status } = object as { readonly metadata?: { readonly name?: unknown }; readonly status?: unknown };
  if (typeof metadata?.name !== 'string' || typeof status !== 'object' || status === null) return undefined;
  const { conditions, bgp, exceptions, kinds, faults } = status as Readonly<Record<string, unknown>>;
  if (list(conditions).some((each) => each['type'] === 'Ready' && each['reason'] === 'AgentStopped')) return undefined;
  // Sessions of the mesh are no object's, and most of what a large cluster has.
  const sessions = list((bgp as { readonly sessions?: unknown } | undefined)?.sessions).flatMap((each) => {
    const peer = peerOf(text(each['name']));
    if (peer === undefined) return [];
    return [{ peer, address: text(each['address']), state: text(each['state']), lastError: text(each['lastError']) }];
  });
  const issues = list(exceptions).flatMap((each): IssueReport[] => {
    const effect = effectOf.get(text(each['effect']));
    if (!effect) return [];
    return [{ object: text(each['object']), field: text(each['field']), message: text(each['message']), effect }];
  });
  const revisions = new Map(
    list(kinds).flatMap((each) => {
      const [kind, revision] = [text(each['kind']), text(each['resourceVersion'])];
      return isPolicyKind(kind) && revision !== '' ? [[kind, revision] as const] : [];
    }),
  );
  const policyFault = texts(faults).find((each) => each.startsWith(POLICY_FAULT));
  return {
    node: metadata.name,
    sessions,
    issues,
    refusals: list(exceptions).flatMap(refusalOf),
    revisions,
    ...(policyFault === undefined ? {} : { policyFault: policyFault.slice(POLICY_FAULT.length) }),
  };
}

const POLICY_FAULT = 'policy: ';

function refusalOf(exception: Readonly<Record<string, unknown>>): RefusalReport[] {
  const object = text(exception['object']);
  if (!isPolicyKind(object.split(' ')[0]!)) return [];
  const field = text(exception['field']);
  return [{ object, text: `${field ? `${field}: ` : ''}${text(exception['message'])} (${text(exception['effect'])})` }];
}

/** Of `peer/BGPPEER` and `peer/BGPPEER/NODE`. */
function peerOf(session: string): string | undefined {
  return /^peer\/([^/]+)/.exec(session)?.[1];
}

function list(value: unknown): readonly Readonly<Record<string, unknown>>[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === 'object' && each !== null) : [];
}
function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];
}
function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** `a (on n1, n2); b`: each text once, with the nodes that say it, unless all do. */
export function byNodes(said: readonly (readonly [node: string, text: string])[], nodes: number, max = 4): string {
  const grouped = Map.groupBy(said, ([, what]) => what);
  const parts = [...grouped].map(([what, by]) => {
    const names = [...new Set(by.map(([node]) => node))].sort();
    if (names.length === nodes && nodes > 1) return what;
    const shown = names.slice(0, 5).join(', ');
    return `${what} (on ${names.length > 5 ? `${shown} and ${names.length - 5} more` : shown})`;
  });
  const left = parts.length - max;
  return [...parts.slice(0, max), ...(left > 0 ? [`and ${left} more`] : [])].join('; ');
}
