/** projectcalico.org/v3 IPPool: here it says which addresses are pods', and whether they are masqueraded to elsewhere. */
import type { IPPoolObject, ObjectMeta } from '#model';
import { noteNotUsed } from './bgp.ts';
import { readCidr } from './metadata.ts';
import type { Reader } from './reader.ts';

const used = ['cidr', 'natOutgoing', 'disabled', 'disableBGPExport', 'nodeSelector'];
const notUsed = ['blockSize', 'namespaceSelector', 'allowedUses', 'assignmentMode', 'ipip'];
const tunnels = ['ipipMode', 'vxlanMode'];

export function readIpPool(document: Reader, metadata: ObjectMeta): IPPoolObject | undefined {
  const spec = document.field('spec');
  spec.onlyFields([...used, ...notUsed, ...tunnels, 'nat-outgoing']);
  noteNotUsed(spec, notUsed);
  for (const name of tunnels) {
    const mode = spec.field(name).oneOf(['Never', 'Always', 'CrossSubnet'] as const);
    if (mode && mode !== 'Never') spec.field(name).note('is not used by Poplin: pods are routed without tunnels');
  }
  const legacyNat = spec.field('nat-outgoing').boolean();
  const cidr = readCidr(spec.field('cidr'));
  const natOutgoing = spec.field('natOutgoing').boolean() ?? legacyNat ?? false;
  const disabled = spec.field('disabled').boolean() ?? false;
  const disableBGPExport = spec.field('disableBGPExport').boolean() ?? false;
  const nodeSelector = spec.field('nodeSelector').string() || undefined;
  return cidr && { metadata, cidr, natOutgoing, disabled, disableBGPExport, ...(nodeSelector ? { nodeSelector } : {}) };
}
