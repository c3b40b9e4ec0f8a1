/** projectcalico.org/v3 FelixConfiguration: the parameters that mean something here are typed, the 200 others pass as they are. */
import { ageColumn, conditionsOnlyStatus, integer, type KindDefinition, object, text } from './build.ts';
import { logSeverityPattern, selector } from './shared.ts';

export const felixConfiguration: KindDefinition = {
  group: 'projectcalico.org',
  version: 'v3',
  kind: 'FelixConfiguration',
  plural: 'felixconfigurations',
  shortNames: ['felixconfig', 'felixconfigs'],
  description:
    "Settings of Calico's dataplane agent: of all nodes in the object named default, of one node in node.NAME. Poplin reads those that mean something to it.",
  spec: object(
    'The settings. Fields that are not described here are stored, have no effect, and are named in the condition FieldsNotUsed.',
    {
      iptablesMarkMask: integer(
        'Bits of the packet mark, and of the connection mark the highest of them, that are for Poplin alone, at least two; its option markMask counts more. 983040 (0xf0000) if left out.',
        0,
        4_294_967_295,
      ),
      iptablesBackend: text(
        'Which of the two forms of iptables is used: Legacy, NFT or Auto (the one that holds rules already).',
        10,
        {
          pattern: '^(?i)(Auto|Legacy|NFT)?$',
        },
      ),
      logSeverityScreen: text(
        "Level from which the agent's log lines are written. The option logLevel counts more.",
        10,
        {
          pattern: logSeverityPattern,
        },
      ),
      flowLogsLocalReporter: text(
        'Enabled: allowed flows are logged as denied ones are, once the agent starts again; the option flowLog counts more.',
        8,
        { pattern: '^(?i)(Enabled|Disabled)?$' },
      ),
      flowLogsFlushInterval: text(
        'Packets of one flow within this time are one entry of the log of flows, 1s to 1h. 10s if left out.',
        32,
        { pattern: '^([0-9]+(\\.[0-9]+)?(ms|s|m|h))*$' },
      ),
      nodeSelector: selector('Nodes that an object of another name is for. Poplin reads default and node.NAME only.'),
    },
    { 'x-kubernetes-preserve-unknown-fields': true, default: {} },
  ),
  status: conditionsOnlyStatus(
    'Accepted: understood and in force. FieldsNotUsed: fields that are set and have no effect.',
  ),
  rules: [
    {
      rule: "self.metadata.name == 'default' || self.metadata.name.startsWith('node.') ? !has(self.spec.nodeSelector) : has(self.spec.nodeSelector)",
      message:
        'metadata.name must be default (all nodes) or node.NAME (one node) and then without nodeSelector; any other name needs spec.nodeSelector',
      fieldPath: '.metadata.name',
    },
  ],
  columns: [
    {
      name: 'Accepted',
      type: 'string',
      jsonPath: ".status.conditions[?(@.type=='Accepted')].status",
      description: 'Understood and in force.',
    },
    {
      name: 'Fields Not Used',
      type: 'string',
      jsonPath: ".status.conditions[?(@.type=='FieldsNotUsed')].message",
      description: 'Fields that are set and have no effect.',
      priority: 1,
    },
    ageColumn,
  ],
};
