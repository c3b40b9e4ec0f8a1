/** projectcalico.org NetworkPolicy, GlobalNetworkPolicy, Tier, NetworkSet and GlobalNetworkSet, and Kubernetes' ServiceAccount. */
import type { CalicoPolicyObject, NetworkSetObject, ObjectMeta, ServiceAccountObject, TierObject } from '#model';
import { readCalicoRule, readNet, readSelector, rulesMax } from './calico-rule.ts';
import type { DocumentSource } from './metadata.ts';
import { dnsLabelFault } from './names.ts';
import type { PolicyCost } from './policy-cost.ts';
import { type Reader, show } from './reader.ts';

const bothDirections = ['Ingress', 'Egress'] as const;
const setNetsMax = 131_072;
const defaultTier = 'default';
/** Orders and default actions that Calico gives these three; they cannot be others. */
const fixedTiers: Readonly<Record<string, { readonly order: number; readonly defaultAction: 'Deny' | 'Pass' }>> = {
  'kube-admin': { order: 1_000, defaultAction: 'Pass' },
  default: { order: 1_000_000, defaultAction: 'Deny' },
  'kube-baseline': { order: 10_000_000, defaultAction: 'Pass' },
};

const policyFields = [
  'tier',
  'order',
  'selector',
  'serviceAccountSelector',
  'types',
  'ingress',
  'egress',
  'performanceHints',
];
const hostFields = ['doNotTrack', 'preDNAT', 'applyOnForward'];

/** @param more fields of the spec that somebody else reads. */
export function readCalicoNetworkPolicy(
  document: Reader,
  metadata: ObjectMeta,
  source: DocumentSource,
  more: readonly string[] = [],
): CalicoPolicyObject | undefined {
  document.field('spec').onlyFields([...policyFields, ...more]);
  return readPolicy(document.field('spec'), metadata, source);
}

/** @param more fields of the spec that somebody else reads. */
export function readGlobalNetworkPolicy(
  document: Reader,
  metadata: ObjectMeta,
  source: DocumentSource,
  more: readonly string[] = [],
): CalicoPolicyObject | undefined {
  const spec = document.field('spec');
  spec.onlyFields([...policyFields, ...hostFields, 'namespaceSelector', ...more]);
  const namespaceSelector = readSelector(spec.field('namespaceSelector'));
  const policy = readPolicy(spec, metadata, source);
  const hostTraffic = policy && readHostTraffic(spec, policy);
  return (
    policy && {
      ...policy,
      ...(namespaceSelector !== undefined && { namespaceSelector }),
      ...(hostTraffic !== undefined && { hostTraffic }),
    }
  );
}

/** As Calico's API server takes them together. */
function readHostTraffic(spec: Reader, policy: CalicoPolicyObject): CalicoPolicyObject['hostTraffic'] {
  const [doNotTrack, preDNAT, applyOnForward] = hostFields.map((name) => spec.field(name).boolean() ?? false);
  if (doNotTrack && preDNAT) return spec.field('preDNAT').fault('stands beside doNotTrack; keep one of them');
  if ((doNotTrack || preDNAT) && !applyOnForward) {
    return spec
      .field('applyOnForward')
      .fault(`must be true beside ${doNotTrack ? 'doNotTrack' : 'preDNAT'}, which is about forwarded packets as well`);
  }
  if (preDNAT && policy.types.includes('Egress')) {
    return spec
      .field(policy.egress.length > 0 ? 'egress' : 'types')
      .fault('does not go with preDNAT, which is about what comes in alone');
  }
  return doNotTrack ? 'untracked' : preDNAT ? 'preDNAT' : applyOnForward ? 'forward' : undefined;
}

function readPolicy(spec: Reader, metadata: ObjectMeta, source: DocumentSource): CalicoPolicyObject | undefined {
  const order = readOrder(spec.field('order'));
  const serviceAccountSelector = readSelector(spec.field('serviceAccountSelector'));
  const cost: PolicyCost = { kernelRules: 0, sets: 0 };
  const rules = (direction: 'ingress' | 'egress') =>
    spec
      .field(direction)
      .list(rulesMax)
      .flatMap((rule) => readCalicoRule(rule, { source, direction, namespace: metadata.namespace, cost }) ?? []);
  const ingress = rules('ingress');
  const egress = rules('egress');
  return {
    metadata,
    tier: readTierName(spec.field('tier')),
    ...(order !== undefined && { order }),
    selector: readSelector(spec.field('selector')) ?? 'all()',
    ...(serviceAccountSelector !== undefined && { serviceAccountSelector }),
    types: readTypes(spec.field('types'), ingress.length > 0, egress.length > 0),
    ingress,
    egress,
  };
}

function readTierName(reader: Reader): string {
  const name = reader.string() || defaultTier;
  const fault = dnsLabelFault(name);
  if (fault) reader.fault(`${show(name)} names no tier: it ${fault}`);
  return name;
}

/** Any number, fractions too. */
function readOrder(reader: Reader): number | undefined {
  if (!reader.present) return undefined;
  const { value } = reader;
  return typeof value === 'number' && Number.isFinite(value) ? value : reader.fault(`${show(value)} is not a number`);
}

/** Those that there are rules of; without any Ingress. NetworkPolicy of Kubernetes infers otherwise. */
function readTypes(reader: Reader, hasIngress: boolean, hasEgress: boolean): CalicoPolicyObject['types'] {
  const entries = reader.list();
  if (entries.length === 0) return hasEgress ? (hasIngress ? bothDirections : ['Egress']) : ['Ingress'];
  const found = entries.map((entry) => entry.oneOf(bothDirections));
  if (new Set(found).size < found.length) reader.fault('names one twice');
  return bothDirections.filter((type) => found.includes(type));
}

export function readTier(document: Reader, metadata: ObjectMeta): TierObject {
  const spec = document.field('spec');
  spec.onlyFields(['order', 'defaultAction']);
  const order = readOrder(spec.field('order'));
  const defaultAction = spec.field('defaultAction').oneOf(['Deny', 'Pass'] as const);
  const fixed = Object.hasOwn(fixedTiers, metadata.name) ? fixedTiers[metadata.name] : undefined;
  if (fixed && order !== undefined && order !== fixed.order)
    spec.field('order').fault(`is ${fixed.order} in this tier`);
  if (fixed && defaultAction !== undefined && defaultAction !== fixed.defaultAction) {
    spec.field('defaultAction').fault(`is ${fixed.defaultAction} in this tier`);
  }
  const nameFault = dnsLabelFault(metadata.name);
  if (nameFault)
    document
      .field('metadata')
      .field('name')
      .fault(`${show(metadata.name)} ${nameFault}`);
  if (fixed) return { metadata, ...fixed };
  return { metadata, ...(order !== undefined && { order }), defaultAction: defaultAction ?? 'Deny' };
}

export function readNetworkSet(document: Reader, metadata: ObjectMeta): NetworkSetObject {
  const spec = document.field('spec');
  spec.onlyFields(['nets']);
  const nets = spec
    .field('nets')
    .list(setNetsMax)
    .flatMap((entry) => readNet(entry) ?? []);
  return { metadata, nets: [...new Set(nets)] };
}

export function readServiceAccount(_document: Reader, metadata: ObjectMeta): ServiceAccountObject {
  return { metadata };
}
