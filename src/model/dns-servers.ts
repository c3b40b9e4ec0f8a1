/** Whose DNS answers count, as people write it: Calico's form of `dnsTrustedServers`, and the node's own servers. */
import { type IpAddress, toIpAddress } from '#kit';

export type DnsServer =
  | { readonly type: 'address'; readonly address: IpAddress }
  /** Its cluster addresses. */
  | { readonly type: 'service'; readonly namespace: string; readonly name: string }
  /** Those that resolv.conf of the node names. */
  | { readonly type: 'node' };

const servicePrefix = 'k8s-service:';
const namespaceDefault = 'kube-system';
const label = '[a-z0-9](?:[-a-z0-9]*[a-z0-9])?';
const servicePattern = new RegExp(`^(?:(${label})/)?(${label})(?::53)?$`);

/** `10.96.0.10`, `[fd00::a]:53`, `k8s-service:kube-dns`, `k8s-service:openshift-dns/dns-default`, `resolv.conf`. Port 53 alone. */
export function parseDnsServer(text: string): DnsServer | undefined {
  if (text === 'resolv.conf') return { type: 'node' };
  if (text.startsWith(servicePrefix)) {
    const parts = servicePattern.exec(text.slice(servicePrefix.length));
    return parts ? { type: 'service', namespace: parts[1] ?? namespaceDefault, name: parts[2]! } : undefined;
  }
  const bracketed = /^\[([^\]]+)\](?::53)?$/.exec(text)?.[1];
  const address = toIpAddress(bracketed ?? text) ?? toIpAddress(/^([0-9.]+):53$/.exec(text)?.[1] ?? '');
  return address ? { type: 'address', address } : undefined;
}
