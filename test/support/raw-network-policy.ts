/** A reader of NetworkPolicy manifests written apart from the datastore's, to check that one by. */
import assert from 'node:assert/strict';
import { type Cidr, toCidr } from '#kit';
import type {
  LabelSelector,
  NetworkPolicyObject,
  NetworkPolicyPeer,
  NetworkPolicyPort,
  NetworkPolicyRule,
} from '#model';
import type { SuiteManifest } from '../policy-suite/suite.ts';

function cidr(text: string): Cidr {
  const parsed = toCidr(text);
  assert.ok(parsed, `${text} is no prefix`);
  return parsed;
}

interface RawRule {
  readonly from?: readonly RawPeer[] | null;
  readonly to?: readonly RawPeer[] | null;
  readonly ports?: readonly Partial<NetworkPolicyPort>[] | null;
}
interface RawPeer {
  readonly podSelector?: RawSelector | null;
  readonly namespaceSelector?: RawSelector | null;
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] } | null;
}
type RawSelector = {
  readonly matchLabels?: LabelSelector['matchLabels'] | null;
  readonly matchExpressions?: readonly Partial<LabelSelector['matchExpressions'][number]>[] | null;
};

/** A NetworkPolicy manifest with the API server's defaults. */
export function networkPolicyOf(manifest: SuiteManifest): NetworkPolicyObject {
  assert.equal(`${manifest.apiVersion} ${manifest.kind}`, 'networking.k8s.io/v1 NetworkPolicy');
  const spec = (manifest.spec ?? {}) as {
    readonly podSelector?: RawSelector | null;
    readonly policyTypes?: readonly ('Ingress' | 'Egress')[] | null;
    readonly ingress?: readonly RawRule[] | null;
    readonly egress?: readonly RawRule[] | null;
  };
  const inferred: readonly ('Ingress' | 'Egress')[] = spec.egress?.length ? ['Ingress', 'Egress'] : ['Ingress'];
  return {
    metadata: {
      namespace: manifest.metadata.namespace ?? 'default',
      name: manifest.metadata.name,
      uid: '',
      labels: {},
      annotations: {},
    },
    podSelector: selectorOf(spec.podSelector),
    policyTypes: spec.policyTypes?.length ? spec.policyTypes : inferred,
    ingress: (spec.ingress ?? []).map((rule) => ruleOf(rule, rule.from)),
    egress: (spec.egress ?? []).map((rule) => ruleOf(rule, rule.to)),
  };
}

function selectorOf(raw: RawSelector | null | undefined): LabelSelector {
  return {
    matchLabels: raw?.matchLabels ?? {},
    matchExpressions: (raw?.matchExpressions ?? []).map(({ key, operator, values }) => ({
      key: key!,
      operator: operator!,
      values: values ?? [],
    })),
  };
}

function ruleOf(raw: RawRule, peers: readonly RawPeer[] | null | undefined): NetworkPolicyRule {
  return {
    peers: (peers ?? []).map(peerOf),
    ports: (raw.ports ?? []).map(({ protocol, port, endPort }) => ({
      protocol: protocol ?? 'TCP',
      ...(port !== undefined && { port }),
      ...(endPort !== undefined && { endPort }),
    })),
  };
}

function peerOf(raw: RawPeer): NetworkPolicyPeer {
  return {
    ...(raw.podSelector && { podSelector: selectorOf(raw.podSelector) }),
    ...(raw.namespaceSelector && { namespaceSelector: selectorOf(raw.namespaceSelector) }),
    ...(raw.ipBlock && {
      ipBlock: { cidr: cidr(raw.ipBlock.cidr), except: (raw.ipBlock.except ?? []).map(cidr) },
    }),
  };
}
