/**
 * The agent's side of the plugin: a unix socket of its own, apart from the HTTP API, for root alone.
 *
 *   shim == unix socket ==> caller.ts (bytes, descriptors, hang-up) -> commands.ts, request.ts (what is asked) -> attachments.ts (what is done)
 *                                                                                                 store.ts (disk)  wiring.ts (kernel)
 *   shim -- queue directory, while the agent is away --> queue.ts -> attachments.ts
 *
 * Life: `recover` makes disk and kernel consistent and says which endpoints stand (the agent puts their policy and routes in force); `start`
 * works off the queued DELs and then listens; `stop` stops listening and lets running calls end.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { Ipam } from '#ipam';
import { type Clock, errorText, type Logger, type Startable } from '#kit';
import type { WorkloadEndpoint } from '#model';
import type { AddTimings } from './attachment-maker.ts';
import { type Attachments, createAttachments } from './attachments.ts';
import { type Call, type CallAnswer, serveCaller } from './caller.ts';
import { answerCall } from './commands.ts';
import { CniError, errorBody, toCniError } from './errors.ts';
import type { Descriptor, EndpointDataplane, NetworkSystem, PodSource, ShimTransport } from './ports.ts';
import { encodeAnswer, type ShimRequest } from './protocol.ts';
import { DelQueue } from './queue.ts';
import { type PodReference, parseRequest } from './request.ts';
import { type AttachmentStore, openAttachmentStore } from './store.ts';
import { createPodWiring, type PodWiring } from './wiring.ts';

/** Calls at once. A node that starts gets one ADD for each of its 110 pods. */
const CALLERS_MAX = 256;
const REQUEST_WAIT_MS = 5_000;
const ANSWER_WAIT_MS = 10_000;
/** The shim waits 90 s for its answer: pod and policy together must stay below. A runtime's caller is told within 20 s that no Pod came. */
const POD_WAIT_MS = 15_000;
const POLICY_WAIT_MS = 40_000;

export interface CniSystem {
  readonly transport: ShimTransport;
  readonly network: NetworkSystem;
}

export interface CniServerDeps {
  readonly system: CniSystem;
  readonly pods: PodSource;
  readonly dataplane: EndpointDataplane;
  readonly ipam: Ipam;
  readonly clock: Clock;
  readonly log: Logger;
  /** Why no pod can be added now; undefined when one can. For STATUS, and ADD refuses with it. */
  readonly notReady: () => string | undefined;
  /** Told of every call that was answered. */
  readonly onCall?: (call: CallReport) => void;
  /** A caller was turned away because so many are served already. */
  readonly onTurnedAway?: () => void;
}

export interface CallReport {
  /** ADD, DEL, CHECK, GC, STATUS; `other` for what is none. */
  readonly command: string;
  /** `ok`, `hung_up`, or the code of the failure in lower case, e.g. `try_again`. */
  readonly outcome: string;
  readonly tookMs: number;
}

export interface CniServerOptions {
  /** Its directory is made (mode 0700) and is what a pod mounts. */
  readonly socketPath: string;
  /** Directory of DELs that the shim queued. */
  readonly queueDirectory: string;
  /** Directory of the attachments' records. */
  readonly stateDirectory: string;
  /** Bytes, of pods' interfaces where the network configuration has none. */
  readonly mtu?: () => number | undefined;
  readonly podWaitMs?: number;
  readonly policyWaitMs?: number;
  readonly addressRestMs?: number;
}

export interface CniServer extends Startable {
  /** Once, before `start`: undoes what a killed agent left half done. The pools of `ipam` need not be known yet. */
  recover(): Promise<void>;
  /** Pods that are wired now. */
  endpoints(): readonly WorkloadEndpoint[];
  /**
   * Frees addresses of pods that went without a DEL (a reboot, a runtime that lost its state): the interface is gone, and the model, which
   * must be in sync, has no such Pod. Call it once in sync and now and then.
   */
  sweep(isLive: (pod: PodReference) => boolean): Promise<void>;
  readonly lastAdd: AddTimings | undefined;
}

export function createCniServer(deps: CniServerDeps, options: CniServerOptions): CniServer {
  const { transport } = deps.system;
  let store: AttachmentStore | undefined;
  let wiring: PodWiring | undefined;
  let attachments: Attachments | undefined;
  let queue: DelQueue | undefined;
  let listener: { close(): void } | undefined;
  let stopping = false;
  const callers = new Set<Promise<void>>();

  const ready = (): Attachments => {
    if (!attachments) throw new Error('CNI server: recover() comes first');
    return attachments;
  };

  const notReady = (): string | undefined => (stopping ? 'it is stopping' : deps.notReady());
  const answer = async (call: Call): Promise<CallAnswer> => {
    const startedMs = deps.clock.nowMs();
    const onAnswered = (command: string, outcome: string): void =>
      deps.onCall?.({ command, outcome, tookMs: deps.clock.nowMs() - startedMs });
    return answerCall({ attachments: ready(), queue, notReady, log: deps.log, onAnswered }, call);
  };

  /** Answered without reading the request; the shim copes. What does not fit into the socket's buffer is lost with the connection. */
  const turnAway = (connection: Descriptor, error: CniError): void => {
    const bytes = encodeAnswer(1, errorBody('1.1.0', error));
    const sent = transport.send(connection.number, bytes);
    if (sent !== bytes.length) deps.log.debug({ sent }, 'a caller turned away did not get its answer');
    connection.close();
  };

  const onConnection = (connection: Descriptor, credentials: { readonly pid: number; readonly uid: number }): void => {
    if (credentials.uid !== 0) {
      deps.log.warn({ ...credentials }, 'a caller that is not root is refused at the CNI socket');
      turnAway(
        connection,
        new CniError('FORBIDDEN', `uid ${credentials.uid} may not use the CNI socket of poplin: run as root`),
      );
      return;
    }
    if (callers.size >= CALLERS_MAX) {
      deps.onTurnedAway?.();
      deps.log.warn({ callers: callers.size }, 'too many CNI calls at once; one is refused');
      turnAway(
        connection,
        new CniError('TRY_AGAIN', `poplin agent serves ${CALLERS_MAX} CNI calls already; try again`),
      );
      return;
    }
    const limits = { requestWaitMs: REQUEST_WAIT_MS, answerWaitMs: ANSWER_WAIT_MS };
    const served = serveCaller({ transport, clock: deps.clock }, connection, limits, answer)
      .catch((error: unknown) => {
        deps.log.error({ reason: errorText(error) }, 'a CNI call could not be ended cleanly');
      })
      .finally(() => callers.delete(served));
    callers.add(served);
  };

  const queuedDel = async (request: ShimRequest): Promise<void> => {
    try {
      const parsed = parseRequest(request.environment, request.stdin);
      if (parsed.command === 'DEL') await ready().del(parsed);
    } catch (error) {
      const cniError = toCniError(error);
      // What the shim accepted cannot be refused any more: a request that will never be valid is dropped, anything else comes again.
      if (!permanent.has(cniError.cniCode)) throw error;
      deps.log.error(
        { reason: cniError.message, details: cniError.failure.details },
        'a queued DEL is invalid and is dropped',
      );
    }
  };

  return {
    async recover() {
      store = await openAttachmentStore(options.stateDirectory, deps.log);
      wiring = createPodWiring(deps.system.network, deps.clock);
      attachments = createAttachments(
        {
          pods: deps.pods,
          dataplane: deps.dataplane,
          ipam: deps.ipam,
          store,
          wiring,
          clock: deps.clock,
          log: deps.log,
        },
        {
          podWaitMs: options.podWaitMs ?? POD_WAIT_MS,
          policyWaitMs: options.policyWaitMs ?? POLICY_WAIT_MS,
          ...(options.addressRestMs === undefined ? {} : { restMs: options.addressRestMs }),
          ...(options.mtu ? { mtu: options.mtu } : {}),
        },
      );
      await attachments.recover();
    },
    async start() {
      ready();
      queue = new DelQueue({ clock: deps.clock, log: deps.log, del: queuedDel }, options.queueDirectory);
      await queue.open();
      prepareSocketPath(options.socketPath);
      listener = transport.listen({
        path: options.socketPath,
        onConnection,
        onRefused: () => deps.log.error({}, 'no descriptor is left for a CNI call: raise the limit of open files'),
      });
      queue.watch();
      deps.log.info({ socket: options.socketPath }, 'CNI calls are served');
    },
    async stop() {
      stopping = true;
      listener?.close();
      await queue?.stop();
      await attachments?.stop();
      await Promise.all(callers);
      wiring?.close();
      await store?.close();
    },
    endpoints: () => ready().endpoints(),
    sweep: (isLive) => ready().sweep(isLive),
    get lastAdd() {
      return attachments?.lastAdd;
    },
  };
}

/** Codes of calls that no repetition mends: version, environment, JSON, configuration. */
const permanent = new Set([1, 4, 6, 7]);

/** Makes the socket's directory, for root alone. A socket left by an agent that was killed goes; anything else at its place is somebody's. */
function prepareSocketPath(socketPath: string): void {
  fs.mkdirSync(path.dirname(socketPath), { recursive: true, mode: 0o700 });
  const stat = fs.lstatSync(socketPath, { throwIfNoEntry: false });
  if (stat && !stat.isSocket())
    throw new Error(`${socketPath} is no socket: remove it, or give the CNI socket another path`);
}
