/** Every CEL rule of our CRDs. */
import { bgpPeerCases } from './bgp-peer-cases.ts';
import { calicoPolicyCases } from './calico-policy-objects.ts';
import { type CelCase, durations, type Fields, intervals, secret, withSpec } from './cel-case.ts';
import { ipPoolCases } from './ip-pool-cases.ts';
import { bgpConfiguration, bgpFilter, objectOf } from './objects.ts';

const config = (fields: Fields, name = 'default') => objectOf('BGPConfiguration', fields, { name });

const bgpConfigurationCases: readonly CelCase[] = [
  {
    kind: 'BGPConfiguration',
    at: '',
    message: /^metadata\.name must be default/,
    field: 'metadata.name',
    accepted: [config({}), config({}, 'node.n1'), config({}, 'node.n1.example.org')],
    refused: [config({}, 'other'), config({}, 'nodes'), config({}, 'default.n1')],
  },
  {
    kind: 'BGPConfiguration',
    at: '',
    message: /^nodeMeshPassword, nodeMeshMaxRestartTime, nodeMeshFilters and nodeMeshBFD belong to all nodes/,
    field: 'spec',
    accepted: [config({ nodeMeshPassword: secret, nodeMeshMaxRestartTime: '9s', nodeMeshBFD: {} })],
    refused: [
      config({ nodeMeshPassword: secret }, 'node.n1'),
      config({ nodeMeshMaxRestartTime: '9s' }, 'node.n1'),
      config({ nodeMeshFilters: ['a'] }, 'node.n1'),
      config({ nodeMeshBFD: {} }, 'node.n1'),
    ],
  },
  ...['nodeMeshPassword', 'nodeMeshMaxRestartTime', 'nodeMeshFilters', 'nodeMeshBFD'].map((field): CelCase => {
    const values = { nodeMeshPassword: secret, nodeMeshMaxRestartTime: '9s', nodeMeshFilters: ['a'], nodeMeshBFD: {} };
    const value = values[field as keyof typeof values];
    return {
      kind: 'BGPConfiguration',
      at: '.spec',
      message: new RegExp(`^${field} is for the sessions of the node mesh`),
      field: `spec.${field}`,
      accepted: [config({ [field]: value }), config({ [field]: value, nodeToNodeMeshEnabled: true })],
      refused: [config({ [field]: value, nodeToNodeMeshEnabled: false })],
    };
  }),
  {
    kind: 'BGPConfiguration',
    at: '.spec',
    message: /^communities has no effect without prefixAdvertisements/,
    field: 'spec.communities',
    accepted: [bgpConfiguration, config({ communities: [] })],
    refused: [config({ communities: [{ name: 'a', value: '1:1' }] })],
  },
  {
    kind: 'BGPConfiguration',
    at: '.spec.ignoredInterfaces[]',
    message: /^ignoredInterfaces must hold/,
    field: 'spec.ignoredInterfaces[0]',
    accepted: [config({ ignoredInterfaces: ['docker*', 'br-0.1_2'] })],
    refused: [config({ ignoredInterfaces: ['*'] }), config({ ignoredInterfaces: ['a b'] })],
  },
  {
    kind: 'BGPConfiguration',
    at: '.spec.communities[].value',
    message: /^communities\[\]\.value must be aa:nn/,
    field: 'spec.communities[0].value',
    accepted: ['65535:65535', '4294967295:0:1'].map((value) =>
      withSpec(bgpConfiguration, {
        communities: [{ name: 'a', value }],
        prefixAdvertisements: [{ cidr: '10.0.0.0/8' }],
      }),
    ),
    refused: ['65536:1', '1', '1:2:3:4', '4294967296:0:1', 'a:b', '12345678901:1'].map((value) =>
      withSpec(bgpConfiguration, { communities: [{ name: 'a', value }] }),
    ),
  },
  ...['serviceClusterIPs', 'serviceExternalIPs', 'serviceLoadBalancerIPs', 'prefixAdvertisements'].map(
    (list): CelCase => ({
      kind: 'BGPConfiguration',
      at: `.spec.${list}[].cidr`,
      message: new RegExp(`^${list}\\[\\]\\.cidr must be a prefix`),
      field: `spec.${list}[0].cidr`,
      accepted: [config({ [list]: [{ cidr: '10.0.0.1/32' }, { cidr: 'fd00::/112' }] })],
      refused: ['10.0.0.1', '10.0.0.0/33', 'here'].map((cidr) => config({ [list]: [{ cidr }] })),
    }),
  ),
  ...[
    { field: 'localWorkloadPeeringIPV4', good: '169.254.1.1', bad: ['fe80::1', 'here'] },
    { field: 'localWorkloadPeeringIPV6', good: 'fe80::1', bad: ['169.254.1.1', 'here'] },
  ].map(
    ({ field, good, bad }): CelCase => ({
      kind: 'BGPConfiguration',
      at: `.spec.${field}`,
      message: new RegExp(`^${field} must be an IPv`),
      field: `spec.${field}`,
      accepted: [config({ [field]: good }), config({ [field]: '' })],
      refused: bad.map((value) => config({ [field]: value })),
    }),
  ),
  ...durations('BGPConfiguration', 'nodeMeshMaxRestartTime', 4095, (text) => config({ nodeMeshMaxRestartTime: text })),
  ...durations('BGPConfiguration', 'holdTime', 65_535, (text) => config({ holdTime: text }), { holds: true }),
  ...intervals('BGPConfiguration', 'nodeMeshBFD', (nodeMeshBFD) => config({ nodeMeshBFD })),
];

/** The four lists are alike but for the address family. */
const bgpFilterCases = ['exportV4', 'importV4', 'exportV6', 'importV6'].flatMap((list): CelCase[] => {
  const v4 = list.endsWith('4');
  const [own, other] = v4 ? ['10.0.0.0/8', 'fd00::/8'] : ['fd00::/8', '10.0.0.0/8'];
  const rule = (fields: Fields) => objectOf('BGPFilter', { [list]: [{ action: 'Accept', ...fields }] });
  const each = { kind: 'BGPFilter', at: `.spec.${list}[]`, field: `spec.${list}[0]` };
  const inside = (field: string) => ({
    kind: 'BGPFilter',
    at: `.spec.${list}[].${field}`,
    field: `spec.${list}[0].${field}`,
  });
  return [
    {
      ...each,
      message: /^cidr and matchOperator belong together/,
      accepted: [rule({ cidr: own, matchOperator: 'In' }), rule({}), rule({ cidr: '' })],
      refused: [rule({ cidr: own }), rule({ matchOperator: 'In' }), rule({ cidr: '', matchOperator: 'In' })],
    },
    {
      ...each,
      message: /^prefixLength has no meaning without cidr/,
      accepted: [rule({ cidr: own, matchOperator: 'In', prefixLength: { min: 8 } })],
      refused: [rule({ prefixLength: { min: 8 } }), rule({ prefixLength: {} })],
    },
    {
      ...each,
      message: /^operations go with action Accept/,
      accepted: [bgpFilter, rule({ action: 'Reject' })],
      refused: [rule({ action: 'Reject', operations: [{ setPriority: { value: 1 } }] })],
    },
    {
      ...inside('cidr'),
      message: v4 ? /^cidr must be an IPv4 prefix/ : /^cidr must be an IPv6 prefix/,
      accepted: [rule({ cidr: own, matchOperator: 'Equal' })],
      refused: [other!, 'here', '10.0.0.1'].map((cidr) => rule({ cidr, matchOperator: 'Equal' })),
    },
    {
      ...inside('prefixLength'),
      message: /^prefixLength\.min must not be larger/,
      accepted: [
        rule({ cidr: own, matchOperator: 'In', prefixLength: { min: 9, max: 9 } }),
        rule({ cidr: own, matchOperator: 'In', prefixLength: { max: 9 } }),
      ],
      refused: [rule({ cidr: own, matchOperator: 'In', prefixLength: { min: 10, max: 9 } })],
    },
    {
      ...inside('interface'),
      message: /^interface must be a name/,
      accepted: ['eth*', '*', 'br-0.1_2', ''].map((name) => rule({ interface: name })),
      refused: ['a b', 'eth/0'].map((name) => rule({ interface: name })),
    },
    {
      kind: 'BGPFilter',
      at: `.spec.${list}[].operations[]`,
      field: `spec.${list}[0].operations[0]`,
      message: /^an entry of operations must hold exactly one/,
      accepted: [rule({ operations: [{ setPriority: { value: 1 } }, { prependASPath: { prefix: [1, '1.1'] } }] })],
      refused: [
        rule({ operations: [{}] }),
        rule({ operations: [{ setPriority: { value: 1 }, addCommunity: { value: '1:1' } }] }),
      ],
    },
  ];
});

const felix = (name: string, fields: Fields) => objectOf('FelixConfiguration', fields, { name });
const felixConfigurationCases: readonly CelCase[] = [
  {
    kind: 'FelixConfiguration',
    at: '',
    message: /^metadata\.name must be default/,
    field: 'metadata.name',
    accepted: [felix('default', {}), felix('node.n1', {}), felix('rack', { nodeSelector: 'has(a)' })],
    refused: [
      felix('other', {}),
      felix('default', { nodeSelector: 'has(a)' }),
      felix('node.n1', { nodeSelector: 'has(a)' }),
    ],
  },
];

export const celCases: readonly CelCase[] = [
  ...bgpConfigurationCases,
  ...bgpPeerCases,
  ...bgpFilterCases,
  ...ipPoolCases,
  ...felixConfigurationCases,
  ...calicoPolicyCases,
];
