/** projectcalico.org/v3 BGPPeer. */
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
import { asNumber, bfdSettings, seconds, secretPassword, selector } from './shared.ts';

/** An empty text is the same as none, as stored objects of older Calico have it. */
const set = (field: string): string => `has(self.${field}) && self.${field} != ''`;
const unset = (field: string): string => `(!has(self.${field}) || self.${field} == '')`;

/** A peer without an address of its own in the object. */
const found = '(has(self.interface) || has(self.range))';

/** What CEL takes as address, alone or with a port. */
const portIn = (text: string): string => `int(${text}) >= 1 && int(${text}) <= 65535`;
const ipv4Part = "self.substring(0, self.lastIndexOf(':'))";
const ipv6Part = "self.substring(1, self.lastIndexOf(']'))";
const afterColon = "self.substring(self.lastIndexOf(':') + 1)";
const peerAddress =
  `self == '' || isIP(self) || self.matches('^[0-9.]+:[0-9]{1,5}$') && isIP(${ipv4Part}) && ${portIn(afterColon)}` +
  ` || self.matches('^[[][0-9a-fA-F:.]+[]]:[0-9]{1,5}$') && isIP(${ipv6Part}) && ${portIn(afterColon)}`;
const familyOfPeer = "(self.peerIP.startsWith('[') || self.peerIP.split(':').size() > 2 ? 6 : 4)";
const whole = (field: string): string =>
  `self.${field}.matches('^([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$') && self.${field}.size() > 1`;

const prefixLimit = (family: string, field: string) =>
  object(
    `Limit of ${family} prefixes.`,
    {
      limit: integer('One more ends the session.', 1, 4_294_967_295),
      warnPercent: integer('A warning is logged above so much of the limit, 75 if left out.', 1, 100),
      restartTime: seconds(
        'Time until the peer may come back. If left out: not before the limit is changed or the peer reset.',
        { field: `${field}.restartTime`, minSec: 1, maxSec: 604_800 },
      ),
      warnOnly: flag('The warning is all. False if left out.'),
    },
    { required: ['limit'] },
  );

const tcpAoKey = object(
  'One key (RFC 5925), for both directions. What one end sends with the other receives with.',
  {
    sendID: integer('KeyID of what the node sends.', 0, 255),
    recvID: integer('KeyID of what the node receives.', 0, 255),
    algorithm: oneOf('Algorithm (RFC 5926), the same at both ends.', ['hmac-sha-1-96', 'aes-128-cmac-96']),
    secret: secretPassword('The key itself.'),
    excludeTCPOptions: flag('Other TCP options are not signed, as some routers have it. False if left out.'),
  },
  { required: ['sendID', 'recvID', 'algorithm', 'secret'] },
);

const tcpAo = object(
  "Poplin's own. TCP-AO (RFC 5925) in place of password: needs a kernel that has it (Linux 6.7 or later, CONFIG_TCP_AO); without, the sessions stay down.",
  {
    keys: list(
      'In order of preference: sessions begin with the first, and the peer is asked to use it. To change keys without a session loss: add the new one at both ends, put it first, remove the old one.',
      tcpAoKey,
      16,
      {
        minItems: 1,
        ...rules({
          rule: 'self.all(key, self.exists_one(other, other.sendID == key.sendID) && self.exists_one(other, other.recvID == key.recvID))',
          message: 'each key needs a sendID and a recvID of its own',
        }),
      },
    ),
  },
  { required: ['keys'] },
);

export const bgpPeer: KindDefinition = {
  group: 'projectcalico.org',
  version: 'v3',
  kind: 'BGPPeer',
  plural: 'bgppeers',
  shortNames: ['bgpp'],
  description: 'A BGP session of all nodes, of one or of some, with a router or with other nodes.',
  spec: object(
    'Who peers with whom, and how.',
    {
      node: text(
        'Name of the one node that has this session. Not beside nodeSelector; with neither of them every node has it.',
        253,
      ),
      nodeSelector: selector('The nodes that have this session, by their labels.'),
      peerIP: text('Address of the router: 192.0.2.1, 192.0.2.1:1790, 2001:db8::1 or [2001:db8::1]:1790.', 64, {
        ...rules(
          {
            rule: peerAddress,
            message: 'peerIP must be an address, or an address with a port: 192.0.2.1:1790 or [2001:db8::1]:1790',
          },
          {
            rule: "!self.matches('^(22[4-9]|2[3-5][0-9])[.]|^[[]?[fF][fF]|^0[.]0[.]0[.]0(:|$)|^[[]?[0:]+([]]|$)')",
            message: 'peerIP must be the address of one host; it is multicast, reserved or unspecified',
          },
        ),
      }),
      asNumber: asNumber(
        "The peer's AS number; required beside peerIP, not allowed beside peerSelector (nodes have their own).",
      ),
      interface: text(
        "Poplin's own. In place of peerIP: the peer is the router on this interface, found by its router advertisements (RFC 4861); IPv4 has IPv6 next hops (RFC 8950).",
        15,
        {
          minLength: 1,
          ...rules({
            rule: "self.matches('^[!-$&-)+-.0-9;-~]+$')",
            message: 'interface must be the name of one interface, such as eth1, without / : % * and spaces',
          }),
        },
      ),
      range: text("Poplin's own. In place of peerIP: who connects from this prefix is a peer, none is dialled.", 49, {
        ...rules({
          rule: 'isCIDR(self)',
          message: 'range must be a prefix with its length, such as 10.2.0.0/16 or 2001:db8::/64',
        }),
      }),
      limit: integer('Beside range: how many peers there may be at once, 100 if left out.', 1, 65_535),
      asNumbers: list(
        "Poplin's own. Beside interface and range, in place of asNumber: AS numbers of which the peer has one.",
        asNumber('One of them.'),
        64,
        { minItems: 1 },
      ),
      remoteAS: oneOf(
        "Poplin's own. Beside interface and range, in place of asNumber: External is any AS but the node's, Internal the node's.",
        ['External', 'Internal'],
      ),
      localASNumber: asNumber('AS number that the node uses in place of its own on this session.'),
      peerSelector: selector(
        'The nodes to peer with, by their labels, in place of peerIP. Their ends of the sessions are made as well, see reversePeering.',
      ),
      keepOriginalNextHop: flag('Old form of nextHopMode Keep.'),
      nextHopMode: oneOf(
        'Next hop of what is sent to the peer: Auto as RFC 4271 says, Self the node itself, Keep as it was received.',
        ['Auto', 'Self', 'Keep'],
      ),
      password: secretPassword('TCP-MD5 password (RFC 2385) of the session.'),
      tcpAO: tcpAo,
      sourceAddress: oneOf(
        "UseNodeIP connects from the node's BGP address, None leaves it to the kernel. UseNodeIP if left out.",
        ['UseNodeIP', 'None'],
      ),
      maxRestartTime: seconds(
        "Graceful restart (RFC 4724): how long the peer is asked to keep this node's routes while its agent restarts.",
        {
          field: 'maxRestartTime',
          maxSec: 4095,
        },
      ),
      keepaliveTime: seconds('Time between keepalives; a third of the hold time if left out.', {
        field: 'keepaliveTime',
        maxSec: 65_535,
      }),
      holdTime: seconds(
        "Poplin's own. Hold time offered (RFC 4271): 0s or 3s to 65535s. The one in BGPConfiguration if left out.",
        {
          field: 'holdTime',
          maxSec: 65_535,
          zeroOr: 3,
        },
      ),
      numAllowedLocalASNumbers: integer(
        "How often the node's own AS number may stand in the path of an accepted route (loop protection gives way).",
        0,
        255,
      ),
      ttlSecurity: integer('Generalized TTL security (RFC 5082): the peer is at most so many hops away.', 1, 255),
      reachableBy: text(
        'Gateway of a host route to peerIP, of the same address family.',
        64,
        rules({
          rule: "self == '' || isIP(self)",
          message: 'reachableBy must be an address without a port, such as 192.0.2.254',
        }),
      ),
      filters: list(
        'Names of the BGPFilters that decide about routes, in order.',
        text('Name of a BGPFilter.', 253, { minLength: 1 }),
        100,
      ),
      localWorkloadSelector: selector(
        'Pods of the node itself that speak BGP. Stored, and not supported by Poplin: such a peer stays out.',
      ),
      reversePeering: oneOf(
        'With peerSelector: Auto makes the other end of each session too, Manual leaves it to a BGPPeer of its own. Auto if left out.',
        ['Auto', 'Manual'],
      ),
      bfd: bfdSettings(
        "Poplin's own. BFD (RFC 5880) beside the session: a path that fails ends it at once. {} takes all defaults.",
        'bfd',
      ),
      maxPrefixes: object("Poplin's own. How many prefixes the peer may have here, by family; no limit if left out.", {
        ipv4: prefixLimit('IPv4', 'maxPrefixes.ipv4'),
        ipv6: prefixLimit('IPv6', 'maxPrefixes.ipv6'),
      }),
      addPath: object(
        "Poplin's own. Several paths of a prefix (RFC 7911), where the peer offers the other direction.",
        {
          receive: flag('Take several paths. False if left out.'),
          send: integer('Announce the best so many paths; 0, as if left out: the best alone.', 0, 128),
          limit: integer('Beside receive: ask for so many paths of a prefix at most, 128 if left out.', 1, 128),
        },
        rules({
          rule: '!has(self.limit) || has(self.receive) && self.receive',
          message: 'limit goes with receive: true; set that, or remove limit',
          fieldPath: '.limit',
          reason: 'FieldValueForbidden',
        }),
      ),
      gracefulShutdown: flag(
        "Poplin's own. The session is about to end (RFC 8326): both ends prefer other paths from now on. False if left out.",
      ),
      longLivedStaleTime: seconds(
        "Poplin's own. Long-lived graceful restart (RFC 9494): how long routes are kept beyond the restart time, as last resort. Off at 0s, and if left out.",
        { field: 'longLivedStaleTime', maxSec: 16_777_215 },
      ),
      role: oneOf("Poplin's own. What the node is to the router, of another AS (RFC 9234).", [
        'Provider',
        'RouteServer',
        'RouteServerClient',
        'Customer',
        'Peer',
      ]),
      strictRole: flag("Poplin's own. Beside role: a router that says none is refused. False if left out."),
      adjRibIn: flag(
        "Poplin's own. What the peer announces is kept as received, rejected routes too: shown by the looking glass, and judged again without asking the peer when filters change. If left out: kept where filters apply.",
      ),
      blackhole: object(
        "Poplin's own. Packets to prefixes that the peer announces with BLACKHOLE (RFC 7999) are dropped. {} takes all defaults; without it they are routes as any other.",
        {
          ipv4: integer(
            'The shortest IPv4 prefix of which it is obeyed, 32 if left out; shorter ones with it are not taken.',
            1,
            32,
          ),
          ipv6: integer('The shortest IPv6 prefix of which it is obeyed, 128 if left out.', 1, 128),
        },
      ),
      linkBandwidth: text(
        "Poplin's own. Bandwidth of the link to the peer, such as 10Gbit, for routes from it that say none (RFC 10005): where all equal paths say one, traffic is shared in that ratio.",
        14,
        rules({
          rule: "self == '' || self.matches('^[0-9]{1,6}([.][0-9]{1,3})?[kMGT]bit$')",
          message:
            'linkBandwidth must be a number of bits per second with kbit, Mbit, Gbit or Tbit, such as 10Gbit or 2.5Gbit',
        }),
      ),
    },
    rules(
      {
        rule: `${unset('node')} || ${unset('nodeSelector')}`,
        message: 'node and nodeSelector exclude each other; keep one of them',
        fieldPath: '.node',
        reason: 'FieldValueForbidden',
      },
      {
        rule: `[${set('peerIP')}, ${set('peerSelector')}, ${set('localWorkloadSelector')}, has(self.interface), has(self.range)].exists_one(given, given)`,
        message:
          'exactly one of peerIP, peerSelector, localWorkloadSelector, interface and range must be set: peerIP for a router, peerSelector for other nodes',
        fieldPath: '.peerIP',
      },
      {
        rule: `!${found} || [has(self.asNumber), has(self.asNumbers), has(self.remoteAS)].exists_one(given, given)`,
        message: 'exactly one of asNumber, asNumbers and remoteAS must be set beside interface and range',
        fieldPath: '.asNumber',
      },
      {
        rule: `${found} || !has(self.asNumbers) && !has(self.remoteAS)`,
        message: 'asNumbers and remoteAS go with interface and range; write asNumber',
        fieldPath: '.asNumber',
        reason: 'FieldValueForbidden',
      },
      {
        rule: '!has(self.limit) || has(self.range)',
        message: 'limit is of the peers of a range; set range, or remove it',
        fieldPath: '.limit',
        reason: 'FieldValueForbidden',
      },
      {
        rule: `!${found} || !has(self.sourceAddress)`,
        message: 'sourceAddress is of sessions to an address; remove it beside interface and range',
        fieldPath: '.sourceAddress',
        reason: 'FieldValueForbidden',
      },
      {
        rule: `${unset('peerIP')} || has(self.asNumber)`,
        message: "asNumber is required beside peerIP; write the router's AS number",
        fieldPath: '.asNumber',
        reason: 'FieldValueRequired',
      },
      {
        rule: `${unset('peerSelector')} || !has(self.asNumber)`,
        message: 'asNumber must be left out beside peerSelector: each selected node has its own',
        fieldPath: '.asNumber',
        reason: 'FieldValueForbidden',
      },
      {
        rule: `${unset('localWorkloadSelector')} || has(self.asNumber)`,
        message: 'asNumber is required beside localWorkloadSelector',
        fieldPath: '.asNumber',
        reason: 'FieldValueRequired',
      },
      {
        rule: `${unset('reachableBy')} || ${set('peerIP')}`,
        message: 'reachableBy is the gateway to peerIP; set peerIP, or remove it',
        fieldPath: '.reachableBy',
        reason: 'FieldValueForbidden',
      },
      {
        rule: `${unset('reachableBy')} || ${unset('peerIP')} || !isIP(self.reachableBy) || ip(self.reachableBy).family() == ${familyOfPeer}`,
        message: 'reachableBy must be of the same address family as peerIP',
        fieldPath: '.reachableBy',
      },
      {
        rule: '!has(self.tcpAO) || !has(self.password)',
        message: 'tcpAO and password (TCP-MD5) exclude each other; keep one of them',
        fieldPath: '.tcpAO',
        reason: 'FieldValueForbidden',
      },
      {
        rule: `!has(self.tcpAO) || ${unset('peerSelector')} || self.tcpAO.keys.all(key, key.sendID == key.recvID)`,
        message: 'sendID and recvID of a key must be equal beside peerSelector: both ends are of this object',
        fieldPath: '.tcpAO.keys',
      },
      {
        rule: '!has(self.keepOriginalNextHop) || !self.keepOriginalNextHop || !has(self.nextHopMode)',
        message: 'keepOriginalNextHop and nextHopMode exclude each other; keep nextHopMode',
        fieldPath: '.keepOriginalNextHop',
        reason: 'FieldValueForbidden',
      },
      {
        rule: `!has(self.keepaliveTime) || !has(self.holdTime) || !(${whole('keepaliveTime')}) || !(${whole('holdTime')}) || duration(self.holdTime) == duration('0s') || duration(self.keepaliveTime) < duration(self.holdTime)`,
        message: 'keepaliveTime must be shorter than holdTime; a third of it is usual',
        fieldPath: '.keepaliveTime',
      },
      {
        rule: `!has(self.role) || ${unset('peerSelector')}`,
        message: 'role is towards a router; remove it, or peer with one by peerIP',
        fieldPath: '.role',
        reason: 'FieldValueForbidden',
      },
      {
        rule: '!has(self.strictRole) || !self.strictRole || has(self.role)',
        message: 'strictRole goes with role; set role, or remove it',
        fieldPath: '.strictRole',
        reason: 'FieldValueForbidden',
      },
    ),
  ),
  status: conditionsOnlyStatus(
    'Established: all sessions of this object are. Accepted: understood and in force. FieldsNotUsed: fields that are set and have no effect.',
  ),
  columns: [
    { name: 'Node', type: 'string', jsonPath: '.spec.node', description: 'The one node that has the session.' },
    {
      name: 'Node Selector',
      type: 'string',
      jsonPath: '.spec.nodeSelector',
      description: 'The nodes that have the session.',
    },
    { name: 'Peer IP', type: 'string', jsonPath: '.spec.peerIP', description: 'Address of the router.' },
    {
      name: 'Peer Selector',
      type: 'string',
      jsonPath: '.spec.peerSelector',
      description: 'The nodes that are peered with.',
    },
    { name: 'Interface', type: 'string', jsonPath: '.spec.interface', description: 'Where the router is found.' },
    { name: 'Range', type: 'string', jsonPath: '.spec.range', description: 'From where peers may connect.' },
    { name: 'Peer ASN', type: 'string', jsonPath: '.spec.asNumber', description: 'AS number of the peer.' },
    {
      name: 'Local ASN',
      type: 'string',
      jsonPath: '.spec.localASNumber',
      description: 'AS number used in place of our own.',
      priority: 1,
    },
    {
      name: 'Established',
      type: 'string',
      jsonPath: ".status.conditions[?(@.type=='Established')].status",
      description: 'All sessions of this object are up.',
    },
    ageColumn,
  ],
};
