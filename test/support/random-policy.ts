/** Random namespaces, pods and NetworkPolicies in a world small enough that things meet: few keys, few addresses, few ports. */
import fc, { type Arbitrary } from 'fast-check';
import type { Cidr, IpAddress } from '#kit';
import type {
  ContainerPort,
  LabelSelector,
  LabelSelectorRequirement,
  Labels,
  NamespaceObject,
  NetworkPolicyObject,
  NetworkPolicyPeer,
  NetworkPolicyPort,
  NetworkPolicyRule,
  NodeObject,
  ObjectMeta,
  PodObject,
  Protocol,
} from '#model';

export const namespaceNames = ['red', 'green', 'blue'];
export const probedPorts = [53, 80, 81, 8080];
export const probedProtocols: readonly Protocol[] = ['TCP', 'UDP', 'SCTP'];
/** An address of each family that no pod has; the node's, and two that blocks below hold and cut out. */
export const externals = ['192.168.0.1', '192.0.2.1', '10.0.0.99', 'fd00::99', '2001:db8::1'] as IpAddress[];

const keys = ['app', 'tier', 'constructor'];
const values = ['', 'web', 'db'];
const key = fc.constantFrom(...keys);
const value = fc.constantFrom(...values);
/** Mostly one, so that names, numbers and protocols of policies and pods meet. */
export const protocol = fc.constantFrom<Protocol>('TCP', 'TCP', 'TCP', 'UDP', 'SCTP');
export const portNumber = fc.constantFrom(...probedPorts);
export const portName = fc.constantFrom('http', 'http', 'dns', 'nobody');

export const labels: Arbitrary<Labels> = fc.dictionary(key, value, { maxKeys: 3, noNullPrototype: true });

function meta(namespace: string, name: string, own: Labels): ObjectMeta {
  return { namespace, name, uid: `${namespace}/${name}`, labels: own, annotations: {} };
}

export function namespaceArbitrary(name: string): Arbitrary<NamespaceObject> {
  // A label that contradicts the name must not count.
  const lying = fc.constantFrom({}, { 'kubernetes.io/metadata.name': 'green' });
  return fc.tuple(labels, lying).map(([own, lie]) => ({ metadata: meta('', name, { ...own, ...lie }) }));
}

const containerPort: Arbitrary<ContainerPort> = fc
  .tuple(fc.option(fc.constantFrom('http', 'dns'), { nil: undefined }), portNumber, protocol)
  .map(([name, containerPort, protocol]) => ({ ...(name !== undefined && { name }), containerPort, protocol }));

/** Its addresses are among `externals`. */
export function nodeArbitrary(name: 'n1' | 'n2'): Arbitrary<NodeObject> {
  const [internalIPs, otherIPs] = (name === 'n1' ? [['192.168.0.1'], []] : [['2001:db8::1'], ['192.0.2.1']]) as [
    IpAddress[],
    IpAddress[],
  ];
  return labels.map((own) => ({ metadata: meta('', name, own), podCIDRs: [], internalIPs, otherIPs }));
}

const families = fc.constantFrom<readonly (4 | 6)[]>([4, 6], [4, 6], [4], [6], []);

/** `slot` picks the addresses: pods with equal slots hold the same ones. */
export function podArbitrary(namespace: string, name: string, slot: Arbitrary<number>): Arbitrary<PodObject> {
  return fc
    .record({
      labels,
      slot,
      families,
      ports: fc.array(containerPort, { maxLength: 3, size: 'max' }),
      phase: fc.constantFrom<PodObject['phase']>('Running', 'Running', 'Running', 'Pending', 'Succeeded', 'Failed'),
      terminating: fc.boolean(),
      hostNetwork: fc.constantFrom(false, false, false, false, true),
      serviceAccountName: fc.constantFrom('default', 'robot'),
    })
    .map(({ labels: own, slot: at, families: both, ports, phase, terminating, hostNetwork, serviceAccountName }) => ({
      metadata: meta(namespace, name, own),
      nodeName: 'n1',
      hostNetwork,
      serviceAccountName,
      ports,
      phase,
      terminating,
      podIPs: (hostNetwork
        ? ['192.168.0.1']
        : both.map((family) => (family === 4 ? `10.0.0.${at}` : `fd00::${at}`))) as IpAddress[],
    }));
}

const requirement: Arbitrary<LabelSelectorRequirement> = fc.oneof(
  fc.record({
    key,
    operator: fc.constantFrom<'In' | 'NotIn'>('In', 'NotIn'),
    values: fc.uniqueArray(value, { minLength: 1, maxLength: 2 }),
  }),
  fc.record({
    key,
    operator: fc.constantFrom<'Exists' | 'DoesNotExist'>('Exists', 'DoesNotExist'),
    values: fc.constant([]),
  }),
);

export const labelSelector: Arbitrary<LabelSelector> = fc.oneof(
  fc.constant({ matchLabels: {}, matchExpressions: [] }),
  fc.record({
    matchLabels: fc.dictionary(key, value, { maxKeys: 1, noNullPrototype: true }),
    matchExpressions: fc.array(requirement, { maxLength: 2 }),
  }),
);

export const namespaceSelector: Arbitrary<LabelSelector> = fc.oneof(
  labelSelector,
  fc
    .tuple(fc.constantFrom<'In' | 'NotIn'>('In', 'NotIn'), fc.subarray(namespaceNames, { minLength: 1 }))
    .map(([operator, names]) => ({
      matchLabels: {},
      matchExpressions: [{ key: 'kubernetes.io/metadata.name', operator, values: names }],
    })),
);

export const cidr4 = fc.constantFrom(
  ...(['0.0.0.0/0', '10.0.0.0/29', '10.0.0.0/24', '10.0.0.2/32', '192.0.2.0/24'] as Cidr[]),
);
export const cidr6 = fc.constantFrom(
  ...(['::/0', 'fd00::/125', 'fd00::/64', 'fd00::2/128', '2001:db8::/32'] as Cidr[]),
);

const block = (cidr: Cidr): NetworkPolicyPeer => ({ ipBlock: { cidr, except: [] } });
/** So many that they become a set. */
const manyBlocks = fc
  .uniqueArray(fc.oneof(cidr4, cidr6), { minLength: 5, maxLength: 8 })
  .map((cidrs): NetworkPolicyPeer[] => cidrs.map(block));

const peer: Arbitrary<NetworkPolicyPeer> = fc.oneof(
  labelSelector.map((podSelector) => ({ podSelector })),
  namespaceSelector.map((selector) => ({ namespaceSelector: selector })),
  fc.record({ podSelector: labelSelector, namespaceSelector }),
  fc
    .oneof(
      fc.record({ cidr: cidr4, except: fc.array(cidr4, { maxLength: 2 }) }),
      fc.record({ cidr: cidr6, except: fc.array(cidr6, { maxLength: 2 }) }),
    )
    .map((ipBlock) => ({ ipBlock })),
);

const policyPort: Arbitrary<NetworkPolicyPort> = fc.oneof(
  fc.record({ protocol }),
  fc.record({ protocol, port: fc.oneof(portNumber, portName) }),
  fc
    .tuple(protocol, portNumber, fc.integer({ min: 0, max: 40 }))
    .map(([protocol, port, more]) => ({ protocol, port, endPort: port + more })),
);

const rule: Arbitrary<NetworkPolicyRule> = fc.record({
  peers: fc.oneof(
    { weight: 4, arbitrary: fc.array(peer, { maxLength: 3, size: 'max' }) },
    { weight: 1, arbitrary: fc.tuple(peer, manyBlocks).map(([one, blocks]) => [one, ...blocks]) },
  ),
  ports: fc.array(policyPort, { maxLength: 3, size: 'max' }),
});

export function policyArbitrary(namespace: string, name: string): Arbitrary<NetworkPolicyObject> {
  return fc.record({
    metadata: fc.constant(meta(namespace, name, {})),
    podSelector: labelSelector,
    policyTypes: fc.constantFrom<NetworkPolicyObject['policyTypes']>(['Ingress'], ['Egress'], ['Ingress', 'Egress']),
    ingress: fc.array(rule, { maxLength: 2, size: 'max' }),
    egress: fc.array(rule, { maxLength: 2, size: 'max' }),
  });
}
