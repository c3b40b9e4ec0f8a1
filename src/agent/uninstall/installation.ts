/** What an installation consists of in the API, by name: it is removed by name, so that the rights to do so can name it, too. */
import { apiPath } from '../status/api-call.ts';

/** On everything that our manifests and the chart make. */
export const PART_OF_LABEL = 'app.kubernetes.io/part-of';
export const PART_OF = 'poplin';
/** Name of most of it. */
export const INSTALLED_NAME = 'poplin';
/** Where the Job of uninstall.yaml and the pods that clean nodes run: it outlives the installation's own namespace. */
export const UNINSTALL_NAMESPACE = 'poplin-uninstall';
/** Pods of the DaemonSet, where it is gone already and can not be asked for its selector. */
export const AGENT_LABELS: Readonly<Record<string, string>> = { 'app.kubernetes.io/name': 'poplin' };

export interface ObjectPlace {
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
  readonly path: string;
}

function clusterWide(kind: string, api: string, resource: string, name: string): ObjectPlace {
  return { kind, name, path: apiPath(`${api}/${resource}`, name) };
}

function namespaced(namespace: string, kind: string, api: string, resource: string, name: string): ObjectPlace {
  return { kind, name, namespace, path: apiPath(`${api}/namespaces`, namespace, resource, name) };
}

const coreApi = '/api/v1';
const rbacApi = '/apis/rbac.authorization.k8s.io/v1';
const definitionsApi = '/apis/apiextensions.k8s.io/v1';
const admissionApi = '/apis/admissionregistration.k8s.io/v1';
/** Binds the agents' writes to their own nodes. */
const GUARD_NAME = 'poplin-node-guard';

export function daemonSetPlace(namespace: string): ObjectPlace {
  return namespaced(namespace, 'DaemonSet', '/apis/apps/v1', 'daemonsets', INSTALLED_NAME);
}

export function configMapPlace(namespace: string): ObjectPlace {
  return namespaced(namespace, 'ConfigMap', coreApi, 'configmaps', INSTALLED_NAME);
}

export function namespacePlace(name: string): ObjectPlace {
  return clusterWide('Namespace', coreApi, 'namespaces', name);
}

/** Without DaemonSet, namespace and definitions; in the order of removal. */
export function smallPlaces(namespace: string): readonly ObjectPlace[] {
  return [
    namespaced(namespace, 'Lease', '/apis/coordination.k8s.io/v1', 'leases', 'poplin-status'),
    configMapPlace(namespace),
    clusterWide('ValidatingAdmissionPolicyBinding', admissionApi, 'validatingadmissionpolicybindings', GUARD_NAME),
    clusterWide('ValidatingAdmissionPolicy', admissionApi, 'validatingadmissionpolicies', GUARD_NAME),
    clusterWide('ClusterRoleBinding', rbacApi, 'clusterrolebindings', INSTALLED_NAME),
    clusterWide('ClusterRole', rbacApi, 'clusterroles', INSTALLED_NAME),
    namespaced(namespace, 'RoleBinding', rbacApi, 'rolebindings', INSTALLED_NAME),
    namespaced(namespace, 'Role', rbacApi, 'roles', INSTALLED_NAME),
    namespaced(namespace, 'ServiceAccount', coreApi, 'serviceaccounts', INSTALLED_NAME),
  ];
}

export interface Definition extends ObjectPlace {
  /** Collection of its objects. */
  readonly collection: string;
  /** Its objects are the operator's configuration; without: they are our reports. */
  readonly holdsConfiguration: boolean;
}

function definition(plural: string, group: string, version: string, holdsConfiguration: boolean): Definition {
  const place = clusterWide(
    'CustomResourceDefinition',
    definitionsApi,
    'customresourcedefinitions',
    `${plural}.${group}`,
  );
  return { ...place, collection: `/apis/${group}/${version}/${plural}`, holdsConfiguration };
}

export const definitions: readonly Definition[] = [
  definition('poplinnodes', 'poplin.dev', 'v1alpha1', false),
  ...[
    ...['bgpconfigurations', 'bgppeers', 'bgpfilters', 'ippools', 'caliconodestatuses', 'felixconfigurations'],
    ...['networkpolicies', 'globalnetworkpolicies', 'tiers', 'networksets', 'globalnetworksets', 'hostendpoints'],
    ...['stagednetworkpolicies', 'stagedglobalnetworkpolicies', 'stagedkubernetesnetworkpolicies'],
  ].map((plural) => definition(plural, 'projectcalico.org', 'v3', true)),
];

/** Of the Network Policy API, in whose objects agents write conditions beside those of others. */
export const policyCollections: readonly string[] = [
  ...['v1alpha2/clusternetworkpolicies', 'v1alpha1/adminnetworkpolicies', 'v1alpha1/baselineadminnetworkpolicies'],
].map((each) => `/apis/policy.networking.k8s.io/${each}`);

/** `DaemonSet poplin-system/poplin`. */
export function placeText({ kind, namespace, name }: Pick<ObjectPlace, 'kind' | 'namespace' | 'name'>): string {
  return `${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`;
}
