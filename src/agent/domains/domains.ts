/**
 * Domain names in egress rules: answers that pods get from trusted servers, held by the kernel until their addresses are in the sets of the names.
 *
 *   answer --rule, queue--> message -> facts -> DomainSets -> ipsets (netlink, at once) -> the answer goes on to the pod
 *
 * So the pod's first packet finds its address allowed. While no agent runs answers pass unseen, and what was learnt counts until its time is over.
 */
import type { AgentConfig } from '#config';
import { type Clock, errorText, type Logger, type Startable } from '#kit';
import type { Limits } from '#obs';
import { type PacketQueueOptions, SysError } from '#sys';
import { AnswerPackets } from './answer-packets.ts';
import { decodeDnsAnswer } from './dns-message.ts';
import { DomainSets, type DomainSetsDeps, type DomainTimes } from './domain-sets.ts';
import { factsOf } from './facts.ts';
import { PastAddresses, type PastDeps } from './past.ts';

/** Another reader of the queue may go away. */
const REOPEN_MS = 30_000;

export interface DomainsDeps extends Omit<DomainSetsDeps, 'onFull' | 'past'> {
  /** Where it is kept which addresses names had. */
  readonly file: PastDeps['file'];
  readonly open: (options: PacketQueueOptions) => { close(): void };
  readonly log: Logger;
  readonly clock: Clock;
  readonly limits: Limits;
  /** Asked of each answer. */
  readonly times: () => DomainTimes;
  /** Why rules that hold answers are not in the kernel. */
  readonly refused: () => string | undefined;
}

export interface Domains extends Startable {
  readonly sets: DomainSets;
  /** Why names match nothing. */
  problem(): string | undefined;
}

export function createDomains(deps: DomainsDeps, { dnsQueue: queue }: Pick<AgentConfig, 'dnsQueue'>): Domains {
  const { clock, log, limits } = deps;
  const past = new PastAddresses({ clock, file: deps.file });
  const sets = new DomainSets({ ...deps, past, onFull: () => limits.hit('domain_addresses') });
  const packets = new AnswerPackets();
  let source: { close(): void } | undefined;
  let cancelReopen: (() => void) | undefined;
  let unreadable: string | undefined;

  const take = (packet: Uint8Array): void => {
    if (!sets.isWanted) return;
    for (const { bytes, partial } of packets.messages(packet)) {
      const answer = decodeDnsAnswer(bytes, { partial });
      if (answer) sets.learn(factsOf(answer), deps.times());
    }
  };
  const open = (): void => {
    try {
      source = deps.open({ queue, onPacket: take, onLost: () => limits.hit('dns_answers') });
      if (unreadable !== undefined) log.info({ queue }, 'DNS answers are read');
      unreadable = undefined;
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      const problem = openProblem(error, queue);
      if (problem !== unreadable) log.warn({ queue, reason: errorText(error) }, 'DNS answers cannot be read');
      unreadable = problem;
      cancelReopen = clock.schedule(REOPEN_MS, open);
    }
  };
  return {
    sets,
    problem: () => (sets.isWanted ? (unreadable ?? deps.refused()) : undefined),
    async start() {
      open();
    },
    async stop() {
      cancelReopen?.();
      source?.close();
      source = undefined;
      sets.stop();
      past.save();
    },
  };
}

function openProblem(error: SysError, queue: number): string {
  switch (error.failure.code) {
    case 'EBUSY':
    case 'EPERM':
      return `domain names match nothing new: another program reads NFQUEUE ${queue} (give the agent one of its own with dnsQueue), or the agent lacks CAP_NET_ADMIN`;
    default:
      return `domain names match nothing new: ${errorText(error)}; load the module nfnetlink_queue`;
  }
}
