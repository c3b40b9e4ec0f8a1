/** How an attachment is made, and undone where a step fails. */
import { allSettledOrThrow, errorText } from '#kit';
import type { AttachmentTable, AttachmentTableDeps } from './attachment-table.ts';
import { endpointOf, wiredPodOf } from './attachment-views.ts';
import { DeadlineError, withDeadline } from './deadline.ts';
import { CniError } from './errors.ts';
import { attachmentKey, namesOf } from './names.ts';
import type { PodSource } from './ports.ts';
import type { PodReference, RequestOf } from './request.ts';
import type { AttachmentRecord } from './store.ts';
import type { PodDescriptors } from './wiring.ts';

export interface AttachmentMakerDeps extends AttachmentTableDeps {
  readonly pods: PodSource;
}

export interface AttachmentMakerOptions {
  /** How long ADD waits for its Pod to come into the model. */
  readonly podWaitMs: number;
  /** How long ADD waits for policy after that. */
  readonly policyWaitMs: number;
  /** Of pods' interfaces, where the network configuration has none; undefined: the kernel's default, 1500. */
  readonly mtu?: () => number | undefined;
}

/** Milliseconds spent in the parts of the last ADD, for the bench. */
export interface AddTimings {
  readonly podWaitMs: number;
  readonly policyAndRecordMs: number;
  readonly wiringMs: number;
  readonly durableMs: number;
}

export class AttachmentMaker {
  readonly #deps: AttachmentMakerDeps;
  readonly #table: AttachmentTable;
  readonly #options: AttachmentMakerOptions;
  #lastAdd: AddTimings | undefined;

  constructor(deps: AttachmentMakerDeps, table: AttachmentTable, options: AttachmentMakerOptions) {
    this.#deps = deps;
    this.#table = table;
    this.#options = options;
  }

  get lastAdd(): AddTimings | undefined {
    return this.#lastAdd;
  }

  /** The caller holds the attachment's lock. Where it rejects, what was made is undone. */
  async make(request: RequestOf<'ADD'>, descriptors: PodDescriptors, signal: AbortSignal): Promise<AttachmentRecord> {
    const started = this.#deps.clock.nowMs();
    await this.#waitForPod(request.pod, signal);
    signal.throwIfAborted();
    const podKnown = this.#deps.clock.nowMs();
    const interfaceName = this.#table.freeInterfaceName(request.pod.key, request.ifName);
    const mtu = request.config.mtu ?? this.#options.mtu?.();
    const record: AttachmentRecord = {
      ...namesOf(attachmentKey(request.containerId, request.ifName)),
      interfaceName,
      addresses: this.#deps.ipam.allocate(interfaceName),
      containerId: request.containerId,
      ifName: request.ifName,
      network: request.config.name,
      netns: request.netns,
      pod: request.pod,
      ...(mtu === undefined ? {} : { mtu }),
    };
    try {
      // The intent must be there before the interface is made, and policy in force: neither needs the other.
      await allSettledOrThrow([this.#deps.store.begin(record), this.#waitForPolicy(record, signal)]);
      signal.throwIfAborted();
      this.#table.hold(record);
      const prepared = this.#deps.clock.nowMs();
      await this.#deps.wiring.create(wiredPodOf(record), descriptors);
      const wired = this.#deps.clock.nowMs();
      await this.#deps.store.complete(record);
      signal.throwIfAborted();
      this.#lastAdd = {
        podWaitMs: podKnown - started,
        policyAndRecordMs: prepared - podKnown,
        wiringMs: wired - prepared,
        durableMs: this.#deps.clock.nowMs() - wired,
      };
      return record;
    } catch (error) {
      await this.#undoFailed(record, error);
      throw error;
    }
  }

  async #waitForPod(pod: PodReference, signal: AbortSignal): Promise<void> {
    try {
      await withDeadline(this.#deps.clock, this.#options.podWaitMs, signal, (limited) =>
        this.#deps.pods.wait(pod.key, pod.uid, limited),
      );
    } catch (error) {
      if (signal.aborted || !(error instanceof DeadlineError)) throw error;
      const which = pod.uid ? ` with UID ${pod.uid}` : '';
      const text = `Pod ${pod.key}${which} has not come to this node's agent within ${this.#options.podWaitMs / 1000} s; try again`;
      throw new CniError('TRY_AGAIN', text, undefined, { cause: error });
    }
  }

  async #waitForPolicy(record: AttachmentRecord, signal: AbortSignal): Promise<void> {
    try {
      await withDeadline(this.#deps.clock, this.#options.policyWaitMs, signal, (limited) =>
        this.#deps.dataplane.attach(endpointOf(record), limited),
      );
    } catch (error) {
      if (signal.aborted) throw error;
      const late = error instanceof DeadlineError ? ` within ${this.#options.policyWaitMs / 1000} s` : '';
      const text = `policy of Pod ${record.pod.key} could not be put in force${late}; try again`;
      throw new CniError('TRY_AGAIN', text, late ? undefined : errorText(error), { cause: error });
    }
    await this.#deps.dataplane.flushConntrack(record.addresses);
  }

  /** An undoing that fails as well must not hide why the ADD failed; what is left is undone by DEL, or at the next start. */
  async #undoFailed(record: AttachmentRecord, why: unknown): Promise<void> {
    try {
      this.#table.holdHalfMade(record);
      await this.#table.unmake(record);
    } catch (error) {
      this.#deps.log.error(
        { interfaceName: record.interfaceName, pod: record.pod.key, failure: errorText(why), reason: errorText(error) },
        'a failed ADD could not be undone; its DEL or the next start of the agent will',
      );
    }
  }
}
