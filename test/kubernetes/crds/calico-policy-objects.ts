/** Calico's policy kinds: objects that together hold every field, and for every CEL rule what it lets pass and what it refuses. */
import type { KubeObject } from '../../support/kube/objects.ts';
import type { CelCase, Fields } from './cel-case.ts';
import { conditionsOnly, objectOf } from './objects.ts';

const stagedPolicyKinds = ['StagedNetworkPolicy', 'StagedGlobalNetworkPolicy'] as const;
const policyKinds = ['NetworkPolicy', 'GlobalNetworkPolicy', ...stagedPolicyKinds] as const;
type PolicyKind = (typeof policyKinds)[number];
type Direction = 'ingress' | 'egress';
const globalKinds: readonly PolicyKind[] = ['GlobalNetworkPolicy', 'StagedGlobalNetworkPolicy'];
const isStaged = (kind: PolicyKind): boolean => (stagedPolicyKinds as readonly PolicyKind[]).includes(kind);
const directions: readonly Direction[] = ['ingress', 'egress'];

const selectors = {
  nets: ['::/0', '10.0.0.0/8'],
  notNets: ['::/0'],
  selector: "app == 'web'",
  notSelector: 'has(a)',
  namespaceSelector: 'all()',
  serviceAccounts: { names: ['a'], selector: 'has(b)' },
};
const withPorts = { ports: [80, '8000:9000', 'web'], notPorts: [81] };

/** The first has every field but those that ask for a protocol, the others these. */
const everyRule: readonly Fields[] = [
  {
    action: 'Allow',
    ipVersion: 4,
    protocol: 47,
    notProtocol: 'UDP',
    source: selectors,
    destination: selectors,
    metadata: { annotations: { a: 'b' } },
  },
  { action: 'Deny', protocol: 'TCP', source: withPorts, destination: withPorts },
  { action: 'Log', protocol: 'ICMP', icmp: { type: 8, code: 0 }, notICMP: { type: 8, code: 1 } },
];
const ofService = { services: { name: 'a', namespace: 'b' } };
const named = { domains: ['*.example.com'] };
const goodNames = ['a', 'A.b-_c.', 'www.*.org', 'a.*', '*.a', `${'a'.repeat(63)}.b`];
/** `*` stands for one label, a whole one, and not for all of them. */
export const badNames = ['*', '*.*.com', 'a*.com', 'a..b', '.a', '-a.b', 'a_', `${'a'.repeat(64)}.b`, 'a.*.b.*'];
const farEnds = { ingress: 'source', egress: 'destination' } as const;

function policies(kind: PolicyKind): KubeObject[] {
  const isGlobal = globalKinds.includes(kind);
  const more = isGlobal ? { namespaceSelector: 'has(a)', doNotTrack: false } : {};
  const hosts = isGlobal ? { preDNAT: false, applyOnForward: false } : {};
  return everyRule.map((rule) =>
    objectOf(kind, {
      tier: 'default',
      order: 10.5,
      selector: 'all()',
      serviceAccountSelector: 'has(a)',
      types: ['Ingress'],
      performanceHints: ['AssumeNeededOnEveryNode'],
      ...more,
      ...hosts,
      ...(isStaged(kind) ? { stagedAction: 'Set' } : {}),
      ingress: [rule],
      egress: [rule],
    }),
  );
}

const labelSelector = {
  matchLabels: { app: 'web' },
  matchExpressions: [{ key: 'tier', operator: 'In', values: ['a'] }],
};
/** A selector and an address exclude each other. */
const kubernetesPeers: readonly Fields[] = [
  { podSelector: labelSelector, namespaceSelector: labelSelector },
  { ipBlock: { cidr: '::/0', except: ['fd00::/8'] } },
];
const kubernetesPorts = [{ protocol: 'TCP', port: 80, endPort: 90 }];

export const calicoPolicies: readonly KubeObject[] = [
  ...policyKinds.flatMap(policies),
  ...kubernetesPeers.map((peer) =>
    objectOf(
      'StagedKubernetesNetworkPolicy',
      {
        stagedAction: 'Set',
        podSelector: labelSelector,
        policyTypes: ['Ingress'],
        ingress: [{ from: [peer], ports: kubernetesPorts }],
        egress: [{ to: [peer], ports: kubernetesPorts }],
      },
      { status: conditionsOnly },
    ),
  ),
  ...policyKinds.map((kind) =>
    objectOf(
      kind,
      {
        ingress: [{ action: 'Allow', source: ofService }],
        egress: [{ action: 'Allow', destination: ofService }],
      },
      { status: conditionsOnly },
    ),
  ),
  ...policyKinds.map((kind) => objectOf(kind, { egress: [{ action: 'Allow', destination: named }] })),
  objectOf('Tier', { order: 5, defaultAction: 'Pass' }, { status: conditionsOnly }),
  objectOf('NetworkSet', { nets: ['::/0', '192.0.2.1'] }, { status: conditionsOnly }),
  objectOf('GlobalNetworkSet', { nets: ['::/0'] }, { status: conditionsOnly }),
  objectOf(
    'HostEndpoint',
    {
      node: 'n1',
      interfaceName: 'eth0',
      expectedIPs: ['192.0.2.1'],
      profiles: ['projectcalico-default-allow'],
      ports: [{ name: 'web', protocol: 'TCP', port: 80 }],
    },
    { status: conditionsOnly },
  ),
];

/** What no accepted object can hold: rules refuse it, whatever it is. */
export const neverAccepted =
  /^(type \.spec\.(ingress|egress)\[\]\.http|[\w ]+ \.spec\.(ingress\[\]\.destination|egress\[\]\.source)\.services(\.\w+)?|[\w ]+ \.spec\.(ingress\[\]\.(source|destination)|egress\[\]\.source)\.domains(\[\])?)$/;

function ruleCases(kind: PolicyKind, direction: Direction): CelCase[] {
  const policy = (rule: Fields): KubeObject => objectOf(kind, { [direction]: [{ action: 'Allow', ...rule }] });
  const each = { kind, at: `.spec.${direction}[]` };
  const field = `spec.${direction}[0]`;
  const far = farEnds[direction];
  const near = direction === 'ingress' ? 'destination' : 'source';
  return [
    {
      ...each,
      message: /^ipVersion must be 4 or 6/,
      field: `${field}.ipVersion`,
      accepted: [4, 6].map((ipVersion) => policy({ ipVersion })),
      refused: [policy({ ipVersion: 5 })],
    },
    {
      ...each,
      message: /^icmp and notICMP need protocol/,
      field,
      accepted: ['ICMP', 'icmp', 1, '1'].map((protocol) => policy({ protocol, icmp: { type: 8 } })),
      refused: [
        policy({ icmp: { type: 8 } }),
        policy({ protocol: 'TCP', icmp: { type: 8 } }),
        policy({ protocol: 6, notICMP: { type: 8 } }),
      ],
    },
    {
      ...each,
      message: /^ports and notPorts need protocol/,
      field,
      accepted: [
        ...['TCP', 'udp', 'SCTP', 6, '17'].map((protocol) => policy({ protocol, source: { ports: [80] } })),
        policy({ destination: { ports: [] } }),
      ],
      refused: [
        policy({ destination: { ports: [80] } }),
        policy({ source: { notPorts: ['web'] } }),
        policy({ protocol: 'ICMP', destination: { notPorts: [80] } }),
      ],
    },
    {
      ...each,
      message: /^http cannot be enforced/,
      field: `${field}.http`,
      accepted: [policy({})],
      refused: [policy({ http: { methods: ['GET'] } }), policy({ http: {} })],
    },
    {
      ...each,
      message: /^services stand at the (source|destination) of an/,
      field: `${field}.${near}.services`,
      accepted: [policy({ source: {}, destination: {} }), policy({ [far]: ofService })],
      refused: [policy({ [near]: ofService })],
    },
    {
      ...each,
      at: `${each.at}.${far}`,
      message: /^services cannot stand beside nets, /,
      field: `${field}.${far}.services`,
      accepted: [
        policy({ [far]: { ...ofService, nets: [], selector: '' } }),
        ...(direction === 'ingress' ? [policy({ protocol: 'TCP', source: { ...ofService, ports: [80] } })] : []),
      ],
      refused: [
        ...Object.entries(selectors).map(([name, value]) => policy({ [far]: { ...ofService, [name]: value } })),
        ...(direction === 'egress' ? [policy({ protocol: 'TCP', destination: { ...ofService, ports: [80] } })] : []),
      ],
    },
    {
      ...each,
      message: /^domains stand in the destination of an egress rule/,
      field,
      accepted: [direction === 'egress' ? policy({ destination: named }) : policy({ source: {}, destination: {} })],
      refused: [
        policy({ source: named }),
        ...(direction === 'egress'
          ? ['Deny', 'Log', 'Pass'].map((action) => policy({ action, destination: named }))
          : [policy({ destination: named })]),
      ],
    },
  ];
}

/** What stands beside domains. */
function domainCase(kind: PolicyKind): CelCase {
  const policy = (rule: Fields): KubeObject => objectOf(kind, { egress: [{ action: 'Allow', ...rule }] });
  const { notNets, ...others } = selectors;
  return {
    kind,
    at: '.spec.egress[]',
    message: /^domains cannot stand beside nets, selector/,
    field: 'spec.egress[0].destination.domains',
    accepted: [
      policy({ source: selectors, destination: { ...named, notNets } }),
      policy({ protocol: 'TCP', destination: { ...named, ports: [443], notPorts: [80] } }),
      ...goodNames.map((name) => policy({ destination: { domains: [name] } })),
    ],
    refused: Object.entries({ ...others, ...ofService }).map(([field, value]) =>
      policy({ destination: { ...named, [field]: value } }),
    ),
  };
}

const hostCases: readonly CelCase[] = globalKinds.flatMap((kind) => {
  const hosts = (spec: Fields): KubeObject => objectOf(kind, spec);
  return [
    {
      kind,
      at: '.spec',
      message: /^preDNAT stands beside doNotTrack/,
      field: 'spec.preDNAT',
      accepted: [hosts({ applyOnForward: true, preDNAT: true }), hosts({ applyOnForward: true, doNotTrack: true })],
      refused: [hosts({ applyOnForward: true, preDNAT: true, doNotTrack: true })],
    },
    {
      kind,
      at: '.spec',
      message: /^applyOnForward must be true/,
      field: 'spec.applyOnForward',
      accepted: [hosts({ applyOnForward: true }), hosts({ preDNAT: false, doNotTrack: false })],
      refused: [hosts({ preDNAT: true }), hosts({ doNotTrack: true, applyOnForward: false })],
    },
    {
      kind,
      at: '.spec',
      message: /^egress does not go with preDNAT/,
      field: 'spec.egress',
      accepted: [hosts({ applyOnForward: true, preDNAT: true, types: ['Ingress'], egress: [] })],
      refused: [
        hosts({ applyOnForward: true, preDNAT: true, egress: [{ action: 'Deny' }] }),
        hosts({ applyOnForward: true, preDNAT: true, types: ['Ingress', 'Egress'] }),
      ],
    },
  ];
});

const hostEndpointCase: CelCase = {
  kind: 'HostEndpoint',
  at: '.spec',
  message: /^interfaceName is required without expectedIPs/,
  field: 'spec.interfaceName',
  accepted: [
    objectOf('HostEndpoint', { node: 'n1', interfaceName: '*' }),
    objectOf('HostEndpoint', { node: 'n1', interfaceName: '', expectedIPs: ['192.0.2.1'] }),
  ],
  refused: [
    objectOf('HostEndpoint', { node: 'n1' }),
    objectOf('HostEndpoint', { node: 'n1', interfaceName: '', expectedIPs: [] }),
  ],
};

const stagedCases = (
  [
    ...stagedPolicyKinds.map((kind) => [kind, { tier: 'a' }, { selector: 'all()' }] as const),
    ['StagedKubernetesNetworkPolicy', { podSelector: {} }, { podSelector: { matchLabels: { a: 'b' } } }] as const,
  ] as const
).map(([kind, bare, says]): CelCase => {
  const policy = (spec: Fields): KubeObject => objectOf(kind, spec);
  return {
    kind,
    at: '.spec',
    message: /^stagedAction Delete only names a policy/,
    field: 'spec.stagedAction',
    accepted: [
      policy({ stagedAction: 'Delete', ...bare }),
      policy({ stagedAction: 'Delete', ingress: [] }),
      policy({ stagedAction: 'Set', ...says }),
      policy(says),
    ],
    refused: [
      policy({ stagedAction: 'Delete', ...says }),
      policy({
        stagedAction: 'Delete',
        ingress: [kind === 'StagedKubernetesNetworkPolicy' ? {} : { action: 'Allow' }],
      }),
    ],
  };
});

const tierCases = (
  [
    ['kube-admin', 1_000, 'Pass', 'Deny'],
    ['default', 1_000_000, 'Deny', 'Pass'],
    ['kube-baseline', 10_000_000, 'Pass', 'Deny'],
  ] as const
).map(([name, order, defaultAction, other]): CelCase => {
  const tier = (spec: Fields | undefined): KubeObject => objectOf('Tier', spec, { name });
  return {
    kind: 'Tier',
    at: '',
    message: new RegExp(`^the tier ${name} has order`),
    field: 'spec',
    accepted: [tier({ order, defaultAction }), tier({}), tier(undefined)],
    refused: [tier({ order: order + 1 }), tier({ defaultAction: other })],
  };
});

export const calicoPolicyCases: readonly CelCase[] = [
  ...policyKinds.flatMap((kind) => directions.flatMap((direction) => ruleCases(kind, direction))),
  ...policyKinds.map(domainCase),
  ...hostCases,
  hostEndpointCase,
  ...stagedCases,
  ...tierCases,
];
