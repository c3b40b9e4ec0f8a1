/**
 * One cluster for all tests of a file, with the agent in it.
 *
 * A developer who works on a test keeps one up by hand (`npm run cluster -- up`) and sets `POPLINTEST_KEEP=1`: the file then uses
 * that one, whatever its options are, removes what a run before left in `namespaces`, and leaves it up.
 */
import { type Cluster, collectLogs, down, openCluster, type UpOptions, up } from './cluster.ts';
import { manifestHook } from './hooks.ts';
import { applyObjects, tryKubectl } from './kubectl.ts';
import { deleteNamespace } from './pods.ts';

export interface SharedCluster {
  readonly cluster: Cluster;
  readonly close: () => Promise<void>;
}

export interface SharedOptions extends Omit<UpOptions, 'agent' | 'keep'> {
  /** Namespaces that the tests make. */
  readonly namespaces: readonly string[];
  /** Applied right after the agent's manifest. */
  readonly objects?: readonly object[];
}

const objectsOf = (objects: readonly object[] = []): readonly object[] => [torPeer, ...objects];

/** The ToR router of the cluster as a peer of every node, without a password. */
export const torPeer = {
  apiVersion: 'projectcalico.org/v3',
  kind: 'BGPPeer',
  metadata: { name: 'tor' },
  spec: { peerIP: '10.255.0.253', asNumber: 65001 },
};

export async function sharedCluster({ namespaces, objects, ...wanted }: SharedOptions): Promise<SharedCluster> {
  if (process.env['POPLINTEST_KEEP']) {
    const cluster = openCluster();
    await Promise.all(namespaces.map((name) => deleteNamespace(cluster, name)));
    await applyObjects(objectsOf(objects));
    return { cluster, close: async () => cluster.api.close() };
  }
  const cluster = await up({ dns: false, ...wanted, agent: manifestHook({ objects: objectsOf(objects) }) });
  return {
    cluster,
    close: async () => {
      const folder = process.env['POPLIN_TEST_LOGS'];
      if (folder) await collectLogs(folder);
      cluster.api.close();
      await down();
    },
  };
}

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
