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
import { asNumber, seconds, secretPassword, selector } from './shared.ts';

/** An empty text is the same as none, as stored objects of older Calico have it. */
const set = (field: string): string => `has(self.${field}) && self.${field} != ''`;
const unset = (field: string): string => `(!has(self.${field}) || self.${field} == '')`;

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
    },
    rules(
      {
        rule: `${unset('node')} || ${unset('nodeSelector')}`,
        message: 'node and nodeSelector exclude each other; keep one of them',
        fieldPath: '.node',
        reason: 'FieldValueForbidden',
      },
      {
        rule: `[${set('peerIP')}, ${set('peerSelector')}, ${set('localWorkloadSelector')}].exists_one(given, given)`,
        message:
          'exactly one of peerIP, peerSelector and localWorkloadSelector must be set: peerIP for a router, peerSelector for other nodes',
        fieldPath: '.peerIP',
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
