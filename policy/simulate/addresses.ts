/** Addresses for pods that manifests give none: what a cluster would do when it runs them. */
import { formatIp, type IpAddress, type IpFamily, parseIp } from '#kit';
import type { ModelUpdate } from '#model';

export interface Addressed {
  readonly updates: readonly ModelUpdate[];
  /** Pods that got addresses. */
  readonly given: readonly string[];
}

/** Where they are counted up from: 10.244.0.0 is what most installers give pods. */
const bases: Readonly<Record<IpFamily, string>> = { 4: '10.244.0.1', 6: 'fd00:10:244::1' };

/**
 * One of each family for every pod of the pod network that has none and is not completed, by the order of their names; none that an object
 * holds already.
 */
export function withAddresses(updates: readonly ModelUpdate[]): Addressed {
  const used = new Set<string>();
  const without: string[] = [];
  for (const update of updates) {
    if (update.kind !== 'Pod' || update.type !== 'upsert') continue;
    const { podIPs, hostNetwork, phase } = update.object;
    for (const address of podIPs) used.add(address);
    const runs = !hostNetwork && phase !== 'Succeeded' && phase !== 'Failed';
    if (runs && podIPs.length === 0) without.push(update.key);
  }
  const next = { 4: counter(bases[4], used), 6: counter(bases[6], used) };
  const addresses = new Map(without.sort().map((key) => [key, [next[4](), next[6]()]]));
  return {
    given: without,
    updates: updates.map((update): ModelUpdate => {
      const podIPs = update.kind === 'Pod' && update.type === 'upsert' ? addresses.get(update.key) : undefined;
      if (!podIPs || update.kind !== 'Pod' || update.type !== 'upsert') return update;
      return { ...update, object: { ...update.object, podIPs } };
    }),
  };
}

function counter(first: string, used: ReadonlySet<string>): () => IpAddress {
  const bytes = parseIp(first)!;
  return () => {
    for (;;) {
      const address = formatIp(bytes);
      for (let at = bytes.length - 1; at >= 0; at--) {
        bytes[at] = (bytes[at]! + 1) & 255;
        if (bytes[at] !== 0) break;
      }
      if (!used.has(address)) return address;
    }
  };
}
