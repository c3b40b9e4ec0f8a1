/** Where the agent's objects come from, as the configuration says. */
import type { AgentConfig } from '#config';
import { createFileDatastore, type Datastore, type KubeClient } from '#datastore';
import type { Clock, Logger } from '#kit';
import type { ObjectKey } from '#model';

export interface Source {
  readonly datastore: Datastore;
  /** The API server, where objects come from one. */
  readonly client?: KubeClient;
  /** Asks it for one Pod, past the watch. */
  readonly askForPod?: (key: ObjectKey) => Promise<unknown>;
}

export async function createSource(
  deps: { readonly log: Logger; readonly clock: Clock },
  config: AgentConfig,
): Promise<Source> {
  return { datastore: createFileDatastore(deps, { directory: config.datastoreDir, stateDir: config.stateDir }) };
}
