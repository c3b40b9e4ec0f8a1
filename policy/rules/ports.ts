import type { NetworkPolicyPort, PortRange, Protocol } from '#model';

/** What one rule is about of one protocol. A packet of any of the three matches. */
export interface PortGroup {
  /** Undefined: of any, which has no ranges. */
  readonly protocol: Protocol | undefined;
  /** Some entry names no port: every port of the protocol, whatever else is listed. */
  readonly everyPort: boolean;
  /** Sorted, disjoint, neighbours joined. */
  readonly ranges: readonly PortRange[];
  /** Sorted, distinct. */
  readonly names: readonly string[];
}

export const protocols: readonly Protocol[] = ['TCP', 'UDP', 'SCTP'];
export const protocolNumbers: Readonly<Record<Protocol, number>> = { TCP: 6, UDP: 17, SCTP: 132 };

/** Whatever has ports, and whatever has none. */
export const everyTraffic: PortGroup = { protocol: undefined, everyPort: true, ranges: [], names: [] };

const portMax = 65_535;

/** All ports but those of sorted, disjoint ranges. */
export function otherPorts(ranges: readonly PortRange[]): PortRange[] {
  const bounds = [-1, ...ranges.flatMap(({ first, last }) => [first, last]), portMax + 1];
  const gaps: PortRange[] = [];
  for (let i = 0; i < bounds.length; i += 2) gaps.push({ first: bounds[i]! + 1, last: bounds[i + 1]! - 1 });
  return gaps.filter(({ first, last }) => first <= last);
}

/** The ports of a rule by protocol, in a fixed order; protocols that are not mentioned are left out. */
export function groupPorts(ports: readonly NetworkPolicyPort[]): PortGroup[] {
  const groups: PortGroup[] = [];
  for (const protocol of protocols) {
    const entries = ports.filter((entry) => entry.protocol === protocol);
    if (entries.length === 0) continue;
    const everyPort = entries.some((entry) => entry.port === undefined);
    const ranges: PortRange[] = [];
    const names = new Set<string>();
    for (const entry of everyPort ? [] : entries) {
      if (typeof entry.port === 'string') names.add(entry.port);
      else if (entry.port !== undefined) ranges.push({ first: entry.port, last: entry.endPort ?? entry.port });
    }
    groups.push({ protocol, everyPort, ranges: mergeRanges(ranges), names: [...names].sort() });
  }
  return groups;
}

/** Sorted and disjoint; overlapping and neighbouring ranges become one, empty ones (`last < first`) vanish. */
export function mergeRanges(ranges: readonly PortRange[]): PortRange[] {
  const merged: { first: number; last: number }[] = [];
  for (const range of [...ranges].sort((a, b) => a.first - b.first)) {
    if (range.last < range.first) continue;
    const previous = merged.at(-1);
    if (previous && range.first <= previous.last + 1) previous.last = Math.max(previous.last, range.last);
    else merged.push({ first: range.first, last: range.last });
  }
  return merged;
}
