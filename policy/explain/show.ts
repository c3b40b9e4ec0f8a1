/** What applies to an endpoint, in words: the data of `poplin policy show POD`. */
import type {
  EndpointId,
  IcmpMatch,
  PeerMatch,
  PolicyId,
  PolicyRule,
  PortRange,
  RuleCondition,
  SetId,
  TierProgram,
} from '#model';
import { protocolNumbers } from '../rules/ports.ts';
import { serviceOfSet } from '../rules/sets.ts';
import type { PolicyState } from './policy-state.ts';

export interface ShownPolicy {
  readonly id: PolicyId;
  /** One readable line a rule, e.g. `allow TCP 80, 8000-8100 from pods app == 'web' in namespace shop (3 addresses)`. */
  readonly rules: readonly string[];
}

export interface ShownTier {
  readonly tier: string;
  readonly policies: readonly ShownPolicy[];
  /** What becomes of what none of them decides; behind the last tier that is allowed. */
  readonly endOfTier: TierProgram['endOfTier'];
}

export interface ShownDirection {
  /** Some tier ends in deny: what no rule allows is denied. */
  readonly isolated: boolean;
  /** In the order in which they are asked. */
  readonly tiers: readonly ShownTier[];
}

export interface PolicyShow {
  readonly pod: EndpointId;
  readonly ingress: ShownDirection;
  readonly egress: ShownDirection;
}

/** Undefined when the endpoint has no program: not of this node, or its Pod object is not known. */
export function policyShow(state: PolicyState, id: EndpointId): PolicyShow | undefined {
  const program = state.endpoints.get(id);
  if (!program) return undefined;
  return {
    pod: id,
    ingress: showDirection(state, program.ingress, 'ingress'),
    egress: showDirection(state, program.egress, 'egress'),
  };
}

function showDirection(
  state: PolicyState,
  tiers: readonly TierProgram[],
  direction: 'ingress' | 'egress',
): ShownDirection {
  return {
    isolated: tiers.some((tier) => tier.endOfTier === 'deny'),
    tiers: tiers.map(({ tier, policies, endOfTier }) => ({
      tier,
      policies: policies.map((id) => ({
        id,
        rules: state.policies.get(id)![direction].map((rule) => ruleText(state, rule, direction)),
      })),
      endOfTier,
    })),
  };
}

/** One rule in words. */
export function ruleText(state: PolicyState, rule: PolicyRule, direction: 'ingress' | 'egress'): string {
  const far = direction === 'ingress' ? rule.source : rule.destination;
  const preposition = direction === 'ingress' ? 'from' : 'to';
  const named = rule.destinationNamedPorts;
  let peer = far ? peerText(state, far) : 'anywhere';
  // Egress to a named port of selected pods: the peer stands in the set of ports.
  if (named !== undefined && direction === 'egress' && !far) peer = namedPortPeer(state, named);
  const family = rule.family === undefined ? '' : ` over IPv${rule.family}`;
  const near = direction === 'ingress' ? rule.destination : rule.source;
  const also = [
    ...(near ? [`${direction === 'ingress' ? 'to' : 'from'} ${peerText(state, near)}`] : []),
    ...(rule.conditions ?? []).map((condition) => conditionText(state, condition)),
  ];
  const more = also.map((text) => `, ${text}`).join('');
  return `${rule.action} ${portsText(state, rule, direction)} ${preposition} ${peer}${family}${more}`;
}

function conditionText(state: PolicyState, condition: RuleCondition): string {
  const { side, not } = condition;
  const word = side === 'source' ? 'from' : 'to';
  if (condition.type === 'address') {
    return `${not ? 'not ' : ''}${word} ${peerText(state, { type: 'set', set: condition.set })}`;
  }
  const ports =
    condition.type === 'ports'
      ? rangesText(condition.ports)
      : `"${parseNamedPortId(condition.set)?.name ?? condition.set}"`;
  return `${not ? 'not ' : ''}${word} port ${ports}`;
}

function icmpText(match: IcmpMatch): string {
  return `type ${match.type}${match.code === undefined ? '' : ` code ${match.code}`}`;
}

function portsText(state: PolicyState, rule: PolicyRule, direction: 'ingress' | 'egress'): string {
  const protocol = rule.protocol === undefined ? 'any' : protocolText(rule.protocol);
  if (rule.notProtocol !== undefined) return `all but ${protocolText(rule.notProtocol)}`;
  if (rule.icmp || rule.notIcmp) {
    const but = rule.notIcmp ? ` but ${icmpText(rule.notIcmp)}` : '';
    return `${protocol}${rule.icmp ? ` ${icmpText(rule.icmp)}` : ''}${but}`;
  }
  const named = rule.destinationNamedPorts;
  if (named !== undefined && serviceOfSet(named) !== undefined)
    return rule.protocol === undefined ? 'traffic' : protocol;
  if (named !== undefined) {
    const name = parseNamedPortId(named)?.name ?? named;
    const numbers = resolvedPorts(state, named);
    const resolved =
      numbers.length === 0 ? 'which no pod declares' : rangesText(numbers.map((n) => ({ first: n, last: n })));
    return `${protocol} port "${name}" (${resolved}${direction === 'ingress' && numbers.length > 1 ? ' by pod' : ''})`;
  }
  if (rule.protocol === undefined) return 'all traffic';
  return rule.destinationPorts ? `${protocol} ${rangesText(rule.destinationPorts)}` : protocol;
}

function protocolText(number: number): string {
  if (number === 1) return 'ICMP';
  if (number === 58) return 'ICMPv6';
  const known = Object.entries(protocolNumbers).find(([, value]) => value === number);
  return known ? known[0] : `IP protocol ${number}`;
}

function rangesText(ranges: readonly PortRange[]): string {
  return ranges.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)).join(', ');
}

function resolvedPorts(state: PolicyState, id: SetId): number[] {
  const numbers = new Set<number>();
  for (const member of state.sets.get(id)?.members ?? [])
    numbers.add(Number(member.slice(member.lastIndexOf(':') + 1)));
  return [...numbers].sort((a, b) => a - b);
}

const prefixesShownMax = 8;
const portsShownMax = 8;

function peerText(state: PolicyState, peer: PeerMatch): string {
  if (peer.type === 'cidr')
    return peer.except.length === 0 ? peer.cidr : `${peer.cidr} except ${peer.except.join(', ')}`;
  const members = state.sets.get(peer.set)?.members ?? new Set<string>();
  const { size } = members;
  const service = serviceOfSet(peer.set);
  if (service !== undefined) return `endpoints of service ${service} (${addressesText(size)})`;
  if (peer.set.startsWith('nets:')) {
    const shown = [...members].slice(0, prefixesShownMax).join(', ');
    return size > prefixesShownMax ? `${shown} and ${size - prefixesShownMax} more prefixes` : shown;
  }
  return `${podsText(peer.set.replace(/^pods:/, ''))} (${addressesText(size)})`;
}

function addressesText(count: number): string {
  return `${count} ${count === 1 ? 'address' : 'addresses'}`;
}

/** `service shop/web (TCP 8080 at 3 addresses)` */
function serviceText(service: string, members: readonly string[]): string {
  if (members.length === 0) return `service ${service} (no endpoints)`;
  const addresses = new Set<string>();
  const ports = new Set<string>();
  for (const member of members) {
    const [address, port] = member.split(',') as [string, string];
    addresses.add(address);
    ports.add(port.toUpperCase().replace(':', ' '));
  }
  const sorted = [...ports].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  const more = ports.size > portsShownMax ? ` and ${ports.size - portsShownMax} more` : '';
  return `service ${service} (${sorted.slice(0, portsShownMax).join(', ')}${more} at ${addressesText(addresses.size)})`;
}

function parseNamedPortId(id: SetId): { readonly name: string; readonly pods: string } | undefined {
  const match = /^ports:[a-z]+:([^:]*):(.*)$/s.exec(id);
  return match ? { name: match[1]!, pods: match[2]! } : undefined;
}

function namedPortPeer(state: PolicyState, id: SetId): string {
  const members = [...(state.sets.get(id)?.members ?? [])];
  const service = serviceOfSet(id);
  if (service !== undefined) return serviceText(service, members);
  const pods = parseNamedPortId(id)?.pods;
  const size = new Set(members.map((member) => member.slice(0, member.indexOf(',')))).size;
  return pods === undefined ? id : `${podsText(pods)} (${addressesText(size)})`;
}

const nodesPrefix = 'nodes;';
const inheritedPrefix = 'any;';

/** `ns=shop;app == 'web'` as `pods app == 'web' in namespace shop`. */
function podsText(text: string): string {
  if (text.startsWith(nodesPrefix)) {
    const selector = text.slice(nodesPrefix.length);
    return selector === 'all()' ? 'every node' : `nodes ${selector}`;
  }
  if (text.startsWith(inheritedPrefix)) {
    const selector = text.slice(inheritedPrefix.length);
    return selector === 'all()' ? 'every pod and network set' : `pods and network sets ${selector}`;
  }
  const match = /^ns(?:=([^;]*)|\((.*?)\));(.*)$/s.exec(text);
  if (!match) return text;
  const [, name, scope, selector] = match;
  const pods = selector === 'all()' ? 'all pods' : `pods ${selector}`;
  if (name !== undefined) return `${pods} in namespace ${name}`;
  return scope === 'all()' ? `${pods} in every namespace` : `${pods} in namespaces ${scope}`;
}
