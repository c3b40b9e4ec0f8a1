/** projectcalico.org/v3 BGPConfiguration. */
import {
  ageColumn,
  conditionsOnlyStatus,
  flag,
  integer,
  type KindDefinition,
  list,
  object,
  oneOf,
  rules,
  text,
} from './build.ts';
import {
  asNumber,
  bfdSettings,
  cidrText,
  communityRule,
  logSeverityPattern,
  routePriority,
  seconds,
  secretPassword,
} from './shared.ts';

const notYet = 'Stored; Poplin advertises no service addresses yet.';
const notUsed = 'Stored, and without effect in Poplin.';
const wildcardInterface = rules({
  rule: "self != '*' && self.matches('^[a-zA-Z0-9_.*-]{1,15}$')",
  message:
    'ignoredInterfaces must hold interface names of at most 15 characters, * for any characters, and not * alone',
});

const serviceBlock = (what: string, field: string) =>
  list(
    `${what} ${notYet}`,
    object('One prefix.', { cidr: cidrText('The prefix.', `${field}[].cidr`) }, { 'x-kubernetes-map-type': 'atomic' }),
    1000,
  );

const needsMesh = (field: string) => ({
  rule: `!has(self.${field}) || !has(self.nodeToNodeMeshEnabled) || self.nodeToNodeMeshEnabled`,
  message: `${field} is for the sessions of the node mesh; remove it, or set nodeToNodeMeshEnabled to true`,
  fieldPath: `.${field}`,
  reason: 'FieldValueForbidden' as const,
});

export const bgpConfiguration: KindDefinition = {
  group: 'projectcalico.org',
  version: 'v3',
  kind: 'BGPConfiguration',
  plural: 'bgpconfigurations',
  shortNames: ['bgpconfig', 'bgpconfigs'],
  description: 'BGP settings: of all nodes in the object named default, of one node in node.NAME, which counts more.',
  spec: object(
    'The settings.',
    {
      logSeverityScreen: text(`Log level of Calico's BGP daemon. ${notUsed} See the option logLevel.`, 10, {
        default: 'Info',
        pattern: logSeverityPattern,
      }),
      nodeToNodeMeshEnabled: flag('Every node holds a session to every other. True if left out.'),
      asNumber: asNumber(
        'AS number of the nodes, 64512 if left out. The annotation projectcalico.org/ASNumber of a Node counts more.',
      ),
      listenPort: integer('TCP port that the nodes accept BGP sessions on, 179 if left out.', 1, 65_535),
      bindMode: oneOf(
        'None accepts sessions on every address of the node, NodeIP on its BGP addresses only. None if left out.',
        ['None', 'NodeIP'],
      ),
      nodeMeshPassword: secretPassword(
        'TCP-MD5 password (RFC 2385) of the sessions of the mesh; in the object default only.',
      ),
      nodeMeshMaxRestartTime: seconds(
        "Graceful restart (RFC 4724) on the sessions of the mesh: how long the other nodes keep this node's routes while its agent restarts. In the object default only.",
        { field: 'nodeMeshMaxRestartTime', maxSec: 4095 },
      ),
      nodeMeshFilters: list(
        "Poplin's own. Names of BGPFilters that apply to the sessions of the mesh, in order; the first rule that matches decides. In the object default only.",
        text('Name of a BGPFilter.', 253, { minLength: 1 }),
        100,
      ),
      nodeMeshBFD: bfdSettings(
        "Poplin's own. BFD (RFC 5880) beside the sessions of the mesh: a path that fails ends the session at once. {} takes all defaults. In the object default only.",
        'nodeMeshBFD',
      ),
      ignoredInterfaces: list(
        "Interfaces whose addresses are never taken for the node's own.",
        text('Interface name; * stands for any characters.', 15, { minLength: 1, ...wildcardInterface }),
        100,
        { 'x-kubernetes-list-type': 'set' },
      ),
      holdTime: seconds(
        "Poplin's own. Hold time that the node offers (RFC 4271), unless a BGPPeer has its own. 0s or 3s to 65535s; 90s if left out.",
        { field: 'holdTime', maxSec: 65_535, zeroOr: 3 },
      ),
      advertiseNodeAddresses: flag(
        "Poplin's own. The node announces its own addresses as host routes. False if left out.",
      ),
      serviceClusterIPs: serviceBlock('Ranges of cluster addresses of Services to advertise.', 'serviceClusterIPs'),
      serviceExternalIPs: serviceBlock('Ranges of external addresses of Services to advertise.', 'serviceExternalIPs'),
      serviceLoadBalancerIPs: serviceBlock(
        'Ranges of load-balancer addresses of Services to advertise.',
        'serviceLoadBalancerIPs',
      ),
      serviceLoadBalancerAggregation: oneOf(
        `Enabled advertises load-balancer ranges as a whole, Disabled an address at a time. ${notYet}`,
        ['Enabled', 'Disabled'],
        { default: 'Enabled' },
      ),
      communities: list(
        'Names for BGP communities, used by prefixAdvertisements.',
        object(
          'A name and its value.',
          {
            name: text('The name.', 253, { minLength: 1 }),
            value: text(
              'Community aa:nn or large community aa:nn:mm.',
              40,
              rules(communityRule('communities[].value', 'self')),
            ),
          },
          { required: ['name', 'value'], 'x-kubernetes-map-type': 'atomic' },
        ),
        500,
      ),
      prefixAdvertisements: list(
        "Communities that go with the node's own prefixes: pod CIDRs, and its addresses where those are announced.",
        object(
          'Communities of every own prefix inside one. Where several hold it, those of all are added.',
          {
            cidr: cidrText('The prefix.', 'prefixAdvertisements[].cidr'),
            communities: list('Names from communities, or values aa:nn or aa:nn:mm.', text('Name or value.', 253), 50),
          },
          { 'x-kubernetes-map-type': 'atomic' },
        ),
        500,
      ),
      localWorkloadPeeringIPV4: text(
        `Address that pods which speak BGP themselves would peer with. ${notUsed}`,
        15,
        rules({
          rule: "self == '' || isIP(self) && ip(self).family() == 4",
          message: 'localWorkloadPeeringIPV4 must be an IPv4 address such as 169.254.1.179',
        }),
      ),
      localWorkloadPeeringIPV6: text(
        `Address that pods which speak BGP themselves would peer with. ${notUsed}`,
        45,
        rules({
          rule: "self == '' || isIP(self) && ip(self).family() == 6",
          message: 'localWorkloadPeeringIPV6 must be an IPv6 address such as fe80::179',
        }),
      ),
      programClusterRoutes: oneOf(`Which of Calico's processes writes routes. ${notUsed} Its agent is one process.`, [
        'Enabled',
        'Disabled',
        'EnabledIPIPOnly',
        'EnabledNoEncapOnly',
      ]),
      ipv4NormalRoutePriority: routePriority(`Metric of IPv4 routes to pods. ${notUsed}`),
      ipv6NormalRoutePriority: routePriority(`Metric of IPv6 routes to pods. ${notUsed}`),
    },
    {
      default: {},
      ...rules(
        needsMesh('nodeMeshPassword'),
        needsMesh('nodeMeshMaxRestartTime'),
        needsMesh('nodeMeshFilters'),
        needsMesh('nodeMeshBFD'),
        {
          rule: '!has(self.communities) || self.communities.size() == 0 || has(self.prefixAdvertisements) && self.prefixAdvertisements.size() > 0',
          message: 'communities has no effect without prefixAdvertisements; add these, or remove it',
          fieldPath: '.communities',
        },
      ),
    },
  ),
  status: conditionsOnlyStatus(
    'Accepted: understood and in force. FieldsNotUsed: fields that are set and have no effect.',
  ),
  rules: [
    {
      rule: "self.metadata.name == 'default' || self.metadata.name.startsWith('node.') && self.metadata.name.size() > 5",
      message: 'metadata.name must be default (all nodes) or node.NAME (the node NAME); no other name has a meaning',
      fieldPath: '.metadata.name',
    },
    {
      rule: "self.metadata.name == 'default' || !has(self.spec.nodeMeshPassword) && !has(self.spec.nodeMeshMaxRestartTime) && !has(self.spec.nodeMeshFilters) && !has(self.spec.nodeMeshBFD)",
      message:
        'nodeMeshPassword, nodeMeshMaxRestartTime, nodeMeshFilters and nodeMeshBFD belong to all nodes; move them to the object named default',
      fieldPath: '.spec',
    },
  ],
  columns: [
    { name: 'AS', type: 'string', jsonPath: '.spec.asNumber', description: 'AS number of the nodes.' },
    {
      name: 'Mesh',
      type: 'boolean',
      jsonPath: '.spec.nodeToNodeMeshEnabled',
      description: 'Every node peers with every other (empty: yes).',
    },
    { name: 'Port', type: 'integer', jsonPath: '.spec.listenPort', description: 'TCP port for BGP (empty: 179).' },
    { name: 'Hold Time', type: 'string', jsonPath: '.spec.holdTime', description: 'Hold time offered.', priority: 1 },
    {
      name: 'Accepted',
      type: 'string',
      jsonPath: ".status.conditions[?(@.type=='Accepted')].status",
      description: 'Understood and in force.',
    },
    ageColumn,
  ],
};
