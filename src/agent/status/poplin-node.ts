/** The status of a PoplinNode object, from what the parts say. Pure; bounded whatever they say. */
import type { PeerStatus } from '#bgp';
import type { DatastoreFault, DatastoreStatus } from '#datastore';
import type { Kind } from '#model';
import type { IssueEffect } from '../bgp/issue.ts';
import { bounded, type Condition, type ConditionNow } from './conditions.ts';
import type { AddressFacts, NodeFacts, PodFacts } from './facts.ts';
import { nodeConditions } from './node-conditions.ts';

export const POPLIN_GROUP = 'poplin.dev';
export const POPLIN_NODES_PATH = '/apis/poplin.dev/v1alpha1/poplinnodes';

/**
 * The definition would take 512. Of a node that meshes with a thousand others, sessions that are well are counted, not listed, beyond this: one agent
 * reads these objects of all nodes.
 */
export const SESSIONS_MAX = 64;
export const EXCEPTIONS_MAX = 200;
const NOT_USED_MAX = 50;
const NOT_USED_FIELDS_MAX = 64;
const FAULTS_MAX = 50;
const REJECTED_MAX = 32;
const TEXT_CHARACTERS_MAX = 256;

export interface PoplinNodeStatus extends PoplinNodeContent {
  readonly conditions: readonly Condition[];
  /** When this was seen, RFC 3339. */
  readonly observedAt: string;
}

interface ByFamily {
  readonly ipv4: number;
  readonly ipv6: number;
}

/** What is written, but for the times of writing. Field by field as `deploy/crds` defines it. */
export interface PoplinNodeContent {
  readonly version: { readonly version: string; readonly node: string };
  readonly addresses: { readonly ipv4?: string; readonly ipv6?: string; readonly source?: string };
  readonly rejectedAddresses: AddressFacts['rejected'];
  readonly podCIDRs: readonly string[];
  readonly conditions: readonly ConditionNow[];
  readonly bgp: BgpContent;
  readonly routes: { readonly programmed: ByFamily; readonly unresolved: number; readonly stale: number };
  readonly policy: {
    readonly backend?: string;
    readonly policies: number;
    readonly endpoints: number;
    readonly sets: number;
  };
  readonly pods: { readonly count: number; readonly addressesUsed: PodFacts['ranges'] };
  readonly kinds: readonly KindContent[];
  /** What is not in force although it was read, at most `EXCEPTIONS_MAX`. */
  readonly exceptions: readonly ExceptionContent[];
  readonly exceptionsTotal: number;
  readonly notUsed: readonly { readonly object: string; readonly fields: readonly string[] }[];
  readonly notUsedTotal: number;
  /** In plain words, what is wrong and belongs to no object. */
  readonly faults: readonly string[];
  readonly summary: Readonly<
    Record<'ready' | 'sessions' | 'pods' | 'routes' | 'policies' | 'version' | 'address', string>
  >;
}

export interface BgpContent {
  readonly asn?: number;
  readonly routerID?: string;
  readonly established: number;
  readonly configured: number;
  /** Those that are not up first, then those named by BGPPeers. */
  readonly sessions: readonly SessionContent[];
}

export interface SessionContent {
  /** As `poplin bgp peers` names it. */
  readonly name: string;
  readonly address: string;
  readonly asn: number;
  readonly state: string;
  readonly since: string;
  /** How often it came up. */
  readonly established: number;
  readonly received: ByFamily;
  readonly sent: ByFamily;
  readonly lastError?: string;
}

export interface KindContent {
  readonly kind: Kind;
  readonly apiVersions: readonly string[];
  readonly state: string;
  /** Up to here everything is in force. */
  readonly resourceVersion?: string;
  readonly reason?: string;
}

export interface ExceptionContent {
  /** E.g. `BGPPeer tor-1`. */
  readonly object?: string;
  readonly field?: string;
  readonly message: string;
  readonly effect: string;
  readonly since?: string;
  readonly blocking: boolean;
}

/** What holds meanwhile, in words that the agent which sums up all nodes knows again. */
export const effectTexts: Readonly<Record<IssueEffect, string>> = {
  waiting: 'it waits',
  unused: 'the object does nothing on this node',
  heldDown: 'its sessions are kept down',
  partial: 'the rest of the object is in force',
};

/** Of a policy that the dataplane cannot express. */
const REFUSED_EFFECT = 'all that it decides is denied on this node';

/** `sinceOf`: when a peer came into its state, steady over repeated calls. */
export function poplinNodeContent(facts: NodeFacts, sinceOf: (peer: PeerStatus) => string): PoplinNodeContent {
  const exceptions = exceptionsOf(facts);
  const bgp = bgpContent(facts, sinceOf);
  const conditions = nodeConditions(facts);
  const { routes, policy, pods, datastore, addresses } = facts;
  const notUsed = notUsedOf(datastore);
  return {
    version: { version: facts.version, node: facts.nodeVersion },
    addresses: {
      ...(addresses.ipv4 ? { ipv4: addresses.ipv4 } : {}),
      ...(addresses.ipv6 ? { ipv6: addresses.ipv6 } : {}),
      ...(addresses.source ? { source: bounded(addresses.source, TEXT_CHARACTERS_MAX) } : {}),
    },
    rejectedAddresses: addresses.rejected.slice(0, REJECTED_MAX),
    podCIDRs: facts.podCIDRs,
    conditions,
    bgp,
    routes: { programmed: routes.installed, unresolved: routes.unresolved, stale: routes.stale },
    policy: {
      ...(policy.backend ? { backend: policy.backend } : {}),
      policies: policy.policies.known,
      endpoints: policy.endpoints.programmed,
      sets: policy.sets,
    },
    pods: { count: pods.wired, addressesUsed: pods.ranges },
    kinds: kindsOf(facts),
    exceptions: exceptions.slice(0, EXCEPTIONS_MAX),
    exceptionsTotal: exceptions.length + Math.max(0, datastore.faultsTotal - datastore.faults.length),
    notUsed: notUsed.slice(0, NOT_USED_MAX),
    notUsedTotal: notUsed.length,
    faults: faultsOf(facts),
    summary: {
      ready: conditions.find(({ type }) => type === 'Ready')!.status,
      sessions: `${bgp.established}/${bgp.configured}`,
      pods: String(pods.wired),
      routes: String(routes.installed.ipv4 + routes.installed.ipv6),
      policies: String(policy.policies.known),
      version: facts.version,
      address: [addresses.ipv4, addresses.ipv6].filter(Boolean).join(','),
    },
  };
}

function bgpContent({ speaker, bgp }: NodeFacts, sinceOf: (peer: PeerStatus) => string): BgpContent {
  const peers = speaker?.peers ?? [];
  const established = peers.filter((peer) => peer.state === 'Established').length;
  const byName = (a: PeerStatus, b: PeerStatus): number => (a.name < b.name ? -1 : 1);
  // What people look for comes first: sessions that are down, then those that somebody asked for by name.
  const rank = (peer: PeerStatus): number => (peer.state !== 'Established' ? 0 : peer.name.startsWith('mesh/') ? 2 : 1);
  const ordered = [...peers].sort((a, b) => rank(a) - rank(b) || byName(a, b));
  return {
    ...(speaker ? { asn: speaker.asn, routerID: speaker.routerId } : {}),
    established,
    configured: peers.length,
    sessions: ordered.slice(0, SESSIONS_MAX).map((peer) => sessionContent(peer, bgp.heldDown.get(peer.name), sinceOf)),
  };
}

function sessionContent(
  peer: PeerStatus,
  heldDown: string | undefined,
  sinceOf: (peer: PeerStatus) => string,
): SessionContent {
  const count = (what: 'accepted' | 'sent', family: string): number =>
    peer.families.find((each) => each.family === family)?.[what] ?? 0;
  const byFamily = (what: 'accepted' | 'sent'): ByFamily => ({
    ipv4: count(what, 'ipv4-unicast'),
    ipv6: count(what, 'ipv6-unicast'),
  });
  const lastError = peer.state === 'Established' ? '' : (heldDown ?? peer.lastError);
  return {
    name: peer.name,
    address: peer.address,
    asn: peer.asn,
    state: heldDown === undefined ? peer.state : 'NotConfigured',
    since: sinceOf(peer),
    established: peer.establishedCount,
    received: byFamily('accepted'),
    sent: byFamily('sent'),
    ...(lastError ? { lastError: bounded(lastError, TEXT_CHARACTERS_MAX) } : {}),
  };
}

function kindsOf({ datastore, inForce }: NodeFacts): readonly KindContent[] {
  return (
    Object.entries(datastore.kinds ?? {}) as [Kind, NonNullable<NonNullable<typeof datastore.kinds>[Kind]>][]
  ).map(([kind, { apiVersions, state, reason }]) => ({
    kind,
    apiVersions,
    state,
    ...(inForce[kind] === undefined ? {} : { resourceVersion: inForce[kind] }),
    ...(reason === undefined ? {} : { reason: bounded(reason, TEXT_CHARACTERS_MAX) }),
  }));
}

function exceptionsOf({ datastore, bgp, policy }: NodeFacts): readonly ExceptionContent[] {
  const invalid = datastore.faults.filter((fault) => fault.object !== undefined).map(exceptionOfFault);
  const issues = bgp.issues.map(({ object, field, message, effect }) => ({
    object: `${object.kind} ${object.name}`,
    ...(field === '' ? {} : { field }),
    message: bounded(message, TEXT_CHARACTERS_MAX),
    effect: effectTexts[effect],
    blocking: false,
  }));
  const refused = policy.policies.refused.map(({ id, direction, reason }) => ({
    object: id.replace(':', ' '),
    field: `spec.${direction}`,
    message: bounded(reason, TEXT_CHARACTERS_MAX),
    effect: REFUSED_EFFECT,
    blocking: false,
  }));
  const hosts = policy.hostEndpoints.refused.map(({ id, reason }) => ({
    object: id.replace(':', ' '),
    message: bounded(reason, TEXT_CHARACTERS_MAX),
    effect: 'it is not in force on this node',
    blocking: false,
  }));
  return [...invalid, ...issues, ...refused, ...hosts];
}

function exceptionOfFault({ object, field, message, effect, since, blocking }: DatastoreFault): ExceptionContent {
  return {
    object: object!,
    ...(field === undefined ? {} : { field }),
    message: bounded(message, TEXT_CHARACTERS_MAX),
    effect: bounded(effect, TEXT_CHARACTERS_MAX),
    since,
    blocking,
  };
}

/** By object, in the order of the notes. */
function notUsedOf({ notUsed }: DatastoreStatus): PoplinNodeContent['notUsed'] {
  const byObject = Map.groupBy(notUsed, ({ object }) => object);
  return [...byObject].map(([object, notes]) => ({
    object,
    fields: notes.slice(0, NOT_USED_FIELDS_MAX).map(({ field }) => bounded(field, TEXT_CHARACTERS_MAX)),
  }));
}

function faultsOf({ datastore, routes, policy, pods }: NodeFacts): readonly string[] {
  const texts = [
    ...datastore.faults
      .filter(({ object }) => object === undefined)
      .map(({ message, effect }) => `datastore: ${message} (${effect})`),
    ...(routes.error === undefined ? [] : [`routes: ${routes.error}`]),
    ...(policy.lastError === undefined ? [] : [`policy: ${policy.lastError}`]),
    ...(pods.notServing === undefined ? [] : [`cni: ${pods.notServing}`]),
  ];
  return texts.slice(0, FAULTS_MAX).map((text) => bounded(text, TEXT_CHARACTERS_MAX));
}

/**
 * Equal for contents of which the second is not worth a write: resourceVersions that moved are looked at apart, and a peer that does not answer
 * goes round through Idle, Connect and Active for ever.
 */
export function contentKey(content: PoplinNodeContent): string {
  const sessions = content.bgp.sessions.map((session) =>
    session.state === 'Established' ? session : { ...session, state: 'down' },
  );
  const kinds = content.kinds.map((kind) => ({ ...kind, resourceVersion: kind.resourceVersion !== undefined }));
  return JSON.stringify({ ...content, kinds, bgp: { ...content.bgp, sessions } });
}

export function revisionKey({ kinds }: PoplinNodeContent): string {
  return kinds.map(({ kind, resourceVersion }) => `${kind}=${resourceVersion ?? ''}`).join();
}
