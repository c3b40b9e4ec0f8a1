/** Secrets that BGPPeers and BGPConfigurations name, in the agent's own namespace. */
import type { KindStore } from './kind-store.ts';

export function namedSecrets({
  BGPPeer,
  BGPConfiguration,
}: Readonly<Record<'BGPPeer' | 'BGPConfiguration', KindStore>>): ReadonlySet<string> {
  const names = new Set<string>();
  for (const [, peer] of BGPPeer.entries()) {
    const sources = [
      ...('password' in peer ? [peer.password] : []),
      ...('tcpAO' in peer ? (peer.tcpAO?.keys ?? []).map(({ secret }) => secret) : []),
    ];
    for (const source of sources) if (source?.type === 'secretKeyRef') names.add(source.name);
  }
  for (const [, found] of BGPConfiguration.entries()) {
    if ('nodeMeshPassword' in found && found.nodeMeshPassword?.type === 'secretKeyRef') {
      names.add(found.nodeMeshPassword.name);
    }
  }
  return names;
}
