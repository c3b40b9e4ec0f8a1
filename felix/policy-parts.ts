/** Drivers and managers of the policy dataplane, wired: updates of the model -> managers -> what drivers are to write. */
import { type Clock, type IpFamily, type Logger, unreachable } from '#kit';
import type { PolicyUpdate } from '#model';
import {
  type CommandRunner,
  newCounters,
  type SetMemberWriter,
  type TakeLock,
  type WriteCounters,
} from './drivers/command.ts';
import type { FlowTable } from './drivers/flow-table.ts';
import { Ipsets } from './drivers/ipset/ipset.ts';
import type { LifeOf } from './drivers/ipset/kernel-set.ts';
import type { Backend } from './drivers/iptables/backend.ts';
import { CommittingPrograms, type WatchCommits } from './drivers/iptables/commits.ts';
import { IptablesFamily } from './drivers/iptables/iptables.ts';
import { LegacyLock } from './drivers/iptables/lock.ts';
import { FlowCutter, type FlowJudge } from './flow-cutter.ts';
import { DnsManager } from './managers/dns.ts';
import { EndpointsManager } from './managers/endpoints.ts';
import { FlowLogManager } from './managers/flow-log.ts';
import { GuardManager } from './managers/guard.ts';
import { HostEndpointsManager } from './managers/host-endpoints.ts';
import { MasqueradeManager } from './managers/masquerade.ts';
import { PolicyManager } from './managers/policy.ts';
import { baseChains, baseJumps, heldSetId, type Jump, type TableName } from './render/base.ts';
import { type FlowLogOptions, tellOfDrops } from './render/flow-log.ts';
import { hostJumps } from './render/host.ts';
import type { Marks } from './render/marks.ts';
import type { Names } from './render/names.ts';

export interface PartsDeps {
  readonly run: CommandRunner['run'];
  /** Absent: each program of iptables-legacy takes the lock itself, one family after the other. */
  readonly lock?: TakeLock;
  /** Absent: rules of nft are in force when the program ends that writes them. */
  readonly watchCommits?: WatchCommits;
  /** Absent: every change of a set goes through the `ipset` program. */
  readonly members?: SetMemberWriter;
  /** Absent: flows that policy forbids later go on. */
  readonly flows?: { readonly table: FlowTable; readonly judge: FlowJudge };
  /** Of the addresses of names; absent: they have none. */
  readonly lifeOf?: LifeOf;
  readonly log: Logger;
  readonly clock: Clock;
}

export interface PartsOptions {
  readonly backend: Backend;
  readonly marks: Marks;
  readonly names: Names;
  readonly families: readonly IpFamily[];
  /** Of the commands. */
  readonly env: Readonly<Record<string, string>>;
  readonly flowLog: FlowLogOptions | undefined;
  readonly dnsQueue: number | undefined;
}

export interface Parts {
  readonly backend: Backend;
  /** What programs deleted holds no set any more, and no packet is on its way through it. */
  readonly programsEnded: () => Promise<void>;
  readonly tables: readonly IptablesFamily[];
  readonly sets: Ipsets;
  readonly policies: PolicyManager;
  readonly endpoints: EndpointsManager;
  readonly hosts: HostEndpointsManager;
  readonly masquerade: MasqueradeManager;
  readonly guard: GuardManager;
  readonly cutter: FlowCutter | undefined;
  readonly telling: FlowLogManager;
  readonly dns: DnsManager;
  /** What stands there without any policy: again after the kernel was asked whether it logs flows. */
  readonly renderBase: () => void;
}

/** Nothing is read or written yet. */
export function makeParts(
  { run, lock: take, watchCommits, members, flows, lifeOf, log, clock }: PartsDeps,
  options: PartsOptions,
): Parts {
  const { backend, marks, names, families, env } = options;
  const lockFile = env['XTABLES_LOCKFILE'];
  const lock = backend === 'legacy' && take && lockFile !== undefined && new LegacyLock({ take, clock }, lockFile);
  const programs =
    backend === 'nft' && watchCommits ? new CommittingPrograms({ run, watch: watchCommits, clock }) : undefined;
  const tables = families.map(
    (family) =>
      new IptablesFamily(
        { run, log, clock, programs, ...(lock && { lock }) },
        { family, backend, chainPrefix: names.chainPrefix, env },
      ),
  );
  const sets = new Ipsets(
    { run, log, clock, ...(members ? { members } : {}), ...(lifeOf ? { lifeOf } : {}) },
    { names, families, first: heldSetId },
  );
  const telling = new FlowLogManager({ tables, log }, { names, wanted: options.flowLog });
  const flowLog = (family: IpFamily): FlowLogOptions | undefined => telling.of(family);
  const policies = new PolicyManager({ tables, sets, log, flowLog }, { names });
  const endpoints = new EndpointsManager({ tables, sets, policies, flowLog }, { names, marks });
  const masquerade = new MasqueradeManager({ tables, sets }, { names, marks });
  const guard = new GuardManager({ tables, sets, flowLog }, { names });
  const dns = new DnsManager({ tables, log }, { names, marks, queue: options.dnsQueue });
  const cutter = flows && new FlowCutter({ ...flows, clock, log }, { cutMark: marks.cut });
  for (const table of tables) {
    for (const jump of baseJumps(names)) table.desireJump(jump);
  }
  const onShape = (): void => renderBase();
  const hosts = new HostEndpointsManager({ tables, policies, log, flowLog, onShape }, { names, marks });
  /** Of host endpoints some chains and jumps come and go. */
  let chains = new Map<string, { readonly table: TableName; readonly name: string }>();
  let jumps: readonly Jump[] = [];
  const renderBase = (): void => {
    const before = { chains, jumps };
    chains = new Map();
    jumps = hosts.shape ? hostJumps(names, hosts.shape) : [];
    for (const driver of tables) {
      const { family } = driver;
      for (const { table, name, rules } of baseChains({ names, marks, family, dns: dns.of(family) }, hosts.shape)) {
        const told = tellOfDrops(rules, names, flowLog(family));
        for (const [each, itsRules] of [[name, told.rules] as const, ...told.chains]) {
          driver.desireChain(table, each, itsRules);
          chains.set(`${table} ${each}`, { table, name: each });
        }
      }
      for (const jump of before.jumps) driver.undesireJump(jump);
      for (const jump of jumps) driver.desireJump(jump);
    }
    for (const [key, { table, name }] of before.chains)
      if (!chains.has(key)) for (const driver of tables) driver.undesireChain(table, name);
    guard.render();
  };
  renderBase();
  const programsEnded = async (): Promise<void> => programs?.ended();
  return {
    backend,
    programsEnded,
    tables,
    sets,
    policies,
    endpoints,
    hosts,
    masquerade,
    guard,
    cutter,
    telling,
    dns,
    renderBase,
  };
}

/** In steps: a set may have 100,000 members. */
export function* applyUpdate({ policies, endpoints, hosts, dns }: Parts, update: PolicyUpdate): Generator<void> {
  switch (update.type) {
    case 'set':
    case 'setDelta':
    case 'setRemove':
      if (update.type === 'setRemove' || (update.type === 'set' && update.domains)) dns.setsChanged();
      yield* policies.updateSet(update);
      return;
    case 'policy':
      // A staged one decides nothing: no chain of an endpoint ever names it.
      if (!update.staged) policies.updatePolicy(update.id, update.program);
      return;
    case 'policyRemove':
      policies.updatePolicy(update.id, undefined);
      return;
    case 'endpoint':
      if (update.program.host) hosts.updateProgram(update.id, update.program);
      else endpoints.updateProgram(update.id, update.program);
      return;
    case 'endpointRemove':
      hosts.updateProgram(update.id, undefined);
      endpoints.updateProgram(update.id, undefined);
      return;
    default:
      unreachable(update);
  }
}

/** Of both families. */
export function tableCounters(parts: Parts | undefined): WriteCounters {
  const sum = newCounters();
  for (const { counters } of parts?.tables ?? []) {
    sum.restoreCalls += counters.restoreCalls;
    sum.restoreLines += counters.restoreLines;
    sum.saveCalls += counters.saveCalls;
  }
  return sum;
}

export function restoreCalls(parts: Parts): number {
  return tableCounters(parts).restoreCalls + parts.sets.counters.restoreCalls;
}
