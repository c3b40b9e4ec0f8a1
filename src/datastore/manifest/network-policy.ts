/**
 * networking.k8s.io/v1 NetworkPolicy with the API server's validation and defaults (kubernetes
 * pkg/apis/networking/validation and v1/defaults.go). Nobody else stands between a manifest and the kernel, so what the API
 * server refuses is refused here: a field that would be dropped as unknown could be the one that restricts.
 */
import { type Cidr, cidrContains } from '#kit';
import type {
  NetworkPolicyObject,
  NetworkPolicyPeer,
  NetworkPolicyPort,
  NetworkPolicyRule,
  ObjectMeta,
  Protocol,
} from '#model';
import { readCidr, readLabelSelector } from './metadata.ts';
import { portNameFault } from './names.ts';
import { type PolicyCost, spendRule } from './policy-cost.ts';
import { Reader, show } from './reader.ts';

export const protocols: readonly Protocol[] = ['TCP', 'UDP', 'SCTP'];
const bothDirections = ['Ingress', 'Egress'] as const;

/** @param more fields of the spec that somebody else reads. */
export function readNetworkPolicy(
  document: Reader,
  metadata: ObjectMeta,
  more: readonly string[] = [],
): NetworkPolicyObject {
  const spec = document.field('spec');
  spec.onlyFields(['podSelector', 'policyTypes', 'ingress', 'egress', ...more]);
  const cost: PolicyCost = { kernelRules: 0, sets: 0 };
  const ingress = spec
    .field('ingress')
    .list()
    .map((rule) => readRule(rule, 'from', cost));
  const egress = spec
    .field('egress')
    .list()
    .map((rule) => readRule(rule, 'to', cost));
  return {
    metadata,
    podSelector: readLabelSelector(spec.field('podSelector')),
    policyTypes: readPolicyTypes(spec.field('policyTypes'), egress.length > 0),
    ingress,
    egress,
  };
}

/**
 * What counts for a NetworkPolicy that could never be read: no rule, for the pods and directions that it names, or for all
 * of its namespace where that cannot be read either. `value` has a valid name.
 */
export function standInFor(value: unknown, metadata: ObjectMeta): NetworkPolicyObject {
  const spec = new Reader(value).field('spec');
  const hasEgress = spec.field('egress').present;
  return {
    metadata,
    podSelector: readable(spec.field('podSelector'), readLabelSelector) ?? { matchLabels: {}, matchExpressions: [] },
    policyTypes: readable(spec.field('policyTypes'), (reader) => readPolicyTypes(reader, hasEgress)) ?? bothDirections,
    ingress: [],
    egress: [],
    standIn: true,
  };
}

/** Read apart from the rest of its document; undefined when it has a fault. An absent field stands for all. */
function readable<V>({ value }: Reader, read: (reader: Reader) => V): V | undefined {
  const alone = new Reader(value);
  const found = read(alone);
  return alone.present && alone.faults.length === 0 ? found : undefined;
}

/** Empty means Ingress, and Egress too when there are egress rules; `egress: []` is not a rule. */
function readPolicyTypes(reader: Reader, hasEgress: boolean): NetworkPolicyObject['policyTypes'] {
  const entries = reader.list();
  if (entries.length === 0) return hasEgress ? bothDirections : ['Ingress'];
  if (entries.length > 2) reader.fault('has more than two entries; write Ingress, Egress or both');
  const found = entries.map((entry) => entry.oneOf(bothDirections));
  return bothDirections.filter((type) => found.includes(type));
}

function readRule(reader: Reader, peersField: 'from' | 'to', cost: PolicyCost): NetworkPolicyRule {
  reader.onlyFields([peersField, 'ports']);
  const rule = {
    peers: reader.field(peersField).list().map(readPeer),
    ports: reader.field('ports').list().map(readPort),
  };
  spendRule(cost, rule, reader);
  return rule;
}

function readPeer(reader: Reader): NetworkPolicyPeer {
  reader.onlyFields(['podSelector', 'namespaceSelector', 'ipBlock']);
  const podSelector = reader.field('podSelector');
  const namespaceSelector = reader.field('namespaceSelector');
  const ipBlock = reader.field('ipBlock');
  if (ipBlock.present && (podSelector.present || namespaceSelector.present)) {
    ipBlock.fault('stands beside a selector; make it an entry of its own');
  }
  if (!ipBlock.present && !podSelector.present && !namespaceSelector.present) {
    reader.fault('names no peer; write podSelector, namespaceSelector or ipBlock, or leave the list out for everyone');
  }
  const block = ipBlock.present ? readIpBlock(ipBlock) : undefined;
  return {
    ...(podSelector.present ? { podSelector: readLabelSelector(podSelector) } : {}),
    ...(namespaceSelector.present ? { namespaceSelector: readLabelSelector(namespaceSelector) } : {}),
    ...(block ? { ipBlock: block } : {}),
  };
}

function readIpBlock(reader: Reader): { readonly cidr: Cidr; readonly except: readonly Cidr[] } | undefined {
  reader.onlyFields(['cidr', 'except']);
  const cidr = readCidr(reader.field('cidr'));
  const except: Cidr[] = [];
  for (const entry of reader.field('except').list()) {
    const inner = readCidr(entry);
    if (!inner || !cidr) continue;
    if (cidrContains(cidr, inner) && inner !== cidr) except.push(inner);
    else entry.fault(`${inner} is not a strict part of cidr ${cidr}; write a longer prefix inside it`);
  }
  return cidr && { cidr, except };
}

function readPort(reader: Reader): NetworkPolicyPort {
  reader.onlyFields(['protocol', 'port', 'endPort']);
  const protocol = reader.field('protocol').oneOf(protocols) ?? 'TCP';
  const portReader = reader.field('port');
  const port = readPortNumberOrName(portReader);
  const endReader = reader.field('endPort');
  const endPort = endReader.integer(1, 65535);
  if (endReader.present) {
    if (!portReader.present) endReader.fault('stands without port; give the first port of the range as port');
    else if (typeof portReader.value === 'string') endReader.fault('stands beside a port name; a range needs numbers');
    else if (endPort !== undefined && typeof port === 'number' && endPort < port) {
      endReader.fault(`${endPort} is smaller than port ${port}; swap them`);
    }
  }
  return {
    protocol,
    ...(port === undefined ? {} : { port }),
    ...(endPort === undefined ? {} : { endPort }),
  };
}

function readPortNumberOrName(reader: Reader): number | string | undefined {
  if (!reader.present) return undefined;
  if (typeof reader.value !== 'string') return reader.integer(1, 65535);
  const fault = portNameFault(reader.value);
  return fault ? reader.fault(`${show(reader.value)} is not a port name: it ${fault}`) : reader.value;
}
