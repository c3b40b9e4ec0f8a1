/** The addresses of the DNS servers that are trusted. Pure. */
import { type IpAddress, toIpAddress } from '#kit';
import type { DnsServer } from '#model';

/** Each once, in the order in which they are named. */
export function dnsServerAddresses(
  servers: readonly DnsServer[],
  known: {
    readonly nameServers: readonly IpAddress[];
    readonly clusterIPs: (namespace: string, name: string) => readonly IpAddress[];
  },
): readonly IpAddress[] {
  const found = servers.flatMap((server) => {
    switch (server.type) {
      case 'address':
        return [server.address];
      case 'service':
        return known.clusterIPs(server.namespace, server.name);
      case 'node':
        return known.nameServers;
      default:
        return server satisfies never;
    }
  });
  return [...new Set(found)];
}

/** Of a resolv.conf (resolv.conf(5)). One of the loopback is nobody that a pod can ask. */
export function nameServersOf(text: string): readonly IpAddress[] {
  return text.split('\n').flatMap((line) => {
    const address = toIpAddress(/^nameserver[ \t]+([0-9A-Fa-f:.]+)/.exec(line)?.[1] ?? '');
    return address === undefined || address.startsWith('127.') || address === '::1' ? [] : [address];
  });
}
