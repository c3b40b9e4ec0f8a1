/** Where the agent's objects come from, as the configuration says. */
import type { AgentConfig } from '#config';
import {
  createFileDatastore,
  createKubeDatastore,
  type Datastore,
  type KubeClient,
  type KubeObserver,
} from '#datastore';
import { type Clock, type IpAddress, type Logger, toIpAddress } from '#kit';
import type { ObjectKey } from '#model';
import { apiPath, callApi } from './status/api-call.ts';
import { agentVersion } from './version.ts';

export interface Source {
  readonly datastore: Datastore;
  /** The API server, where objects come from one. */
  readonly client?: KubeClient;
  /** Asks it for one Pod, past the watch. */
  readonly askForPod?: (key: ObjectKey) => Promise<unknown>;
}

export function createSource(
  deps: { readonly log: Logger; readonly clock: Clock; readonly observer: KubeObserver },
  config: AgentConfig,
): Source {
  const { stateDir, namespace } = config;
  if (config.datastore === 'file') {
    return { datastore: createFileDatastore(deps, { directory: config.datastoreDir, stateDir }) };
  }
  const datastore = createKubeDatastore(deps, {
    ...(config.kubeconfig ? { kubeconfig: config.kubeconfig } : {}),
    ...(config.kubeApiServer ? { apiServer: config.kubeApiServer } : {}),
    namespace,
    stateDir,
    userAgent: `poplin/${agentVersion()}`,
  });
  return { datastore, client: datastore.client, askForPod: (key) => datastore.fetchPod(key) };
}

/** Of an API server that is named by address: which of the node's networks is the cluster's can be told by the way there. */
export function apiServerAddress(server: string): IpAddress | undefined {
  return URL.canParse(server) ? toIpAddress(new URL(server).hostname.replace(/^\[|\]$/g, '')) : undefined;
}

/** Addresses of a Service as the API server says now; without one of none. @throws Error when it does not answer, or refuses. */
export function clusterIPsBy(
  client: KubeClient | undefined,
): (namespace: string, name: string) => Promise<readonly string[] | undefined> {
  return async (namespace, name) => {
    if (!client) return undefined;
    const path = apiPath('/api/v1/namespaces', namespace, 'services', name);
    const answer = await callApi(client, { method: 'GET', path });
    if (!answer.ok) throw new Error(answer.message);
    const spec = (answer.body as { readonly spec?: { readonly clusterIPs?: unknown; readonly clusterIP?: unknown } })
      .spec;
    const addresses = Array.isArray(spec?.clusterIPs) ? spec.clusterIPs : [spec?.clusterIP];
    // A headless service says None.
    return addresses.filter((address) => typeof address === 'string');
  };
}
