/**
 * What the commands do. One attachment (container and interface name) is worked on by one call at a time; different ones side by side.
 *
 * ADD:  Pod known -> address -> {intent on disk, policy in force} -> conntrack of the address emptied -> interface -> durable -> answer
 * DEL:  interface gone -> policy gone -> address rests -> answer
 *
 * So no packet passes without policy, policy stands until the last packet, and an address never has two owners. A step that fails,
 * or a caller that hangs up, undoes the steps before it, last first. After a SIGKILL `recover` does the same from the disk:
 * an intent is undone, whatever its interface looks like; an interface that no file knows is removed.
 *
 * Races: a DEL for an ADD that is still running (a runtime that lost patience) makes the ADD give up, waits for its undoing, and then
 * does its own work. GC spares whatever was not there before it began.
 */

import { ADDRESS_REST_MS, type Ipam } from '#ipam';
import { allSettledOrThrow, type Clock, errorText, type IpAddress, type Logger } from '#kit';
import type { WorkloadEndpoint } from '#model';
import { DeadlineError, withDeadline } from './deadline.ts';
import { CniError } from './errors.ts';
import { KeyedLock } from './keyed-lock.ts';
import { type AttachmentKey, attachmentKey, hostInterfaceName, isPodInterface, namesOf } from './names.ts';
import type { EndpointDataplane, PodSource } from './ports.ts';
import type { CniRequest, PodReference } from './request.ts';
import { addResult, missingInResult, type WiredPod } from './result.ts';
import type { AttachmentRecord, AttachmentStore, Named } from './store.ts';
import { HOST_MAC, type PodDescriptors, type PodWiring } from './wiring.ts';

type RequestOf<C extends CniRequest['command']> = Extract<CniRequest, { readonly command: C }>;

export interface AttachmentsDeps {
  readonly pods: PodSource;
  readonly dataplane: EndpointDataplane;
  readonly ipam: Ipam;
  readonly store: AttachmentStore;
  readonly wiring: PodWiring;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface AttachmentsOptions {
  /** How long ADD waits for its Pod to come into the model. */
  readonly podWaitMs: number;
  /** How long ADD waits for policy after that. */
  readonly policyWaitMs: number;
  /** How long freed addresses rest. */
  readonly restMs?: number;
  /** Of pods' interfaces, where the network configuration has none; undefined: the kernel's default, 1500. */
  readonly mtu?: () => number | undefined;
}

export interface AddAnswer {
  readonly result: object;
  /** Takes everything back, once; nothing when a later call has done so already. */
  undo(): Promise<void>;
}

/** Milliseconds spent in the parts of the last ADD, for the bench. */
export interface AddTimings {
  readonly podWaitMs: number;
  readonly policyAndRecordMs: number;
  readonly wiringMs: number;
  readonly durableMs: number;
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

export function endpointOf(record: AttachmentRecord): WorkloadEndpoint {
  return { id: record.pod.key, interfaceName: record.interfaceName, addresses: record.addresses };
}

function wiredPodOf(record: AttachmentRecord): WiredPod {
  const { interfaceName, ifName, podMac, netns, addresses, mtu } = record;
  return { interfaceName, hostMac: HOST_MAC, ifName, podMac, netns, addresses, ...(mtu === undefined ? {} : { mtu }) };
}

export function createAttachments(deps: AttachmentsDeps, options: AttachmentsOptions): Attachments {
  return new AttachmentTable(deps, options);
}

class AttachmentTable implements Attachments {
  readonly #deps: AttachmentsDeps;
  readonly #options: AttachmentsOptions;
  readonly #restMs: number;
  readonly #locks = new KeyedLock();
  /** By interface name. Complete, or being made or unmade by the holder of the lock. */
  readonly #records = new Map<string, AttachmentRecord>();
  /** Interfaces of failed ADDs whose undoing failed as well. */
  readonly #halfMade = new Set<string>();
  /** By interface name. */
  readonly #broken = new Map<string, Named>();
  readonly #running = new Map<AttachmentKey, AbortController>();
  readonly #cancelRests = new Set<() => void>();
  #lastAdd: AddTimings | undefined;

  constructor(deps: AttachmentsDeps, options: AttachmentsOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#restMs = options.restMs ?? ADDRESS_REST_MS;
  }

  get lastAdd(): AddTimings | undefined {
    return this.#lastAdd;
  }

  #find(key: AttachmentKey): AttachmentRecord | undefined {
    const { attachment } = namesOf(key);
    return this.#records.values().find((record) => record.attachment === attachment);
  }
  #findBroken(key: AttachmentKey): Named | undefined {
    const { attachment } = namesOf(key);
    return this.#broken.values().find((named) => named.attachment === attachment);
  }
  /** A name that no attachment has, nor one that is being made: those hold addresses. */
  #freeInterfaceName(podKey: string, ifName: string): string {
    for (let turn = 0; ; turn++) {
      const name = hostInterfaceName(podKey, ifName, turn);
      const taken = this.#records.has(name) || this.#deps.ipam.addressesOf(name).length > 0;
      if (!taken && !this.#deps.wiring.exists(name)) return name;
    }
  }

  #restThenForget(record: Named, forMs: number): void {
    const cancel = this.#deps.clock.schedule(forMs, () => {
      this.#cancelRests.delete(cancel);
      this.#deps.store.endRest(record).catch((error: unknown) => {
        this.#deps.log.warn(
          { interfaceName: record.interfaceName, reason: errorText(error) },
          'the file of a freed address stays behind',
        );
      });
    });
    this.#cancelRests.add(cancel);
  }

  /** Last first, and every step may find its work done already. Holds the attachment's lock. */
  async #unmake(record: AttachmentRecord): Promise<void> {
    await this.#deps.wiring.remove(record.interfaceName);
    await this.#deps.dataplane.detach(endpointOf(record));
    await this.#deps.store.free(record);
    this.#deps.ipam.release(record.interfaceName, this.#restMs);
    this.#records.delete(record.interfaceName);
    this.#halfMade.delete(record.interfaceName);
    this.#restThenForget(record, this.#restMs);
  }

  async #unmakeBroken(named: Named): Promise<void> {
    await this.#deps.wiring.remove(named.interfaceName);
    await this.#deps.store.free(named);
    this.#broken.delete(named.interfaceName);
    this.#deps.ipam.release(named.interfaceName, this.#restMs);
    this.#restThenForget(named, this.#restMs);
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

  async #make(request: RequestOf<'ADD'>, descriptors: PodDescriptors, signal: AbortSignal): Promise<AttachmentRecord> {
    const started = this.#deps.clock.nowMs();
    await this.#waitForPod(request.pod, signal);
    signal.throwIfAborted();
    const podKnown = this.#deps.clock.nowMs();
    const interfaceName = this.#freeInterfaceName(request.pod.key, request.ifName);
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
      this.#records.set(record.interfaceName, record);
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

  /** An undoing that fails as well must not hide why the ADD failed; what is left is undone by DEL, or at the next start. */
  async #undoFailed(record: AttachmentRecord, why: unknown): Promise<void> {
    try {
      this.#records.set(record.interfaceName, record);
      this.#halfMade.add(record.interfaceName);
      await this.#unmake(record);
    } catch (error) {
      this.#deps.log.error(
        { interfaceName: record.interfaceName, pod: record.pod.key, failure: errorText(why), reason: errorText(error) },
        'a failed ADD could not be undone; its DEL or the next start of the agent will',
      );
    }
  }

  #answerOf(request: RequestOf<'ADD'>, record: AttachmentRecord, key: AttachmentKey): AddAnswer {
    return {
      result: addResult(request.version, wiredPodOf(record), request.config),
      undo: () =>
        this.#locks.run(key, async () => {
          if (this.#records.get(record.interfaceName) !== record) return;
          this.#deps.log.info(
            { interfaceName: record.interfaceName, pod: record.pod.key },
            'the caller of an ADD has gone; it is undone',
          );
          await this.#unmake(record);
        }),
    };
  }

  /** ADD once more for what stands: the same answer, nothing touched. What does not stand any more makes room. */
  async #standing(request: RequestOf<'ADD'>): Promise<AttachmentRecord | undefined> {
    const key = attachmentKey(request.containerId, request.ifName);
    const record = this.#find(key);
    if (!record) {
      const broken = this.#findBroken(key);
      if (broken) {
        throw new CniError(
          'TRY_AGAIN',
          `attachment ${broken.interfaceName} of this container is damaged on disk: DEL it first`,
        );
      }
      return undefined;
    }
    if (this.#halfMade.has(record.interfaceName) || !this.#deps.wiring.exists(record.interfaceName)) {
      await this.#unmake(record);
      return undefined;
    }
    if (record.netns === request.netns && record.network === request.config.name && record.pod.key === request.pod.key)
      return record;
    const text = `container ${request.containerId} has an interface ${request.ifName} already, for Pod ${record.pod.key} in ${record.netns}: DEL it first`;
    throw new CniError('INVALID_ENVIRONMENT', text);
  }

  async recover(): Promise<void> {
    const stored = await this.#deps.store.load();
    const adopt = (owner: string, addresses: readonly IpAddress[]): void => {
      const conflicts = this.#deps.ipam.adopt(owner, addresses);
      if (conflicts.length > 0)
        this.#deps.log.error(
          { owner, conflicts },
          'two attachments on disk have the same address; DEL one of the pods',
        );
    };
    const links = new Set(this.#deps.wiring.list());
    for (const record of stored.complete) {
      adopt(record.interfaceName, record.addresses);
      this.#records.set(record.interfaceName, record);
      if (!links.has(record.interfaceName)) {
        this.#deps.log.warn(
          { interfaceName: record.interfaceName, pod: record.pod.key },
          'the interface of a pod is gone; its address stays taken until DEL or GC',
        );
      }
    }
    for (const named of stored.broken) {
      adopt(named.interfaceName, named.addresses);
      this.#broken.set(named.interfaceName, named);
    }
    for (const { sinceMs, ...named } of stored.resting) {
      // The wall clock may have been set meanwhile: a rest is never longer than a whole one.
      const leftMs = Math.min(this.#restMs, sinceMs + this.#restMs - Date.now());
      if (leftMs <= 0) await this.#deps.store.endRest(named);
      else {
        this.#deps.ipam.rest(named.addresses, leftMs);
        this.#restThenForget(named, leftMs);
      }
    }
    for (const record of stored.intents) {
      this.#deps.log.info(
        { interfaceName: record.interfaceName, pod: record.pod.key },
        'an ADD that was cut off is undone',
      );
      adopt(record.interfaceName, record.addresses);
      await this.#unmake(record);
      links.delete(record.interfaceName);
    }
    for (const named of stored.tornIntents) {
      adopt(named.interfaceName, named.addresses);
      await this.#unmakeBroken(named);
      links.delete(named.interfaceName);
    }
    const strays = [...links].filter(
      (name) => isPodInterface(name) && !this.#records.has(name) && !this.#broken.has(name),
    );
    for (const name of strays)
      this.#deps.log.warn({ interfaceName: name }, 'a pod interface that no attachment knows is removed');
    await Promise.all(strays.map((name) => this.#deps.wiring.remove(name)));
  }

  endpoints(): readonly WorkloadEndpoint[] {
    const links = new Set(this.#deps.wiring.list());
    return [...this.#records.values()]
      .filter((record) => links.has(record.interfaceName))
      .sort((a, b) => (a.interfaceName < b.interfaceName ? -1 : 1))
      .map(endpointOf);
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
        const record = await this.#make(request, descriptors, AbortSignal.any([caller, controller.signal]));
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
      const record = this.#find(key);
      if (record) return this.#unmake(record);
      const broken = this.#findBroken(key);
      if (broken) await this.#unmakeBroken(broken);
    });
  }

  async check(request: RequestOf<'CHECK'>, descriptors: PodDescriptors): Promise<void> {
    const key = attachmentKey(request.containerId, request.ifName);
    const { prevResult } = request.config;
    if (!prevResult)
      throw new CniError('INVALID_CONFIG', 'network configuration: CHECK needs "prevResult", the result of ADD');
    await this.#locks.run(key, async () => {
      const record = this.#find(key);
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
    const before = [...this.#records.values()].filter((record) => record.network === request.config.name);
    for (const record of before) {
      const key = attachmentKey(record.containerId, record.ifName);
      if (valid.has(key) || this.#running.has(key)) continue;
      await this.#locks.run(key, async () => {
        if (this.#records.get(record.interfaceName) !== record) return;
        this.#deps.log.info(
          { interfaceName: record.interfaceName, pod: record.pod.key },
          'the runtime does not know this attachment any more; it is removed',
        );
        await this.#unmake(record);
      });
    }
    const known = new Set([...valid, ...this.#running.keys()].map((key) => namesOf(key).attachment));
    for (const named of [...this.#broken.values()]) if (!known.has(named.attachment)) await this.#unmakeBroken(named);
  }

  async sweep(isLive: (pod: PodReference) => boolean): Promise<void> {
    for (const record of [...this.#records.values()]) {
      await this.#locks.run(attachmentKey(record.containerId, record.ifName), async () => {
        if (this.#records.get(record.interfaceName) !== record) return;
        if (this.#deps.wiring.exists(record.interfaceName) || isLive(record.pod)) return;
        this.#deps.log.info(
          { interfaceName: record.interfaceName, pod: record.pod.key },
          'a pod is gone without a DEL; its address is freed',
        );
        await this.#unmake(record);
      });
    }
  }

  async stop(): Promise<void> {
    const reason = new CniError('TRY_AGAIN', 'poplin agent is stopping; try again');
    for (const controller of this.#running.values()) controller.abort(reason);
    await this.#locks.idle();
    for (const cancel of this.#cancelRests) cancel();
    this.#cancelRests.clear();
  }
}
