/** projectcalico.org/v3 NetworkPolicy and GlobalNetworkPolicy. */
import {
  ageColumn,
  type CelRule,
  flag,
  inForceColumn,
  inForceStatus,
  integer,
  type KindDefinition,
  list,
  number,
  object,
  oneOf,
  rules,
  type Schema,
  text,
} from './build.ts';
import { selector } from './shared.ts';

const rulesMax = 1_024;
const notYet = 'Refused so far.';

const protocol = (description: string): Schema => ({
  description: `${description} TCP, UDP, SCTP, UDPLite, ICMP, ICMPv6, or a number in 1 to 255.`,
  'x-kubernetes-int-or-string': true,
  minimum: 1,
  maximum: 255,
  maxLength: 7,
  pattern: '^(?i)(TCP|UDP|SCTP|UDPLite|ICMP|ICMPv6|[0-9]{1,3})$',
});

const ports = (description: string): Schema =>
  list(
    description,
    {
      description: 'A number, a range as "8000:9000", or the name of a port that the pod declares.',
      'x-kubernetes-int-or-string': true,
      minimum: 0,
      maximum: 65_535,
      maxLength: 15,
      pattern: '^([0-9]{1,5}|[0-9]{1,5}:[0-9]{1,5}|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$',
    },
    8_192,
  );

const nets = (description: string): Schema =>
  list(description, text('A prefix or an address, of either family.', 49, { minLength: 2 }), 65_536);

function icmp(description: string): Schema {
  return object(
    description,
    { type: integer('The type.', 0, 254), code: integer('The code; any if left out.', 0, 255) },
    { required: ['type'] },
  );
}

interface EntityPlace {
  readonly direction: 'ingress' | 'egress';
  readonly end: 'source' | 'destination';
  readonly isGlobal: boolean;
}

const label = '[a-zA-Z0-9]([-a-zA-Z0-9_]{0,61}[a-zA-Z0-9])?';
/** Labels, one of which may be *, beside another. */
const domainPattern = `^(${label}([.]${label})*([.][*]([.]${label})*)?|[*]([.]${label})+)[.]?$`;

/** The one that is not the policy's own pod. */
const farEnds = { ingress: 'source', egress: 'destination' } as const;

function entity(description: string, { direction, end, isGlobal }: EntityPlace): Schema {
  const beside = direction === 'egress' ? [...besideNoService, 'ports', 'notPorts'] : besideNoService;
  const properties = {
    nets: nets('The address is in one of these.'),
    notNets: nets('The address is in none of these.'),
    selector: selector('Pods and network sets; of a namespaced policy those of its own namespace.'),
    notSelector: selector('Whoever is not one of these, addresses outside of the cluster too.'),
    namespaceSelector: selector(
      'Whoever stands in one of these namespaces: all() for any of them, global() for what stands in none, as a GlobalNetworkSet.',
    ),
    serviceAccounts: object('Pods of one of these service accounts.', {
      names: list('Names of them, in the namespaces that are selected.', text('A name.', 253, { minLength: 1 }), 1_024),
      selector: selector('Labels of them.'),
    }),
    ports: ports('The port is one of these. Needs protocol TCP, UDP or SCTP.'),
    notPorts: ports('The port is none of these. Needs protocol TCP, UDP or SCTP.'),
    services: object(
      end === 'destination'
        ? 'The endpoints of a service, at its ports. Of an egress rule alone, with nothing else beside it.'
        : 'The endpoints of a service. Of an ingress rule alone, with nothing else but ports beside it.',
      {
        name: text('Name of the service.', 63, { minLength: 1 }),
        namespace: text(
          isGlobal ? 'Its namespace.' : 'Its namespace; that of the policy if left out.',
          63,
          isGlobal ? { minLength: 1 } : {},
        ),
      },
      { required: isGlobal ? ['name', 'namespace'] : ['name'] },
    ),
    domains: list(
      'The addresses that trusted DNS servers give these names, in answers to pods of the node. In the destination of an egress rule of action Allow alone, and beside nothing else that selects.',
      text('A name; one whole label may be *, for one label or more.', 253, {
        minLength: 1,
        pattern: domainPattern,
      }),
      1_024,
      { minItems: 1 },
    ),
  };
  const alone = rules({
    rule: `!has(self.services) || ${beside.map(saysNothing).join(' && ')}`,
    message: `services cannot stand beside ${beside.join(', ')}; remove one of them`,
    fieldPath: '.services',
    reason: 'FieldValueForbidden',
  });
  return object(
    `${description} All that is said must hold; of a list any entry will do.`,
    properties,
    end === farEnds[direction] ? alone : {},
  );
}

const besideNoService = ['nets', 'notNets', 'selector', 'notSelector', 'namespaceSelector', 'serviceAccounts'];
const lists: readonly string[] = ['nets', 'notNets', 'ports', 'notPorts'];

function saysNothing(field: string): string {
  if (field === 'serviceAccounts') return '!has(self.serviceAccounts)';
  return `(!has(self.${field}) || ${lists.includes(field) ? `size(self.${field}) == 0` : `self.${field} == ''`})`;
}

/**
 * Compared one by one: to the cost estimate of the API server an integer or string is as long as a request, so that anything done to its text is
 * too costly.
 */
const isProtocol = (numbers: Readonly<Record<string, number>>): string => {
  const values = Object.entries(numbers).flatMap(([name, number]) => [
    `${number}`,
    ...[`${number}`, name, name.toLowerCase(), name.toUpperCase()].map((text) => `'${text}'`),
  ]);
  return `(has(self.protocol) && (${[...new Set(values)].map((value) => `self.protocol == ${value}`).join(' || ')}))`;
};
const isIcmp = isProtocol({ ICMP: 1, ICMPv6: 58 });
const hasPortNumbers = isProtocol({ TCP: 6, UDP: 17, SCTP: 132 });
const hasPorts = (side: string): string =>
  `has(self.${side}) && (has(self.${side}.ports) && size(self.${side}.ports) > 0 || has(self.${side}.notPorts) && size(self.${side}.notPorts) > 0)`;

/** Fields that say by another way who stands at an end. */
const besideDomains = ['nets', 'selector', 'notSelector', 'namespaceSelector', 'serviceAccounts', 'services'];

function rule(what: string, direction: 'ingress' | 'egress', isGlobal: boolean): Schema {
  const near = direction === 'ingress' ? 'destination' : 'source';
  return object(
    `A rule for ${what}: the first that matches decides, but for Log.`,
    {
      action: oneOf('Allow and Deny for good, Pass for this tier; Log notes the packet and goes on.', [
        'Allow',
        'Deny',
        'Log',
        'Pass',
      ]),
      ipVersion: integer('Only packets of this version, 4 or 6.', 4, 6),
      protocol: protocol('Only packets of this protocol.'),
      notProtocol: protocol('Any protocol but this one.'),
      icmp: icmp('Only this type. Needs protocol ICMP or ICMPv6.'),
      notICMP: icmp('Any type but this one. Needs protocol ICMP or ICMPv6.'),
      source: entity('Where the packet comes from.', { direction, end: 'source', isGlobal }),
      destination: entity('Where the packet goes to.', { direction, end: 'destination', isGlobal }),
      http: {
        description: `Requests inside of connections. ${notYet}`,
        type: 'object',
        'x-kubernetes-preserve-unknown-fields': true,
      },
      metadata: object('Notes for people.', {
        annotations: {
          description: 'Texts by name.',
          type: 'object',
          additionalProperties: { description: 'A text.', type: 'string' },
        },
      }),
    },
    {
      required: ['action'],
      ...rules(
        {
          rule: '!has(self.ipVersion) || self.ipVersion != 5',
          message: 'ipVersion must be 4 or 6',
          fieldPath: '.ipVersion',
        },
        {
          rule: `!has(self.icmp) && !has(self.notICMP) || ${isIcmp}`,
          message: 'icmp and notICMP need protocol ICMP or ICMPv6',
        },
        {
          rule: `!(${hasPorts('source')}) && !(${hasPorts('destination')}) || ${hasPortNumbers}`,
          message: 'ports and notPorts need protocol TCP, UDP or SCTP',
        },
        {
          rule: '!has(self.http)',
          message: 'http cannot be enforced: packets are all that is seen; remove it',
          fieldPath: '.http',
          reason: 'FieldValueForbidden',
        },
        {
          rule: `!has(self.${near}) || !has(self.${near}.services)`,
          message: `services stand at the ${farEnds[direction]} of an ${direction} rule alone; remove them here`,
          fieldPath: `.${near}.services`,
          reason: 'FieldValueForbidden',
        },
        {
          rule: `(!has(self.source) || !has(self.source.domains)) && (!has(self.destination) || !has(self.destination.domains)${direction === 'egress' ? " || self.action == 'Allow'" : ''})`,
          message: 'domains stand in the destination of an egress rule of action Allow, and nowhere else',
        },
        ...(direction === 'egress'
          ? [
              {
                rule: `!has(self.destination) || !has(self.destination.domains) || ${besideDomains.map((field) => `!has(self.destination.${field})`).join(' && ')}`,
                message: `domains cannot stand beside ${besideDomains.join(', ')}; write another rule`,
                fieldPath: '.destination.domains',
              },
            ]
          : []),
      ),
    },
  );
}

export const policySpec = (isGlobal: boolean): Readonly<Record<string, Schema>> => ({
  tier: text('The tier that it stands in, default if left out.', 63, { default: 'default' }),
  order: number('Where it stands in its tier: lower first, none behind all that have one, equal ones by name.'),
  selector: selector('The pods whose traffic it decides; all if left out.'),
  serviceAccountSelector: selector('Only pods of service accounts with such labels.'),
  types: list(
    'The directions that it decides; if left out those that it has rules of, without any Ingress.',
    oneOf('Ingress or Egress.', ['Ingress', 'Egress']),
    2,
    { 'x-kubernetes-list-type': 'set' },
  ),
  ingress: list('Rules for what comes to the pods.', rule('what comes to the pods', 'ingress', isGlobal), rulesMax),
  egress: list('Rules for what the pods send.', rule('what the pods send', 'egress', isGlobal), rulesMax),
  performanceHints: list('Without effect.', text('A hint.', 64), 16),
});

export const policyColumns: KindDefinition['columns'] = [
  { name: 'Tier', type: 'string', jsonPath: '.spec.tier', description: 'The tier that it stands in.' },
  { name: 'Order', type: 'number', jsonPath: '.spec.order', description: 'Where it stands in its tier.' },
  { name: 'Selector', type: 'string', jsonPath: '.spec.selector', description: 'The pods that it is about.' },
  {
    name: 'Types',
    type: 'string',
    jsonPath: '.spec.types',
    description: 'The directions that it decides.',
    priority: 1,
  },
  inForceColumn,
  ageColumn,
];

export const calicoNetworkPolicy: KindDefinition = {
  group: 'projectcalico.org',
  version: 'v3',
  kind: 'NetworkPolicy',
  plural: 'networkpolicies',
  shortNames: ['caliconetpol'],
  namespaced: true,
  description: 'Rules for pods of its namespace, in a tier and an order.',
  spec: object('Whom it is about, and its rules.', policySpec(false)),
  status: inForceStatus(),
  columns: policyColumns,
};

export const globalPolicySpec: Readonly<Record<string, Schema>> = {
  ...policySpec(true),
  selector: selector('The pods and host endpoints whose traffic it decides; all if left out.'),
  namespaceSelector: selector('Only pods in namespaces with such labels.'),
  applyOnForward: flag('Of host endpoints, what the node forwards as well; otherwise what ends or begins at it.'),
  preDNAT: flag(
    'Of host endpoints alone: what comes in, before the address of a service is translated. Needs applyOnForward, and no Egress.',
  ),
  doNotTrack: flag('Of host endpoints alone: every packet, without conntrack. Needs applyOnForward.'),
};

export const globalPolicyRules: readonly CelRule[] = [
  {
    rule: '!(has(self.doNotTrack) && self.doNotTrack && has(self.preDNAT) && self.preDNAT)',
    message: 'preDNAT stands beside doNotTrack; keep one of them',
    fieldPath: '.preDNAT',
  },
  {
    rule: '!(has(self.doNotTrack) && self.doNotTrack || has(self.preDNAT) && self.preDNAT) || has(self.applyOnForward) && self.applyOnForward',
    message: 'applyOnForward must be true beside doNotTrack or preDNAT, which are about forwarded packets as well',
    fieldPath: '.applyOnForward',
  },
  {
    rule: "!(has(self.preDNAT) && self.preDNAT) || (!has(self.egress) || size(self.egress) == 0) && (!has(self.types) || !('Egress' in self.types))",
    message: 'egress does not go with preDNAT, which is about what comes in alone',
    fieldPath: '.egress',
  },
];

export const globalNetworkPolicy: KindDefinition = {
  group: 'projectcalico.org',
  version: 'v3',
  kind: 'GlobalNetworkPolicy',
  plural: 'globalnetworkpolicies',
  shortNames: ['gnp', 'cgnp'],
  description: 'Rules for pods of all namespaces and for host endpoints, in a tier and an order.',
  spec: object('Whom it is about, and its rules.', globalPolicySpec, rules(...globalPolicyRules)),
  status: inForceStatus(),
  columns: policyColumns,
};
