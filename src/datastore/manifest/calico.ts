/** projectcalico.org/v3 BGPFilter, CalicoNodeStatus and FelixConfiguration. */
import type { BGPFilterObject, CalicoNodeStatusObject, FelixConfigurationObject, ObjectMeta } from '#model';
import type { Reader } from './reader.ts';

export function readBgpFilter(_document: Reader, metadata: ObjectMeta): BGPFilterObject {
  return { metadata, exportV4: [], importV4: [], exportV6: [], importV6: [] };
}

export function readCalicoNodeStatus(document: Reader, metadata: ObjectMeta): CalicoNodeStatusObject | undefined {
  const node = document.field('spec').field('node').requiredString();
  return node === undefined ? undefined : { metadata, node, classes: [], updatePeriodSec: 0 };
}

export function readFelixConfiguration(document: Reader, metadata: ObjectMeta): FelixConfigurationObject {
  return { metadata, notUsed: Object.keys(document.field('spec').mapping() ?? {}) };
}
