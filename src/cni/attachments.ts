/**
 * What the commands do. One attachment (container and interface name) is worked on by one call at a time; different ones side by side.
 *
 * ADD:  Pod known -> address -> {intent on disk, policy in force} -> conntrack of the address emptied -> interface -> durable -> answer
 * DEL:  interface gone -> policy gone -> address rests -> answer
 *
 * So no packet passes without policy, policy stands until the last packet, and an address never has two owners. A step that fails,
 * or a caller that hangs up, undoes the steps before it, last first (attachment-maker.ts). After a SIGKILL `recover` does the same from
 * the disk (attachment-recovery.ts).
 *
 * Races: a DEL for an ADD that is still running (a runtime that lost patience) makes the ADD give up, waits for its undoing, and then
 * does its own work. GC spares whatever was not there before it began.
 */

import type { WorkloadEndpoint } from '#model';
import {
  type AddTimings,
  AttachmentMaker,
  type AttachmentMakerDeps,
  type AttachmentMakerOptions,
} from './attachment-maker.ts';
import { recoverAttachments } from './attachment-recovery.ts';
import { AttachmentTable } from './attachment-table.ts';
import { wiredPodOf } from './attachment-views.ts';
import { CniError } from './errors.ts';
import { KeyedLock } from './keyed-lock.ts';
import { type AttachmentKey, attachmentKey, namesOf } from './names.ts';
import type { PodReference, RequestOf } from './request.ts';
import { addResult, missingInResult } from './result.ts';
import type { AttachmentRecord } from './store.ts';
import type { PodDescriptors } from './wiring.ts';

export interface AttachmentsOptions extends AttachmentMakerOptions {
  /** How long freed addresses rest. */
  readonly restMs?: number;
}

export interface AddAnswer {
  readonly result: object;
  /** Takes everything back, once; nothing when a later call has done so already. */
  undo(): Promise<void>;
}

export interface Attachments {
  /** Once, before any command: makes disk and kernel consistent. */
  recover(): Promise<void>;
  /** Complete attachments whose interface stands. */
  endpoints(): readonly WorkloadEndpoint[];
  add(request: RequestOf<'ADD'>, descriptors: PodDescriptors, caller: AbortSignal): Promise<AddAnswer>;
  del(request: Pick<RequestOf<'DEL'>, 'containerId' | 'ifName'>): Promise<void>;
  check(request: RequestOf<'CHECK'>, descriptors: PodDescriptors): Promise<void>;
  gc(request: RequestOf<'GC'>): Promise<void>;
  /** Frees attachments whose interface is gone (with its namespace, or by a reboot) and whose pod `isLive` does not know. */
  sweep(isLive: (pod: PodReference) => boolean): Promise<void>;
  /** Waits for calls that run, cancels timers. */
  stop(): Promise<void>;
  readonly lastAdd: AddTimings | undefined;
}

export function createAttachments(deps: AttachmentMakerDeps, options: AttachmentsOptions): Attachments {
  return new AttachmentCommands(deps, options);
}

class AttachmentCommands implements Attachments {
  readonly #deps: AttachmentMakerDeps;
  readonly #table: AttachmentTable;
  readonly #maker: AttachmentMaker;
  readonly #locks = new KeyedLock();
  readonly #running = new Map<AttachmentKey, AbortController>();

  constructor(deps: AttachmentMakerDeps, options: AttachmentsOptions) {
    this.#deps = deps;
    this.#table = new AttachmentTable(deps, options.restMs);
    this.#maker = new AttachmentMaker(deps, this.#table, options);
  }

  get lastAdd(): AddTimings | undefined {
    return this.#maker.lastAdd;
  }
  endpoints(): readonly WorkloadEndpoint[] {
    return this.#table.endpoints();
  }
  recover(): Promise<void> {
    return recoverAttachments(this.#deps, this.#table);
  }

  #answerOf(request: RequestOf<'ADD'>, record: AttachmentRecord, key: AttachmentKey): AddAnswer {
    return {
      result: addResult(request.version, wiredPodOf(record), request.config),
      undo: () =>
        this.#locks.run(key, async () => {
          if (!this.#table.holds(record)) return;
          this.#deps.log.info(
            { interfaceName: record.interfaceName, pod: record.pod.key },
            'the caller of an ADD has gone; it is undone',
          );
          await this.#table.unmake(record);
        }),
    };
  }

  /** ADD once more for what stands: the same answer, nothing touched. What does not stand any more makes room. */
  async #standing(request: RequestOf<'ADD'>): Promise<AttachmentRecord | undefined> {
    const key = attachmentKey(request.containerId, request.ifName);
    const record = this.#table.find(key);
    if (!record) {
      const broken = this.#table.findBroken(key);
      if (broken) {
        throw new CniError(
          'TRY_AGAIN',
          `attachment ${broken.interfaceName} of this container is damaged on disk: DEL it first`,
        );
      }
      return undefined;
    }
    if (!this.#table.isWhole(record)) {
      await this.#table.unmake(record);
      return undefined;
    }
    if (record.netns === request.netns && record.network === request.config.name && record.pod.key === request.pod.key)
      return record;
    const text = `container ${request.containerId} has an interface ${request.ifName} already, for Pod ${record.pod.key} in ${record.netns}: DEL it first`;
    throw new CniError('INVALID_ENVIRONMENT', text);
  }

  async add(request: RequestOf<'ADD'>, descriptors: PodDescriptors, caller: AbortSignal): Promise<AddAnswer> {
    const key = attachmentKey(request.containerId, request.ifName);
    return this.#locks.run(key, async () => {
      caller.throwIfAborted();
      const found = await this.#standing(request);
      // Its first caller has it: a second one that hangs up takes nothing back.
      if (found) return { ...this.#answerOf(request, found, key), undo: async () => undefined };
      const controller = new AbortController();
      this.#running.set(key, controller);
      try {
        const record = await this.#maker.make(request, descriptors, AbortSignal.any([caller, controller.signal]));
        return this.#answerOf(request, record, key);
      } catch (error) {
        throw controller.signal.aborted ? controller.signal.reason : error;
      } finally {
        this.#running.delete(key);
      }
    });
  }

  async del(request: Pick<RequestOf<'DEL'>, 'containerId' | 'ifName'>): Promise<void> {
    const key = attachmentKey(request.containerId, request.ifName);
    this.#running.get(key)?.abort(new CniError('TRY_AGAIN', 'ADD was given up because DEL came for it'));
    await this.#locks.run(key, async () => {
      const record = this.#table.find(key);
      if (record) return this.#table.unmake(record);
      const broken = this.#table.findBroken(key);
      if (broken) await this.#table.unmakeBroken(broken);
    });
  }

  async check(request: RequestOf<'CHECK'>, descriptors: PodDescriptors): Promise<void> {
    const key = attachmentKey(request.containerId, request.ifName);
    const { prevResult } = request.config;
    if (!prevResult)
      throw new CniError('INVALID_CONFIG', 'network configuration: CHECK needs "prevResult", the result of ADD');
    await this.#locks.run(key, async () => {
      const record = this.#table.find(key);
      if (!record) {
        throw new CniError(
          'UNKNOWN_CONTAINER',
          `container ${request.containerId} has no interface ${request.ifName} from this node's agent`,
        );
      }
      const pod = wiredPodOf(record);
      const problems = [
        ...missingInResult(prevResult, pod),
        ...this.#deps.wiring.problems({ ...pod, netns: request.netns }, descriptors),
      ];
      if (problems.length > 0) {
        throw new CniError(
          'CHECK_FAILED',
          `interface ${request.ifName} of Pod ${record.pod.key} is not as ADD left it`,
          problems.join('; '),
        );
      }
    });
  }

  async gc(request: RequestOf<'GC'>): Promise<void> {
    const valid = new Set(
      request.validAttachments.map(({ containerId, ifName }) => attachmentKey(containerId, ifName)),
    );
    const before = this.#table.records().filter((record) => record.network === request.config.name);
    for (const record of before) {
      const key = attachmentKey(record.containerId, record.ifName);
      if (valid.has(key) || this.#running.has(key)) continue;
      await this.#locks.run(key, async () => {
        if (!this.#table.holds(record)) return;
        this.#deps.log.info(
          { interfaceName: record.interfaceName, pod: record.pod.key },
          'the runtime does not know this attachment any more; it is removed',
        );
        await this.#table.unmake(record);
      });
    }
    const known = new Set([...valid, ...this.#running.keys()].map((key) => namesOf(key).attachment));
    for (const named of this.#table.broken()) if (!known.has(named.attachment)) await this.#table.unmakeBroken(named);
  }

  async sweep(isLive: (pod: PodReference) => boolean): Promise<void> {
    for (const record of this.#table.records()) {
      await this.#locks.run(attachmentKey(record.containerId, record.ifName), async () => {
        if (!this.#table.holds(record)) return;
        if (this.#deps.wiring.exists(record.interfaceName) || isLive(record.pod)) return;
        this.#deps.log.info(
          { interfaceName: record.interfaceName, pod: record.pod.key },
          'a pod is gone without a DEL; its address is freed',
        );
        await this.#table.unmake(record);
      });
    }
  }

  async stop(): Promise<void> {
    const reason = new CniError('TRY_AGAIN', 'poplin agent is stopping; try again');
    for (const controller of this.#running.values()) controller.abort(reason);
    await this.#locks.idle();
    this.#table.stop();
  }
}
