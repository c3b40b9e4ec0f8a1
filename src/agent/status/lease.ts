/**
 * One agent of the cluster holds a Lease (coordination.k8s.io/v1) and with it the work that only one must do.
 *
 * Safe against clocks that differ, as client-go does it: nobody compares a time in the Lease with his own clock. Who waits notes by his own clock when
 * he first saw the Lease as it is, and takes it when it stayed so for its whole duration. The holder stops by himself when he could not renew for
 * less than that. Two holders for a moment (a holder that was frozen) write the same things and do no harm.
 *
 * A thousand agents that look every ten seconds would be a hundred requests a second: who waits looks more rarely the more nodes there are.
 */
import type { KubeClient } from '#datastore';
import type { Clock, Logger } from '#kit';
import { type ApiFailure, apiPath, callApi } from './api-call.ts';

export const LEASE_SEC = 30;
const RENEW_MS = 10_000;
/** Less than the duration: the holder is the first to know that it is none any more. */
const RENEW_DEADLINE_MS = 20_000;
const START_SPREAD_MS = 2_000;
const LOOK_MAX_MS = 60_000;
const FORBIDDEN_RETRY_MS = 60_000;
/** Nodes for which each agent looks every `RENEW_MS`. */
const NODES_AT_FULL_PACE = 50;
const RELEASE_WAIT_MS = 2_000;

export interface LeaseDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly wallMs: () => number;
  readonly random: () => number;
  readonly log: Logger;
  /** How many nodes there are. */
  readonly nodes: () => number;
}

export interface LeaseOptions {
  readonly namespace: string;
  readonly name: string;
  /** Unique to this process. */
  readonly identity: string;
}

export interface LeaseElection {
  start(): void;
  /** Gives the Lease back, so that another can take it at once. */
  stop(): Promise<void>;
  readonly holding: boolean;
  /** Why it cannot be had, when it cannot. */
  readonly failure: string | undefined;
}

interface LeaseSpec {
  readonly holderIdentity?: string;
  readonly leaseDurationSeconds?: number;
  readonly acquireTime?: string;
  readonly renewTime?: string;
  readonly leaseTransitions?: number;
}
interface LeaseObject {
  readonly metadata: { readonly name: string; readonly namespace: string; readonly resourceVersion?: string };
  readonly spec?: LeaseSpec;
}

/** What to do about the Lease as it was seen. `unchangedMs`: for how long it has looked so, by our own clock. */
export function leaseStep(spec: LeaseSpec, identity: string, unchangedMs: number): 'renew' | 'take' | 'wait' {
  if (spec.holderIdentity === identity) return 'renew';
  if (!spec.holderIdentity) return 'take';
  return unchangedMs >= (spec.leaseDurationSeconds ?? LEASE_SEC) * 1000 ? 'take' : 'wait';
}

/** Before the next look of an agent that does not hold the Lease. */
export function lookAfterMs(nodes: number, random: number): number {
  const fullMs = Math.min(LOOK_MAX_MS, RENEW_MS * Math.max(1, nodes / NODES_AT_FULL_PACE));
  return fullMs * (0.8 + 0.4 * random);
}

export function createLeaseElection(deps: LeaseDeps, options: LeaseOptions): LeaseElection {
  return new Election(deps, options);
}

class Election implements LeaseElection {
  readonly #deps: LeaseDeps;
  readonly #options: LeaseOptions;
  readonly #collection: string;
  readonly #path: string;
  #seen: { readonly lease: LeaseObject; readonly text: string; readonly sinceMs: number } | undefined;
  /** When the last renewal that succeeded was sent. */
  #renewedMs: number | undefined;
  #held = false;
  #failure: string | undefined;
  #cancel: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(deps: LeaseDeps, options: LeaseOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#collection = `${apiPath('/apis/coordination.k8s.io/v1/namespaces', options.namespace)}/leases`;
    this.#path = apiPath(this.#collection, options.name);
  }

  get holding(): boolean {
    return this.#renewedMs !== undefined && this.#deps.clock.nowMs() - this.#renewedMs < RENEW_DEADLINE_MS;
  }
  get failure(): string | undefined {
    return this.#failure;
  }

  start(): void {
    // Agents of a cluster that starts do not all look at once.
    this.#arm(this.#deps.random() * START_SPREAD_MS);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    await this.#running;
    if (!this.holding || !this.#seen) return;
    this.#renewedMs = undefined;
    const { holderIdentity: _ours, ...rest } = this.#seen.lease.spec ?? {};
    const spec = { ...rest, leaseDurationSeconds: 1 };
    await callApi(this.#deps.client, {
      method: 'PUT',
      path: this.#path,
      body: leaseObject(this.#options, this.#seen.lease.metadata.resourceVersion, spec),
      timeoutMs: RELEASE_WAIT_MS,
    });
  }

  #arm(delayMs: number): void {
    if (this.#stopped) return;
    this.#cancel = this.#deps.clock.schedule(delayMs, () => {
      this.#running = this.#round().then((nextMs) => {
        this.#running = undefined;
        this.#tell();
        this.#arm(nextMs);
      });
    });
  }

  #tell(): void {
    if (this.holding === this.#held) return;
    this.#held = this.holding;
    const { namespace, name } = this.#options;
    const text = this.#held
      ? 'this agent writes statuses of the whole cluster'
      : 'this agent writes statuses of the whole cluster no more';
    this.#deps.log.info({ lease: `${namespace}/${name}` }, text);
  }

  /** @returns milliseconds to the next round. */
  async #round(): Promise<number> {
    const { clock, random, nodes } = this.#deps;
    const waitMs = this.holding ? RENEW_MS * (0.8 + 0.2 * random()) : lookAfterMs(nodes(), random());
    // The holder knows the Lease as it wrote it.
    if (!this.holding || !this.#seen) {
      const found = await callApi(this.#deps.client, { method: 'GET', path: this.#path });
      if (!found.ok && found.kind !== 'notFound') return this.#failed(found, waitMs);
      if (!found.ok) return this.#write(undefined, waitMs);
      this.#see(found.body as LeaseObject);
    }
    const { lease, sinceMs } = this.#seen!;
    const step = leaseStep(lease.spec ?? {}, this.#options.identity, clock.nowMs() - sinceMs);
    if (step !== 'wait') return this.#write(lease, waitMs);
    this.#failure = undefined;
    return waitMs;
  }

  #see(lease: LeaseObject): void {
    const text = JSON.stringify(lease.spec ?? {});
    const sinceMs = this.#seen?.text === text ? this.#seen.sinceMs : this.#deps.clock.nowMs();
    this.#seen = { lease, text, sinceMs };
  }

  /** Renews, takes or makes it. */
  async #write(lease: LeaseObject | undefined, waitMs: number): Promise<number> {
    const { client, clock, wallMs } = this.#deps;
    const sentMs = clock.nowMs();
    const now = microTime(wallMs());
    const before = lease?.spec ?? {};
    const mine = before.holderIdentity === this.#options.identity;
    const spec: LeaseSpec = {
      holderIdentity: this.#options.identity,
      leaseDurationSeconds: LEASE_SEC,
      acquireTime: mine ? (before.acquireTime ?? now) : now,
      renewTime: now,
      leaseTransitions: (before.leaseTransitions ?? 0) + (lease && !mine ? 1 : 0),
    };
    const body = leaseObject(this.#options, lease?.metadata.resourceVersion, spec);
    const done = await callApi(
      client,
      lease
        ? { method: 'PUT', path: this.#path, body, timeoutMs: RENEW_MS }
        : { method: 'POST', path: this.#collection, body, timeoutMs: RENEW_MS },
    );
    if (!done.ok) {
      // Another was quicker: what is there now is looked at in the next round.
      if (done.kind === 'conflict' || done.kind === 'notFound') {
        this.#seen = undefined;
        this.#renewedMs = undefined;
        return waitMs;
      }
      return this.#failed(done, waitMs);
    }
    this.#see(done.body as LeaseObject);
    this.#renewedMs = sentMs;
    this.#failure = undefined;
    return RENEW_MS * (0.8 + 0.2 * this.#deps.random());
  }

  #failed(failure: ApiFailure, waitMs: number): number {
    const { namespace, name } = this.#options;
    const forbidden = failure.kind === 'forbidden';
    const remedy = forbidden ? "; give the agent's Role get, create and update of leases" : '';
    const reason = `${failure.message}${remedy}`;
    if (reason !== this.#failure) {
      this.#deps.log.warn({ lease: `${namespace}/${name}`, reason }, 'the Lease cannot be had; it is tried again');
    }
    this.#failure = reason;
    if (forbidden) return FORBIDDEN_RETRY_MS * (0.8 + 0.4 * this.#deps.random());
    // A holder tries again soon: it loses the Lease otherwise.
    return Math.max(failure.waitMs ?? 0, this.holding ? RENEW_MS / 4 : waitMs);
  }
}

function leaseObject(options: LeaseOptions, resourceVersion: string | undefined, spec: LeaseSpec): object {
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: {
      name: options.name,
      namespace: options.namespace,
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    },
    spec,
  };
}

/** metav1.MicroTime. */
export function microTime(wallMs: number): string {
  return new Date(wallMs).toISOString().replace('Z', '000Z');
}
