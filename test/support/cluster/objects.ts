/** Objects that several tests of a cluster apply. */
import { applyObjects, tryKubectl } from './kubectl.ts';

/** The ToR router of the cluster as a peer of every node, without a password. */
export const torPeer = {
  apiVersion: 'projectcalico.org/v3',
  kind: 'BGPPeer',
  metadata: { name: 'tor' },
  spec: { peerIP: '10.255.0.253', asNumber: 65001 },
};

/** Objects that hold while `use` runs. */
export async function withObjects(objects: readonly object[], use: () => Promise<void>): Promise<void> {
  await applyObjects(objects);
  try {
    await use();
  } finally {
    const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
    await tryKubectl(['delete', '--ignore-not-found', '-f', '-'], { stdin: list });
  }
}

/** A NetworkPolicy; `spec` in the API's words. */
export function networkPolicy(namespace: string, name: string, spec: object): object {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace, name },
    spec: { podSelector: {}, ...spec },
  };
}

export const defaultDeny = (namespace: string): object =>
  networkPolicy(namespace, 'default-deny', { policyTypes: ['Ingress', 'Egress'] });
