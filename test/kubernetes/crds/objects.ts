/** Objects that the API server accepts; together they hold every field of every kind. */
import type { KubeObject } from '../../support/kube/objects.ts';
import { apiVersionOf, definitionOf } from './definitions.ts';

export function objectOf(kind: string, spec: unknown, more: { name?: string; status?: unknown } = {}): KubeObject {
  const definition = definitionOf(kind);
  const place = definition.spec.scope === 'Namespaced' ? { namespace: 'default' } : {};
  return {
    apiVersion: apiVersionOf(definition),
    kind,
    metadata: { name: more.name ?? 'x', ...place },
    ...(spec === undefined ? {} : { spec }),
    ...(more.status === undefined ? {} : { status: more.status }),
  };
}

const secret = { secretKeyRef: { name: 'bgp', key: 'tor', optional: false } };
const time = '2026-11-25T19:00:00Z';
const condition = {
  type: 'Accepted',
  status: 'True',
  observedGeneration: 1,
  lastTransitionTime: time,
  reason: 'Understood',
  message: '',
};
export const conditionsOnly = { observedGeneration: 1, conditions: [condition] };

const bfd = { minTx: '300ms', minRx: '1s', multiplier: 3, multihop: false, graceful: false };

export const bgpConfiguration = objectOf(
  'BGPConfiguration',
  {
    logSeverityScreen: 'Info',
    nodeToNodeMeshEnabled: true,
    asNumber: 64512,
    listenPort: 179,
    bindMode: 'None',
    nodeMeshPassword: secret,
    nodeMeshMaxRestartTime: '120s',
    nodeMeshFilters: ['a'],
    nodeMeshBFD: bfd,
    ignoredInterfaces: ['docker*'],
    holdTime: '90s',
    advertiseNodeAddresses: false,
    serviceClusterIPs: [{ cidr: '10.96.0.0/12' }],
    serviceExternalIPs: [{ cidr: '192.0.2.0/24' }],
    serviceLoadBalancerIPs: [{ cidr: '198.51.100.0/24' }],
    serviceLoadBalancerAggregation: 'Enabled',
    communities: [{ name: 'blue', value: '64512:100' }],
    prefixAdvertisements: [{ cidr: '10.1.0.0/16', communities: ['blue'] }],
    localWorkloadPeeringIPV4: '169.254.1.179',
    localWorkloadPeeringIPV6: 'fe80::179',
    programClusterRoutes: 'EnabledNoEncapOnly',
    ipv4NormalRoutePriority: 1024,
    ipv6NormalRoutePriority: 1024,
  },
  { name: 'default', status: conditionsOnly },
);

const prefixLimit = { limit: 1000, warnPercent: 75, restartTime: '10m', warnOnly: false };

export const routerPeer = objectOf(
  'BGPPeer',
  {
    node: 'n1',
    peerIP: '192.0.2.1',
    asNumber: 64513,
    localASNumber: 64514,
    nextHopMode: 'Self',
    password: secret,
    sourceAddress: 'UseNodeIP',
    maxRestartTime: '120s',
    keepaliveTime: '30s',
    holdTime: '90s',
    numAllowedLocalASNumbers: 1,
    ttlSecurity: 1,
    reachableBy: '192.0.2.254',
    filters: ['a'],
    bfd,
    maxPrefixes: { ipv4: prefixLimit, ipv6: prefixLimit },
    addPath: { receive: true, send: 4, limit: 16 },
    gracefulShutdown: false,
    longLivedStaleTime: '1h',
    role: 'Customer',
    strictRole: true,
    adjRibIn: true,
    blackhole: { ipv4: 32, ipv6: 64 },
    linkBandwidth: '2.5Gbit',
  },
  { status: conditionsOnly },
);
const tcpAoKey = {
  sendID: 1,
  recvID: 2,
  algorithm: 'hmac-sha-1-96',
  secret,
  excludeTCPOptions: false,
};
const unnumberedPeer = objectOf('BGPPeer', {
  interface: 'eth1',
  remoteAS: 'External',
  tcpAO: { keys: [tcpAoKey, { ...tcpAoKey, sendID: 3, recvID: 4, algorithm: 'aes-128-cmac-96' }] },
});
const rangePeer = objectOf('BGPPeer', { range: '10.2.0.0/16', limit: 10, asNumbers: [64513] });
export const nodesPeer = objectOf('BGPPeer', {
  nodeSelector: 'all()',
  peerSelector: 'has(reflector)',
  keepOriginalNextHop: true,
  reversePeering: 'Auto',
});
const podsPeer = objectOf('BGPPeer', { localWorkloadSelector: "app == 'speaker'", asNumber: 64515 });

const filterRule = (cidr: string, bits: number) => ({
  action: 'Accept',
  cidr,
  matchOperator: 'In',
  prefixLength: { min: 0, max: bits },
  source: 'RemotePeers',
  interface: 'eth*',
  peerType: 'eBGP',
  communities: { values: ['64512:100'] },
  asPathPrefix: [64512],
  priority: 1,
  operations: [{ addCommunity: { value: '64512:1:2' } }],
});
/** Each of the three operations stands first once, since the first entry of a list is what tests change. */
const filterRuleWith = (operation: unknown) => ({ action: 'Accept', operations: [operation] });
const lists = (v4: unknown, v6: unknown) => ({ exportV4: [v4], importV4: [v4], exportV6: [v6], importV6: [v6] });
const prepend = filterRuleWith({ prependASPath: { prefix: [64512] } });
const setPriority = filterRuleWith({ setPriority: { value: 1 } });

export const bgpFilter = objectOf('BGPFilter', lists(filterRule('10.0.0.0/8', 32), filterRule('fd00::/8', 128)), {
  status: conditionsOnly,
});

export const ipPool = objectOf(
  'IPPool',
  {
    cidr: '10.0.0.0/8',
    natOutgoing: true,
    disabled: true,
    disableBGPExport: true,
    nodeSelector: 'all()',
    namespaceSelector: "team == 'a'",
    blockSize: 26,
    ipipMode: 'Never',
    vxlanMode: 'Never',
    allowedUses: ['Workload'],
    assignmentMode: 'Automatic',
    'nat-outgoing': true,
    ipip: { enabled: false, mode: 'always' },
  },
  { status: conditionsOnly },
);

export const calicoNodeStatus = objectOf(
  'CalicoNodeStatus',
  { node: 'n1', classes: ['Agent'], updatePeriodSeconds: 10 },
  {
    status: {
      lastUpdated: time,
      agent: Object.fromEntries(
        ['birdV4', 'birdV6'].map((name) => [
          name,
          { state: 'Ready', version: '1', routerID: '192.0.2.1', lastBootTime: time, lastReconfigurationTime: time },
        ]),
      ),
      bgp: {
        numberEstablishedV4: 1,
        numberNotEstablishedV4: 0,
        numberEstablishedV6: 1,
        numberNotEstablishedV6: 0,
        peersV4: [{ peerIP: '192.0.2.1', type: 'NodePeer', state: 'Established', since: time }],
        peersV6: [{ peerIP: '2001:db8::1', type: 'NodeMesh', state: 'Idle', since: time }],
      },
      routes: Object.fromEntries(
        ['routesV4', 'routesV6'].map((name) => [
          name,
          [
            {
              type: 'FIB',
              destination: '10.1.0.0/16',
              gateway: '192.0.2.1',
              interface: 'eth0',
              learnedFrom: { sourceType: 'BGPPeer', peerIP: '192.0.2.1' },
            },
          ],
        ]),
      ),
      ...conditionsOnly,
    },
  },
);

export const felixConfiguration = objectOf(
  'FelixConfiguration',
  {
    iptablesMarkMask: 0xf0000,
    iptablesBackend: 'Auto',
    logSeverityScreen: 'Info',
    flowLogsLocalReporter: 'Enabled',
    flowLogsFlushInterval: '15s',
    failsafeInboundHostPorts: [{ protocol: 'tcp', port: 22, net: '10.0.0.0/8' }],
    failsafeOutboundHostPorts: [{ protocol: 'udp', port: 53, net: '::/0' }],
    dnsTrustedServers: ['k8s-service:kube-dns'],
    dnsExtraTTL: '1m30s',
    bpfEnabled: false,
    anything: [{ at: 'all' }],
  },
  { name: 'default', status: conditionsOnly },
);
const felixOfSome = objectOf('FelixConfiguration', { nodeSelector: "rack == 'r1'" }, { name: 'rack' });

const byFamily = { ipv4: 1, ipv6: 2 };
export const poplinNode = objectOf('PoplinNode', undefined, {
  status: {
    observedAt: time,
    observedGeneration: 1,
    summary: {
      ready: 'True',
      sessions: '2/2',
      pods: '7',
      routes: '30',
      policies: '3',
      version: '0.2.0',
      address: '192.0.2.10',
    },
    version: { version: '0.2.0', commit: 'abc', node: 'v24.0.0' },
    addresses: { ipv4: '192.0.2.10', ipv6: '2001:db8::10', source: 'InternalIP' },
    rejectedAddresses: [{ address: '172.17.0.1', interface: 'docker0', reason: 'a bridge' }],
    podCIDRs: ['10.1.0.0/24'],
    conditions: [{ ...condition, type: 'Ready', message: 'all is well' }],
    bgp: {
      asn: 64512,
      routerID: '192.0.2.10',
      established: 2,
      configured: 2,
      sessions: [
        {
          name: 'BGPPeer tor-1',
          address: '192.0.2.1',
          asn: 64513,
          state: 'Established',
          since: time,
          established: 1,
          received: byFamily,
          sent: byFamily,
          lastError: '',
        },
      ],
    },
    routes: { programmed: byFamily, unresolved: 0, stale: 0 },
    policy: { policies: 3, sets: 4, endpoints: 7, backend: 'nft' },
    pods: { count: 7, addressesUsed: [{ cidr: '10.1.0.0/24', used: 7, size: 254 }] },
    kinds: [{ kind: 'Node', apiVersions: ['v1'], resourceVersion: '17', state: 'synced', reason: '' }],
    exceptions: [
      {
        object: 'BGPPeer a',
        field: 'spec.peerIP',
        message: 'is none',
        effect: 'it is left out',
        since: time,
        blocking: false,
      },
    ],
    exceptionsTotal: 1,
    notUsed: [{ object: 'IPPool a', fields: ['spec.blockSize'] }],
    notUsedTotal: 1,
    faults: ['no default route'],
  },
});

/** Those that tests change come before those that are only to be accepted. */
export const accepted: readonly KubeObject[] = [
  bgpConfiguration,
  routerPeer,
  nodesPeer,
  podsPeer,
  unnumberedPeer,
  rangePeer,
  bgpFilter,
  objectOf('BGPFilter', lists(prepend, prepend)),
  objectOf('BGPFilter', lists(setPriority, setPriority)),
  ipPool,
  calicoNodeStatus,
  felixConfiguration,
  felixOfSome,
  poplinNode,
];
