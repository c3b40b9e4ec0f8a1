/** projectcalico.org/v3 Tier, NetworkSet and GlobalNetworkSet. */
import {
  ageColumn,
  inForceColumn,
  inForceStatus,
  type KindDefinition,
  list,
  number,
  object,
  oneOf,
  type Schema,
  text,
} from './build.ts';

const fixedTiers = {
  'kube-admin': [1_000, 'Pass'],
  default: [1_000_000, 'Deny'],
  'kube-baseline': [10_000_000, 'Pass'],
};

export const tier: KindDefinition = {
  group: 'projectcalico.org',
  version: 'v3',
  kind: 'Tier',
  plural: 'tiers',
  shortNames: [],
  description: 'Policies that are asked before those of tiers with a higher order.',
  spec: object(
    'Its place, and what becomes of what its policies leave open.',
    {
      order: number('Lower first; none behind all that have one.'),
      defaultAction: oneOf(
        'Of what a policy of the tier selects and none decides: Deny (if left out), or Pass to the next tier.',
        ['Deny', 'Pass'],
      ),
    },
    { default: {} },
  ),
  status: inForceStatus(),
  rules: Object.entries(fixedTiers).map(([name, [order, action]]) => ({
    rule: `self.metadata.name != '${name}' || (!has(self.spec.order) || self.spec.order == ${order}.0) && (!has(self.spec.defaultAction) || self.spec.defaultAction == '${action}')`,
    message: `the tier ${name} has order ${order} and defaultAction ${action}; make a tier of your own for others`,
    fieldPath: '.spec',
  })),
  columns: [
    { name: 'Order', type: 'number', jsonPath: '.spec.order', description: 'Lower first.' },
    {
      name: 'Default',
      type: 'string',
      jsonPath: '.spec.defaultAction',
      description: 'What becomes of what its policies leave open.',
    },
    inForceColumn,
    ageColumn,
  ],
};

const sets: Schema = object(
  'Its members.',
  {
    nets: list(
      'Prefixes and addresses of either family.',
      text('A prefix such as 192.0.2.0/24, or an address.', 49, { minLength: 2 }),
      131_072,
    ),
  },
  { default: {} },
);

export const networkSet: KindDefinition = {
  group: 'projectcalico.org',
  version: 'v3',
  kind: 'NetworkSet',
  plural: 'networksets',
  shortNames: ['netsets'],
  namespaced: true,
  description: "Addresses that selectors of Calico's policies select by the labels of this object, in its namespace.",
  spec: sets,
  status: inForceStatus(),
  columns: [inForceColumn, ageColumn],
};

export const globalNetworkSet: KindDefinition = {
  group: 'projectcalico.org',
  version: 'v3',
  kind: 'GlobalNetworkSet',
  plural: 'globalnetworksets',
  shortNames: [],
  description: "Addresses that selectors of Calico's policies select by the labels of this object.",
  spec: sets,
  status: inForceStatus(),
  columns: [inForceColumn, ageColumn],
};
