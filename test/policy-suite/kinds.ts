/**
 * The kinds of object that a suite may apply: the one place where the engine's next kinds are made known to the runner. A kind
 * that stands here is read by the datastore's own reader and given to the engine as the model's object of that kind.
 */
import type { Kind } from '#model';
import { SuiteFormatError } from './format.ts';
import type { Suite, SuiteManifest } from './suite.ts';

/** Where a case is decided: by what the engine computes, or by packets. */
export type World = 'engine' | 'kernel';

interface PolicyKind {
  /** API group. */
  readonly group: string;
  readonly kind: Kind;
  /** As objects write it, where the model calls it otherwise. */
  readonly written?: string;
  /** What can decide by it. A kind that the renderer cannot write yet is not one of the kernel's. */
  readonly worlds: readonly World[];
}

const policyKinds: readonly PolicyKind[] = [
  { group: 'networking.k8s.io', kind: 'NetworkPolicy', worlds: ['engine', 'kernel'] },
  { group: 'policy.networking.k8s.io', kind: 'ClusterNetworkPolicy', worlds: ['engine', 'kernel'] },
  { group: 'policy.networking.k8s.io', kind: 'AdminNetworkPolicy', worlds: ['engine', 'kernel'] },
  { group: 'policy.networking.k8s.io', kind: 'BaselineAdminNetworkPolicy', worlds: ['engine', 'kernel'] },
  ...calico('CalicoNetworkPolicy', 'NetworkPolicy'),
  ...calico('GlobalNetworkPolicy'),
  ...calico('StagedNetworkPolicy'),
  ...calico('StagedGlobalNetworkPolicy'),
  ...calico('StagedKubernetesNetworkPolicy'),
  ...calico('Tier'),
  ...calico('NetworkSet'),
  ...calico('GlobalNetworkSet'),
  ...calico('HostEndpoint'),
  { group: '', kind: 'ServiceAccount', worlds: ['engine', 'kernel'] },
  { group: 'discovery.k8s.io', kind: 'EndpointSlice', worlds: ['engine', 'kernel'] },
];

/** In both of its groups. */
function calico(kind: Kind, written: string = kind): PolicyKind[] {
  return ['projectcalico.org', 'crd.projectcalico.org'].map((group) => ({
    group,
    kind,
    written,
    worlds: ['engine', 'kernel'],
  }));
}

function groupOf(apiVersion: string): string {
  return apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
}

/** Services are the runner's own: it rewrites as kube-proxy does. */
export function isService({ apiVersion, kind }: SuiteManifest): boolean {
  return kind === 'Service' && groupOf(apiVersion) === '';
}

/** Undefined: the runner does not know the kind. */
export function policyKindOf(manifest: Pick<SuiteManifest, 'apiVersion' | 'kind'>): Kind | undefined {
  return find(manifest.kind, groupOf(manifest.apiVersion))?.kind;
}

/** The kind that a `delete` names; without a group that of the first kind of that name. */
export function deletedKind(kind: string, group: string | undefined): Kind | undefined {
  return find(kind, group)?.kind;
}

function find(kind: string, group: string | undefined): PolicyKind | undefined {
  return policyKinds.find(
    (known) => (known.written ?? known.kind) === kind && (group === undefined || known.group === group),
  );
}

/** What of the suite's objects cannot be decided in `world`, as `Kind of group`, with the cases that apply it. */
export function unknownKinds(suite: Suite, world: World): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const { id, steps } of suite.cases) {
    const applied = steps
      .flatMap((step) => step.do)
      .flatMap((operation) => (operation.op === 'apply' && !isService(operation.object) ? [operation.object] : []));
    const unknown = applied.filter(({ kind, apiVersion }) => !find(kind, groupOf(apiVersion))?.worlds.includes(world));
    for (const name of new Set(unknown.map(({ kind, apiVersion }) => `${kind} of ${apiVersion}`))) {
      found.set(name, [...(found.get(name) ?? []), id]);
    }
  }
  return found;
}

/** @throws SuiteFormatError naming every kind that cannot be decided in `world`. */
export function checkKinds(suite: Suite, world: World): void {
  const unknown = unknownKinds(suite, world);
  if (unknown.size === 0) return;
  const texts = [...unknown].map(([name, ids]) => `${name} (${ids.length} cases, first ${ids[0]})`);
  const who = world === 'engine' ? 'the policy engine does not know' : 'the kernel rules cannot hold';
  throw new SuiteFormatError(`${suite.suite}: ${who} ${texts.join(', ')}`);
}
