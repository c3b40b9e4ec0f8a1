/** Which resources of the API each kind of the model is read from. */
import type { Kind } from '#model';

export interface Resource {
  readonly kind: Kind;
  /** As in objects, e.g. `projectcalico.org/v3`. */
  readonly apiVersion: string;
  /** Plural, e.g. `bgppeers`: names it in roles. */
  readonly name: string;
  /** Of all namespaces, e.g. `/apis/projectcalico.org/v3/bgppeers`. */
  readonly path: string;
  /** Whether an API server may be without it. */
  readonly optional: boolean;
  /** Followed only from the first object on that needs it. */
  readonly onDemand?: true;
}

function core(kind: Kind, apiVersion: string, name: string): Resource {
  return { kind, apiVersion, name, path: `${apiPath(apiVersion)}/${name}`, optional: false };
}

/** `/api/v1` or `/apis/GROUP/VERSION`. */
export function apiPath(apiVersion: string): string {
  return apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
}

/** Where both are served and name the same object, the first wins: the second is how Calico stores what it serves as the first. */
const calicoVersions = ['projectcalico.org/v3', 'crd.projectcalico.org/v1'];

/** Definitions that a cluster may have or not. */
function optional(kind: Kind, apiVersion: string, name: string): Resource {
  return { ...core(kind, apiVersion, name), optional: true };
}

function calico(kind: Kind, name: string): Resource[] {
  return calicoVersions.map((apiVersion) => optional(kind, apiVersion, name));
}

/** In order of precedence within a kind. Secrets are not here: they are read by name. */
export const resources: readonly Resource[] = [
  core('Namespace', 'v1', 'namespaces'),
  core('NetworkPolicy', 'networking.k8s.io/v1', 'networkpolicies'),
  optional('ClusterNetworkPolicy', 'policy.networking.k8s.io/v1alpha2', 'clusternetworkpolicies'),
  optional('AdminNetworkPolicy', 'policy.networking.k8s.io/v1alpha1', 'adminnetworkpolicies'),
  optional('BaselineAdminNetworkPolicy', 'policy.networking.k8s.io/v1alpha1', 'baselineadminnetworkpolicies'),
  core('ServiceAccount', 'v1', 'serviceaccounts'),
  ...calico('CalicoNetworkPolicy', 'networkpolicies'),
  ...calico('GlobalNetworkPolicy', 'globalnetworkpolicies'),
  ...calico('StagedNetworkPolicy', 'stagednetworkpolicies'),
  ...calico('StagedGlobalNetworkPolicy', 'stagedglobalnetworkpolicies'),
  ...calico('StagedKubernetesNetworkPolicy', 'stagedkubernetesnetworkpolicies'),
  ...calico('Tier', 'tiers'),
  ...calico('NetworkSet', 'networksets'),
  ...calico('GlobalNetworkSet', 'globalnetworksets'),
  { ...core('EndpointSlice', 'discovery.k8s.io/v1', 'endpointslices'), onDemand: true },
  ...calico('HostEndpoint', 'hostendpoints'),
  core('Node', 'v1', 'nodes'),
  core('Pod', 'v1', 'pods'),
  ...calico('BGPConfiguration', 'bgpconfigurations'),
  ...calico('BGPPeer', 'bgppeers'),
  ...calico('BGPFilter', 'bgpfilters'),
  ...calico('IPPool', 'ippools'),
  ...calico('CalicoNodeStatus', 'caliconodestatuses'),
  ...calico('FelixConfiguration', 'felixconfigurations'),
];
