/**
 * projectcalico.org/v3 StagedNetworkPolicy, StagedGlobalNetworkPolicy and StagedKubernetesNetworkPolicy: what the enforced kind of the same fields says,
 * and what is to be made of it.
 */
import type { ObjectMeta, StagedAction, StagedCalicoPolicyObject, StagedKubernetesPolicyObject } from '#model';
import { readCalicoNetworkPolicy, readGlobalNetworkPolicy } from './calico-policy.ts';
import type { DocumentSource } from './metadata.ts';
import { readNetworkPolicy } from './network-policy.ts';
import type { Reader } from './reader.ts';

const stagedActions = ['Set', 'Delete', 'Learn', 'Ignore'] as const satisfies readonly StagedAction[];
const actionField = 'stagedAction';

export function readStagedNetworkPolicy(
  document: Reader,
  metadata: ObjectMeta,
  source: DocumentSource,
): StagedCalicoPolicyObject | undefined {
  const stagedAction = readAction(document.field('spec'), ['tier']);
  const policy = readCalicoNetworkPolicy(document, metadata, source, [actionField]);
  return policy && { ...policy, stagedAction };
}

export function readStagedGlobalNetworkPolicy(
  document: Reader,
  metadata: ObjectMeta,
  source: DocumentSource,
): StagedCalicoPolicyObject | undefined {
  const stagedAction = readAction(document.field('spec'), ['tier']);
  const policy = readGlobalNetworkPolicy(document, metadata, source, [actionField]);
  return policy && { ...policy, stagedAction };
}

export function readStagedKubernetesNetworkPolicy(
  document: Reader,
  metadata: ObjectMeta,
): StagedKubernetesPolicyObject {
  const stagedAction = readAction(document.field('spec'), []);
  return { ...readNetworkPolicy(document, metadata, [actionField]), stagedAction };
}

/** @param ofDelete what may stand beside Delete: it names a policy and says nothing of its own, as Calico's validation has it. */
function readAction(spec: Reader, ofDelete: readonly string[]): StagedAction {
  const reader = spec.field(actionField);
  const action = reader.choiceOrNone(stagedActions) ?? 'Set';
  if (action === 'Delete') {
    for (const [name, value] of Object.entries(spec.mapping() ?? {})) {
      if (name === actionField || ofDelete.includes(name) || isZero(value)) continue;
      spec.field(name).fault('stands beside stagedAction Delete, which only names a policy; remove it');
    }
  } else if (action === 'Learn' || action === 'Ignore') {
    reader.note(`${action} is a recommendation that nobody has accepted: nothing is reported of it until it is Set`);
  }
  return action;
}

/** As API servers of Go fill in. */
function isZero(value: unknown): boolean {
  return (
    value === undefined ||
    value === null ||
    value === '' ||
    value === false ||
    (Array.isArray(value) && value.length === 0) ||
    (typeof value === 'object' && Object.keys(value).length === 0)
  );
}
