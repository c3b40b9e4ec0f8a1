/**
 * `poplin speaker`: the stand-alone speaker with its API, its metrics and, where its file says so, the kernel's table.
 *
 * In the kernel it owns what an agent's BGP would (routes of our protocol number), so that only one of the two runs in a network namespace.
 */
import fs from 'node:fs';
import path from 'node:path';
import { ApiError, createSpeakerApiServer, type SpeakerView } from '#api';
import type { StopMode } from '#bgp';
import type { RouteDataplane, RouteStatus } from '#felix';
import { type Cidr, cidrContains, errorText, type Logger, systemClock, toIpAddress } from '#kit';
import type { LearnedRoute } from '#model';
import { createHealthRegistry, createMetrics } from '#obs';
import { readSpeakerFile, runStandaloneSpeaker, SpeakerFileError, type StandaloneKernel } from '#speaker';
import { acquireLock, durableFile, openRouteKernel, sysctlFiles } from '#sys';
import { learnedRoute } from '../bgp/gateway-routes.ts';
import { observeSpeaker } from '../bgp/metrics.ts';
import { answerQuery } from '../bgp/route-query.ts';
import { peerView, routesView } from '../bgp/view.ts';
import { AgentError } from '../errors.ts';
import { claimNamespace } from '../namespace-lock.ts';
import { INTERFACE_PREFIX } from '../system.ts';
import { openSpeakerRun, type SpeakerRun } from './run-mark.ts';

/** Changes of routes pass through this loop, which has no other timer that is due so often. */
const loopDelayMs = 1000;

export interface SpeakerDaemonOptions {
  readonly configFile: string;
  /** Empty: no API. */
  readonly socketPath: string;
  readonly stateDir: string;
  readonly log: Logger;
}

export interface SpeakerDaemon {
  stop(mode: StopMode): Promise<void>;
  /** Reads the file again; what is wrong with it is logged, and everything stays as it is. */
  reload(): void;
}

/**
 * @throws SpeakerFileError with file, line and column; SysError when an address cannot be listened on; AgentError LOCKED when
 *   another speaker serves the socket, or an agent or speaker owns the kernel's routes.
 */
export async function runSpeakerDaemon(options: SpeakerDaemonOptions): Promise<SpeakerDaemon> {
  const { configFile, log, socketPath } = options;
  const undo: (() => unknown)[] = [];
  const undoAll = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    const file = readSpeakerFile(configFile);
    if (socketPath !== '') undo.push(takeSocket(socketPath));
    const kernel = file.kernel ? await openKernel(options, undo) : undefined;
    const run = kernel ? undefined : openSpeakerRun(options.stateDir, file.routerId, log);
    const earlier = (kernel ?? run)?.earlier;
    const running = await runStandaloneSpeaker({
      configFile,
      log,
      ...(kernel ? { kernel } : {}),
      ...(earlier ? { earlier } : {}),
    });
    run?.mark();
    kernel?.routes.onLinkDown((down) => {
      for (const { name, address } of running.speaker.peerStatuses()) {
        const on = toIpAddress(address);
        const lost = on !== undefined && down.addresses.some((local) => cidrContains(local.subnet, on));
        if (lost) running.speaker.pathLost({ peer: name });
      }
    });
    kernel?.routes.onUplinksChanged(() => running.speaker.pathBack());
    const metrics = createMetrics({ process: true, loopDelayMs });
    observeSpeaker(metrics, () => running.speaker.status());
    const health = createHealthRegistry(systemClock());
    const programmed = kernel && ((prefix: Cidr): RouteStatus | undefined => kernel.routes.route(prefix));
    const readable = <T>(act: () => T): T => {
      try {
        return act();
      } catch (error) {
        if (error instanceof SpeakerFileError)
          throw new ApiError(error.message, { code: 'BAD_REQUEST' }, { cause: error });
        throw error;
      }
    };
    const view: SpeakerView = {
      bgpStatus: () => running.speaker.status(),
      bgpPeers: () => running.speaker.peerStatuses().map(peerView),
      bgpRoutes: async (query) =>
        routesView(await answerQuery((each) => running.speaker.routes(each), query), programmed),
      plan: () => readable(() => running.plan()),
      reload: () => readable(() => running.reload()),
      resetPeer: (name, text) => running.speaker.resetPeer(name, text),
      dumpTable: async (file) => {
        try {
          return await running.dumpTable(file);
        } catch (error) {
          throw new ApiError(errorText(error), { code: 'BAD_REQUEST' }, { cause: error });
        }
      },
      alive: () => health.alive(),
      ready: () => health.ready(),
      metrics: () => metrics.scrape(),
    };
    if (socketPath !== '') {
      const api = createSpeakerApiServer({ view, log }, { socketPath });
      await api.start();
      undo.push(() => api.stop());
    }
    return {
      async stop(mode) {
        await running.stop(mode);
        if (mode === 'drain') run?.unmark();
        await undoAll();
      },
      reload() {
        try {
          running.reload();
        } catch (error) {
          if (!(error instanceof SpeakerFileError)) throw error;
          log.error({ reason: error.message }, 'the configuration cannot be read: everything stays as it is');
        }
      },
    };
  } catch (error) {
    await undoAll();
    throw error;
  }
}

/** @throws AgentError LOCKED */
function takeSocket(socketPath: string): () => void {
  fs.mkdirSync(path.dirname(socketPath), { recursive: true, mode: 0o700 });
  const lock = `${socketPath}.lock`;
  const taken = acquireLock(lock);
  if (taken.held) return () => taken.release();
  const { holderPid } = taken;
  const text = `another speaker serves ${socketPath}: process ${holderPid}; stop it, or give this one a socket of its own with --socket`;
  throw new AgentError(text, { code: 'LOCKED', lock, holderPid });
}

interface DaemonKernel extends StandaloneKernel, Pick<SpeakerRun, 'earlier'> {
  readonly routes: RouteDataplane;
}

async function openKernel({ stateDir, log }: SpeakerDaemonOptions, undo: (() => unknown)[]): Promise<DaemonKernel> {
  const claim = await claimNamespace({ pid: process.pid, runDir: stateDir });
  if (!claim.held) {
    const text = `process ${claim.holder.pid} owns the routes of this network namespace; stop it, or leave kernel: true out`;
    throw new AgentError(text, { code: 'LOCKED', lock: '@poplin-agent', holderPid: claim.holder.pid });
  }
  undo.push(() => claim.release());
  fs.mkdirSync(stateDir, { recursive: true, mode: 0o755 });
  // Most speakers leave the kernel's table alone, and need none of it.
  const { createRouteDataplane } = await import('#felix');
  const routes = createRouteDataplane(
    {
      kernel: openRouteKernel(),
      sysctls: sysctlFiles(),
      sysctlState: durableFile(path.join(stateDir, 'speaker-sysctls.json')),
      clock: systemClock(),
      log,
    },
    // Unlike an agent, which has routes of its own as soon as it is anything, a speaker may run for long and learn nothing.
    { interfacePrefix: INTERFACE_PREFIX, marksRun: true },
  );
  await routes.start();
  undo.push(() => routes.stop());
  const { hadEarlierRoutes: had } = routes;
  const forwardingPreserved = [
    ...(had[4] ? (['ipv4-unicast'] as const) : []),
    ...(had[6] ? (['ipv6-unicast'] as const) : []),
  ];
  return {
    routes,
    earlier: { restarting: forwardingPreserved.length > 0, forwardingPreserved },
    onRoutes(changes) {
      const upsert: LearnedRoute[] = [];
      const withdraw: Cidr[] = [];
      let released = false;
      for (const change of changes) {
        if (change.type === 'upsert') upsert.push(learnedRoute(change));
        else if (change.type === 'withdraw') withdraw.push(change.prefix);
        else released = true;
      }
      if (upsert.length > 0 || withdraw.length > 0) routes.setLearned({ upsert, withdraw });
      if (released) routes.release();
    },
  };
}
