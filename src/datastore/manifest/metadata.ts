/** metadata, the selectors that look at its labels, and addresses: what several kinds share. */
import { type Cidr, type IpAddress, toCidr, toIpAddress } from '#kit';
import type { LabelSelector, LabelSelectorRequirement, Labels, ObjectMeta } from '#model';
import { dnsLabelFault, dnsSubdomainFault, labelKeyFault, labelValueFault } from './names.ts';
import { type Reader, show } from './reader.ts';

const metadataFields = [
  'name',
  'namespace',
  'uid',
  'labels',
  'annotations',
  'generateName',
  'resourceVersion',
  'generation',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'ownerReferences',
  'finalizers',
  'managedFields',
  'selfLink',
  'clusterName',
];

export interface MetadataRules {
  readonly namespaced: boolean;
  readonly name: 'subdomain' | 'label';
}
/** `api`: an API server has validated the document against its own definition of the kind. */
export type DocumentSource = 'directory' | 'api';

export function readMetadata(document: Reader, rules: MetadataRules, source: DocumentSource): ObjectMeta {
  const metadata = document.field('metadata');
  if (source === 'directory') metadata.onlyFields(metadataFields);
  const nameReader = metadata.field('name');
  const name = nameReader.requiredString() ?? '';
  const nameFault = name && (rules.name === 'label' ? dnsLabelFault(name) : dnsSubdomainFault(name));
  if (nameFault) nameReader.fault(`${show(name)} ${nameFault}`);
  return {
    name,
    namespace: readNamespace(metadata.field('namespace'), rules.namespaced),
    uid: metadata.field('uid').string() ?? '',
    labels: readLabels(metadata.field('labels')),
    annotations: readAnnotations(metadata.field('annotations')),
  };
}

function readNamespace(reader: Reader, namespaced: boolean): string {
  const text = reader.string() ?? '';
  if (!namespaced) {
    if (text !== '') reader.fault(`${show(text)} stands on a kind that has no namespace; remove it`);
    return '';
  }
  const fault = text && dnsLabelFault(text);
  if (fault) reader.fault(`${show(text)} ${fault}`);
  return text || 'default';
}

export function readLabels(reader: Reader): Labels {
  return readTextMap(reader, (key, value) => {
    const keyFault = labelKeyFault(key.path.at(-1) as string);
    if (keyFault) key.fault(`label key ${keyFault}`);
    const valueFault = labelValueFault(value);
    if (valueFault) key.fault(`label value ${show(value)} ${valueFault}`);
  });
}

function readAnnotations(reader: Reader): Labels {
  const all = readTextMap(reader, (key) => {
    const fault = labelKeyFault((key.path.at(-1) as string).toLowerCase());
    if (fault) key.fault(`annotation key ${fault}`);
  });
  return keptAnnotations(all);
}

/** Calico's, ours, and those by which a static pod is known; others (large and often changing ones) mean nothing here. */
const keptAnnotationPattern =
  /^(?:(?:[a-z0-9.-]+\.)?projectcalico\.org\/|poplin\.dev\/|kubernetes\.io\/config\.(?:hash|mirror)$)/;

const noAnnotations: Labels = Object.freeze({});

export function isKeptAnnotation(key: string): boolean {
  return keptAnnotationPattern.test(key);
}

export function keptAnnotations(all: Labels): Labels {
  let kept: Record<string, string> | undefined;
  for (const key in all) {
    if (!isKeptAnnotation(key)) continue;
    kept ??= {};
    kept[key] = all[key]!;
  }
  return kept ?? noAnnotations;
}

function readTextMap(reader: Reader, check: (entry: Reader, value: string) => void): Labels {
  const out: Record<string, string> = {};
  for (const [key, raw] of Object.entries(reader.mapping() ?? {})) {
    const entry = reader.at(key, raw);
    const value = entry.string() ?? '';
    check(entry, value);
    // A plain assignment would call a setter for "__proto__".
    Object.defineProperty(out, key, { value, enumerable: true, writable: true, configurable: true });
  }
  return out;
}

export function readLabelSelector(reader: Reader): LabelSelector {
  reader.onlyFields(['matchLabels', 'matchExpressions']);
  return {
    matchLabels: readLabels(reader.field('matchLabels')),
    matchExpressions: reader.field('matchExpressions').list().map(readRequirement),
  };
}

function readRequirement(reader: Reader): LabelSelectorRequirement {
  reader.onlyFields(['key', 'operator', 'values']);
  const keyReader = reader.field('key');
  const key = keyReader.requiredString() ?? '';
  const keyFault = key && labelKeyFault(key);
  if (keyFault) keyReader.fault(`${show(key)} ${keyFault}`);
  const operatorReader = reader.field('operator');
  operatorReader.requiredString();
  const operator = operatorReader.value
    ? (operatorReader.oneOf(['In', 'NotIn', 'Exists', 'DoesNotExist'] as const) ?? 'In')
    : 'In';
  const valuesReader = reader.field('values');
  const values = valuesReader.list().map((entry) => {
    const value = entry.string() ?? '';
    const fault = labelValueFault(value);
    if (fault) entry.fault(`${show(value)} ${fault}`);
    return value;
  });
  const wantsValues = operator === 'In' || operator === 'NotIn';
  if (wantsValues && values.length === 0) valuesReader.fault(`operator ${operator} needs at least one value`);
  if (!wantsValues && values.length > 0) valuesReader.fault(`operator ${operator} takes no values; remove them`);
  return { key, operator, values };
}

export function readAddress(reader: Reader): IpAddress | undefined {
  const text = reader.requiredString();
  if (text === undefined) return undefined;
  return toIpAddress(text) ?? reader.fault(`${show(text)} is not an IP address; write it like 10.1.2.3 or 2001:db8::3`);
}

/** A prefix with its length; host bits are masked, as stored objects may have them set. */
export function readCidr(reader: Reader): Cidr | undefined {
  const text = reader.requiredString();
  if (text === undefined) return undefined;
  const cidr = text.includes('/') ? toCidr(text) : undefined;
  return cidr ?? reader.fault(`${show(text)} is not a prefix; write it like 10.1.0.0/16 or 2001:db8::/32`);
}
