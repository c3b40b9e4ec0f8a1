/**
 * Kinds that an API server does not have (yet): one look at the discovery of their group every half minute or so serves all
 * of them, so that a cluster without Calico's kinds is not asked for each of them by each node.
 */
import type { Clock } from '#kit';
import { sleep } from './backoff.ts';
import { KubeError } from './client.ts';
import type { KubeConnection } from './connection.ts';
import { apiPath, type Resource } from './resources.ts';

const pauseMs = 30_000;

export interface ApiGroupsDeps {
  readonly connection: KubeConnection;
  readonly clock: Clock;
  readonly random: () => number;
}

interface Group {
  readonly waiting: Map<string, () => void>;
  look: AbortController;
}

export class ApiGroups {
  readonly #deps: ApiGroupsDeps;
  readonly #groups = new Map<string, Group>();

  constructor(deps: ApiGroupsDeps) {
    this.#deps = deps;
  }

  /** Resolves when the API server names the resource, or when `signal` aborts. */
  async untilServed(resource: Resource, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const known = this.#groups.get(resource.apiVersion);
    const group = known ?? { waiting: new Map(), look: new AbortController() };
    group.waiting.set(resource.name, resolve);
    if (!known) {
      this.#groups.set(resource.apiVersion, group);
      void this.#poll(resource.apiVersion, group);
    }
    const stop = (): void => {
      group.waiting.delete(resource.name);
      // The poll ends when nobody waits any more.
      if (group.waiting.size === 0) group.look.abort();
      resolve();
    };
    signal.addEventListener('abort', stop);
    await promise;
    signal.removeEventListener('abort', stop);
  }

  /** A kind of this group came: others may have come with it. */
  hint(apiVersion: string): void {
    this.#groups.get(apiVersion)?.look.abort();
  }

  async #poll(apiVersion: string, group: Group): Promise<void> {
    const { connection, clock, random } = this.#deps;
    while (group.waiting.size > 0) {
      await sleep(clock, pauseMs * (0.75 + random() / 2), group.look.signal);
      if (group.waiting.size === 0) break;
      group.look = new AbortController();
      for (const name of await servedBy(connection, apiVersion)) {
        group.waiting.get(name)?.();
        group.waiting.delete(name);
      }
    }
    if (this.#groups.get(apiVersion) === group) this.#groups.delete(apiVersion);
  }
}

async function servedBy(connection: KubeConnection, apiVersion: string): Promise<readonly string[]> {
  try {
    const { status, body } = await connection.request({ method: 'GET', path: apiPath(apiVersion) });
    if (status !== 200) return [];
    const { resources } = body as { resources?: readonly { name?: unknown }[] };
    return (resources ?? []).flatMap(({ name }) => (typeof name === 'string' ? [name] : []));
  } catch (error) {
    if (error instanceof KubeError) return [];
    throw error;
  }
}
