/**
 * The matches of rules, and which of them hold for which address. Two addresses for which the same ones hold are alike to every
 * rule: that is what makes a matrix of classes instead of pods exact.
 *
 * A match has a base (what a rule names) and, where it depends on the port that is asked for, one key for each port:
 * `s|SET` and `c|CIDR|EXCEPT,...` are their own keys, `p|SET` has the keys `p|SET|tcp:80`. Of source ports, which are `ephemeralPort` here,
 * `o|SET` has the keys `o|SET|tcp`. Whether a rule wants a match or its absence makes no difference.
 */
import { type Cidr, familyOf, formatCidr, type IpAddress, maskBytes, parseCidr, parseIp } from '#kit';
import type { PeerMatch, PolicyRule, RuleCondition } from '#model';
import { ephemeralPort } from '../explain/evaluate.ts';
import type { PolicyState } from '../explain/policy-state.ts';
import type { Direction } from '../rules/peer-rules.ts';
import type { ServedPort } from './cluster.ts';

export interface RuleMatches {
  /** About the address of the endpoint whose rule it is. */
  readonly near: readonly string[];
  /** About the other end. */
  readonly far: readonly string[];
}

/** Bases of all that a rule asks of addresses. A field of rules that this does not know does not compile. */
export function matchesOfRule(rule: PolicyRule, direction: Direction): RuleMatches {
  const { action, family, protocol, notProtocol, icmp, notIcmp, destinationPorts, ...ofAddresses } = rule;
  // Action, family, protocol and ports are the same for every address of a family.
  const { source, destination, destinationNamedPorts, conditions = [], ...rest } = ofAddresses;
  rest satisfies Readonly<Record<string, never>>;
  const ofSource = [...(source ? [peerBase(source)] : []), ...conditionBases(conditions, 'source')];
  const ofDestination = [
    ...(destination ? [peerBase(destination)] : []),
    ...(destinationNamedPorts === undefined ? [] : [`p|${destinationNamedPorts}`]),
    ...conditionBases(conditions, 'destination'),
  ];
  return direction === 'egress' ? { near: ofSource, far: ofDestination } : { near: ofDestination, far: ofSource };
}

function conditionBases(conditions: readonly RuleCondition[], of: RuleCondition['side']): string[] {
  return conditions.flatMap((condition) => {
    if (condition.side !== of || condition.type === 'ports') return [];
    if (condition.type === 'address') return [`s|${condition.set}`];
    return [`${of === 'source' ? 'o' : 'p'}|${condition.set}`];
  });
}

function peerBase(peer: PeerMatch): string {
  return peer.type === 'set' ? `s|${peer.set}` : `c|${peer.cidr}|${peer.except.join(',')}`;
}

/** The key of a base at one port. */
export function keyAt(base: string, { protocol, port }: ServedPort): string {
  if (base.startsWith('o|')) return `${base}|${protocol.toLowerCase()}`;
  return base.startsWith('p|') ? `${base}|${protocol.toLowerCase()}:${port}` : base;
}

/** The base of a key. */
export function baseOf(key: string): string {
  return key.startsWith('p|') || key.startsWith('o|') ? key.slice(0, key.lastIndexOf('|')) : key;
}

export class MatchIndex {
  readonly #byMember = new Map<string, string[]>();
  /** Prefixes of sets and of rules, with the keys that they bring. */
  readonly #byPrefix = new Map<Cidr, { readonly key: string; readonly except: readonly Cidr[] }[]>();
  readonly #lengths: Readonly<Record<4 | 6, Set<number>>> = { 4: new Set(), 6: new Set() };

  constructor(state: PolicyState) {
    for (const [id, set] of state.sets) {
      for (const member of set.members) {
        if (set.type === 'ip') this.#addMember(member, `s|${id}`);
        else if (set.type === 'net') this.#addPrefix(member as Cidr, `s|${id}`, []);
        else this.#addPort(member, id);
      }
    }
    const cidrs = new Map<string, Extract<PeerMatch, { type: 'cidr' }>>();
    for (const { ingress, egress } of state.policies.values()) {
      for (const { source, destination } of [...ingress, ...egress]) {
        for (const peer of [source, destination]) if (peer?.type === 'cidr') cidrs.set(peerBase(peer), peer);
      }
    }
    for (const [key, { cidr, except }] of cidrs) this.#addPrefix(cidr, key, except);
  }

  #addMember(address: string, key: string): void {
    const keys = this.#byMember.get(address);
    if (keys) keys.push(key);
    else this.#byMember.set(address, [key]);
  }

  #addPort(member: string, set: string): void {
    const comma = member.indexOf(',');
    const [address, port] = [member.slice(0, comma), member.slice(comma + 1)];
    this.#addMember(address, `p|${set}|${port}`);
    const [protocol, number] = port.split(':');
    if (Number(number) === ephemeralPort) this.#addMember(address, `o|${set}|${protocol}`);
  }

  #addPrefix(cidr: Cidr, key: string, except: readonly Cidr[]): void {
    const entries = this.#byPrefix.get(cidr);
    if (entries) entries.push({ key, except });
    else this.#byPrefix.set(cidr, [{ key, except }]);
    for (const one of [cidr, ...except]) {
      const { family, length } = parseCidr(one)!;
      this.#lengths[family].add(length);
    }
  }

  /** Keys of all matches that hold for the address, sorted, distinct. */
  keysOf(address: IpAddress): readonly string[] {
    const keys = new Set(this.#byMember.get(address));
    const bytes = parseIp(address)!;
    const around = new Set<Cidr>();
    const family = familyOf(address);
    for (const length of this.#lengths[family]) {
      around.add(formatCidr({ family, bytes: maskBytes(bytes, length), length }));
    }
    for (const cidr of around) {
      for (const { key, except } of this.#byPrefix.get(cidr) ?? []) {
        if (!except.some((cut) => around.has(cut))) keys.add(key);
      }
    }
    return [...keys].sort();
  }
}
