/** projectcalico.org/v3 IPPool. */
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
import { cidrText, selector } from './shared.ts';

const notYet = 'Stored; Poplin assigns addresses from the podCIDR of each node so far.';
const isPrefix = 'isCIDR(self.cidr)';
const uses = (use: string): string => `(has(self.allowedUses) && self.allowedUses.exists(use, use == '${use}'))`;
const off = (mode: string): string => `(!has(self.${mode}) || self.${mode} == 'Never' || self.${mode} == '')`;
const isIpv4 = 'cidr(self.cidr).ip().family() == 4';
const modes = ['Never', 'Always', 'CrossSubnet'];

export const ipPool: KindDefinition = {
  group: 'projectcalico.org',
  version: 'v3',
  kind: 'IPPool',
  plural: 'ippools',
  shortNames: ['ipp', 'ipps', 'pool', 'pools'],
  description: "A range of pods' addresses, and how traffic from it is treated.",
  spec: object(
    'The range and its treatment.',
    {
      cidr: {
        ...cidrText('The range. It cannot be changed: make a new pool.', 'cidr'),
        ...rules(
          {
            rule: 'isCIDR(self)',
            message: 'cidr must be a prefix with its length, such as 10.1.0.0/16 or 2001:db8::/32',
          },
          {
            rule: '!isCIDR(self) || cidr(self) == cidr(self).masked()',
            message: 'cidr has bits set after its length; write the first address of the range, such as 10.1.0.0/16',
          },
          {
            rule: "!isCIDR(self) || !cidr('169.254.0.0/16').containsCIDR(cidr(self).masked()) && !cidr(self).containsIP('169.254.0.0') && !cidr('fe80::/10').containsCIDR(cidr(self).masked()) && !cidr(self).containsIP('fe80::')",
            message:
              'cidr overlaps a link-local range (169.254.0.0/16 or fe80::/10), which is not routed; choose another range',
          },
          { rule: 'self == oldSelf', message: 'cidr cannot be changed; make a new pool, then remove this one' },
        ),
      },
      natOutgoing: flag(
        'Packets from this range to addresses outside of all pools get the address of the node. False if left out.',
      ),
      disabled: flag('No addresses are assigned from this range; its traffic is treated as before. False if left out.'),
      disableBGPExport: flag('Prefixes inside this range are not announced by BGP. False if left out.'),
      nodeSelector: selector('The nodes that this pool is for.', { default: 'all()' }),
      namespaceSelector: selector(`The namespaces that this pool is for. ${notYet}`),
      blockSize: integer(`Length of the prefixes that nodes take from the range. ${notYet}`, 0, 128, {
        ...rules({
          rule: 'self == oldSelf',
          message: 'blockSize cannot be changed; make a new pool, then remove this one',
        }),
      }),
      ipipMode: oneOf(
        'IP in IP between nodes. Poplin routes without tunnels: anything but Never has no effect and is reported.',
        modes,
      ),
      vxlanMode: oneOf(
        'VXLAN between nodes. Poplin routes without tunnels: anything but Never has no effect and is reported.',
        modes,
      ),
      allowedUses: list(
        `What addresses of the range are for. ${notYet}`,
        oneOf('Workload, Tunnel or LoadBalancer.', ['Workload', 'Tunnel', 'LoadBalancer']),
        10,
        { 'x-kubernetes-list-type': 'set' },
      ),
      assignmentMode: oneOf(
        `Automatic for every pod, Manual only for pods that ask for it. ${notYet}`,
        ['Automatic', 'Manual'],
        {
          default: 'Automatic',
        },
      ),
      'nat-outgoing': flag('Form of natOutgoing in the first version of the API, read where that is left out.'),
      ipip: object('Form of ipipMode in the first version of the API. Without effect.', {
        enabled: flag('Tunnels are on.'),
        mode: text('always or cross-subnet.', 20),
      }),
    },
    {
      required: ['cidr'],
      ...rules(
        {
          rule: `${off('ipipMode')} || ${off('vxlanMode')}`,
          message: 'ipipMode and vxlanMode exclude each other; set one of them to Never',
          fieldPath: '.ipipMode',
          reason: 'FieldValueForbidden',
        },
        {
          rule: `!${isPrefix} || ${isIpv4} || ${off('ipipMode')}`,
          message: 'ipipMode must be Never in an IPv6 pool',
          fieldPath: '.ipipMode',
          reason: 'FieldValueForbidden',
        },
        {
          rule: `!${uses('LoadBalancer')} || ${off('ipipMode')} && ${off('vxlanMode')}`,
          message: 'allowedUses LoadBalancer goes with ipipMode and vxlanMode Never only',
          fieldPath: '.allowedUses',
          reason: 'FieldValueForbidden',
        },
        {
          rule: `!${uses('LoadBalancer')} || !${uses('Workload')} && !${uses('Tunnel')}`,
          message: 'allowedUses LoadBalancer must stand alone; make a pool of its own for Workload and Tunnel',
          fieldPath: '.allowedUses',
          reason: 'FieldValueForbidden',
        },
        {
          rule: `!${uses('LoadBalancer')} || !has(self.disableBGPExport) || !self.disableBGPExport`,
          message: 'disableBGPExport must be false in a pool for LoadBalancer, whose addresses are reached through BGP',
          fieldPath: '.disableBGPExport',
          reason: 'FieldValueForbidden',
        },
        {
          rule: `!${uses('LoadBalancer')} || self.nodeSelector == 'all()'`,
          message: 'nodeSelector must be all() in a pool for LoadBalancer',
          fieldPath: '.nodeSelector',
        },
        {
          rule: `!${uses('Tunnel')} || !has(self.namespaceSelector) || self.namespaceSelector == ''`,
          message: 'namespaceSelector must be left out in a pool for Tunnel',
          fieldPath: '.namespaceSelector',
          reason: 'FieldValueForbidden',
        },
        {
          rule: "!has(self.nodeSelector) || !self.nodeSelector.contains('global(')",
          message: 'nodeSelector must not use global(): it selects nodes',
          fieldPath: '.nodeSelector',
        },
        {
          rule: "!has(self.namespaceSelector) || !self.namespaceSelector.contains('global(')",
          message: 'namespaceSelector must not use global(): it selects namespaces',
          fieldPath: '.namespaceSelector',
        },
        {
          rule: `!has(self.blockSize) || self.blockSize == 0 || !${isPrefix} || (${isIpv4} ? self.blockSize >= 20 && self.blockSize <= 32 : self.blockSize >= 116 && self.blockSize <= 128)`,
          message: 'blockSize must be 20 to 32 in an IPv4 pool and 116 to 128 in an IPv6 pool',
          fieldPath: '.blockSize',
        },
        {
          rule: `has(self.disabled) && self.disabled || !${isPrefix} || cidr(self.cidr).prefixLength() <= (has(self.blockSize) && self.blockSize != 0 ? self.blockSize : (${isIpv4} ? 26 : 122))`,
          message:
            'cidr is smaller than one block; write a shorter prefix, or a blockSize of at least its length (26 for IPv4 and 122 for IPv6 if left out)',
          fieldPath: '.cidr',
        },
      ),
    },
  ),
  status: conditionsOnlyStatus(
    'Accepted: understood and in force. FieldsNotUsed: fields that are set and have no effect. Calico has Allocatable.',
  ),
  columns: [
    { name: 'CIDR', type: 'string', jsonPath: '.spec.cidr', description: 'The range.' },
    {
      name: 'NAT',
      type: 'boolean',
      jsonPath: '.spec.natOutgoing',
      description: 'Traffic to addresses outside of all pools is masqueraded.',
    },
    {
      name: 'BGP Export Off',
      type: 'boolean',
      jsonPath: '.spec.disableBGPExport',
      description: 'The range is not announced by BGP.',
    },
    {
      name: 'Disabled',
      type: 'boolean',
      jsonPath: '.spec.disabled',
      description: 'No addresses are assigned from it.',
    },
    {
      name: 'Accepted',
      type: 'string',
      jsonPath: ".status.conditions[?(@.type=='Accepted')].status",
      description: 'Understood and in force.',
    },
    ageColumn,
  ],
};
