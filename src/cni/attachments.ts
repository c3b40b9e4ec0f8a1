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
import { type Clock, errorText, type IpAddress, type Logger } from '#kit';
import type { WorkloadEndpoint } from '#model';
import { CniError } from './errors.ts';
import { KeyedLock } from './keyed-lock.ts';
import { type AttachmentKey, attachmentKey, isPodInterface, namesOf } from './names.ts';
import type { EndpointDataplane, PodSource } from './ports.ts';
import type { CniRequest, PodReference } from './request.ts';
import { addResult, missingInResult, type WiredPod } from './result.ts';
import type { AttachmentRecord, AttachmentStore } from './store.ts';
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
  const { pods, dataplane, ipam, store, wiring, clock, log } = deps;
  const restMs = options.restMs ?? ADDRESS_REST_MS;
  const locks = new KeyedLock();
  /** By interface name. Complete, or being made or unmade by the holder of the lock. */
  const records = new Map<string, AttachmentRecord>();
  const broken = new Map<string, readonly IpAddress[]>();
  const running = new Map<AttachmentKey, AbortController>();
  const cancelRests = new Set<() => void>();
  let lastAdd: AddTimings | undefined;

  const restThenForget = (record: Pick<AttachmentRecord, 'interfaceName' | 'addresses'>, forMs: number): void => {
    const cancel = clock.schedule(forMs, () => {
      cancelRests.delete(cancel);
      store.endRest(record).catch((error: unknown) => {
        log.warn(
          { interfaceName: record.interfaceName, reason: errorText(error) },
          'the file of a freed address stays behind',
        );
      });
    });
    cancelRests.add(cancel);
  };

  /** Last first, and every step may find its work done already. Holds the attachment's lock. */
  const unmake = async (record: AttachmentRecord): Promise<void> => {
    await wiring.remove(record.interfaceName);
    await dataplane.detach(endpointOf(record));
    await store.free(record);
    ipam.release(record.interfaceName, restMs);
    records.delete(record.interfaceName);
    restThenForget(record, restMs);
  };

  const unmakeBroken = async (interfaceName: string): Promise<void> => {
    const addresses = broken.get(interfaceName);
    if (!addresses) return;
    await store.free({ interfaceName, addresses });
    broken.delete(interfaceName);
    ipam.release(interfaceName, restMs);
    restThenForget({ interfaceName, addresses }, restMs);
  };

  const waitForPod = async (pod: PodReference, signal: AbortSignal): Promise<void> => {
    try {
      await withDeadline(clock, options.podWaitMs, signal, (limited) => pods.wait(pod.key, pod.uid, limited));
    } catch (error) {
      if (signal.aborted || !(error instanceof DeadlineError)) throw error;
      const which = pod.uid ? ` with UID ${pod.uid}` : '';
      const text = `Pod ${pod.key}${which} has not come to this node's agent within ${options.podWaitMs / 1000} s; try again`;
      throw new CniError('TRY_AGAIN', text, undefined, { cause: error });
    }
  };

  const waitForPolicy = async (record: AttachmentRecord, signal: AbortSignal): Promise<void> => {
    try {
      await withDeadline(clock, options.policyWaitMs, signal, (limited) =>
        dataplane.attach(endpointOf(record), limited),
      );
    } catch (error) {
      if (signal.aborted) throw error;
      const late = error instanceof DeadlineError ? ` within ${options.policyWaitMs / 1000} s` : '';
      const text = `policy of Pod ${record.pod.key} could not be put in force${late}; try again`;
      throw new CniError('TRY_AGAIN', text, late ? undefined : errorText(error), { cause: error });
    }
    await dataplane.flushConntrack(record.addresses);
  };

  const make = async (
    request: RequestOf<'ADD'>,
    descriptors: PodDescriptors,
    signal: AbortSignal,
  ): Promise<AttachmentRecord> => {
    const started = clock.nowMs();
    await waitForPod(request.pod, signal);
    signal.throwIfAborted();
    const podKnown = clock.nowMs();
    const names = namesOf(attachmentKey(request.containerId, request.ifName));
    const mtu = request.config.mtu ?? options.mtu?.();
    const record: AttachmentRecord = {
      ...names,
      addresses: ipam.allocate(names.interfaceName),
      containerId: request.containerId,
      ifName: request.ifName,
      network: request.config.name,
      netns: request.netns,
      pod: request.pod,
      ...(mtu === undefined ? {} : { mtu }),
    };
    try {
      // The intent must be there before the interface is made, and policy in force: neither needs the other.
      await allSettledOrThrow([store.begin(record), waitForPolicy(record, signal)]);
      signal.throwIfAborted();
      records.set(record.interfaceName, record);
      const prepared = clock.nowMs();
      wiring.create(wiredPodOf(record), descriptors);
      const wired = clock.nowMs();
      await store.complete(record);
      signal.throwIfAborted();
      lastAdd = {
        podWaitMs: podKnown - started,
        policyAndRecordMs: prepared - podKnown,
        wiringMs: wired - prepared,
        durableMs: clock.nowMs() - wired,
      };
      return record;
    } catch (error) {
      await undoFailed(record, error);
      throw error;
    }
  };

  /** An undoing that fails as well must not hide why the ADD failed; what is left is undone by DEL, or at the next start. */
  const undoFailed = async (record: AttachmentRecord, why: unknown): Promise<void> => {
    try {
      records.set(record.interfaceName, record);
      await unmake(record);
    } catch (error) {
      log.error(
        { interfaceName: record.interfaceName, pod: record.pod.key, failure: errorText(why), reason: errorText(error) },
        'a failed ADD could not be undone; its DEL or the next start of the agent will',
      );
    }
  };

  const answerOf = (request: RequestOf<'ADD'>, record: AttachmentRecord, key: AttachmentKey): AddAnswer => ({
    result: addResult(request.version, wiredPodOf(record), request.config),
    undo: () =>
      locks.run(key, async () => {
        if (records.get(record.interfaceName) !== record) return;
        log.info(
          { interfaceName: record.interfaceName, pod: record.pod.key },
          'the caller of an ADD has gone; it is undone',
        );
        await unmake(record);
      }),
  });

  /** ADD once more for what stands: the same answer, nothing touched. What does not stand any more makes room. */
  const standing = async (request: RequestOf<'ADD'>): Promise<AttachmentRecord | undefined> => {
    const { interfaceName } = namesOf(attachmentKey(request.containerId, request.ifName));
    const record = records.get(interfaceName);
    if (!record) {
      if (broken.has(interfaceName)) {
        throw new CniError(
          'TRY_AGAIN',
          `attachment ${interfaceName} of this container is damaged on disk: DEL it first`,
        );
      }
      return undefined;
    }
    if (!wiring.exists(interfaceName)) {
      await unmake(record);
      return undefined;
    }
    if (record.netns === request.netns && record.network === request.config.name && record.pod.key === request.pod.key)
      return record;
    const text = `container ${request.containerId} has an interface ${request.ifName} already, for Pod ${record.pod.key} in ${record.netns}: DEL it first`;
    throw new CniError('INVALID_ENVIRONMENT', text);
  };

  return {
    async recover() {
      const stored = await store.load();
      const adopt = (owner: string, addresses: readonly IpAddress[]): void => {
        const conflicts = ipam.adopt(owner, addresses);
        if (conflicts.length > 0)
          log.error({ owner, conflicts }, 'two attachments on disk have the same address; DEL one of the pods');
      };
      const links = new Set(wiring.list());
      for (const record of stored.complete) {
        adopt(record.interfaceName, record.addresses);
        records.set(record.interfaceName, record);
        if (!links.has(record.interfaceName)) {
          log.warn(
            { interfaceName: record.interfaceName, pod: record.pod.key },
            'the interface of a pod is gone; its address stays taken until DEL or GC',
          );
        }
      }
      for (const { interfaceName, addresses } of stored.broken) {
        adopt(interfaceName, addresses);
        broken.set(interfaceName, addresses);
      }
      for (const { interfaceName, addresses, sinceMs } of stored.resting) {
        // The wall clock may have been set meanwhile: a rest is never longer than a whole one.
        const leftMs = Math.min(restMs, sinceMs + restMs - Date.now());
        if (leftMs <= 0) await store.endRest({ interfaceName, addresses });
        else {
          ipam.rest(addresses, leftMs);
          restThenForget({ interfaceName, addresses }, leftMs);
        }
      }
      for (const record of stored.intents) {
        log.info({ interfaceName: record.interfaceName, pod: record.pod.key }, 'an ADD that was cut off is undone');
        adopt(record.interfaceName, record.addresses);
        await unmake(record);
        links.delete(record.interfaceName);
      }
      for (const { interfaceName, addresses } of stored.tornIntents) {
        broken.set(interfaceName, addresses);
        adopt(interfaceName, addresses);
        await wiring.remove(interfaceName);
        await unmakeBroken(interfaceName);
        links.delete(interfaceName);
      }
      const strays = [...links].filter((name) => isPodInterface(name) && !records.has(name) && !broken.has(name));
      for (const name of strays)
        log.warn({ interfaceName: name }, 'a pod interface that no attachment knows is removed');
      await Promise.all(strays.map((name) => wiring.remove(name)));
    },

    endpoints() {
      const links = new Set(wiring.list());
      return [...records.values()].filter((record) => links.has(record.interfaceName)).map(endpointOf);
    },

    async add(request, descriptors, caller) {
      const key = attachmentKey(request.containerId, request.ifName);
      return locks.run(key, async () => {
        caller.throwIfAborted();
        const found = await standing(request);
        // Its first caller has it: a second one that hangs up takes nothing back.
        if (found) return { ...answerOf(request, found, key), undo: async () => undefined };
        const controller = new AbortController();
        running.set(key, controller);
        try {
          const record = await make(request, descriptors, AbortSignal.any([caller, controller.signal]));
          return answerOf(request, record, key);
        } catch (error) {
          throw controller.signal.aborted ? controller.signal.reason : error;
        } finally {
          running.delete(key);
        }
      });
    },

    async del(request) {
      const key = attachmentKey(request.containerId, request.ifName);
      running.get(key)?.abort(new CniError('TRY_AGAIN', 'ADD was given up because DEL came for it'));
      await locks.run(key, async () => {
        const { interfaceName } = namesOf(key);
        const record = records.get(interfaceName);
        if (record) return unmake(record);
        await wiring.remove(interfaceName);
        return unmakeBroken(interfaceName);
      });
    },

    async check(request, descriptors) {
      const key = attachmentKey(request.containerId, request.ifName);
      const { prevResult } = request.config;
      if (!prevResult)
        throw new CniError('INVALID_CONFIG', 'network configuration: CHECK needs "prevResult", the result of ADD');
      await locks.run(key, async () => {
        const record = records.get(namesOf(key).interfaceName);
        if (!record) {
          throw new CniError(
            'UNKNOWN_CONTAINER',
            `container ${request.containerId} has no interface ${request.ifName} from this node's agent`,
          );
        }
        const pod = wiredPodOf(record);
        const problems = [
          ...missingInResult(prevResult, pod),
          ...wiring.problems({ ...pod, netns: request.netns }, descriptors),
        ];
        if (problems.length > 0) {
          throw new CniError(
            'CHECK_FAILED',
            `interface ${request.ifName} of Pod ${record.pod.key} is not as ADD left it`,
            problems.join('; '),
          );
        }
      });
    },

    async gc(request) {
      const valid = new Set(
        request.validAttachments.map(({ containerId, ifName }) => attachmentKey(containerId, ifName)),
      );
      const before = [...records.values()].filter((record) => record.network === request.config.name);
      for (const record of before) {
        const key = attachmentKey(record.containerId, record.ifName);
        if (valid.has(key) || running.has(key)) continue;
        await locks.run(key, async () => {
          if (records.get(record.interfaceName) !== record) return;
          log.info(
            { interfaceName: record.interfaceName, pod: record.pod.key },
            'the runtime does not know this attachment any more; it is removed',
          );
          await unmake(record);
        });
      }
      const known = new Set([...valid, ...running.keys()].map((key) => namesOf(key).interfaceName));
      for (const interfaceName of [...broken.keys()].filter((name) => !known.has(name))) {
        await wiring.remove(interfaceName);
        await unmakeBroken(interfaceName);
      }
    },

    async sweep(isLive) {
      for (const record of [...records.values()]) {
        await locks.run(attachmentKey(record.containerId, record.ifName), async () => {
          if (records.get(record.interfaceName) !== record) return;
          if (wiring.exists(record.interfaceName) || isLive(record.pod)) return;
          log.info(
            { interfaceName: record.interfaceName, pod: record.pod.key },
            'a pod is gone without a DEL; its address is freed',
          );
          await unmake(record);
        });
      }
    },

    async stop() {
      const reason = new CniError('TRY_AGAIN', 'poplin agent is stopping; try again');
      for (const controller of running.values()) controller.abort(reason);
      await locks.idle();
      for (const cancel of cancelRests) cancel();
      cancelRests.clear();
    },
    get lastAdd() {
      return lastAdd;
    },
  };
}

/** The limit passed before the work was done. */
class DeadlineError extends Error {}

async function withDeadline<T>(
  clock: Clock,
  limitMs: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = new AbortController();
  const cancel = clock.schedule(limitMs, () => limit.abort(new DeadlineError(`nothing within ${limitMs} ms`)));
  try {
    return await work(AbortSignal.any([signal, limit.signal]));
  } catch (error) {
    throw limit.signal.aborted && !signal.aborted ? limit.signal.reason : error;
  } finally {
    cancel();
  }
}

/** Waits for all, whatever happens, so that nothing still runs when its undoing begins; then throws the first failure. */
async function allSettledOrThrow(work: readonly Promise<unknown>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(work)) if (outcome.status === 'rejected') throw outcome.reason;
}
