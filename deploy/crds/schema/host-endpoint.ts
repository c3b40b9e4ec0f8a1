/** projectcalico.org/v3 HostEndpoint. */
import {
  ageColumn,
  inForceColumn,
  inForceStatus,
  integer,
  type KindDefinition,
  list,
  object,
  rules,
  text,
} from './build.ts';

export const hostEndpoint: KindDefinition = {
  group: 'projectcalico.org',
  version: 'v3',
  kind: 'HostEndpoint',
  plural: 'hostendpoints',
  shortNames: ['hep', 'heps'],
  description:
    'An interface of a node, or all of them: GlobalNetworkPolicies that select it by its labels decide what reaches the node there and what leaves it. Without any, the failsafe ports alone stay open.',
  spec: object(
    'Of which node it is, which interfaces, and what selectors find of it.',
    {
      node: text('Name of the Node.', 253, { minLength: 1 }),
      interfaceName: text(
        "The interface; * for every one that is neither a pod's nor of another HostEndpoint; without it the one that has any of expectedIPs.",
        15,
        { pattern: '^(\\*|[a-zA-Z0-9_.][a-zA-Z0-9_.-]{0,14})?$' },
      ),
      expectedIPs: list(
        'Addresses of the node there. Selectors of rules mean these.',
        text('An address of either family.', 45, { minLength: 2 }),
        1_024,
      ),
      profiles: list(
        'Asked behind all policies: projectcalico-default-allow allows whatever no tier has decided.',
        text('Name of a profile.', 253, { minLength: 1 }),
        256,
      ),
      ports: list(
        'Names of ports, for rules.',
        object(
          'A port.',
          {
            name: text('Its name.', 63, { minLength: 1, pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$' }),
            protocol: text('TCP, UDP or SCTP.', 4, { pattern: '^(?i)(TCP|UDP|SCTP)$' }),
            port: integer('Its number.', 1, 65_535),
          },
          { required: ['name', 'protocol', 'port'] },
        ),
        1_024,
      ),
    },
    {
      required: ['node'],
      ...rules({
        rule: "has(self.interfaceName) && self.interfaceName != '' || has(self.expectedIPs) && size(self.expectedIPs) > 0",
        message: 'interfaceName is required without expectedIPs; write the name of an interface, or * for all',
        fieldPath: '.interfaceName',
        reason: 'FieldValueRequired',
      }),
    },
  ),
  status: inForceStatus(),
  columns: [
    { name: 'Node', type: 'string', jsonPath: '.spec.node', description: 'The node that it is of.' },
    { name: 'Interface', type: 'string', jsonPath: '.spec.interfaceName', description: 'Which of its interfaces.' },
    {
      name: 'Expected IPs',
      type: 'string',
      jsonPath: '.spec.expectedIPs',
      description: 'Addresses that selectors of rules mean.',
      priority: 1,
    },
    inForceColumn,
    ageColumn,
  ],
};
