/** projectcalico.org/v3 IPPool: here it says which addresses are pods', and whether they are masqueraded to elsewhere. */
import type { IPPoolObject, ObjectMeta } from '#model';
import { type FieldsNotUsed, noteNotUsed } from './calico-fields.ts';
import { readCidr } from './metadata.ts';
import type { Reader } from './reader.ts';

const used = ['cidr', 'natOutgoing', 'disabled', 'disableBGPExport', 'nodeSelector'];
const notUsed: FieldsNotUsed = {
  blockSize: 0,
  namespaceSelector: undefined,
  assignmentMode: 'Automatic',
  ipip: undefined,
};
const defaultUses = ['Workload', 'Tunnel'];
const tunnels = ['ipipMode', 'vxlanMode'];

export function readIpPool(document: Reader, metadata: ObjectMeta): IPPoolObject | undefined {
  const spec = document.field('spec');
  spec.onlyFields([...used, ...Object.keys(notUsed), 'allowedUses', ...tunnels, 'nat-outgoing']);
  noteNotUsed(spec, notUsed);
  const allowedUses = spec.field('allowedUses');
  const uses = allowedUses.list().map((use) => use.value);
  if (uses.length > 0 && !defaultUses.every((use) => uses.includes(use))) {
    allowedUses.note('is not used by Poplin: the pool is for all uses');
  }
  for (const name of tunnels) {
    const mode = spec.field(name).choiceOrNone(['Never', 'Always', 'CrossSubnet'] as const);
    if (mode && mode !== 'Never') spec.field(name).note('is not used by Poplin: pods are routed without tunnels');
  }
  const legacyNat = spec.field('nat-outgoing').boolean();
  const cidr = readCidr(spec.field('cidr'));
  const natOutgoing = spec.field('natOutgoing').boolean() ?? legacyNat ?? false;
  const disabled = spec.field('disabled').boolean() ?? false;
  const disableBGPExport = spec.field('disableBGPExport').boolean() ?? false;
  const nodeSelector = spec.field('nodeSelector').textOrNone();
  const someNodes = nodeSelector !== undefined && nodeSelector !== 'all()';
  return cidr && { metadata, cidr, natOutgoing, disabled, disableBGPExport, ...(someNodes ? { nodeSelector } : {}) };
}
