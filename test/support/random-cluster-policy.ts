/** Random manifests of the Network Policy API, as an API server may hold them: also with what only a newer version of it knows. */
import fc, { type Arbitrary } from 'fast-check';
import type { RawClusterPolicy, RawPeer, RawPort, RawRule } from './naive-cluster-policy.ts';
import { cidr4, cidr6, labelSelector, namespaceSelector, portName, portNumber, protocol } from './random-policy.ts';

export const clusterPolicyIds = [
  { kind: 'ClusterNetworkPolicy', name: 'a' },
  { kind: 'ClusterNetworkPolicy', name: 'b' },
  { kind: 'ClusterNetworkPolicy', name: 'c' },
  { kind: 'AdminNetworkPolicy', name: 'a' },
  { kind: 'AdminNetworkPolicy', name: 'b' },
  { kind: 'BaselineAdminNetworkPolicy', name: 'default' },
] as const;
export type ClusterPolicyId = (typeof clusterPolicyIds)[number];

const api = 'policy.networking.k8s.io';
/** Equal ones too, and such that text would order otherwise. */
const priority = fc.constantFrom(9, 10, 10, 100);

const pods = fc.oneof(
  fc.record({ namespaceSelector, podSelector: labelSelector }),
  labelSelector.map((podSelector) => ({ namespaceSelector: {}, podSelector })),
);
const subject: Arbitrary<RawPeer> = fc.oneof(
  namespaceSelector.map((namespaces) => ({ namespaces })),
  pods.map((each) => ({ pods: each })),
);

/** Rare, or most rules would fail closed. */
const newer = { weight: 1, arbitrary: fc.constant<object>({ accounts: ['x'] }) };

function peer(side: 'from' | 'to', mayName: boolean): Arbitrary<RawPeer> {
  const networks = fc.uniqueArray(fc.oneof(cidr4, cidr6), { minLength: 1, maxLength: 6, size: 'max' });
  return fc.oneof(
    newer,
    { weight: 12, arbitrary: namespaceSelector.map((namespaces) => ({ namespaces })) },
    { weight: 12, arbitrary: pods.map((each) => ({ pods: each })) },
    ...(side === 'from'
      ? []
      : [
          { weight: 8, arbitrary: networks.map((each) => ({ networks: each })) },
          { weight: 8, arbitrary: labelSelector.map((nodes) => ({ nodes })) },
          { weight: mayName ? 4 : 1, arbitrary: fc.constant({ domainNames: ['*.example.com'] }) },
        ]),
  );
}

const range = fc
  .tuple(portNumber, fc.integer({ min: 1, max: 40 }))
  .map(([start, more]) => ({ start, end: start + more }));

const newPort: Arbitrary<RawPort> = fc.oneof(
  newer,
  {
    weight: 12,
    arbitrary: fc
      .tuple(
        protocol,
        fc.oneof(
          portNumber.map((number) => ({ number })),
          range.map((each) => ({ range: each })),
        ),
      )
      .map(([of, destinationPort]) => ({ [of.toLowerCase()]: { destinationPort } })),
  },
  { weight: 8, arbitrary: portName.map((destinationNamedPort) => ({ destinationNamedPort })) },
);
const olderPort: Arbitrary<RawPort> = fc.oneof(
  newer,
  { weight: 6, arbitrary: fc.record({ protocol, port: portNumber }).map((portNumber) => ({ portNumber })) },
  { weight: 6, arbitrary: fc.tuple(protocol, range).map(([of, each]) => ({ portRange: { protocol: of, ...each } })) },
  { weight: 8, arbitrary: portName.map((namedPort) => ({ namedPort })) },
);

function rule(kind: ClusterPolicyId['kind'], side: 'from' | 'to'): Arbitrary<RawRule> {
  const accept = kind === 'ClusterNetworkPolicy' ? 'Accept' : 'Allow';
  const actions =
    kind === 'BaselineAdminNetworkPolicy' ? ([accept, 'Deny'] as const) : ([accept, 'Deny', 'Pass'] as const);
  const port = kind === 'ClusterNetworkPolicy' ? newPort : olderPort;
  const portsField = kind === 'ClusterNetworkPolicy' ? 'protocols' : 'ports';
  return fc
    .constantFrom<RawRule['action']>(...actions)
    .chain((action) =>
      fc
        .tuple(
          fc.array(peer(side, action === accept), { minLength: 1, maxLength: 3, size: 'max' }),
          fc.array(port, { maxLength: 3, size: 'max' }),
        )
        .map(([peers, ports]) => ({ action, [side]: peers, ...(ports.length > 0 ? { [portsField]: ports } : {}) })),
    );
}

export function clusterPolicyArbitrary({ kind, name }: ClusterPolicyId): Arbitrary<RawClusterPolicy> {
  const rules = {
    subject,
    ingress: fc.array(rule(kind, 'from'), { maxLength: 3, size: 'max' }),
    egress: fc.array(rule(kind, 'to'), { maxLength: 3, size: 'max' }),
  };
  const spec: Arbitrary<RawClusterPolicy['spec']> =
    kind === 'ClusterNetworkPolicy'
      ? fc.record({ ...rules, priority, tier: fc.constantFrom('Admin' as const, 'Baseline' as const) })
      : kind === 'AdminNetworkPolicy'
        ? fc.record({ ...rules, priority })
        : fc.record(rules);
  const apiVersion = `${api}/${kind === 'ClusterNetworkPolicy' ? 'v1alpha2' : 'v1alpha1'}`;
  return spec.map((each) => ({ apiVersion, kind, metadata: { name }, spec: each }));
}
