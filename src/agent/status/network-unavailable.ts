/**
 * The Node's condition NetworkUnavailable, which some cloud providers' controllers set when a node comes and wait for a network plugin to clear: set to
 * False once everything is in the kernel, and never to True. A restart, an upgrade or a stop leaves the kernel forwarding: nothing is
 * unavailable then.
 */
import type { KubeClient } from '#datastore';
import type { Clock, Logger } from '#kit';
import { apiPath, callApi } from './api-call.ts';
import { timestamp } from './conditions.ts';
import { retryDelayMs } from './pace.ts';

/** Somebody who sets it to True again and again is answered no more often than this. */
const AGAIN_MS = 30_000;

export interface NetworkUnavailableDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly wallMs: () => number;
  readonly random: () => number;
  readonly log: Logger;
}

export interface NetworkUnavailableWriter {
  /** All that the model asks for is in the kernel: see to the condition from now on. */
  clear(): void;
  /** What the watch says of it: somebody has set it to True, or the Node is another one. */
  seen(node: { readonly uid: string; readonly networkUnavailable: boolean }): void;
  /** The condition stands at False, as far as is known. */
  readonly cleared: boolean;
  stop(): Promise<void>;
}

export function createNetworkUnavailableWriter(
  deps: NetworkUnavailableDeps,
  options: { readonly nodeName: string },
): NetworkUnavailableWriter {
  return new Writer(deps, options.nodeName);
}

class Writer implements NetworkUnavailableWriter {
  readonly #deps: NetworkUnavailableDeps;
  readonly #path: string;
  readonly #name: string;
  #live = false;
  #cleared = false;
  #uid: string | undefined;
  #failures = 0;
  #lastDoneMs: number | undefined;
  #cancel: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(deps: NetworkUnavailableDeps, name: string) {
    this.#deps = deps;
    this.#name = name;
    this.#path = apiPath('/api/v1/nodes', name);
  }

  get cleared(): boolean {
    return this.#cleared;
  }

  clear(): void {
    this.#live = true;
    this.#arm(0);
  }

  seen({ uid, networkUnavailable }: { readonly uid: string; readonly networkUnavailable: boolean }): void {
    const another = this.#uid !== undefined && this.#uid !== uid;
    this.#uid = uid;
    if (!another && !networkUnavailable) return;
    if (!this.#cleared) return;
    this.#cleared = false;
    const sinceMs = this.#deps.clock.nowMs() - (this.#lastDoneMs ?? Number.NEGATIVE_INFINITY);
    this.#arm(another ? 0 : Math.max(0, AGAIN_MS - sinceMs));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    await this.#running;
  }

  #arm(delayMs: number): void {
    if (!this.#live || this.#stopped || this.#cleared || this.#running || this.#cancel) return;
    this.#cancel = this.#deps.clock.schedule(delayMs, () => {
      this.#cancel = undefined;
      this.#running = this.#round().finally(() => {
        this.#running = undefined;
        if (this.#failures > 0) this.#arm(retryDelayMs(this.#failures, this.#deps.random()));
      });
    });
  }

  async #round(): Promise<void> {
    const { client, clock, log } = this.#deps;
    const found = await callApi(client, { method: 'GET', path: this.#path });
    const failure = found.ok ? (isFalse(found.body) ? undefined : await this.#patch()) : found.message;
    if (failure === undefined) {
      this.#failures = 0;
      this.#cleared = true;
      this.#lastDoneMs = clock.nowMs();
      return;
    }
    if (this.#failures++ === 0) {
      log.warn(
        { node: this.#name, reason: failure },
        "the Node's condition NetworkUnavailable cannot be cleared; it is tried again",
      );
    }
  }

  async #patch(): Promise<string | undefined> {
    const at = timestamp(this.#deps.wallMs());
    const condition = {
      type: 'NetworkUnavailable',
      status: 'False',
      reason: 'PoplinIsUp',
      message: 'Poplin routes and polices the pods of this node',
      lastHeartbeatTime: at,
      lastTransitionTime: at,
    };
    const done = await callApi(this.#deps.client, {
      method: 'PATCH',
      path: `${this.#path}/status`,
      // Merges by the condition's type: the kubelet's own conditions stay as they are.
      contentType: 'application/strategic-merge-patch+json',
      body: { status: { conditions: [condition] } },
    });
    if (!done.ok) return done.message;
    this.#deps.log.info({ node: this.#name }, "the Node's condition NetworkUnavailable is False");
    return undefined;
  }
}

function isFalse(node: unknown): boolean {
  const conditions = (node as { readonly status?: { readonly conditions?: unknown } }).status?.conditions;
  return (
    Array.isArray(conditions) &&
    conditions.some((each) => each?.type === 'NetworkUnavailable' && each?.status === 'False')
  );
}
