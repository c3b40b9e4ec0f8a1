/**
 * A policy's rules of one direction as one chain of one family.
 *
 * `allow` goes to the chain that sets the accept mark and, by goto, back to whoever called the policy chain; `deny` drops here. A rule
 * that cannot match in this family is left out, never written without the part that would narrow it. What cannot be
 * rendered is a `RenderError`: the caller then programs a chain that drops everything.
 */
import { type Cidr, familyOf, type IpFamily, PoplinError, unreachable } from '#kit';
import type { IcmpMatch, PeerMatch, PolicyRule, PortRange, RuleCondition, SetId } from '#model';
import { type FlowLogOptions, flowLogRules } from './flow-log.ts';
import { type Direction, kernelSetName, type Names } from './names.ts';
import type { Rule } from './rule.ts';

export type RenderFailure =
  | { readonly code: 'UNKNOWN_SET'; readonly set: SetId }
  | { readonly code: 'BAD_PORTS'; readonly text: string }
  | { readonly code: 'BAD_ICMP'; readonly text: string }
  | { readonly code: 'BAD_PROTOCOL'; readonly protocol: number };
export class RenderError extends PoplinError<RenderFailure> {}

export interface PolicyContext {
  readonly names: Names;
  readonly family: IpFamily;
  /** Kernel name of a set in this family, or undefined when there is no such set. */
  setName(id: SetId): string | undefined;
  /** Absent: nobody is told of packets. */
  readonly flowLog?: FlowLogOptions & { readonly direction: Direction };
}

export interface RenderedPolicy {
  readonly rules: readonly Rule[];
  /** Sets of prefixes that the rules name besides the policy's own: they must exist first. */
  readonly exceptSets: ReadonlyMap<SetId, readonly Cidr[]>;
}

/** Chains that every verdict goes through. */
export const acceptedChain = (names: Names): string => `${names.chainPrefix}accepted`;
export const passedChain = (names: Names): string => `${names.chainPrefix}passed`;

/** xt_multiport holds 15 ports; a range takes two. */
const multiportSlotsMax = 15;
const protocolNames: Readonly<Record<number, string>> = { 6: 'tcp', 17: 'udp', 132: 'sctp' };
/** ICMP and ICMPv6, each of one family. */
const icmpFamilies: Readonly<Record<number, IpFamily>> = { 1: 4, 58: 6 };
const protocolsWithPorts = new Set([6, 17, 33, 132, 136]);
/** Group for packets of `log` rules; 1 is what netfilter log readers listen to by habit. */
const logGroup = 1;

/** @param label what the comments call the policy. @throws RenderError */
export function renderPolicy(rules: readonly PolicyRule[], label: string, context: PolicyContext): RenderedPolicy {
  const exceptSets = new Map<SetId, readonly Cidr[]>();
  const out: Rule[] = [];
  rules.forEach((rule, index) => {
    const comment = `${label} rule ${index + 1} ${rule.action}`;
    const target = targetOf(rule, comment, context.names);
    for (const match of matchesOf(rule, context, exceptSets)) {
      out.push(...tellingOf(rule, index, match, comment, label, context), { match, target, comment });
    }
  });
  return { rules: out, exceptSets };
}

function tellingOf(
  { action }: PolicyRule,
  index: number,
  match: string,
  comment: string,
  policy: string,
  { flowLog }: PolicyContext,
): Rule[] {
  if (!flowLog || (action !== 'deny' && action !== 'allow')) return [];
  const verdict = action === 'deny' ? 'denied' : 'allowed';
  const by = { type: 'rule', policy, rule: index + 1 } as const;
  return flowLogRules(match, { verdict, direction: flowLog.direction, by }, comment, flowLog);
}

function targetOf(rule: PolicyRule, comment: string, names: Names): string {
  switch (rule.action) {
    case 'allow':
      return `-g ${acceptedChain(names)}`;
    case 'pass':
      return `-g ${passedChain(names)}`;
    case 'deny':
      return '-j DROP';
    case 'log':
      // The kernel keeps 63 characters of the prefix.
      return `-j NFLOG --nflog-group ${logGroup} --nflog-prefix "${comment.replace(/[^A-Za-z0-9 _.:/-]/g, '_').slice(0, 63)}"`;
  }
}

/** The match texts that together say `rule`: none when it cannot match in this family, several when its ports do not fit in one. */
function matchesOf(rule: PolicyRule, context: PolicyContext, exceptSets: Map<SetId, readonly Cidr[]>): string[] {
  if (rule.family !== undefined && rule.family !== context.family) return [];
  if ((rule.icmp || rule.notIcmp) && icmpFamilies[rule.protocol ?? 0] === otherFamily(context.family)) return [];
  const protocol = protocolMatch(rule);
  const source = peerMatch(rule.source, 'src', context, exceptSets);
  const destination = peerMatch(rule.destination, 'dst', context, exceptSets);
  if (source === undefined || destination === undefined) return [];
  const named =
    rule.destinationNamedPorts === undefined ? '' : setMatch(rule.destinationNamedPorts, 'dst,dst', context);
  const conditions = rule.conditions ?? [];
  const all = conditions.flatMap((condition) => conditionMatches(condition, rule.protocol, context));
  // Of what does not fit in one match any will do: one rule for each combination.
  const ways = [
    rule.destinationPorts === undefined ? [''] : portMatches(rule.destinationPorts, rule.protocol, '--dports'),
    ...conditions.map((condition) =>
      condition.type === 'ports' && !condition.not
        ? portMatches(condition.ports, rule.protocol, portsOption(condition.side))
        : [''],
    ),
  ].reduce((found, one) => found.flatMap((left) => one.map((right) => `${left} ${right}`.trim())));
  const parts = [protocol, source, destination, ...icmpMatches(rule)];
  return ways.map((ports) => [...parts, ports, ...all, named].filter((part) => part !== '').join(' '));
}

const portsOption = (side: RuleCondition['side']): '--sports' | '--dports' =>
  side === 'source' ? '--sports' : '--dports';

/** Those of which every match has to hold; ports that may be any of several are not among them. */
function conditionMatches(condition: RuleCondition, protocol: number | undefined, context: PolicyContext): string[] {
  const flag = condition.side === 'source' ? 'src' : 'dst';
  switch (condition.type) {
    case 'address':
      return [setMatch(condition.set, flag, context, condition.not)];
    case 'namedPorts':
      return [setMatch(condition.set, `${flag},${flag}`, context, condition.not)];
    case 'ports':
      return condition.not ? portMatches(condition.ports, protocol, portsOption(condition.side), true) : [];
    default:
      return unreachable(condition);
  }
}

function icmpMatches({ icmp, notIcmp, protocol }: PolicyRule): string[] {
  const one = (match: IcmpMatch, not: boolean): string => {
    const family = protocol === undefined ? undefined : icmpFamilies[protocol];
    const { type, code } = match;
    const text = code === undefined ? `${type}` : `${type}/${code}`;
    // 255 is "any" to iptables.
    if (family === undefined || !isWithin(type, 254) || (code !== undefined && !isWithin(code, 255))) {
      throw new RenderError(`ICMP type ${text} with protocol ${protocol ?? 'any'}`, { code: 'BAD_ICMP', text });
    }
    const option = family === 4 ? '-m icmp --icmp-type' : '-m icmp6 --icmpv6-type';
    return not ? option.replace(' --', ' ! --').concat(` ${text}`) : `${option} ${text}`;
  };
  return [...(icmp ? [one(icmp, false)] : []), ...(notIcmp ? [one(notIcmp, true)] : [])];
}

const otherFamily = (family: IpFamily): IpFamily => (family === 4 ? 6 : 4);

function protocolMatch(rule: PolicyRule): string {
  const number = rule.protocol ?? rule.notProtocol;
  if (number === undefined) return '';
  // iptables reads protocol 0 as "all": written out, it would widen the rule.
  if (number < 1 || !isWithin(number, 255) || (rule.protocol !== undefined && rule.notProtocol !== undefined)) {
    throw new RenderError(`protocol ${number} is not 1..255`, { code: 'BAD_PROTOCOL', protocol: number });
  }
  return `${rule.protocol === undefined ? '! ' : ''}-p ${protocolNames[number] ?? number}`;
}

/** Empty: everyone. Undefined: nobody in this family. */
function peerMatch(
  peer: PeerMatch | undefined,
  side: 'src' | 'dst',
  context: PolicyContext,
  exceptSets: Map<SetId, readonly Cidr[]>,
): string | undefined {
  if (!peer) return '';
  if (peer.type === 'set') return setMatch(peer.set, side, context);
  if (familyOf(peer.cidr) !== context.family) return undefined;
  const address = peer.cidr.endsWith('/0') ? '' : `-${side === 'src' ? 's' : 'd'} ${peer.cidr}`;
  const except = [...new Set(peer.except.filter((cidr) => familyOf(cidr) === context.family))].sort();
  if (except.length === 0) return address;
  // One lookup however many there are, and nothing but this rule sees it: an except denies nothing by itself.
  const id = `except:${except.join(',')}`;
  exceptSets.set(id, except);
  const name = kernelSetName(context.names, context.family, 'net', id);
  return `${address} -m set ! --match-set ${name} ${side}`.trimStart();
}

function setMatch(id: SetId, flags: string, context: PolicyContext, not = false): string {
  const name = context.setName(id);
  if (name === undefined) throw new RenderError(`the set "${id}" is not known`, { code: 'UNKNOWN_SET', set: id });
  return `-m set ${not ? '! ' : ''}--match-set ${name} ${flags}`;
}

/** Several where they do not fit in one match; with `not` all of them hold, else any. */
function portMatches(
  ranges: readonly PortRange[],
  protocol: number | undefined,
  option: '--sports' | '--dports',
  not = false,
): string[] {
  const text = ranges.map(({ first, last }) => (first === last ? `${first}` : `${first}:${last}`));
  if (protocol === undefined || !protocolsWithPorts.has(protocol)) {
    throw new RenderError(`ports ${text.join(',')} with protocol ${protocol ?? 'any'}: it has none`, {
      code: 'BAD_PORTS',
      text: text.join(','),
    });
  }
  const batches: string[][] = [];
  let slots = multiportSlotsMax;
  ranges.forEach(({ first, last }, index) => {
    if (!isPort(first) || !isPort(last) || last < first) {
      throw new RenderError(`port range ${first}-${last} is not within 0..65535`, {
        code: 'BAD_PORTS',
        text: text[index]!,
      });
    }
    const needed = first === last ? 1 : 2;
    if (slots + needed > multiportSlotsMax) {
      batches.push([]);
      slots = 0;
    }
    batches.at(-1)!.push(text[index]!);
    slots += needed;
  });
  return batches.map((batch) => `-m multiport ${not ? '! ' : ''}${option} ${batch.join(',')}`);
}

function isPort(value: number): boolean {
  return isWithin(value, 65535);
}

function isWithin(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max;
}
