/**
 * The agent's end of the flow log: packets that rules tell of by NFLOG, with names, in a bounded ring, counted, and handed to whoever asks.
 *
 *   kernel rule -- limit --> nfnetlink_log --> headers, label --> names of pods, policy, rule --> ring, counts
 *                                                                 what staged policies would ...    |
 *   poplin flows [--follow] <-- one answer, when there is something or the wait is over ------------+
 *
 * Every stage is bounded: each rule tells of so many packets a second, the socket keeps 1 MiB, a turn of the loop takes some 500 packets, staged
 * policies judge 500 a second, ring, series and waiters have limits. What is lost is counted. Nothing here can keep policy from the kernel.
 */
import type { FlowCountView, FlowLogView, FlowsQuery, FlowsView } from '#api';
import type { AgentConfig } from '#config';
import { type FlowLogOptions, parseFlowPrefix } from '#felix';
import { type Clock, errorText, type Logger, type Startable } from '#kit';
import type { EndpointId, ModelUpdate, WorkloadEndpoint } from '#model';
import type { Limits } from '#obs';
import type { PolicyState } from '#policy';
import { type LoggedPacket, type PacketLogOptions, SysError } from '#sys';
import { createAddressNames } from './address-names.ts';
import { createFlowCounts } from './counts.ts';
import { type DescribeDeps, describeFlow, type FlowDescription } from './describe.ts';
import { type PacketHeaders, packetHeaders } from './packet.ts';
import { createFlowRing } from './ring.ts';

/** Another reader of the group may go away. */
const REOPEN_MS = 30_000;
/** Packets that staged policies judge, of all pods of the node: of 30 rules some 25 us each, 150 us in IPv6. */
const JUDGED_PER_SEC_MAX = 500;
/** Who waits for flows at one time; more get their answer at once. */
const WAITERS_MAX = 32;
/** The last moment that a Date can say. */
const DATE_MS_MAX = 8.64e15;

export interface FlowLogDeps {
  readonly open: (options: PacketLogOptions) => { close(): void };
  readonly state: PolicyState;
  readonly clock: Clock;
  /** Milliseconds since the epoch. */
  readonly wallMs: () => number;
  readonly log: Logger;
  readonly limits: Limits;
  /** Of this namespace, by index. */
  readonly interfaceName: (index: number) => string | undefined;
  /** Why rules that tell of packets are not in the kernel. */
  readonly refused: () => string | undefined;
}

export type FlowLogConfig = Pick<AgentConfig, 'nodeName' | 'flowLog' | 'flowLogGroup' | 'flowLogRatePerSec'>;

export interface FlowLog extends Startable {
  note(update: ModelUpdate): void;
  setEndpoints(endpoints: readonly WorkloadEndpoint[]): void;
  /** What the kernel was told to tell of. */
  setVerdicts(verdicts: FlowLogConfig['flowLog']): void;
  /** Packets of one flow within it are one entry; undefined: the usual 10 s. */
  setWindow(ms: number | undefined): void;
  flows(query: FlowsQuery): Promise<FlowsView>;
  counts(): readonly FlowCountView[];
  status(): FlowLogView;
}

/** What the dataplane is told; nothing when flows are not logged. */
export function flowLogRulesOf({ flowLog, flowLogGroup, flowLogRatePerSec }: FlowLogConfig): {
  readonly flowLog?: FlowLogOptions;
} {
  if (flowLog === 'off') return {};
  return { flowLog: { verdicts: flowLog, group: flowLogGroup, ratePerSec: flowLogRatePerSec } };
}

export function createFlowLog(deps: FlowLogDeps, config: FlowLogConfig): FlowLog {
  const { clock, log, limits, state } = deps;
  const { flowLogGroup: group, flowLogRatePerSec: ratePerSec } = config;
  let verdicts = config.flowLog;
  const isOff = verdicts === 'off';
  const names = createAddressNames();
  let second = { startMs: 0, judged: 0 };
  const mayJudge = (): boolean => {
    const nowMs = clock.nowMs();
    if (nowMs - second.startMs >= 1_000) second = { startMs: nowMs, judged: 0 };
    if (second.judged < JUDGED_PER_SEC_MAX) {
      second.judged++;
      return true;
    }
    limits.hit('staged_flows');
    return false;
  };
  const describing: DescribeDeps = { names, state, mayJudge };
  const ring = createFlowRing(clock, { node: config.nodeName });
  const counts = createFlowCounts({
    isLive: (policy) => state.policies.has(policy),
    onFull: () => limits.hit('flow_series'),
  });
  const waiters = new Set<() => void>();
  let source: { close(): void } | undefined;
  let cancelReopen: (() => void) | undefined;
  let unreadable: string | undefined;
  let lost = 0;

  const take = (packet: LoggedPacket): void => {
    const label = parseFlowPrefix(packet.prefix);
    const headers = label && packetHeaders(packet.packet);
    if (!label || !headers) return;
    const { timeMs, inIndex } = packet;
    const isTime = timeMs !== undefined && timeMs >= 0 && timeMs <= DATE_MS_MAX;
    const describe = (): FlowDescription => {
      const isDrop = label.by.type === 'dataplane';
      const name = isDrop && inIndex > 0 ? deps.interfaceName(inIndex) : undefined;
      return describeFlow(label, headers, name === undefined ? undefined : names.onInterface(name), describing);
    };
    const keep = (how: () => FlowDescription): FlowDescription =>
      ring.add(keyOf(packet.prefix, headers), isTime ? timeMs : deps.wallMs(), how);
    if (label.by.type === 'staged') {
      // Allowed, and nobody asked for allowed flows: of interest where it would not be.
      const flow = describe();
      counts.addStaged(flow.staged?.verdict === 'denied' ? keep(() => flow) : flow);
      return;
    }
    const flow = keep(describe);
    counts.add(flow);
    counts.addStaged(flow);
  };
  const wake = (): void => {
    for (const done of [...waiters]) done();
  };
  const open = (): void => {
    try {
      source = deps.open({
        group,
        onPacket: take,
        onLost: (packets) => {
          lost += packets;
          limits.hit('flow_packets');
        },
        onTurn: wake,
      });
      if (unreadable !== undefined) log.info({ group }, 'flows are read');
      unreadable = undefined;
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      const problem = openProblem(error, group);
      if (problem !== unreadable) log.warn({ group, reason: errorText(error) }, 'flows cannot be read');
      unreadable = problem;
      cancelReopen = clock.schedule(REOPEN_MS, open);
    }
  };
  /** Until something comes behind `after`, or the time is over. */
  const waitFor = (after: number, waitSec: number): Promise<void> => {
    if (waitSec === 0 || ring.newest > after || waiters.size >= WAITERS_MAX) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        waiters.delete(done);
        cancel();
        resolve();
      };
      const cancel = clock.schedule(waitSec * 1000, done);
      waiters.add(done);
    });
  };
  const status = (): FlowLogView => {
    const problem = isOff ? undefined : (unreadable ?? deps.refused());
    return { verdicts, ratePerSec, lost, ...(problem === undefined ? {} : { problem }) };
  };

  return {
    async start() {
      if (!isOff) open();
    },
    async stop() {
      cancelReopen?.();
      source?.close();
      source = undefined;
      wake();
    },
    note(update) {
      if (!isOff) names.note(update);
    },
    setEndpoints(endpoints) {
      if (!isOff) names.setEndpoints(endpoints);
    },
    setVerdicts(now) {
      if (!isOff) verdicts = now;
    },
    setWindow: (ms) => ring.setWindow(ms),
    async flows({ after: asked, limit, waitSec, ...filter }) {
      // Numbers of an earlier agent mean nothing here.
      const after = asked > ring.newest ? 0 : asked;
      await waitFor(after, isOff ? 0 : waitSec);
      return {
        flows: ring.since(after, limit, (flow) => matches(flow, filter)),
        next: ring.newest,
        missed: ring.missedSince(after),
        log: status(),
      };
    },
    counts: counts.list,
    status,
  };
}

function keyOf(prefix: string, { source, destination, protocol, ports, icmp }: PacketHeaders): string {
  return `${prefix} ${source} ${destination} ${protocol} ${ports?.source} ${ports?.destination} ${icmp?.type} ${icmp?.code}`;
}

function matches(
  { verdict, source, destination, staged }: Pick<FlowDescription, 'verdict' | 'source' | 'destination' | 'staged'>,
  wanted: Pick<FlowsQuery, 'verdict' | 'pod' | 'namespace' | 'staged'>,
): boolean {
  const isEnd = (test: (pod: EndpointId) => boolean): boolean =>
    [source.pod, destination.pod].some((pod) => pod !== undefined && test(pod));
  return (
    (wanted.verdict === undefined || wanted.verdict === verdict) &&
    (!wanted.staged || (staged !== undefined && staged.verdict !== verdict)) &&
    (wanted.pod === undefined || isEnd((pod) => pod === wanted.pod)) &&
    (wanted.namespace === undefined || isEnd((pod) => pod.startsWith(`${wanted.namespace}/`)))
  );
}

function openProblem(error: SysError, group: number): string {
  switch (error.failure.code) {
    // The kernel says EPERM of a group that is another socket's, as of a process without the right.
    case 'EBUSY':
    case 'EPERM':
      return `flows are not seen: another program reads NFLOG group ${group} (give the agent one of its own with flowLogGroup), or the agent lacks CAP_NET_ADMIN`;
    default:
      return `flows are not seen: ${errorText(error)}; load the module nfnetlink_log, or set flowLog: off`;
  }
}
