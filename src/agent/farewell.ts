/**
 * Whether a stop is for good. A kubelet ends an agent with the same SIGTERM for a restart, after which peers shall have kept our routes, and because its
 * DaemonSet was deleted: then they would send packets for minutes to a node that drops them. The DaemonSet tells the two apart.
 */
import type { KubeClient } from '#datastore';
import { callApi } from './status/api-call.ts';
import { daemonSetPlace } from './uninstall/installation.ts';

export interface Farewell {
  /** Looks for the DaemonSet once: an agent that runs otherwise never takes its absence for an end. */
  remember(): Promise<void>;
  /** It was there, and is gone or going. Whatever cannot be found out within a second is a restart. */
  isForGood(): Promise<boolean>;
}

const ANSWER_MS = 1_000;

export function createFarewell(client: KubeClient, namespace: string): Farewell {
  const { path } = daemonSetPlace(namespace);
  let known = false;
  const ask = () => callApi(client, { method: 'GET', path, timeoutMs: ANSWER_MS });
  return {
    async remember() {
      known = (await ask()).ok;
    },
    async isForGood() {
      if (!known) return false;
      const answer = await ask();
      if (!answer.ok) return answer.kind === 'notFound';
      const { metadata } = answer.body as { readonly metadata?: { readonly deletionTimestamp?: string } };
      return metadata?.deletionTimestamp !== undefined;
    },
  };
}
