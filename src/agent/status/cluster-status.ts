/**
 * Statuses of the objects that are for the whole cluster, from the objects and from what all nodes report. Pure: the same input gives the same
 * statuses, whoever computes them.
 *
 * Accepted: understood and in force. Policies, tiers, network sets and host endpoints have InForce, staged policies Staged. BGPPeer has Established, BGPFilter has Applied, IPPool has Allocatable as Calico's. FieldsNotUsed is there only
 * where there are any.
 */
import type { DatastoreFault, DatastoreNote } from '#datastore';
import { type Cidr, cidrContains, toCidr } from '#kit';
import { objectKey } from '#model';
import type { IssueEffect } from '../bgp/issue.ts';
import {
  byNodes,
  type IssueReport,
  type NodeReport,
  type RefusalReport,
  type SessionReport,
} from './cluster-report.ts';
import { type ConditionNow, condition, listed } from './conditions.ts';
import { type InForceKind, inForceKinds, isInForceKind, isStagedPolicyKind } from './policy-kinds.ts';
import { type Progress, policyInForce, progressOf } from './policy-status.ts';

export const statusKinds = [
  'BGPPeer',
  'BGPFilter',
  'BGPConfiguration',
  'IPPool',
  'FelixConfiguration',
  ...inForceKinds,
] as const;
export type StatusKind = (typeof statusKinds)[number];

/** An object as the API has it. */
export interface ApiObject {
  readonly metadata: {
    readonly name: string;
    /** Of a kind whose objects stand in namespaces. */
    readonly namespace?: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly generation?: number;
    readonly creationTimestamp?: string;
  };
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: Readonly<Record<string, unknown>>;
}

export interface ClusterInput {
  readonly objects: Readonly<Partial<Record<StatusKind, readonly ApiObject[]>>>;
  readonly reports: readonly NodeReport[];
  readonly faults: readonly DatastoreFault[];
  readonly notUsed: readonly DatastoreNote[];
  /** Ranges of Services. */
  readonly serviceCIDRs: readonly Cidr[];
  /** By reference, see `GenerationBook`. */
  readonly since: ReadonlyMap<string, string>;
}

export interface DesiredStatus {
  readonly kind: StatusKind;
  readonly object: ApiObject;
  readonly conditions: readonly ConditionNow[];
}

export function clusterStatuses(input: ClusterInput): readonly DesiredStatus[] {
  return [...clusterStatusSteps(input)];
}

/** One by one, for who has many and other duties. */
export function* clusterStatusSteps(input: ClusterInput): Generator<DesiredStatus> {
  const index = indexOf(input);
  for (const kind of statusKinds) {
    for (const object of input.objects[kind] ?? []) {
      const about = aboutObject(index, kind, object);
      const conditions = [accepted(input, kind, object, about), ...specific(input, index, kind, object, about)];
      const unused = fieldsNotUsed(about);
      yield { kind, object, conditions: unused ? [...conditions, unused] : conditions };
    }
  }
}

/** As faults, nodes and the generation book name it: `BGPPeer tor`, `NetworkSet shop/far`. */
export function refOf(kind: StatusKind, { metadata }: ApiObject): string {
  return `${kind} ${objectKey({ namespace: metadata.namespace ?? '', name: metadata.name })}`;
}

type FromNode<T> = T & { readonly node: string };

/** What all nodes say, by what it is about: a thousand nodes are gone through once. */
interface ReportIndex {
  readonly issues: ReadonlyMap<string, readonly FromNode<IssueReport>[]>;
  /** By name of the BGPPeer. */
  readonly sessions: ReadonlyMap<string, readonly FromNode<SessionReport>[]>;
  readonly faults: ReadonlyMap<string, DatastoreFault>;
  readonly refusals: ReadonlyMap<string, readonly FromNode<RefusalReport>[]>;
  readonly notUsed: ReadonlyMap<string, readonly DatastoreNote[]>;
  readonly progress: Readonly<Record<InForceKind, Progress>>;
}

function indexOf({ reports, faults, notUsed }: ClusterInput): ReportIndex {
  const issues = reports.flatMap(({ node, issues: list }) => list.map((issue) => ({ ...issue, node })));
  const sessions = reports.flatMap(({ node, sessions: list }) => list.map((session) => ({ ...session, node })));
  const refusals = reports.flatMap(({ node, refusals: list }) => list.map((refusal) => ({ ...refusal, node })));
  return {
    progress: Object.fromEntries(inForceKinds.map((kind) => [kind, progressOf(kind, reports)])) as Record<
      InForceKind,
      Progress
    >,
    notUsed: Map.groupBy(notUsed, ({ object }) => object),
    refusals: Map.groupBy(refusals, ({ object }) => object),
    issues: Map.groupBy(issues, ({ object }) => object),
    sessions: Map.groupBy(sessions, ({ peer }) => peer),
    faults: new Map(faults.toReversed().map((fault) => [fault.object ?? '', fault])),
  };
}

/** What was said about one object. */
interface About {
  readonly ref: string;
  readonly fault: DatastoreFault | undefined;
  readonly issues: readonly FromNode<IssueReport>[];
  readonly sessions: readonly FromNode<SessionReport>[];
  readonly refusals: readonly FromNode<RefusalReport>[];
  readonly notUsed: readonly DatastoreNote[];
}

function aboutObject(
  { issues, sessions, faults, refusals, notUsed }: ReportIndex,
  kind: StatusKind,
  object: ApiObject,
): About {
  const ref = refOf(kind, object);
  return {
    ref,
    fault: faults.get(ref),
    refusals: refusals.get(ref) ?? [],
    issues: issues.get(ref) ?? [],
    notUsed: notUsed.get(ref) ?? [],
    sessions: kind === 'BGPPeer' ? (sessions.get(object.metadata.name) ?? []) : [],
  };
}

function accepted(input: ClusterInput, kind: StatusKind, object: ApiObject, about: About): ConditionNow {
  const type = 'Accepted';
  if (about.fault) {
    const { field, message, effect } = about.fault;
    return condition(type, false, 'Invalid', `${field ? `${field}: ` : ''}${message} (${effect})`);
  }
  const misfit = kind === 'IPPool' ? poolMisfit(input, object) : undefined;
  if (misfit) return condition(type, false, misfit.reason, misfit.message);
  const unused = said(input, about, 'unused');
  if (unused) return condition(type, false, 'NotUsed', unused);
  const closed = isInForceKind(kind) ? failsClosed(about) : undefined;
  if (closed) return condition(type, true, 'InForceInPart', closed);
  const partial = kind === 'BGPFilter' ? undefined : said(input, about, 'partial');
  if (partial) return condition(type, true, 'InForceInPart', partial);
  return condition(type, true, 'Accepted', isStagedPolicyKind(kind) ? 'understood' : 'understood and in force');
}

function said({ reports }: ClusterInput, { issues }: About, effect: IssueEffect): string | undefined {
  const texts = issues
    .filter((issue) => issue.effect === effect)
    .map(({ node, field, message }) => [node, field ? `${field}: ${message}` : message] as const);
  return texts.length === 0 ? undefined : byNodes(texts, reports.length);
}

function specific(
  input: ClusterInput,
  index: ReportIndex,
  kind: StatusKind,
  object: ApiObject,
  about: About,
): readonly ConditionNow[] {
  switch (kind) {
    case 'BGPPeer':
      return [established(input, about)];
    case 'BGPFilter':
      return [applied(input, object, about)];
    case 'IPPool':
      return [allocatable(input, object)];
    default:
      if (!isInForceKind(kind)) return [];
      return [
        policyInForce(object, {
          ...about,
          kind,
          progress: kind === 'HostEndpoint' ? progressOn(input, object) : index.progress[kind],
          since: input.since.get(about.ref) ?? '',
        }),
      ];
  }
}

/** A host endpoint is of one node: the others have nothing to put in force. */
function progressOn({ reports }: ClusterInput, { spec }: ApiObject): Progress {
  return progressOf(
    'HostEndpoint',
    reports.filter(({ node }) => node === spec?.['node']),
  );
}

/** Rules that cannot be read; the rest of the policy counts. */
function failsClosed({ notUsed }: About): string | undefined {
  const notes = notUsed.filter(({ message }) => message.includes('fails closed'));
  return notes.length === 0 ? undefined : listed(notes.map(({ field, message }) => `${field}: ${message}`));
}

function established(input: ClusterInput, about: About): ConditionNow {
  const { sessions } = about;
  const type = 'Established';
  const nodes = new Set(sessions.map(({ node }) => node));
  if (nodes.size === 0) {
    const held = said(input, about, 'heldDown');
    if (held) return condition(type, false, heldDownReason(about), held);
    return condition(type, 'Unknown', 'NoSession', 'no node has a session because of this object');
  }
  const down = sessions.filter(({ state }) => state !== 'Established');
  const count = `${sessions.length - down.length} of ${sessions.length} sessions on ${nodes.size} nodes are Established`;
  if (down.length === 0) return condition(type, true, 'AllEstablished', count);
  const held = down.filter(({ state }) => state === 'NotConfigured');
  const why = [...held, ...down.filter((session) => !held.includes(session))].map(
    ({ node, address, state, lastError }) => [node, `${address} ${state}${lastError ? `: ${lastError}` : ''}`] as const,
  );
  const none = down.length === sessions.length;
  const reason = held.length > 0 ? heldDownReason(about) : none ? 'NoneEstablished' : 'SomeNotEstablished';
  return condition(type, false, reason, `${count}; ${byNodes(why, nodes.size)}`);
}

/** A Secret that is missing is what most sessions are held down for; everything else is told by the message. */
function heldDownReason({ issues }: About): string {
  const others = issues.some(({ effect, field }) => effect === 'heldDown' && field !== 'spec.password');
  return others ? 'HeldDown' : 'PasswordMissing';
}

function applied(input: ClusterInput, { metadata }: ApiObject, about: About): ConditionNow {
  const type = 'Applied';
  const partial = said(input, about, 'partial');
  if (partial) return condition(type, false, 'FieldsNotApplied', partial);
  const users = (input.objects.BGPPeer ?? []).filter(({ spec }) => {
    const filters = spec?.['filters'];
    return Array.isArray(filters) && filters.includes(metadata.name);
  });
  if (users.length === 0) return condition(type, true, 'NotReferenced', 'no BGPPeer names this filter');
  return condition(type, true, 'AppliedInFull', `applied to ${listed(users.map((peer) => peer.metadata.name))}`);
}

function allocatable(input: ClusterInput, object: ApiObject): ConditionNow {
  const type = 'Allocatable';
  if (object.spec?.['disabled'] === true) {
    return condition(type, false, 'PoolDisabled', 'spec.disabled is set: no new address comes from this pool');
  }
  const misfit = poolMisfit(input, object);
  if (misfit) return condition(type, false, misfit.reason, misfit.message);
  return condition(
    type,
    true,
    'OK',
    'pods get addresses from the podCIDRs of their nodes; this pool says how they are treated',
  );
}

/** Of two pools that overlap, the one that came later does not fit. */
function poolMisfit(
  { objects, serviceCIDRs }: ClusterInput,
  object: ApiObject,
): { readonly reason: string; readonly message: string } | undefined {
  const cidr = cidrIn(object);
  if (!cidr) return undefined;
  const service = serviceCIDRs.find((range) => overlap(range, cidr));
  if (service) {
    const message = `spec.cidr: ${cidr} overlaps ${service}, the range of Services: pods with such addresses and Services take each other's packets: delete it, and make it anew with another range`;
    return { reason: 'InServiceRange', message };
  }
  const earlier = (objects.IPPool ?? []).find((other) => {
    const range = cidrIn(other);
    return range !== undefined && isEarlier(other, object) && overlap(range, cidr);
  });
  if (!earlier) return undefined;
  const message = `spec.cidr: ${cidr} overlaps ${cidrIn(earlier)} of IPPool ${earlier.metadata.name}, which was there first; what both say holds for the addresses that they share: delete one, and make it anew with another range`;
  return { reason: 'CIDROverlap', message };
}

function isEarlier(one: ApiObject, other: ApiObject): boolean {
  const key = ({ metadata }: ApiObject): string => `${metadata.creationTimestamp ?? ''} ${metadata.name}`;
  return key(one) < key(other);
}

function cidrIn({ spec }: ApiObject): Cidr | undefined {
  const text = spec?.['cidr'];
  return typeof text === 'string' ? toCidr(text) : undefined;
}

/** Prefixes overlap when one holds the other. */
function overlap(a: Cidr, b: Cidr): boolean {
  return cidrContains(a, b) || cidrContains(b, a);
}

function fieldsNotUsed({ notUsed }: About): ConditionNow | undefined {
  const fields = notUsed.map(({ field }) => field);
  if (fields.length === 0) return undefined;
  return condition('FieldsNotUsed', true, 'FieldsWithoutEffect', listed([...new Set(fields)].sort(), 40));
}
