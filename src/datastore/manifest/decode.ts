/** One parsed document (from YAML, JSON or an API server) -> one object of the model, or every fault found in it. */
import { nearest } from '#kit';
import type { Kind, ModelObjects, ObjectKey, ObjectMeta } from '#model';
import { readBgpConfiguration } from './bgp-configuration.ts';
import { readBgpFilter } from './bgp-filter.ts';
import { readBgpPeer } from './bgp-peer.ts';
import { readCalicoNodeStatus } from './calico-node-status.ts';
import {
  readCalicoNetworkPolicy,
  readGlobalNetworkPolicy,
  readNetworkSet,
  readServiceAccount,
  readTier,
} from './calico-policy.ts';
import { readAdminNetworkPolicy, readBaselineAdminNetworkPolicy, readClusterNetworkPolicy } from './cluster-policy.ts';
import { readNamespace, readNode, readPod } from './core.ts';
import { readEndpointSlice } from './endpoint-slice.ts';
import { readFelixConfiguration } from './felix-configuration.ts';
import { readHostEndpoint } from './host-endpoint.ts';
import { readIpPool } from './ip-pool.ts';
import { type DocumentSource, type MetadataRules, readMetadata } from './metadata.ts';
import { readNetworkPolicy } from './network-policy.ts';
import { type FieldFault, Reader, show, type UnknownFields } from './reader.ts';
import { readSecret } from './secret.ts';
import {
  readStagedGlobalNetworkPolicy,
  readStagedKubernetesNetworkPolicy,
  readStagedNetworkPolicy,
} from './staged-policy.ts';

/** `kind` with the object it is of, so that both narrow together. */
export type TypedObject = { [K in Kind]: { readonly kind: K; readonly object: ModelObjects[K] } }[Kind];

/** `Kind key`, e.g. `NetworkPolicy default/web`, `Node n1`: names an object in messages and maps. */
export type ObjectRef = string;
export function objectRef(kind: Kind, key: ObjectKey): ObjectRef {
  return `${kind} ${key}`;
}

interface KindRules<K extends Kind> extends MetadataRules {
  readonly apiVersions: readonly string[];
  /** As objects write it, where that is not the name here. */
  readonly writtenKind?: string;
  readonly read: (document: Reader, metadata: ObjectMeta, source: DocumentSource) => ModelObjects[K] | undefined;
}

/** crd.projectcalico.org/v1 is how an existing Calico stored the same objects. */
const calico = ['projectcalico.org/v3', 'crd.projectcalico.org/v1'];
const clusterPolicy = { namespaced: false, name: 'subdomain' } as const;
const kindRules: { readonly [K in Kind]: KindRules<K> } = {
  Node: { apiVersions: ['v1'], namespaced: false, name: 'subdomain', read: readNode },
  Namespace: { apiVersions: ['v1'], namespaced: false, name: 'label', read: readNamespace },
  Pod: { apiVersions: ['v1'], namespaced: true, name: 'subdomain', read: readPod },
  NetworkPolicy: {
    apiVersions: ['networking.k8s.io/v1'],
    namespaced: true,
    name: 'subdomain',
    read: (document, metadata) => readNetworkPolicy(document, metadata),
  },
  ClusterNetworkPolicy: {
    ...clusterPolicy,
    apiVersions: ['policy.networking.k8s.io/v1alpha2'],
    read: readClusterNetworkPolicy,
  },
  AdminNetworkPolicy: {
    ...clusterPolicy,
    apiVersions: ['policy.networking.k8s.io/v1alpha1'],
    read: readAdminNetworkPolicy,
  },
  BaselineAdminNetworkPolicy: {
    ...clusterPolicy,
    apiVersions: ['policy.networking.k8s.io/v1alpha1'],
    read: readBaselineAdminNetworkPolicy,
  },
  CalicoNetworkPolicy: {
    apiVersions: calico,
    writtenKind: 'NetworkPolicy',
    namespaced: true,
    name: 'subdomain',
    read: readCalicoNetworkPolicy,
  },
  GlobalNetworkPolicy: { apiVersions: calico, namespaced: false, name: 'subdomain', read: readGlobalNetworkPolicy },
  StagedNetworkPolicy: { apiVersions: calico, namespaced: true, name: 'subdomain', read: readStagedNetworkPolicy },
  StagedGlobalNetworkPolicy: {
    apiVersions: calico,
    namespaced: false,
    name: 'subdomain',
    read: readStagedGlobalNetworkPolicy,
  },
  StagedKubernetesNetworkPolicy: {
    apiVersions: calico,
    namespaced: true,
    name: 'subdomain',
    read: readStagedKubernetesNetworkPolicy,
  },
  Tier: { apiVersions: calico, namespaced: false, name: 'subdomain', read: readTier },
  NetworkSet: { apiVersions: calico, namespaced: true, name: 'subdomain', read: readNetworkSet },
  GlobalNetworkSet: { apiVersions: calico, namespaced: false, name: 'subdomain', read: readNetworkSet },
  HostEndpoint: { apiVersions: calico, namespaced: false, name: 'subdomain', read: readHostEndpoint },
  ServiceAccount: { apiVersions: ['v1'], namespaced: true, name: 'subdomain', read: readServiceAccount },
  EndpointSlice: {
    apiVersions: ['discovery.k8s.io/v1'],
    namespaced: true,
    name: 'subdomain',
    read: readEndpointSlice,
  },
  BGPConfiguration: { apiVersions: calico, namespaced: false, name: 'subdomain', read: readBgpConfiguration },
  BGPPeer: { apiVersions: calico, namespaced: false, name: 'subdomain', read: readBgpPeer },
  IPPool: { apiVersions: calico, namespaced: false, name: 'subdomain', read: readIpPool },
  BGPFilter: { apiVersions: calico, namespaced: false, name: 'subdomain', read: readBgpFilter },
  CalicoNodeStatus: { apiVersions: calico, namespaced: false, name: 'subdomain', read: readCalicoNodeStatus },
  FelixConfiguration: { apiVersions: calico, namespaced: false, name: 'subdomain', read: readFelixConfiguration },
  Secret: { apiVersions: ['v1'], namespaced: true, name: 'subdomain', read: readSecret },
};
const ourKinds = Object.keys(kindRules) as Kind[];
/** As its API calls it: two groups have a NetworkPolicy. */
export const writtenKind = (kind: Kind): string => kindRules[kind].writtenKind ?? kind;
/** For people; with the group where the name alone is that of another kind. */
export const shownKind = (kind: Kind): string =>
  kindRules[kind].writtenKind === undefined ? kind : `${writtenKind(kind)}.${groupOf(kindRules[kind].apiVersions[0]!)}`;
/** An ObjectRef for people. */
export function shownObject(ref: ObjectRef): string {
  const [kind = '', ...rest] = ref.split(' ');
  return Object.hasOwn(kindRules, kind) ? [shownKind(kind as Kind), ...rest].join(' ') : ref;
}
const ourGroups = [...new Set(ourKinds.flatMap((kind) => kindRules[kind].apiVersions.map(groupOf)))];

/** Kinds of other APIs that are named like ours or nearly so. */
const realOtherKinds = new Set(['IPPools', 'PodTemplate', 'IPReservation']);

export type Identity =
  | { readonly type: 'object'; readonly kind: Kind; readonly key: ObjectKey; readonly ref: ObjectRef }
  | { readonly type: 'ignored'; readonly apiVersion: string; readonly kind: string }
  /** It may have been meant as any object, so it must not pass as "nothing". */
  | { readonly type: 'unidentified'; readonly faults: readonly FieldFault[] };

/** Which object a document claims to be, whether or not it is valid otherwise. */
export function identify(value: unknown): Identity {
  const document = new Reader(value);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    document.fault(`${show(value)} is not an object; a document begins with apiVersion, kind and metadata`);
    return { type: 'unidentified', faults: document.faults };
  }
  const apiVersion = document.field('apiVersion').requiredString();
  const kindText = document.field('kind').requiredString();
  if (apiVersion === undefined || kindText === undefined) return { type: 'unidentified', faults: document.faults };
  const named = ourKinds.filter((candidate) => writtenKind(candidate) === kindText);
  if (named.length === 0) {
    const meant =
      realOtherKinds.has(kindText) || !ourGroups.includes(groupOf(apiVersion)) ? undefined : nearKind(kindText);
    if (!meant) return { type: 'ignored', apiVersion, kind: kindText };
    document.field('kind').fault(`${show(kindText)} is unknown; did you mean ${meant}?`);
    return { type: 'unidentified', faults: document.faults };
  }
  const kind = named.find((candidate) => !isOtherApi(candidate, apiVersion));
  if (!kind) return { type: 'ignored', apiVersion, kind: kindText };
  const metadata = document.field('metadata');
  const name = metadata.field('name').requiredString();
  const namespace = metadata.field('namespace').string();
  if (name === undefined || document.faults.length > 0) return { type: 'unidentified', faults: document.faults };
  const key = kindRules[kind].namespaced ? `${namespace || 'default'}/${name}` : name;
  return { type: 'object', kind, key, ref: objectRef(kind, key) };
}

function groupOf(apiVersion: string): string {
  return apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
}

/** Only what differs by case or by one letter; `Job` is no misspelt `Pod`. */
function nearKind(text: string): string | undefined {
  const meant = nearest(text, ourKinds.map(writtenKind), 2);
  return meant && text.length >= 3 ? meant : undefined;
}

/**
 * The same kind name in somebody else's API group (metallb.io BGPPeer). A near miss of ours is
 * not, nor is the group of Kubernetes' first NetworkPolicy.
 */
function isOtherApi(kind: Kind, apiVersion: string): boolean {
  const { apiVersions } = kindRules[kind];
  if (apiVersions.includes(apiVersion)) return false;
  const group = groupOf(apiVersion);
  if (group === '' || group === 'extensions' || apiVersions.some((ours) => groupOf(ours) === group)) return false;
  return nearest(group, apiVersions.map(groupOf)) === undefined;
}

export interface Decoded {
  readonly faults: readonly FieldFault[];
  /** Fields without effect here. */
  readonly notes: readonly FieldFault[];
  /** Present when there is no fault. */
  readonly typed?: TypedObject;
}

/**
 * A NetworkPolicy's unknown field may be one of a newer API that restricts, so that nobody may guess what it means (nor say what it would decide). Calico's
 * kinds come in many versions; of Kubernetes' own only a few fields are read here.
 */
function unknownFieldsOf(kind: Kind, source: DocumentSource): UnknownFields {
  if (source === 'directory' || kind === 'NetworkPolicy' || kind === 'StagedKubernetesNetworkPolicy') return 'fault';
  return kindRules[kind].apiVersions === calico ? 'note' : 'pass';
}

const needSpec: ReadonlySet<Kind> = new Set([
  'NetworkPolicy',
  'ClusterNetworkPolicy',
  'AdminNetworkPolicy',
  'BaselineAdminNetworkPolicy',
  'CalicoNetworkPolicy',
  'GlobalNetworkPolicy',
  'HostEndpoint',
  'StagedNetworkPolicy',
  'StagedGlobalNetworkPolicy',
  'StagedKubernetesNetworkPolicy',
  'BGPPeer',
  'IPPool',
  'CalicoNodeStatus',
] as const satisfies readonly Kind[]);

/** Kinds whose fields stand beside the metadata. */
const withoutSpec: ReadonlySet<Kind> = new Set(['Secret', 'ServiceAccount', 'EndpointSlice']);

/** Reads a document that was identified as of `kind`. */
export function decodeObject(kind: Kind, value: unknown, source: DocumentSource = 'directory'): Decoded {
  const document = Reader.of(value, unknownFieldsOf(kind, source));
  const rules = kindRules[kind];
  if (!withoutSpec.has(kind)) document.onlyFields(['apiVersion', 'kind', 'metadata', 'spec', 'status']);
  const version = document.field('apiVersion');
  if (!rules.apiVersions.includes(version.value as string)) {
    version.fault(
      `${show(version.value)} has no ${writtenKind(kind)} that is known here; write ${rules.apiVersions[0]}`,
    );
  }
  const metadata = readMetadata(document, rules, source);
  if (needSpec.has(kind) && !document.field('spec').present) document.field('spec').fault('is required');
  const object = rules.read(document, metadata, source);
  const { faults, notes } = document;
  if (faults.length > 0 || !object) return { faults, notes };
  return { faults, notes, typed: { kind, object } as TypedObject };
}
