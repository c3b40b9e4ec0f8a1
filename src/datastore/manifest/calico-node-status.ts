/** projectcalico.org/v3 CalicoNodeStatus: the question; the answer in its status is ours to write. */
import type { CalicoNodeStatusObject, ObjectMeta } from '#model';
import type { Reader } from './reader.ts';

const classNames = ['Agent', 'BGP', 'Routes'] as const;
/** A day, as Calico has it. */
const updatePeriodSecMax = 86_400;

export function readCalicoNodeStatus(document: Reader, metadata: ObjectMeta): CalicoNodeStatusObject | undefined {
  const spec = document.field('spec');
  spec.onlyFields(['node', 'classes', 'updatePeriodSeconds']);
  const node = spec.field('node').requiredString();
  const classesReader = spec.field('classes');
  const entries = classesReader.list(classNames.length);
  if (entries.length === 0) classesReader.fault(`is required; write some of ${classNames.join(', ')}`);
  const classes = entries.flatMap((entry) => entry.oneOf(classNames) ?? []);
  if (new Set(classes).size !== classes.length) classesReader.fault('names a class twice; write each once');
  const periodReader = spec.field('updatePeriodSeconds');
  const updatePeriodSec = periodReader.present
    ? periodReader.integer(0, updatePeriodSecMax)
    : periodReader.fault('is required; write seconds, or 0 for one report');
  if (node === undefined || updatePeriodSec === undefined) return undefined;
  return { metadata, node, classes, updatePeriodSec };
}
