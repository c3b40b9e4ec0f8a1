/** projectcalico.org/v3 StagedNetworkPolicy, StagedGlobalNetworkPolicy and StagedKubernetesNetworkPolicy. */
import {
  ageColumn,
  type CelRule,
  inForceColumn,
  integer,
  type KindDefinition,
  list,
  object,
  oneOf,
  rules,
  type Schema,
  stagedColumn,
  stagedStatus,
  text,
} from './build.ts';
import { globalPolicyRules, globalPolicySpec, policyColumns, policySpec } from './calico-policy.ts';

const stagedAction = oneOf(
  'Set, if left out: what it would decide is reported, in place of the enforced policy of its name. Delete: what would be without that one. Learn and Ignore: nothing is reported.',
  ['Set', 'Delete', 'Learn', 'Ignore'],
);
const actionColumn: KindDefinition['columns'][number] = {
  name: 'Action',
  type: 'string',
  jsonPath: '.spec.stagedAction',
  description: 'What is made of it: Set if empty.',
};

/** Whether the field is there and says something. */
function says(name: string, { type, properties = {} }: Schema): string {
  const there = `has(self.${name})`;
  switch (type) {
    case 'array':
    case 'string':
      return `${there} && size(self.${name}) > 0`;
    case 'boolean':
      return `${there} && self.${name}`;
    case 'object': {
      const parts = Object.keys(properties).map((part) => `has(self.${name}.${part})`);
      return `${there} && (${parts.join(' || ')})`;
    }
    default:
      return there;
  }
}

/** As Calico's own validation: Delete only names a policy. */
function withAction(
  fields: Readonly<Record<string, Schema>>,
  named: readonly string[],
  more: readonly CelRule[] = [],
): Schema {
  const none = Object.entries(fields)
    .filter(([name]) => !named.includes(name))
    .map(([name, schema]) => `!(${says(name, schema)})`)
    .join(' && ');
  return object(
    'What it would say if it were enforced.',
    { stagedAction, ...fields },
    rules(
      {
        rule: `!has(self.stagedAction) || self.stagedAction != 'Delete' || ${none}`,
        message: `stagedAction Delete only names a policy; remove all ${named.length === 0 ? '' : `but ${named.join(', ')} `}from spec`,
        fieldPath: '.stagedAction',
      },
      ...more,
    ),
  );
}

const calicoColumns: KindDefinition['columns'] = [
  actionColumn,
  ...policyColumns.map((column) => (column === inForceColumn ? stagedColumn : column)),
];

export const stagedNetworkPolicy: KindDefinition = {
  group: 'projectcalico.org',
  version: 'v3',
  kind: 'StagedNetworkPolicy',
  plural: 'stagednetworkpolicies',
  shortNames: ['snp'],
  namespaced: true,
  description: 'A NetworkPolicy of projectcalico.org that is never in force: what it would decide is reported.',
  spec: withAction(policySpec(false), ['tier']),
  status: stagedStatus(),
  columns: calicoColumns,
};

export const stagedGlobalNetworkPolicy: KindDefinition = {
  group: 'projectcalico.org',
  version: 'v3',
  kind: 'StagedGlobalNetworkPolicy',
  plural: 'stagedglobalnetworkpolicies',
  shortNames: ['sgnp'],
  description: 'A GlobalNetworkPolicy that is never in force: what it would decide is reported.',
  spec: withAction(globalPolicySpec, ['tier'], globalPolicyRules),
  status: stagedStatus(),
  columns: calicoColumns,
};

const labelText = (description: string): Schema => text(description, 317);
const labelSelector = (description: string): Schema =>
  object(description, {
    matchLabels: {
      description: 'Labels that must be there with these values.',
      type: 'object',
      additionalProperties: labelText('A value.'),
    },
    matchExpressions: list(
      'Requirements that must hold as well.',
      object(
        'One requirement of one label.',
        {
          key: labelText('The label.'),
          operator: oneOf('How the label stands to the values.', ['In', 'NotIn', 'Exists', 'DoesNotExist']),
          values: list('Of In and NotIn.', labelText('A value.'), 1_024),
        },
        { required: ['key', 'operator'] },
      ),
      1_024,
    ),
  });

const peers = (description: string): Schema =>
  list(
    description,
    object('Pods by labels, or addresses; a selector and ipBlock exclude each other.', {
      podSelector: labelSelector('Pods with such labels; without namespaceSelector those of the own namespace.'),
      namespaceSelector: labelSelector('In namespaces with such labels.'),
      ipBlock: object(
        'Addresses of a prefix.',
        {
          cidr: text('The prefix.', 49),
          except: list('Prefixes inside of it that are not meant.', text('A prefix.', 49), 65_536),
        },
        { required: ['cidr'] },
      ),
    }),
    65_536,
  );
const ports = list(
  'Any of these ports; every port if left out.',
  object('A port, or a range.', {
    protocol: oneOf('TCP if left out.', ['TCP', 'UDP', 'SCTP']),
    port: {
      description: 'A number, or the name of a port that the pod declares; every port if left out.',
      'x-kubernetes-int-or-string': true,
      minimum: 1,
      maximum: 65_535,
      maxLength: 15,
      pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$',
    },
    endPort: integer('The last of a range that begins with port.', 1, 65_535),
  }),
  8_192,
);
const rulesMax = 1_024;

export const stagedKubernetesNetworkPolicy: KindDefinition = {
  group: 'projectcalico.org',
  version: 'v3',
  kind: 'StagedKubernetesNetworkPolicy',
  plural: 'stagedkubernetesnetworkpolicies',
  shortNames: ['sknp'],
  namespaced: true,
  description: 'A NetworkPolicy of networking.k8s.io/v1 that is never in force: what it would decide is reported.',
  spec: withAction(
    {
      podSelector: labelSelector('The pods that it is about; all of the namespace if empty.'),
      policyTypes: list(
        'The directions that it decides; if left out Ingress, and Egress where it has rules of it.',
        oneOf('Ingress or Egress.', ['Ingress', 'Egress']),
        2,
      ),
      ingress: list(
        'What may come to the pods.',
        object('From any of these peers to any of these ports.', {
          from: peers('Peers; everybody if left out.'),
          ports,
        }),
        rulesMax,
      ),
      egress: list(
        'What the pods may send.',
        object('To any of these peers, at any of these ports.', { to: peers('Peers; everybody if left out.'), ports }),
        rulesMax,
      ),
    },
    [],
  ),
  status: stagedStatus(),
  columns: [
    actionColumn,
    {
      name: 'Pod-Selector',
      type: 'string',
      jsonPath: '.spec.podSelector',
      description: 'The pods that it is about.',
    },
    stagedColumn,
    ageColumn,
  ],
};
