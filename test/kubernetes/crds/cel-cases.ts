/** For every CEL rule an object that it lets pass and one that it, and nothing else, refuses. */
import type { KubeObject } from '../../support/kube/objects.ts';
import { calicoPolicyCases } from './calico-policy-objects.ts';
import { bgpConfiguration, bgpFilter, nodesPeer, objectOf, routerPeer } from './objects.ts';

export interface CelCase {
  readonly kind: string;
  /** Schema node that holds the rule. */
  readonly at: string;
  /** The beginning of the rule's message, which tells it from the others of that node. */
  readonly message: RegExp;
  /** Where the API server says it. */
  readonly field: string;
  readonly accepted: readonly KubeObject[];
  readonly refused: readonly KubeObject[];
  /** For rules about changes: both replace this. */
  readonly stored?: KubeObject;
}

type Fields = Readonly<Record<string, unknown>>;
/** `undefined` removes a field. */
function withSpec(object: KubeObject, fields: Fields, name?: string): KubeObject {
  const spec = Object.fromEntries(
    Object.entries({ ...(object['spec'] as Fields), ...fields }).filter(([, value]) => value !== undefined),
  );
  return objectOf(object.kind, spec, { name: name ?? object.metadata.name });
}
const config = (fields: Fields, name = 'default') => objectOf('BGPConfiguration', fields, { name });
const router = (fields: Fields) => withSpec(objectOf('BGPPeer', { peerIP: '192.0.2.1', asNumber: 64513 }), fields);
const unnumbered = (fields: Fields) =>
  withSpec(objectOf('BGPPeer', { interface: 'eth1', remoteAS: 'External' }), fields);
const dynamic = (fields: Fields) =>
  withSpec(objectOf('BGPPeer', { range: '10.2.0.0/16', asNumbers: [64513, '1.10'] }), fields);
const nodes = (fields: Fields) => withSpec(objectOf('BGPPeer', { peerSelector: 'all()' }), fields);
const pool = (fields: Fields) => withSpec(objectOf('IPPool', { cidr: '10.0.0.0/8' }), fields);
const secret = { secretKeyRef: { name: 'bgp', key: 'tor' } };
const tcpAo = (...ids: readonly (readonly [sendID: number, recvID: number])[]) => ({
  keys: ids.map(([sendID, recvID]) => ({ sendID, recvID, algorithm: 'hmac-sha-1-96', secret })),
});

/** A duration field: its form, and for hold times what RFC 4271 refuses. */
function durations(
  kind: string,
  field: string,
  maxSec: number,
  make: (text: string) => KubeObject,
  { holds = false, minSec = 0 } = {},
): CelCase[] {
  const each = { kind, at: `.spec.${field}`, field: `spec.${field}` };
  const short = minSec > 0 ? [`${minSec - 1}s`] : [];
  const form: CelCase = {
    ...each,
    message: new RegExp(`^${field} must be whole seconds`),
    accepted: [`${maxSec}s`, '10s', '1m30s', '1h0m0s'].map(make),
    refused: [`${maxSec + 1}s`, '1.5s', '90', 's', '', '500ms', '-5s', '5s1m', ...short].map(make),
  };
  if (!holds) return [form];
  const range: CelCase = {
    ...each,
    message: new RegExp(`^${field} must be 0s`),
    accepted: ['0s', '3s', '0m0s'].map(make),
    refused: ['1s', '2s'].map(make),
  };
  return [form, range];
}

/** The two intervals of BFD. */
function intervals(kind: string, field: string, make: (bfd: Fields) => KubeObject): CelCase[] {
  return ['minTx', 'minRx'].map((name) => ({
    kind,
    at: `.spec.${field}.${name}`,
    message: new RegExp(`^${field}\\.${name} must be 10ms to 60s`),
    field: `spec.${field}.${name}`,
    accepted: ['10ms', '300ms', '60000ms', '1s', '60s'].map((text) => make({ [name]: text })),
    refused: ['9ms', '60001ms', '0s', '61s', '1.5s', '300', '', '1m', '-1s'].map((text) => make({ [name]: text })),
  }));
}

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

const bgpPeerCases: readonly CelCase[] = [
  {
    kind: 'BGPPeer',
    at: '.spec.peerIP',
    message: /^peerIP must be an address, or an address with a port/,
    field: 'spec.peerIP',
    accepted: ['192.0.2.1', '192.0.2.1:1790', '2001:db8::1', '[2001:db8::1]:65535', '[2001:DB8::1]:1', 'fe80::1'].map(
      (peerIP) => router({ peerIP }),
    ),
    refused: [
      '192.0.2.1:0',
      '192.0.2.1:65536',
      '192.0.2.256',
      '192.0.2',
      '[2001:db8::1]',
      '[192.0.2.1:5]:179',
      '[2001:db8::1]:0',
      '2001:db8::1:::',
      'tor.example.org',
      'fe80::1%eth0',
      '192.0.2.1/32',
    ].map((peerIP) => router({ peerIP })),
  },
  {
    kind: 'BGPPeer',
    at: '.spec.peerIP',
    message: /^peerIP must be the address of one host/,
    field: 'spec.peerIP',
    accepted: ['223.255.255.1', '22.0.0.1', '220.0.0.1:179', '::1', 'fe80::1', '0.0.0.1'].map((peerIP) =>
      router({ peerIP }),
    ),
    refused: [
      '224.0.0.5',
      '255.255.255.255',
      '240.0.0.1:179',
      '0.0.0.0',
      '0.0.0.0:179',
      '::',
      '[::]:179',
      '0:0:0:0:0:0:0:0',
      'ff02::5',
      '[FF02::5]:179',
    ].map((peerIP) => router({ peerIP })),
  },
  {
    kind: 'BGPPeer',
    at: '.spec.reachableBy',
    message: /^reachableBy must be an address without a port/,
    field: 'spec.reachableBy',
    accepted: [router({ reachableBy: '192.0.2.254' }), router({ reachableBy: '' })],
    refused: ['192.0.2.254:1', 'gateway'].map((reachableBy) => router({ reachableBy })),
  },
  {
    kind: 'BGPPeer',
    at: '.spec',
    message: /^node and nodeSelector exclude each other/,
    field: 'spec.node',
    accepted: [router({ node: 'n1' }), router({ nodeSelector: 'all()' }), router({ node: '', nodeSelector: 'all()' })],
    refused: [router({ node: 'n1', nodeSelector: 'all()' })],
  },
  {
    kind: 'BGPPeer',
    at: '.spec',
    message: /^exactly one of peerIP, peerSelector, localWorkloadSelector, interface and range/,
    field: 'spec.peerIP',
    accepted: [routerPeer, nodesPeer, nodes({ peerIP: '' }), router({ peerSelector: '', localWorkloadSelector: '' })],
    refused: [
      objectOf('BGPPeer', {}),
      objectOf('BGPPeer', { asNumber: 1 }),
      router({ localWorkloadSelector: 'all()' }),
      unnumbered({ range: '10.2.0.0/16' }),
      unnumbered({ peerSelector: 'all()' }),
    ],
  },
  {
    kind: 'BGPPeer',
    at: '.spec.interface',
    message: /^interface must be the name of one interface/,
    field: 'spec.interface',
    accepted: ['eth1', 'bond0.100', 'swp1s0', 'wan@1'].map((name) => unnumbered({ interface: name })),
    refused: ['eth*', 'eth 1', 'fe80::1%eth0', 'a/b', 'eth0:1'].map((name) => unnumbered({ interface: name })),
  },
  {
    kind: 'BGPPeer',
    at: '.spec.range',
    message: /^range must be a prefix with its length/,
    field: 'spec.range',
    accepted: ['10.2.0.0/16', '0.0.0.0/0', '2001:db8::/64'].map((range) => dynamic({ range })),
    refused: ['10.2.0.0', '10.2.0.0/33', 'rack', ''].map((range) => dynamic({ range })),
  },
  {
    kind: 'BGPPeer',
    at: '.spec',
    message: /^exactly one of asNumber, asNumbers and remoteAS/,
    field: 'spec.asNumber',
    accepted: [
      unnumbered({}),
      unnumbered({ remoteAS: 'Internal' }),
      unnumbered({ remoteAS: undefined, asNumber: '1.10' }),
      dynamic({}),
      dynamic({ asNumbers: undefined, asNumber: 64513 }),
    ],
    refused: [
      unnumbered({ remoteAS: undefined }),
      unnumbered({ asNumber: 64513 }),
      dynamic({ asNumber: 64513 }),
      dynamic({ remoteAS: 'External' }),
      dynamic({ asNumbers: undefined }),
    ],
  },
  {
    kind: 'BGPPeer',
    at: '.spec',
    message: /^asNumbers and remoteAS go with interface and range/,
    field: 'spec.asNumber',
    accepted: [router({}), nodes({}), unnumbered({}), dynamic({})],
    refused: [router({ asNumbers: [64513] }), router({ remoteAS: 'External' }), nodes({ remoteAS: 'Internal' })],
  },
  {
    kind: 'BGPPeer',
    at: '.spec',
    message: /^limit is of the peers of a range/,
    field: 'spec.limit',
    accepted: [dynamic({ limit: 1 }), dynamic({ limit: 65_535 })],
    refused: [router({ limit: 1 }), unnumbered({ limit: 1 })],
  },
  {
    kind: 'BGPPeer',
    at: '.spec',
    message: /^sourceAddress is of sessions to an address/,
    field: 'spec.sourceAddress',
    accepted: [router({ sourceAddress: 'None' }), nodes({ sourceAddress: 'UseNodeIP' })],
    refused: [unnumbered({ sourceAddress: 'None' }), dynamic({ sourceAddress: 'UseNodeIP' })],
  },
  {
    kind: 'BGPPeer',
    at: '.spec',
    message: /^asNumber is required beside peerIP/,
    field: 'spec.asNumber',
    accepted: [router({ asNumber: '1.10' }), router({ asNumber: '64512' }), router({ asNumber: 4_294_967_295 })],
    refused: [router({ asNumber: undefined })],
  },
  {
    kind: 'BGPPeer',
    at: '.spec',
    message: /^asNumber must be left out beside peerSelector/,
    field: 'spec.asNumber',
    accepted: [nodes({})],
    refused: [nodes({ asNumber: 64512 })],
  },
  {
    kind: 'BGPPeer',
    at: '.spec',
    message: /^asNumber is required beside localWorkloadSelector/,
    field: 'spec.asNumber',
    accepted: [objectOf('BGPPeer', { localWorkloadSelector: 'all()', asNumber: 64512 })],
    refused: [objectOf('BGPPeer', { localWorkloadSelector: 'all()' })],
  },
  {
    kind: 'BGPPeer',
    at: '.spec',
    message: /^reachableBy is the gateway to peerIP/,
    field: 'spec.reachableBy',
    accepted: [router({ reachableBy: '192.0.2.254' })],
    refused: [nodes({ reachableBy: '192.0.2.254' })],
  },
  {
    kind: 'BGPPeer',
    at: '.spec',
    message: /^reachableBy must be of the same address family/,
    field: 'spec.reachableBy',
    accepted: [
      router({ peerIP: '2001:db8::1', reachableBy: '2001:db8::fe' }),
      router({ peerIP: '[2001:db8::1]:179', reachableBy: '2001:db8::fe' }),
      router({ peerIP: '192.0.2.1:179', reachableBy: '192.0.2.254' }),
    ],
    refused: [
      router({ reachableBy: '2001:db8::fe' }),
      router({ peerIP: '192.0.2.1:179', reachableBy: '2001:db8::fe' }),
      router({ peerIP: '[2001:db8::1]:179', reachableBy: '192.0.2.254' }),
    ],
  },
  {
    kind: 'BGPPeer',
    at: '.spec',
    message: /^keepOriginalNextHop and nextHopMode exclude each other/,
    field: 'spec.keepOriginalNextHop',
    accepted: [router({ keepOriginalNextHop: false, nextHopMode: 'Auto' }), router({ keepOriginalNextHop: true })],
    refused: [router({ keepOriginalNextHop: true, nextHopMode: 'Keep' })],
  },
  {
    kind: 'BGPPeer',
    at: '.spec',
    message: /^keepaliveTime must be shorter than holdTime/,
    field: 'spec.keepaliveTime',
    accepted: [
      router({ holdTime: '9s', keepaliveTime: '8s' }),
      router({ holdTime: '0s', keepaliveTime: '8s' }),
      router({ keepaliveTime: '10m' }),
    ],
    refused: [router({ holdTime: '9s', keepaliveTime: '9s' }), router({ holdTime: '90s', keepaliveTime: '2m' })],
  },
  ...durations('BGPPeer', 'maxRestartTime', 4095, (text) => router({ maxRestartTime: text })),
  ...durations('BGPPeer', 'keepaliveTime', 65_535, (text) => router({ keepaliveTime: text })),
  ...durations('BGPPeer', 'holdTime', 65_535, (text) => router({ holdTime: text }), { holds: true }),
  {
    kind: 'BGPPeer',
    at: '.spec.addPath',
    message: /^limit goes with receive: true/,
    field: 'spec.addPath.limit',
    accepted: [router({ addPath: { receive: true, limit: 1 } }), router({ addPath: { send: 2 } })],
    refused: [router({ addPath: { limit: 1 } }), router({ addPath: { receive: false, limit: 1 } })],
  },
  {
    kind: 'BGPPeer',
    at: '.spec.linkBandwidth',
    message: /^linkBandwidth must be a number of bits per second/,
    field: 'spec.linkBandwidth',
    accepted: ['', '10Gbit', '2.5Gbit', '100Mbit', '64kbit', '1Tbit'].map((linkBandwidth) => router({ linkBandwidth })),
    refused: ['10G', '10', '10Gbit/s', '-1Gbit', '1234567Mbit'].map((linkBandwidth) => router({ linkBandwidth })),
  },
  ...durations('BGPPeer', 'longLivedStaleTime', 16_777_215, (text) => router({ longLivedStaleTime: text })),
  ...['ipv4', 'ipv6'].flatMap((family) =>
    durations(
      'BGPPeer',
      `maxPrefixes.${family}.restartTime`,
      604_800,
      (restartTime) => router({ maxPrefixes: { [family]: { limit: 1, restartTime } } }),
      { minSec: 1 },
    ),
  ),
  ...intervals('BGPPeer', 'bfd', (bfd) => router({ bfd })),
  {
    kind: 'BGPPeer',
    at: '.spec',
    message: /^role is towards a router/,
    field: 'spec.role',
    accepted: [router({ role: 'Peer' }), router({ role: 'Peer', peerSelector: '' })],
    refused: [nodes({ role: 'Peer' })],
  },
  {
    kind: 'BGPPeer',
    at: '.spec',
    message: /^strictRole goes with role/,
    field: 'spec.strictRole',
    accepted: [router({ role: 'Customer', strictRole: true }), router({ strictRole: false }), nodes({ bfd: {} })],
    refused: [router({ strictRole: true })],
  },
  {
    kind: 'BGPPeer',
    at: '.spec',
    message: /^tcpAO and password .* exclude each other/,
    field: 'spec.tcpAO',
    accepted: [router({ tcpAO: tcpAo([1, 2]) }), router({ password: secret })],
    refused: [router({ tcpAO: tcpAo([1, 2]), password: secret })],
  },
  {
    kind: 'BGPPeer',
    at: '.spec',
    message: /^sendID and recvID of a key must be equal beside peerSelector/,
    field: 'spec.tcpAO.keys',
    accepted: [nodes({ tcpAO: tcpAo([1, 1], [2, 2]) }), router({ tcpAO: tcpAo([1, 2]), peerSelector: '' })],
    refused: [nodes({ tcpAO: tcpAo([1, 1], [2, 3]) })],
  },
  {
    kind: 'BGPPeer',
    at: '.spec.tcpAO.keys',
    message: /^each key needs a sendID and a recvID of its own/,
    field: 'spec.tcpAO.keys',
    accepted: [router({ tcpAO: tcpAo([1, 2], [2, 1]) })],
    refused: [router({ tcpAO: tcpAo([1, 2], [1, 3]) }), router({ tcpAO: tcpAo([1, 2], [3, 2]) })],
  },
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

const ipPoolCases: readonly CelCase[] = [
  {
    kind: 'IPPool',
    at: '.spec.cidr',
    message: /^cidr must be a prefix with its length/,
    field: 'spec.cidr',
    accepted: [pool({ cidr: 'fd00::/48' })],
    refused: ['10.0.0.0', '10.0.0.0/33', 'here', ''].map((cidr) => pool({ cidr })),
  },
  {
    kind: 'IPPool',
    at: '.spec.cidr',
    message: /^cidr has bits set after its length/,
    field: 'spec.cidr',
    accepted: [pool({ cidr: '10.1.0.0/16' })],
    refused: [pool({ cidr: '10.1.0.1/16' }), pool({ cidr: 'fd00::1/48' })],
  },
  {
    kind: 'IPPool',
    at: '.spec.cidr',
    message: /^cidr overlaps a link-local range/,
    field: 'spec.cidr',
    accepted: [pool({ cidr: '169.253.0.0/16' }), pool({ cidr: 'fec0::/10' })],
    refused: [
      '169.254.0.0/16',
      '169.254.7.0/24',
      '169.0.0.0/8',
      'fe80::/10',
      'fe80::/64',
      'fe00::/8',
      '0.0.0.0/0',
      '::/0',
    ].map((cidr) => pool({ cidr })),
  },
  {
    kind: 'IPPool',
    at: '.spec.cidr',
    message: /^cidr cannot be changed/,
    field: 'spec.cidr',
    stored: pool({}),
    accepted: [pool({ natOutgoing: true })],
    refused: [pool({ cidr: '11.0.0.0/8' })],
  },
  {
    kind: 'IPPool',
    at: '.spec.blockSize',
    message: /^blockSize cannot be changed/,
    field: 'spec.blockSize',
    stored: pool({ blockSize: 26 }),
    accepted: [pool({ blockSize: 26, natOutgoing: true })],
    refused: [pool({ blockSize: 27 })],
  },
  {
    kind: 'IPPool',
    at: '.spec',
    message: /^ipipMode and vxlanMode exclude each other/,
    field: 'spec.ipipMode',
    accepted: [pool({ ipipMode: 'Always', vxlanMode: 'Never' }), pool({ vxlanMode: 'CrossSubnet' })],
    refused: [pool({ ipipMode: 'Always', vxlanMode: 'CrossSubnet' })],
  },
  {
    kind: 'IPPool',
    at: '.spec',
    message: /^ipipMode must be Never in an IPv6 pool/,
    field: 'spec.ipipMode',
    accepted: [pool({ cidr: 'fd00::/48', ipipMode: 'Never' }), pool({ cidr: 'fd00::/48', vxlanMode: 'Always' })],
    refused: [pool({ cidr: 'fd00::/48', ipipMode: 'Always' })],
  },
  {
    kind: 'IPPool',
    at: '.spec',
    message: /^allowedUses LoadBalancer goes with ipipMode and vxlanMode Never/,
    field: 'spec.allowedUses',
    accepted: [pool({ allowedUses: ['LoadBalancer'], ipipMode: 'Never', vxlanMode: 'Never' })],
    refused: [
      pool({ allowedUses: ['LoadBalancer'], ipipMode: 'Always' }),
      pool({ allowedUses: ['LoadBalancer'], vxlanMode: 'Always' }),
    ],
  },
  {
    kind: 'IPPool',
    at: '.spec',
    message: /^allowedUses LoadBalancer must stand alone/,
    field: 'spec.allowedUses',
    accepted: [pool({ allowedUses: ['Workload', 'Tunnel'] }), pool({ allowedUses: ['LoadBalancer'] })],
    refused: [pool({ allowedUses: ['LoadBalancer', 'Workload'] }), pool({ allowedUses: ['Tunnel', 'LoadBalancer'] })],
  },
  {
    kind: 'IPPool',
    at: '.spec',
    message: /^disableBGPExport must be false in a pool for LoadBalancer/,
    field: 'spec.disableBGPExport',
    accepted: [pool({ allowedUses: ['LoadBalancer'], disableBGPExport: false }), pool({ disableBGPExport: true })],
    refused: [pool({ allowedUses: ['LoadBalancer'], disableBGPExport: true })],
  },
  {
    kind: 'IPPool',
    at: '.spec',
    message: /^nodeSelector must be all\(\) in a pool for LoadBalancer/,
    field: 'spec.nodeSelector',
    accepted: [pool({ allowedUses: ['LoadBalancer'], nodeSelector: 'all()' }), pool({ nodeSelector: 'has(a)' })],
    refused: [pool({ allowedUses: ['LoadBalancer'], nodeSelector: 'has(a)' })],
  },
  {
    kind: 'IPPool',
    at: '.spec',
    message: /^namespaceSelector must be left out in a pool for Tunnel/,
    field: 'spec.namespaceSelector',
    accepted: [pool({ allowedUses: ['Tunnel'], namespaceSelector: '' }), pool({ namespaceSelector: 'has(a)' })],
    refused: [pool({ allowedUses: ['Tunnel'], namespaceSelector: 'has(a)' })],
  },
  ...['nodeSelector', 'namespaceSelector'].map(
    (field): CelCase => ({
      kind: 'IPPool',
      at: '.spec',
      message: new RegExp(`^${field} must not use global`),
      field: `spec.${field}`,
      accepted: [pool({ [field]: 'has(global)' })],
      refused: [pool({ [field]: 'global()' })],
    }),
  ),
  {
    kind: 'IPPool',
    at: '.spec',
    message: /^blockSize must be 20 to 32/,
    field: 'spec.blockSize',
    accepted: [
      ...[0, 20, 32].map((blockSize) => pool({ blockSize })),
      ...[116, 128].map((blockSize) => pool({ cidr: 'fd00::/48', blockSize })),
    ],
    refused: [...[19, 33].map((blockSize) => pool({ blockSize })), pool({ cidr: 'fd00::/48', blockSize: 115 })],
  },
  {
    kind: 'IPPool',
    at: '.spec',
    message: /^cidr is smaller than one block/,
    field: 'spec.cidr',
    accepted: [
      pool({ cidr: '10.0.0.0/26' }),
      pool({ cidr: '10.0.0.0/32', blockSize: 32 }),
      pool({ cidr: '10.0.0.0/32', disabled: true }),
      pool({ cidr: 'fd00::/122' }),
    ],
    refused: [
      pool({ cidr: '10.0.0.0/27' }),
      pool({ cidr: '10.0.0.0/25', blockSize: 24 }),
      pool({ cidr: 'fd00::/123', blockSize: 0 }),
    ],
  },
];

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
