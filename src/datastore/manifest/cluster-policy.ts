/**
 * policy.networking.k8s.io as upstream's definitions validate it (kubernetes-sigs/network-policy-api apis/v1alpha1 and
 * apis/v1alpha2), and what they leave unchecked: selectors, and domain names in rules that do not accept.
 *
 * What an API server holds may be of a newer API, or have a selector that means nothing: a peer that cannot be read is then
 * `unknown`, and fails closed. In a directory it is a fault as any other.
 */
import type { Cidr } from '#kit';
import type {
  ClusterPodSelector,
  ClusterPolicyObject,
  ClusterPolicyPeer,
  ClusterPolicyPort,
  ClusterPolicyRule,
  LabelSelector,
  ObjectMeta,
  Protocol,
} from '#model';
import { readDomainName } from './domain-names.ts';
import { known } from './fail-closed.ts';
import { type DocumentSource, readCidr, readLabelSelector } from './metadata.ts';
import { portNameFault } from './names.ts';
import { protocols } from './network-policy.ts';
import { type Reader, show } from './reader.ts';

const priorityMax = 1000;
/** Of rules, and of peers and ports in a rule. */
const entriesMax = 25;
const olderEntriesMax = 100;
const networksMax = 25;
const domainNamesMax = 25;
const nameCharsMax = 100;
const everything: LabelSelector = { matchLabels: {}, matchExpressions: [] };

type Action = ClusterPolicyRule['action'];

/** What the versions of the API differ in. */
interface Dialect {
  readonly actions: Readonly<Record<string, Action>>;
  readonly portsField: 'protocols' | 'ports';
  /** Of rules in a direction, and of peers and ports in a rule. */
  readonly entriesMax: number;
  /** Of a `pods` peer or subject: in v1alpha2 all namespaces where none is said. */
  readonly namespaceSelectorRequired: boolean;
  readonly readPort: (reader: Reader) => ClusterPolicyPort | undefined;
  readonly source: DocumentSource;
}

const newActions = { Accept: 'Accept', Deny: 'Deny', Pass: 'Pass' } as const;
const adminActions = { Allow: 'Accept', Deny: 'Deny', Pass: 'Pass' } as const;
const baselineActions = { Allow: 'Accept', Deny: 'Deny' } as const;

export function readClusterNetworkPolicy(
  document: Reader,
  metadata: ObjectMeta,
  source: DocumentSource,
): ClusterPolicyObject | undefined {
  const spec = document.field('spec');
  spec.onlyFields(['tier', 'priority', 'subject', 'ingress', 'egress']);
  const dialect: Dialect = {
    actions: newActions,
    portsField: 'protocols',
    entriesMax,
    namespaceSelectorRequired: false,
    readPort: readProtocol,
    source,
  };
  const tierReader = spec.field('tier');
  tierReader.requiredString();
  const tier = tierReader.present ? tierReader.oneOf(['Admin', 'Baseline'] as const) : undefined;
  return readRest(document, metadata, dialect, tier, readPriority(spec));
}

export function readAdminNetworkPolicy(
  document: Reader,
  metadata: ObjectMeta,
  source: DocumentSource,
): ClusterPolicyObject | undefined {
  const spec = document.field('spec');
  spec.onlyFields(['priority', 'subject', 'ingress', 'egress']);
  return readRest(document, metadata, olderDialect(adminActions, source), 'Admin', readPriority(spec));
}

export function readBaselineAdminNetworkPolicy(
  document: Reader,
  metadata: ObjectMeta,
  source: DocumentSource,
): ClusterPolicyObject | undefined {
  document.field('spec').onlyFields(['subject', 'ingress', 'egress']);
  if (metadata.name !== 'default') document.field('metadata').field('name').fault('there is only one, named default');
  return readRest(document, metadata, olderDialect(baselineActions, source), 'Baseline', 0);
}

function olderDialect(actions: Dialect['actions'], source: DocumentSource): Dialect {
  return {
    actions,
    portsField: 'ports',
    entriesMax: olderEntriesMax,
    namespaceSelectorRequired: true,
    readPort: readOlderPort,
    source,
  };
}

function readPriority(spec: Reader): number | undefined {
  const reader = spec.field('priority');
  return reader.present
    ? reader.integer(0, priorityMax)
    : reader.fault(`is required; write a number in 0..${priorityMax}`);
}

function readRest(
  document: Reader,
  metadata: ObjectMeta,
  dialect: Dialect,
  tier: ClusterPolicyObject['tier'] | undefined,
  priority: number | undefined,
): ClusterPolicyObject | undefined {
  const spec = document.field('spec');
  const subject = readSubject(spec.field('subject'), dialect);
  const ingress = spec
    .field('ingress')
    .list(dialect.entriesMax)
    .flatMap((rule) => readRule(rule, 'from', dialect) ?? []);
  const egress = spec
    .field('egress')
    .list(dialect.entriesMax)
    .flatMap((rule) => readRule(rule, 'to', dialect) ?? []);
  if (tier === undefined || priority === undefined || !subject) return undefined;
  return { metadata, tier, priority, subject, ingress, egress };
}

function readSubject(reader: Reader, dialect: Dialect): ClusterPodSelector | undefined {
  if (!onlyOneOf(reader, ['namespaces', 'pods'])) return undefined;
  const namespaces = reader.field('namespaces');
  if (namespaces.present) return { namespaceSelector: readLabelSelector(namespaces), podSelector: everything };
  return readPods(reader.field('pods'), dialect);
}

function readPods(reader: Reader, { namespaceSelectorRequired }: Dialect): ClusterPodSelector {
  reader.onlyFields(['namespaceSelector', 'podSelector']);
  const namespaces = reader.field('namespaceSelector');
  const pods = reader.field('podSelector');
  if (!pods.present) pods.fault('is required; write {} for every pod');
  if (!namespaces.present && namespaceSelectorRequired) namespaces.fault('is required; write {} for every namespace');
  return { namespaceSelector: readLabelSelector(namespaces), podSelector: readLabelSelector(pods) };
}

/** Whether exactly one of `fields` is there, and nothing else. */
function onlyOneOf(reader: Reader, fields: readonly string[]): boolean {
  const known = Object.keys(reader.mapping() ?? {});
  reader.onlyFields(fields);
  const given = fields.filter((name) => reader.field(name).present);
  if (given.length === 1 && known.every((name) => fields.includes(name))) return true;
  if (given.length !== 1) {
    reader.fault(
      `names ${given.length === 0 ? 'nothing' : given.join(' and ')}; write exactly one of ${fields.join(', ')}`,
    );
  }
  return false;
}

function readRule(reader: Reader, peersField: 'from' | 'to', dialect: Dialect): ClusterPolicyRule | undefined {
  const whole = known(reader, dialect, (alone) => {
    alone.onlyFields(['name', 'action', peersField, dialect.portsField]);
    return alone;
  });
  const name = reader.field('name');
  if ((name.string() ?? '').length > nameCharsMax) name.fault(`is longer than ${nameCharsMax} characters`);
  const action = known(reader.field('action'), dialect, (alone) => readAction(alone, dialect));
  const peersReader = reader.field(peersField);
  const peers = peersReader
    .list(dialect.entriesMax)
    .map((peer) => known(peer, dialect, (alone) => readPeer(alone, peersField, action, dialect)) ?? unknown);
  if (peers.length === 0) peersReader.fault('names no peer; write at least one');
  const portsReader = reader.field(dialect.portsField);
  const ports = portsReader.list(dialect.entriesMax).map((port) => known(port, dialect, dialect.readPort) ?? unknown);
  if (dialect.portsField === 'protocols' && portsReader.present && ports.length === 0) {
    portsReader.fault('is empty; leave it out for everything');
  }
  if (ports.some(({ type }) => type === 'name') && peers.some(({ type }) => type === 'networks' || type === 'nodes')) {
    portsReader.note('names a port where a peer is no pod: only pods have named ports, so that it matches none else');
  }
  if (action) return { action, peers: whole ? peers : [unknown], ports };
  return dialect.source === 'api' ? { action: 'Deny', peers: [unknown], ports: [] } : undefined;
}

function readAction(reader: Reader, { actions }: Dialect): Action | undefined {
  if (reader.requiredString() === undefined) return undefined;
  const text = reader.oneOf(Object.keys(actions));
  return text === undefined ? undefined : actions[text];
}

const unknown = { type: 'unknown' } as const;

function readPeer(
  reader: Reader,
  side: 'from' | 'to',
  action: Action | undefined,
  dialect: Dialect,
): ClusterPolicyPeer | undefined {
  const fields = ['namespaces', 'pods', ...(side === 'to' ? ['networks', 'nodes', 'domainNames'] : [])];
  if (!onlyOneOf(reader, fields)) return undefined;
  const [namespaces, pods, networks, nodes] = ['namespaces', 'pods', 'networks', 'nodes'].map((name) =>
    reader.field(name),
  ) as [Reader, Reader, Reader, Reader];
  if (namespaces.present) {
    return { type: 'pods', namespaceSelector: readLabelSelector(namespaces), podSelector: everything };
  }
  if (pods.present) return { type: 'pods', ...readPods(pods, dialect) };
  if (nodes.present) return { type: 'nodes', selector: readLabelSelector(nodes) };
  if (networks.present) return { type: 'networks', networks: readNetworks(networks) };
  const names = reader.field('domainNames');
  if (action !== undefined && action !== 'Accept')
    names.fault(`stands in a rule of action ${action}; only Accept takes names`);
  return { type: 'domainNames', names: readDomainNames(names) };
}

function readNetworks(reader: Reader): Cidr[] {
  const networks = reader.list(networksMax).flatMap((entry) => readCidr(entry) ?? []);
  if (networks.length === 0) reader.fault('names no prefix; write at least one');
  return [...new Set(networks)];
}

function readDomainNames(reader: Reader): string[] {
  const names = reader.list(domainNamesMax).flatMap((entry) => readDomainName(entry) ?? []);
  if (names.length === 0) reader.fault('names nothing; write at least one');
  return names;
}

const protocolFields: Readonly<Record<string, Protocol>> = { tcp: 'TCP', udp: 'UDP', sctp: 'SCTP' };

/** v1alpha2: `tcp: { destinationPort: { number | range } }`, or `destinationNamedPort`. */
function readProtocol(reader: Reader): ClusterPolicyPort | undefined {
  if (!onlyOneOf(reader, [...Object.keys(protocolFields), 'destinationNamedPort'])) return undefined;
  const named = reader.field('destinationNamedPort');
  if (named.present) return readPortName(named);
  const [field, protocol] = Object.entries(protocolFields).find(([name]) => reader.field(name).present)!;
  const body = reader.field(field);
  body.onlyFields(['destinationPort']);
  const port = body.field('destinationPort');
  if (!port.present) return port.fault('is required; for every port write the range 1 to 65535');
  if (!onlyOneOf(port, ['number', 'range'])) return undefined;
  const number = port.field('number');
  if (number.present) return numbers(protocol, number.integer(1, 65535), number.integer(1, 65535));
  const range = port.field('range');
  range.onlyFields(['start', 'end']);
  return readRange(range, protocol);
}

/** v1alpha1: `portNumber`, `portRange` or `namedPort`. */
function readOlderPort(reader: Reader): ClusterPolicyPort | undefined {
  if (!onlyOneOf(reader, ['portNumber', 'portRange', 'namedPort'])) return undefined;
  const named = reader.field('namedPort');
  if (named.present) return readPortName(named);
  const single = reader.field('portNumber');
  if (single.present) {
    single.onlyFields(['protocol', 'port']);
    const port = required(single.field('port'));
    return numbers(single.field('protocol').oneOf(protocols) ?? 'TCP', port, port);
  }
  const range = reader.field('portRange');
  range.onlyFields(['protocol', 'start', 'end']);
  return readRange(range, range.field('protocol').oneOf(protocols) ?? 'TCP');
}

function readRange(range: Reader, protocol: Protocol): ClusterPolicyPort | undefined {
  const first = required(range.field('start'));
  const last = required(range.field('end'));
  if (first !== undefined && last !== undefined && last <= first) {
    return range.field('end').fault(`${last} is not greater than start ${first}`);
  }
  return numbers(protocol, first, last);
}

function required(reader: Reader): number | undefined {
  return reader.present ? reader.integer(1, 65535) : reader.fault('is required; write a port in 1..65535');
}

function numbers(
  protocol: Protocol,
  first: number | undefined,
  last: number | undefined,
): ClusterPolicyPort | undefined {
  return first === undefined || last === undefined ? undefined : { type: 'numbers', protocol, first, last };
}

function readPortName(reader: Reader): ClusterPolicyPort | undefined {
  const name = reader.requiredString();
  if (name === undefined) return undefined;
  const fault = portNameFault(name);
  return fault ? reader.fault(`${show(name)} is not a port name: it ${fault}`) : { type: 'name', name };
}
