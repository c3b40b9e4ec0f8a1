/**
 * Whether one rule matches every packet that another matches, by what they say: whatever pods come and go. False where that cannot be
 * told from the rules alone.
 */
import { type Cidr, cidrContains, familyOf } from '#kit';
import type { IcmpMatch, PeerMatch, PolicyRule, PortRange, RuleCondition } from '#model';

/** The sets of all pods that a selector of everything names. */
const everyPod = 'pods:ns(all());all()';
/** Network sets too. */
const everybody = 'pods:any;all()';

export function ruleCovers(outer: PolicyRule, inner: PolicyRule): boolean {
  const { action, family, protocol, source, destination, destinationPorts, destinationNamedPorts, ...more } = outer;
  const { notProtocol, icmp, notIcmp, conditions = [], ...rest } = more;
  rest satisfies Readonly<Record<string, never>>;
  if (action === 'log') return false;
  if (family !== undefined && family !== inner.family && family !== familyOfRule(inner)) return false;
  if (protocol !== undefined && protocol !== inner.protocol) return false;
  if (notProtocol !== undefined && !isWithout(inner, notProtocol)) return false;
  if (icmp && !(inner.icmp && icmpCovers(icmp, inner.icmp))) return false;
  if (notIcmp && !isWithoutIcmp(inner, notIcmp)) return false;
  if (!conditions.every((condition) => conditionCovers(condition, inner))) return false;
  if (!peerCovers(source, inner.source) || !peerCovers(destination, inner.destination)) return false;
  if (destinationNamedPorts !== undefined && destinationNamedPorts !== inner.destinationNamedPorts) return false;
  if (destinationPorts === undefined) return true;
  return inner.destinationPorts !== undefined && portsCover(destinationPorts, inner.destinationPorts);
}

function isWithout({ protocol, notProtocol }: PolicyRule, excluded: number): boolean {
  return notProtocol === excluded || (protocol !== undefined && protocol !== excluded);
}

function icmpCovers(outer: IcmpMatch, inner: IcmpMatch): boolean {
  return outer.type === inner.type && (outer.code === undefined || outer.code === inner.code);
}

function isWithoutIcmp({ icmp, notIcmp }: PolicyRule, excluded: IcmpMatch): boolean {
  return (
    (notIcmp !== undefined && icmpCovers(notIcmp, excluded)) || (icmp !== undefined && icmp.type !== excluded.type)
  );
}

/** Whether all that `inner` matches is so. */
function conditionCovers(outer: RuleCondition, inner: PolicyRule): boolean {
  const own = (inner.conditions ?? []).filter(({ side, not }) => side === outer.side && not === outer.not);
  if (outer.type !== 'ports') {
    const peer = outer.type === 'address' && !outer.not ? inner[outer.side] : undefined;
    return (
      (peer?.type === 'set' && peer.set === outer.set) ||
      own.some(
        (condition) => condition.type !== 'ports' && condition.type === outer.type && condition.set === outer.set,
      )
    );
  }
  const ports = own.flatMap((condition) => (condition.type === 'ports' ? [condition.ports] : []));
  if (outer.not) return ports.some((each) => portsCover(each, outer.ports));
  const numbers = outer.side === 'destination' && inner.destinationPorts ? [inner.destinationPorts] : [];
  return [...ports, ...numbers].some((each) => portsCover(outer.ports, each));
}

/** Prefixes are of one family. */
function familyOfRule({ source, destination }: PolicyRule): 4 | 6 | undefined {
  const cidr = [source, destination].find((peer) => peer?.type === 'cidr');
  return cidr?.type === 'cidr' ? familyOf(cidr.cidr) : undefined;
}

function peerCovers(outer: PeerMatch | undefined, inner: PeerMatch | undefined): boolean {
  if (!outer) return true;
  if (!inner) return false;
  if (outer.type === 'set') {
    if (inner.type !== 'set') return false;
    if (outer.set === inner.set || (outer.set === everyPod && inner.set.startsWith('pods:ns'))) return true;
    return outer.set === everybody && /^pods:(ns|any)/.test(inner.set);
  }
  if (inner.type === 'set') return setPrefixes(inner.set).every((prefix) => prefixCovers(outer, prefix, []));
  return prefixCovers(outer, inner.cidr, inner.except);
}

/** Of a set of prefixes, which its name lists; no other set is covered by a prefix. */
function setPrefixes(set: string): readonly Cidr[] {
  return set.startsWith('nets:') ? (set.slice('nets:'.length).split(',') as Cidr[]) : (['0.0.0.0/0', '::/0'] as Cidr[]);
}

function prefixCovers(outer: Extract<PeerMatch, { type: 'cidr' }>, cidr: Cidr, except: readonly Cidr[]): boolean {
  if (!cidrContains(outer.cidr, cidr)) return false;
  // What the outer one cuts out must be cut out of the inner one too, or not be in it.
  return outer.except.every(
    (cut) => except.some((own) => cidrContains(own, cut)) || !(cidrContains(cidr, cut) || cidrContains(cut, cidr)),
  );
}

/** Both sorted and disjoint. */
function portsCover(outer: readonly PortRange[], inner: readonly PortRange[]): boolean {
  return inner.every(({ first, last }) => outer.some((range) => range.first <= first && last <= range.last));
}
