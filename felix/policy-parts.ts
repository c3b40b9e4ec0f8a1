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
import type { Backend } from './drivers/iptables/backend.ts';
import { IptablesFamily } from './drivers/iptables/iptables.ts';
import { LegacyLock } from './drivers/iptables/lock.ts';
import { FlowCutter, type FlowJudge } from './flow-cutter.ts';
import { EndpointsManager } from './managers/endpoints.ts';
import { FlowLogManager } from './managers/flow-log.ts';
import { GuardManager } from './managers/guard.ts';
import { MasqueradeManager } from './managers/masquerade.ts';
import { PolicyManager } from './managers/policy.ts';
import { baseChains, baseJumps, heldSetId } from './render/base.ts';
import { type FlowLogOptions, tellOfDrops } from './render/flow-log.ts';
import type { Marks } from './render/marks.ts';
import type { Names } from './render/names.ts';

export interface PartsDeps {
  readonly run: CommandRunner['run'];
  /** Absent: each program of iptables-legacy takes the lock itself, one family after the other. */
  readonly lock?: TakeLock;
  /** Absent: every change of a set goes through the `ipset` program. */
  readonly members?: SetMemberWriter;
  /** Absent: flows that policy forbids later go on. */
  readonly flows?: { readonly table: FlowTable; readonly judge: FlowJudge };
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
}

export interface Parts {
  readonly backend: Backend;
  readonly tables: readonly IptablesFamily[];
  readonly sets: Ipsets;
  readonly policies: PolicyManager;
  readonly endpoints: EndpointsManager;
  readonly masquerade: MasqueradeManager;
  readonly guard: GuardManager;
  readonly cutter: FlowCutter | undefined;
  readonly telling: FlowLogManager;
  /** What stands there without any policy: again after the kernel was asked whether it logs flows. */
  readonly renderBase: () => void;
}

/** Nothing is read or written yet. */
export function makeParts({ run, lock: take, members, flows, log, clock }: PartsDeps, options: PartsOptions): Parts {
  const { backend, marks, names, families, env } = options;
  const lockFile = env['XTABLES_LOCKFILE'];
  const lock = backend === 'legacy' && take && lockFile !== undefined && new LegacyLock({ take, clock }, lockFile);
  const tables = families.map(
    (family) =>
      new IptablesFamily(
        { run, log, clock, ...(lock && { lock }) },
        { family, backend, chainPrefix: names.chainPrefix, env },
      ),
  );
  const sets = new Ipsets({ run, log, clock, ...(members ? { members } : {}) }, { names, families, first: heldSetId });
  const telling = new FlowLogManager({ tables, log }, { names, wanted: options.flowLog });
  const flowLog = (family: IpFamily): FlowLogOptions | undefined => telling.of(family);
  const policies = new PolicyManager({ tables, sets, log, flowLog }, { names });
  const endpoints = new EndpointsManager({ tables, sets, policies, flowLog }, { names, marks });
  const masquerade = new MasqueradeManager({ tables, sets }, { names, marks });
  const guard = new GuardManager({ tables, sets, flowLog }, { names });
  const cutter = flows && new FlowCutter({ ...flows, clock, log }, { cutMark: marks.cut });
  for (const table of tables) {
    for (const jump of baseJumps(names)) table.desireJump(jump);
  }
  const renderBase = (): void => {
    for (const table of tables) {
      for (const chain of baseChains({ names, marks, family: table.family })) {
        const { rules, chains } = tellOfDrops(chain.rules, names, flowLog(table.family));
        table.desireChain(chain.table, chain.name, rules);
        for (const [name, below] of chains) table.desireChain(chain.table, name, below);
      }
    }
    guard.render();
  };
  renderBase();
  return { backend, tables, sets, policies, endpoints, masquerade, guard, cutter, telling, renderBase };
}

export function applyUpdate({ policies, endpoints }: Parts, update: PolicyUpdate): void {
  switch (update.type) {
    case 'set':
    case 'setDelta':
    case 'setRemove':
      policies.updateSet(update);
      return;
    case 'policy':
      policies.updatePolicy(update.id, update.program);
      return;
    case 'policyRemove':
      policies.updatePolicy(update.id, undefined);
      return;
    case 'endpoint':
      endpoints.updateProgram(update.id, update.program);
      return;
    case 'endpointRemove':
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
