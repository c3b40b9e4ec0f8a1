/** A rule of projectcalico.org's policies, as its API server validates it (libcalico-go/lib/validator/v3); what is not here yet is refused. */
import { type Cidr, familyOf, type IpFamily, toCidr, toIpAddress } from '#kit';
import {
  type CalicoEntity,
  type CalicoPort,
  type CalicoRule,
  type DomainPattern,
  type IcmpMatch,
  parseSelector,
  type ServiceName,
} from '#model';
import { readCalicoDomains } from './domain-names.ts';
import { known } from './fail-closed.ts';
import type { DocumentSource } from './metadata.ts';
import { dnsLabelFault, dnsSubdomainFault, portNameFault } from './names.ts';
import { type PolicyCost, policyKernelRulesMax, rangesPerMatch } from './policy-cost.ts';
import { type Reader, show } from './reader.ts';

/** Bounds of one rule: more than any API server's own definition takes. */
const netsMax = 65_536;
const portsMax = 8_192;
const namesMax = 1_024;
/** That one rule may become: lists of both ends multiply. */
const kernelRulesMax = 4_096;
export const rulesMax = 1_024;

const actions = ['Allow', 'Deny', 'Log', 'Pass'] as const;
const protocolNumbers: Readonly<Record<string, number>> = {
  icmp: 1,
  tcp: 6,
  udp: 17,
  icmpv6: 58,
  sctp: 132,
  udplite: 136,
};
const withPorts = new Set([6, 17, 132]);
const icmpFamilies: ReadonlyMap<number, IpFamily> = new Map([
  [1, 4],
  [58, 6],
]);
const nowhere: CalicoEntity = {};

/** Where a rule stands. */
export interface RulePlace {
  readonly source: DocumentSource;
  readonly direction: 'ingress' | 'egress';
  /** Of its policy; empty: of all. */
  readonly namespace: string;
  /** Of the policy so far. */
  readonly cost: PolicyCost;
}

/** From an API server, a rule that cannot be read is `unknown`; one whose action cannot be, denies. */
export function readCalicoRule(reader: Reader, place: RulePlace): CalicoRule | undefined {
  const { source } = place;
  const rule = known(reader, { source }, (alone) => readRule(alone, place));
  if (rule || source === 'directory') return rule;
  const { value } = reader.field('action');
  const action = actions.find((each) => each === value) ?? 'Deny';
  return { action, source: nowhere, destination: nowhere, unknown: true };
}

function readRule(reader: Reader, place: RulePlace): CalicoRule | undefined {
  reader.onlyFields([
    ...[
      'action',
      'ipVersion',
      'protocol',
      'notProtocol',
      'icmp',
      'notICMP',
      'source',
      'destination',
      'http',
      'metadata',
    ],
  ]);
  const actionReader = reader.field('action');
  if (actionReader.requiredString() === undefined) return undefined;
  const action = actionReader.oneOf(actions);
  const protocol = readProtocol(reader.field('protocol'));
  const notProtocol = readProtocol(reader.field('notProtocol'));
  const icmp = readIcmp(reader.field('icmp'));
  const notICMP = readIcmp(reader.field('notICMP'));
  if (reader.field('http').present)
    reader.field('http').fault('cannot be enforced: packets are all that is seen; remove it');
  const ipVersion = readIpVersion(reader.field('ipVersion'), protocol);
  for (const name of ['icmp', 'notICMP'] as const) {
    if (reader.field(name).present && !icmpFamilies.has(protocol ?? 0)) {
      reader.field(name).fault('needs protocol ICMP or ICMPv6');
    }
  }
  const source = readEntity(reader.field('source'), protocol, ipVersion);
  const domains = place.direction === 'egress' && action === 'Allow' ? 'allowed' : 'refused';
  const destination = readEntity(reader.field('destination'), protocol, ipVersion, domains);
  const far = place.direction === 'ingress' ? 'source' : 'destination';
  const near = place.direction === 'ingress' ? 'destination' : 'source';
  const services = readServices(reader.field(far), place);
  const misplaced = reader.field(near).field('services');
  if (misplaced.present) misplaced.fault(`stands at the ${far} of an ${place.direction} rule alone; remove it`);
  if (action === undefined) return undefined;
  const rulesNeeded = [source, destination].reduce((product, each) => product * kernelRulesOf(each), 1);
  if (rulesNeeded > kernelRulesMax) {
    return reader.fault(
      `its lists of ports and nets together make some ${rulesNeeded} rules of the kernel, more than ${kernelRulesMax}; write ranges, or several rules`,
    );
  }
  const soFar = place.cost.kernelRules + rulesNeeded;
  if (soFar > policyKernelRulesMax) {
    return reader.fault(
      `makes, with the rules before it, some ${soFar} rules of the kernel, more than ${policyKernelRulesMax}; write ranges, or several policies`,
    );
  }
  place.cost.kernelRules = soFar;
  return {
    action,
    ...(ipVersion !== undefined && { ipVersion }),
    ...(protocol !== undefined && { protocol }),
    ...(notProtocol !== undefined && { notProtocol }),
    ...(icmp && { icmp }),
    ...(notICMP && { notICMP }),
    source,
    destination,
    ...(services && { [far]: { ...(far === 'source' ? source : destination), services } }),
  };
}

/** About so many: one for each 7 ranges of ports, whichever way they are asked; few prefixes stand alone. */
function kernelRulesOf({ nets, ports, notPorts }: CalicoEntity): number {
  const parts = (list: readonly CalicoPort[] | undefined): number =>
    Math.max(1, Math.ceil((list?.length ?? 0) / rangesPerMatch));
  return Math.min(4, Math.max(1, nets?.length ?? 1)) * parts(ports) * parts(notPorts);
}

function readIpVersion(reader: Reader, protocol: number | undefined): IpFamily | undefined {
  const needed = protocol === undefined ? undefined : icmpFamilies.get(protocol);
  if (!reader.present) return needed;
  const { value } = reader;
  if (value !== 4 && value !== 6) return reader.fault(`${show(value)} is neither 4 nor 6`);
  if (needed !== undefined && value !== needed)
    return reader.fault(`${value} does not go with a protocol of IPv${needed}`);
  return value;
}

/** A name of Calico's, or a number as such or in quotes. */
function readProtocol(reader: Reader): number | undefined {
  if (!reader.present) return undefined;
  const { value } = reader;
  const named = typeof value === 'string' ? protocolNumbers[value.toLowerCase()] : undefined;
  if (named !== undefined) return named;
  const number = typeof value === 'string' && /^\d{1,3}$/.test(value) ? Number(value) : value;
  if (typeof number === 'number' && Number.isInteger(number) && number >= 1 && number <= 255) return number;
  return reader.fault(
    `${show(value)} is no protocol; write TCP, UDP, SCTP, UDPLite, ICMP, ICMPv6 or a number in 1..255`,
  );
}

function readIcmp(reader: Reader): IcmpMatch | undefined {
  if (!reader.present) return undefined;
  reader.onlyFields(['type', 'code']);
  const type = reader.field('type').integer(0, 254);
  const code = reader.field('code').integer(0, 255);
  if (type === undefined) return reader.fault('has no type; write one in 0..254, or leave icmp out for all');
  return { type, ...(code !== undefined && { code }) };
}

const entityFields = [
  ...['nets', 'notNets', 'selector', 'notSelector', 'namespaceSelector', 'ports', 'notPorts', 'serviceAccounts'],
  ...['services', 'domains'],
];

function readEntity(
  reader: Reader,
  protocol: number | undefined,
  ipVersion: IpFamily | undefined,
  domains: 'allowed' | 'refused' = 'refused',
): CalicoEntity {
  reader.onlyFields(entityFields);
  for (const name of ['ports', 'notPorts']) {
    const ports = reader.field(name);
    if (ports.list(portsMax).length > 0 && !withPorts.has(protocol ?? 0))
      ports.fault('needs protocol TCP, UDP or SCTP');
  }
  const serviceAccounts = readServiceAccounts(reader.field('serviceAccounts'));
  return {
    ...listOf('nets', readNets(reader.field('nets'), ipVersion)),
    ...listOf('notNets', readNets(reader.field('notNets'), ipVersion)),
    ...textOf('selector', readSelector(reader.field('selector'))),
    ...textOf('notSelector', readSelector(reader.field('notSelector'))),
    ...textOf('namespaceSelector', readSelector(reader.field('namespaceSelector'), { global: true })),
    ...(serviceAccounts && { serviceAccounts }),
    ...listOf('domains', readDomains(reader, domains)),
    ...listOf(
      'ports',
      reader
        .field('ports')
        .list(portsMax)
        .flatMap((port) => readPort(port) ?? []),
    ),
    ...listOf(
      'notPorts',
      reader
        .field('notPorts')
        .list(portsMax)
        .flatMap((port) => readPort(port) ?? []),
    ),
  };
}

/** Fields that say by another way who stands at an end. */
const besideDomains = ['nets', 'selector', 'notSelector', 'namespaceSelector', 'serviceAccounts', 'services'];

function readDomains(entity: Reader, domains: 'allowed' | 'refused'): readonly DomainPattern[] {
  const reader = entity.field('domains');
  if (!reader.present) return [];
  if (domains === 'refused')
    return reader.fault('stands in the destination of an egress rule of action Allow, and nowhere else') ?? [];
  const beside = besideDomains.filter((name) => entity.field(name).present);
  if (beside.length > 0) reader.fault(`cannot stand beside ${beside.join(', ')}; write another rule`);
  const names = readCalicoDomains(reader);
  if (names.length === 0) reader.fault('names nothing; write at least one');
  return names;
}

function listOf<K extends string, T>(name: K, list: readonly T[]): { readonly [N in K]?: readonly T[] } {
  return list.length === 0 ? {} : ({ [name]: list } as { [N in K]: readonly T[] });
}
function textOf<K extends string>(name: K, text: string | undefined): { readonly [N in K]?: string } {
  return text === undefined ? {} : ({ [name]: text } as { [N in K]: string });
}

/** Prefixes, or addresses; host bits are masked. */
export function readNet(reader: Reader): Cidr | undefined {
  const text = reader.requiredString();
  if (text === undefined) return undefined;
  const address = text.includes('/') ? undefined : toIpAddress(text);
  const cidr = address ? toCidr(`${address}/${familyOf(address) === 4 ? 32 : 128}`) : toCidr(text);
  return cidr ?? reader.fault(`${show(text)} is no prefix; write it like 10.1.0.0/16 or 2001:db8::/32`);
}

function readNets(reader: Reader, ipVersion: IpFamily | undefined): Cidr[] {
  const nets = reader.list(netsMax).flatMap((entry) => {
    const net = readNet(entry);
    if (net && ipVersion !== undefined && familyOf(net) !== ipVersion) {
      entry.note(`${net} says nothing: the rule is about IPv${ipVersion} alone`);
    }
    return net ?? [];
  });
  return [...new Set(nets)];
}

/** Empty text is as if it were left out. */
export function readSelector(reader: Reader, { global }: { readonly global?: true } = {}): string | undefined {
  const text = reader.string();
  if (!text) return undefined;
  const parsed = parseSelector(text);
  if ('error' in parsed) return reader.fault(`${show(text)}, character ${parsed.position + 1}: ${parsed.error}`);
  // What stands in quotes is a value.
  if (!global && /(^|[^\w./-])global[ \t]*\(/.test(text.replace(/'[^']*'|"[^"]*"/g, "''"))) {
    return reader.fault('uses global(), which stands in the namespaceSelector of a source or destination alone');
  }
  return text;
}

const besideNoService = ['nets', 'notNets', 'selector', 'notSelector', 'namespaceSelector', 'serviceAccounts'];
const portFields = ['ports', 'notPorts'];

function readServices(entity: Reader, { direction, namespace }: RulePlace): ServiceName | undefined {
  const reader = entity.field('services');
  if (!reader.present) return undefined;
  reader.onlyFields(['name', 'namespace']);
  // The ports of a destination are those of the service.
  for (const name of direction === 'egress' ? [...besideNoService, ...portFields] : besideNoService) {
    const { present, value } = entity.field(name);
    const says = present && value !== '' && !(Array.isArray(value) && value.length === 0);
    if (says) entity.field(name).fault('cannot stand beside services; remove one of them');
  }
  const nameReader = reader.field('name');
  const name = nameReader.requiredString();
  const nameFault = name && dnsLabelFault(name);
  if (nameFault) nameReader.fault(`${show(name)} names no service: it ${nameFault}`);
  const namespaceReader = reader.field('namespace');
  const given = namespaceReader.textOrNone();
  const namespaceFault = given && dnsLabelFault(given);
  if (namespaceFault) namespaceReader.fault(`${show(given)} names no namespace: it ${namespaceFault}`);
  const where = given ?? namespace;
  if (where === '') return namespaceReader.fault('is required: the policy itself stands in no namespace');
  return name === undefined ? undefined : { namespace: where, name };
}

function readServiceAccounts(reader: Reader): CalicoEntity['serviceAccounts'] {
  if (!reader.present) return undefined;
  reader.onlyFields(['names', 'selector']);
  const names = reader
    .field('names')
    .list(namesMax)
    .flatMap((entry) => {
      const name = entry.requiredString();
      const fault = name === undefined ? undefined : dnsSubdomainFault(name);
      return fault ? (entry.fault(`${show(name)} names no service account: it ${fault}`) ?? []) : (name ?? []);
    });
  const selector = readSelector(reader.field('selector'));
  return names.length === 0 && selector === undefined
    ? undefined
    : { names: [...new Set(names)].sort(), ...(selector !== undefined && { selector }) };
}

/** A number, `first:last` or a name. */
function readPort(reader: Reader): CalicoPort | undefined {
  const { value } = reader;
  if (typeof value === 'number' || (typeof value === 'string' && /^\d+$/.test(value))) {
    const port = Number(value);
    if (Number.isInteger(port) && port >= 0 && port <= 65535) return { first: port, last: port };
    return reader.fault(`${show(value)} is no port; write a number in 0..65535`);
  }
  const range = typeof value === 'string' ? /^(\d{1,5}):(\d{1,5})$/.exec(value) : null;
  if (range) {
    const [first, last] = [Number(range[1]), Number(range[2])];
    if (first <= last && last <= 65535) return { first, last };
    return reader.fault(`${show(value)} is no range of ports; write first:last with the lower one first, up to 65535`);
  }
  if (typeof value !== 'string')
    return reader.fault(`${show(value)} is no port; write a number, "first:last" or a name`);
  const fault = portNameFault(value);
  return fault
    ? reader.fault(`${show(value)} is neither a port, a range first:last nor a name: it ${fault}`)
    : { name: value };
}
