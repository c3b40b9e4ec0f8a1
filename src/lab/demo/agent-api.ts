/** What the agents of a lab say about their BGP sessions. */
import { ApiClientError, type BgpPeerView, createApiClient } from '#api';
import type { Lab } from '../lab.ts';
import { nodePaths } from '../names.ts';

/** BGP sessions of an agent; an empty list while it does not answer. */
export async function agentPeers(lab: Lab, node: string): Promise<readonly BgpPeerView[]> {
  try {
    return await createApiClient({ socketPath: nodePaths(lab.paths, node).apiSocket }).bgpPeers();
  } catch (error) {
    if (error instanceof ApiClientError) return [];
    throw error;
  }
}
