/** The status of a PoplinNode object, from what the parts say. Pure; bounded whatever they say. */
import type { PeerStatus } from '#bgp';
import type { DatastoreFault } from '#datastore';
import type { Kind } from '#model';
import { bounded, type Condition, type ConditionNow } from './conditions.ts';
import { type AddressFacts, type NodeFacts, objectText } from './facts.ts';
import { nodeConditions } from './node-conditions.ts';

export const POPLIN_GROUP = 'poplin.dev';
export const POPLIN_NODES_PATH = '/apis/poplin.dev/v1alpha1/poplinnodes';

/** An object of a node that meshes with a thousand others stays small: sessions that are well are counted, not listed, beyond this. */
export const SESSIONS_MAX = 64;
export const EXCEPTIONS_MAX = 200;
const NOT_USED_MAX = 50;
const FAULTS_MAX = 50;
const REJECTED_MAX = 32;
const TEXT_CHARACTERS_MAX = 256;

export interface PoplinNodeStatus extends PoplinNodeContent {
  readonly conditions: readonly Condition[];
  /** When this was seen, RFC 3339. */
  readonly observedAt: string;
}

/** What is written, but for the times of writing. */
export interface PoplinNodeContent {
  readonly version: string;
  readonly startedAt: string;
  readonly addresses: AddressFacts['chosen'];
  readonly rejectedAddresses: AddressFacts['rejected'];
  readonly podCIDRs: readonly string[];
  readonly conditions: readonly ConditionNow[];
  readonly bgp: BgpContent;
  readonly routes: {
    readonly ipv4: number;
    readonly ipv6: number;
    readonly pending: number;
    readonly unresolved: number;
    readonly refused: number;
    readonly stale: number;
  };
  readonly policy: {
    readonly backend?: string;
    readonly policies: number;
    readonly endpoints: number;
    readonly sets: number;
  };
  readonly pods: {
    readonly wired: number;
    readonly addresses: readonly { readonly cidr: string; readonly used: number; readonly size: number }[];
  };
  readonly kinds: readonly KindContent[];
  /** Objects whose newest version is not in force, at most `EXCEPTIONS_MAX`. */
  readonly exceptions: readonly ExceptionContent[];
  readonly exceptionsTotal: number;
  readonly notUsed: readonly { readonly object: string; readonly field: string; readonly message: string }[];
  readonly notUsedTotal: number;
  /** In plain words, what is wrong and belongs to no object. */
  readonly faults: readonly string[];
  /** For columns of `kubectl get`. */
  readonly summary: {
    readonly sessions: string;
    readonly addresses: string;
    readonly routes: string;
    readonly pods: string;
  };
}

export interface BgpContent {
  readonly asn?: number;
  readonly routerID?: string;
  readonly established: number;
  readonly configured: number;
  readonly sessions: readonly SessionContent[];
  /** Sessions that are Established and not listed. */
  readonly sessionsOmitted: number;
}

export interface SessionContent {
  /** `mesh/NODE` or `peer/BGPPEER`. */
  readonly name: string;
  readonly peerIP: string;
  readonly asn: number;
  readonly state: string;
  /** RFC 3339. */
  readonly since: string;
  readonly received: { readonly ipv4: number; readonly ipv6: number };
  readonly sent: { readonly ipv4: number; readonly ipv6: number };
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
  readonly object: string;
  readonly field?: string;
  readonly reason: string;
  readonly message: string;
}

/** `sinceOf`: when a peer came into its state, steady over repeated calls. */
export function poplinNodeContent(facts: NodeFacts, sinceOf: (peer: PeerStatus) => string): PoplinNodeContent {
  const exceptions = exceptionsOf(facts);
  const bgp = bgpContent(facts, sinceOf);
  const { routes, policy, pods, datastore, addresses } = facts;
  return {
    version: facts.version,
    startedAt: facts.startedAt,
    addresses: addresses.chosen,
    rejectedAddresses: addresses.rejected.slice(0, REJECTED_MAX),
    podCIDRs: facts.podCIDRs,
    conditions: nodeConditions(facts),
    bgp,
    routes: {
      ...routes.installed,
      pending: routes.pending,
      unresolved: routes.unresolved,
      refused: routes.refused,
      stale: routes.stale,
    },
    policy: {
      ...(policy.backend ? { backend: policy.backend } : {}),
      policies: policy.policies.known,
      endpoints: policy.endpoints.programmed,
      sets: policy.sets,
    },
    pods: { wired: pods.wired, addresses: pods.ranges },
    kinds: kindsOf(facts),
    exceptions: exceptions.slice(0, EXCEPTIONS_MAX),
    exceptionsTotal: exceptions.length + Math.max(0, datastore.faultsTotal - datastore.faults.length),
    notUsed: datastore.notUsed
      .slice(0, NOT_USED_MAX)
      .map(({ object, field, message }) => ({ object, field, message: bounded(message, TEXT_CHARACTERS_MAX) })),
    notUsedTotal: datastore.notUsedTotal,
    faults: faultsOf(facts),
    summary: {
      sessions: `${bgp.established}/${bgp.configured}`,
      addresses: addresses.chosen.map(({ address }) => address).join(','),
      routes: String(routes.installed.ipv4 + routes.installed.ipv6),
      pods: String(pods.wired),
    },
  };
}

function bgpContent({ speaker }: NodeFacts, sinceOf: (peer: PeerStatus) => string): BgpContent {
  const peers = speaker?.peers ?? [];
  const established = peers.filter((peer) => peer.state === 'Established').length;
  // What people look for comes first: sessions that are down, then those that somebody asked for by name.
  const rank = (peer: PeerStatus): number => (peer.state !== 'Established' ? 0 : peer.name.startsWith('mesh/') ? 2 : 1);
  const listedPeers = [...peers].sort((a, b) => rank(a) - rank(b)).slice(0, SESSIONS_MAX);
  const byName = (a: PeerStatus, b: PeerStatus): number => (a.name < b.name ? -1 : 1);
  return {
    ...(speaker ? { asn: speaker.asn, routerID: speaker.routerId } : {}),
    established,
    configured: peers.length,
    sessions: listedPeers.sort(byName).map((peer) => sessionContent(peer, sinceOf)),
    sessionsOmitted: peers.length - listedPeers.length,
  };
}

function sessionContent(peer: PeerStatus, sinceOf: (peer: PeerStatus) => string): SessionContent {
  const count = (what: 'accepted' | 'sent', family: string): number =>
    peer.families.find((each) => each.family === family)?.[what] ?? 0;
  const up = peer.state === 'Established';
  return {
    name: peer.name,
    peerIP: peer.address,
    asn: peer.asn,
    state: peer.state,
    since: sinceOf(peer),
    received: { ipv4: count('accepted', 'ipv4-unicast'), ipv6: count('accepted', 'ipv6-unicast') },
    sent: { ipv4: count('sent', 'ipv4-unicast'), ipv6: count('sent', 'ipv6-unicast') },
    ...(!up && peer.lastError ? { lastError: bounded(peer.lastError, TEXT_CHARACTERS_MAX) } : {}),
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

function exceptionsOf({ datastore, bgp, nodeName }: NodeFacts): readonly ExceptionContent[] {
  const invalid = datastore.faults.filter((fault) => fault.object !== undefined).map(exceptionOfFault);
  const problems = bgp.problems.map((problem) => ({
    object: objectText(problem, nodeName),
    ...(problem.field === undefined ? {} : { field: problem.field }),
    reason: problem.reason,
    message: bounded(problem.message, TEXT_CHARACTERS_MAX),
  }));
  return [...invalid, ...problems];
}

function exceptionOfFault({ object, field, message, effect }: DatastoreFault): ExceptionContent {
  return {
    object: object!,
    ...(field === undefined ? {} : { field }),
    reason: 'Invalid',
    message: bounded(`${message} (${effect})`, TEXT_CHARACTERS_MAX),
  };
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
