/**
 * Keeps this node's PoplinNode object: makes it, writes its status at the pace of `pace.ts`, makes it again when somebody deletes it.
 *
 * It belongs to the Node (ownerReference), so that the garbage collector takes it away with the node. Where the kind is not installed the agent works
 * on and looks again every minute. On a new start the object's own conditions are read first: their times of transition go on.
 */
import type { KubeClient } from '#datastore';
import type { Clock, Logger } from '#kit';
import { type ApiFailure, apiPath, callApi, replaceStatus } from './api-call.ts';
import { type Condition, conditionsDiffer, timestamp, withTransitionTimes } from './conditions.ts';
import { type Change, NODE_PACE, type Pace, retryDelayMs, writeDueInMs } from './pace.ts';
import {
  contentKey,
  POPLIN_GROUP,
  POPLIN_NODES_PATH,
  type PoplinNodeContent,
  type PoplinNodeStatus,
  revisionKey,
} from './poplin-node.ts';

/** How often to look for a kind that is not installed, or that may not be written. */
const ABSENT_RETRY_MS = 60_000;

export interface PoplinNodeWriterDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
  /** 0 <= x < 1. */
  readonly random: () => number;
  readonly log: Logger;
}

export interface PoplinNodeWriter {
  /**
   * What holds now; it is written when it is due.
   *
   * @param owner of the Node object; without it, the object is not made yet.
   * @param changesSeen anything that moves when the datastore handed on real changes: resourceVersions that only bookmarks moved are not
   *   worth a write.
   */
  offer(content: PoplinNodeContent, owner: { readonly uid: string } | undefined, changesSeen: string): void;
  /** Why nothing can be written, for people. */
  failure(): string | undefined;
  /** Writes what was offered last, if it differs and the server answers within `graceMs`; then never again. */
  stop(graceMs: number): Promise<void>;
}

interface Written {
  readonly content: PoplinNodeContent;
  readonly key: string;
  readonly revisions: string;
  readonly changesSeen: string;
}

interface Offered extends Written {
  readonly ownerUid: string | undefined;
}

export function createPoplinNodeWriter(
  deps: PoplinNodeWriterDeps,
  options: { readonly nodeName: string; readonly pace?: Pace },
): PoplinNodeWriter {
  return new Writer(deps, options.nodeName, options.pace ?? NODE_PACE);
}

class Writer implements PoplinNodeWriter {
  readonly #deps: PoplinNodeWriterDeps;
  readonly #name: string;
  readonly #path: string;
  readonly #pace: Pace;
  #offered: Offered | undefined;
  #written: Written | undefined;
  #conditions: readonly Condition[] | undefined;
  #exists = false;
  #lastWriteMs: number | undefined;
  #jitter: number;
  #cancel: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #failures = 0;
  #notBeforeMs = 0;
  #failure: string | undefined;
  #stopped = false;

  constructor(deps: PoplinNodeWriterDeps, name: string, pace: Pace) {
    this.#deps = deps;
    this.#name = name;
    this.#path = apiPath(POPLIN_NODES_PATH, name);
    this.#pace = pace;
    this.#jitter = deps.random();
  }

  offer(content: PoplinNodeContent, owner: { readonly uid: string } | undefined, changesSeen: string): void {
    this.#offered = {
      content,
      key: contentKey(content),
      revisions: revisionKey(content),
      changesSeen,
      ownerUid: owner?.uid,
    };
    this.#arm();
  }

  failure(): string | undefined {
    return this.#failure;
  }

  async stop(graceMs: number): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    await this.#running;
    if (this.#failures === 0 && this.#exists && this.#change() !== 'none') await this.#write(graceMs);
  }

  #change(): Change {
    const [offered, written] = [this.#offered, this.#written];
    if (!offered || !written) return offered ? 'condition' : 'none';
    if (conditionsDiffer(offered.content.conditions, written.content.conditions)) return 'condition';
    if (offered.key !== written.key) return 'content';
    return offered.revisions !== written.revisions && offered.changesSeen !== written.changesSeen ? 'content' : 'none';
  }

  #arm(): void {
    if (this.#stopped || this.#running || !this.#offered) return;
    const nowMs = this.#deps.clock.nowMs();
    const dueMs = writeDueInMs(this.#pace, this.#change(), nowMs, this.#lastWriteMs, this.#jitter);
    this.#cancel?.();
    this.#cancel = this.#deps.clock.schedule(Math.max(dueMs, this.#notBeforeMs - nowMs), () => {
      this.#running = this.#write().finally(() => {
        this.#running = undefined;
        this.#arm();
      });
    });
  }

  async #write(timeoutMs?: number): Promise<void> {
    const offered = this.#offered!;
    const failure = (await this.#ensure(offered)) ?? (await this.#send(offered, timeoutMs));
    if (failure) this.#failed(failure);
  }

  /** The object is there afterwards, and what its conditions were is known. */
  async #ensure({ ownerUid }: Offered): Promise<ApiFailure | undefined> {
    if (this.#exists) return undefined;
    const { client } = this.#deps;
    const found = await callApi(client, { method: 'GET', path: this.#path });
    if (found.ok) {
      this.#exists = true;
      this.#conditions ??= conditionsOf(found.body);
      return undefined;
    }
    if (found.kind !== 'notFound') return found;
    if (ownerUid === undefined) {
      return { ok: false, kind: 'failed', message: `PoplinNode ${this.#name} waits for its Node object` };
    }
    const made = await callApi(client, {
      method: 'POST',
      path: POPLIN_NODES_PATH,
      body: poplinNodeObject(this.#name, ownerUid),
    });
    if (!made.ok && made.kind !== 'conflict') return made;
    this.#exists = true;
    return undefined;
  }

  async #send(offered: Offered, timeoutMs: number | undefined): Promise<ApiFailure | undefined> {
    const { clock, client, wallMs, random } = this.#deps;
    const at = timestamp(wallMs());
    const conditions = withTransitionTimes(offered.content.conditions, this.#conditions ?? [], at);
    const status: PoplinNodeStatus = { ...offered.content, conditions, observedAt: at };
    this.#lastWriteMs = clock.nowMs();
    const done = await callApi(client, {
      ...replaceStatus(this.#path, status),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
    if (!done.ok) {
      // Deleted by somebody, or with a Node of the same name: it is made again.
      if (done.kind === 'notFound') this.#exists = false;
      return done;
    }
    this.#written = offered;
    this.#conditions = conditions;
    this.#jitter = random();
    if (this.#failure !== undefined) this.#deps.log.info({ poplinNode: this.#name }, 'PoplinNode is written again');
    this.#failures = 0;
    this.#failure = undefined;
    return undefined;
  }

  #failed(failure: ApiFailure): void {
    const { clock, random, log } = this.#deps;
    this.#failures++;
    const lasting = failure.kind === 'kindAbsent' || failure.kind === 'forbidden' || failure.kind === 'refused';
    const delayMs = lasting ? ABSENT_RETRY_MS * (0.75 + 0.5 * random()) : retryDelayMs(this.#failures, random());
    this.#notBeforeMs = clock.nowMs() + Math.max(delayMs, failure.waitMs ?? 0);
    const reason =
      failure.kind === 'kindAbsent'
        ? `the kind PoplinNode (${POPLIN_GROUP}) is not installed: apply deploy/crds`
        : failure.message;
    if (reason !== this.#failure)
      log.warn({ reason, poplinNode: this.#name }, 'PoplinNode cannot be written; it is tried again');
    this.#failure = reason;
  }
}

function poplinNodeObject(name: string, nodeUid: string): object {
  return {
    apiVersion: 'poplin.dev/v1alpha1',
    kind: 'PoplinNode',
    metadata: { name, ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name, uid: nodeUid }] },
  };
}

function conditionsOf(body: unknown): readonly Condition[] {
  const conditions = (body as { readonly status?: { readonly conditions?: unknown } }).status?.conditions;
  if (!Array.isArray(conditions)) return [];
  return conditions.filter(
    (each): each is Condition => typeof each?.type === 'string' && typeof each?.lastTransitionTime === 'string',
  );
}
