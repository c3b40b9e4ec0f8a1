/** projectcalico.org/v3 BGPFilter. */
import {
  ageColumn,
  conditionsOnlyStatus,
  integer,
  type KindDefinition,
  list,
  object,
  oneOf,
  rules,
  type Schema,
  text,
} from './build.ts';
import { asNumber, communityPattern, routePriority } from './shared.ts';

/** Calico bounds no list; this keeps the rules' cost within the API server's budget and an object within what etcd takes. */
const rulesMax = 5000;

const community = (description: string): Schema =>
  text(`${description} aa:nn with 16-bit numbers or aa:nn:mm with 32-bit numbers.`, 32, { pattern: communityPattern });

const operation = object(
  'One change of an accepted route; exactly one field.',
  {
    addCommunity: object(
      'Adds a community.',
      { value: community('The community.') },
      { required: ['value'], 'x-kubernetes-map-type': 'atomic' },
    ),
    prependASPath: object(
      'Puts AS numbers in front of the path.',
      { prefix: list('The numbers, the first of them foremost.', asNumber('AS number.'), 10, { minItems: 1 }) },
      { required: ['prefix'], 'x-kubernetes-map-type': 'atomic' },
    ),
    setPriority: object(
      "Sets the route's metric.",
      { value: routePriority('The metric.') },
      { required: ['value'], 'x-kubernetes-map-type': 'atomic' },
    ),
  },
  {
    'x-kubernetes-map-type': 'atomic',
    ...rules({
      rule: '[has(self.addCommunity), has(self.prependASPath), has(self.setPriority)].exists_one(given, given)',
      message:
        'an entry of operations must hold exactly one of addCommunity, prependASPath and setPriority; write one entry for each',
    }),
  },
);

interface Family {
  readonly version: 4 | 6;
  readonly bits: number;
  readonly example: string;
}
const families = {
  v4: { version: 4, bits: 32, example: '10.0.0.0/8' },
  v6: { version: 6, bits: 128, example: 'fd00::/8' },
} as const;

function filterRule({ version, bits, example }: Family): Schema {
  return object(
    'A rule: what it matches (everything, if it says nothing) and what becomes of such routes.',
    {
      action: oneOf('Accept or Reject the route; later rules and filters are not asked.', ['Accept', 'Reject']),
      cidr: text(
        `Prefix that the route's is compared with, as matchOperator says. IPv${version}.`,
        version === 4 ? 18 : 43,
        rules({
          rule: `self == '' || isCIDR(self) && cidr(self).ip().family() == ${version}`,
          message: `cidr must be an IPv${version} prefix such as ${example}; the other family has its own lists`,
        }),
      ),
      matchOperator: oneOf(
        'Equal: the same prefix. In: the same or a longer one inside. NotEqual and NotIn: the opposite. Required beside cidr.',
        ['Equal', 'NotEqual', 'In', 'NotIn'],
      ),
      prefixLength: object(
        `Lengths that match, beside cidr. If left out: from the length of cidr to ${bits}.`,
        { min: integer('The shortest.', 0, bits), max: integer('The longest.', 0, bits) },
        {
          'x-kubernetes-map-type': 'atomic',
          ...rules({
            rule: '!has(self.min) || !has(self.max) || self.min <= self.max',
            message: 'prefixLength.min must not be larger than prefixLength.max; swap them',
          }),
        },
      ),
      source: oneOf('RemotePeers: only routes that were learned by BGP. Means nothing on import.', ['RemotePeers']),
      interface: text(
        'Only routes out of an interface of that name; * stands for any characters.',
        15,
        rules({
          rule: "self.matches('^[a-zA-Z0-9_.*-]{0,15}$')",
          message: 'interface must be a name of at most 15 letters, digits, _ . - and * for any characters',
        }),
      ),
      peerType: oneOf('Only on sessions with another AS (eBGP), or within the AS (iBGP).', ['eBGP', 'iBGP']),
      communities: object(
        'Only routes that carry a community.',
        {
          values: list('The community, exactly one.', community('The community.'), 1, {
            minItems: 1,
          }),
        },
        { required: ['values'], 'x-kubernetes-map-type': 'atomic' },
      ),
      asPathPrefix: list('Only routes whose AS path begins with these numbers.', asNumber('AS number.'), 64),
      priority: routePriority('Only routes with this metric.'),
      operations: list('What is changed on accepted routes, in order; only with action Accept.', operation, 10, {
        minItems: 1,
      }),
    },
    {
      required: ['action'],
      'x-kubernetes-map-type': 'atomic',
      ...rules(
        {
          rule: "(has(self.cidr) && self.cidr != '') == has(self.matchOperator)",
          message: 'cidr and matchOperator belong together; set both, or neither',
        },
        {
          rule: "!has(self.prefixLength) || has(self.cidr) && self.cidr != ''",
          message: 'prefixLength has no meaning without cidr; set cidr and matchOperator, or remove it',
        },
        {
          rule: "!has(self.operations) || self.action == 'Accept'",
          message: 'operations go with action Accept; a rejected route is not changed',
        },
      ),
    },
  );
}

const ruleList = (what: string, family: Family): Schema => list(what, filterRule(family), rulesMax);

export const bgpFilter: KindDefinition = {
  group: 'projectcalico.org',
  version: 'v3',
  kind: 'BGPFilter',
  plural: 'bgpfilters',
  shortNames: ['bgpf'],
  description:
    'Rules by which routes are accepted from and announced to the BGPPeers that name this filter. The first match decides.',
  spec: object(
    'The rules by direction and address family.',
    {
      exportV4: ruleList('IPv4 routes sent to the peer.', families.v4),
      importV4: ruleList('IPv4 routes received from the peer.', families.v4),
      exportV6: ruleList('IPv6 routes sent to the peer.', families.v6),
      importV6: ruleList('IPv6 routes received from the peer.', families.v6),
    },
    { default: {} },
  ),
  status: conditionsOnlyStatus(
    'Accepted: understood. Applied: the speaker does all that the rules say; else the message names the fields that it does not.',
  ),
  columns: [
    {
      name: 'Applied',
      type: 'string',
      jsonPath: ".status.conditions[?(@.type=='Applied')].status",
      description: 'The speaker does all that the rules say.',
    },
    ageColumn,
  ],
};
