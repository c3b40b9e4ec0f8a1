/**
 * What the cluster has started, on disk: so that another command can act on it, and the next `up` can end what a run left that
 * crashed. A process is known by pid and start time.
 */
import fs from 'node:fs';
import { isAlive, type LabProcess, startTimeOf } from '#lab';
import { readFileIfThere, writeFileDurableSync } from '#sys';
import { ClusterError } from './errors.ts';
import { type ClusterOptions, type NodeName, paths } from './layout.ts';

export interface ClusterState {
  readonly options: ClusterOptions;
  /** Who brought it up: while that process lives, nobody else may take the cluster down by `up`. */
  readonly owner: LabProcess;
  /** Stays up when its owner has ended: a person keeps it. */
  readonly kept: boolean;
  /** Role, as `etcd` or `kubelet node1`, -> process. */
  readonly processes: Readonly<Record<string, LabProcess>>;
  /** Pid 1 of each node, as seen from outside. */
  readonly nodes: Readonly<Partial<Record<NodeName, LabProcess>>>;
}

export function ownProcess(): LabProcess {
  return { role: 'owner', pid: process.pid, startTime: startTimeOf(process.pid) ?? 'gone' };
}

export function readStateIfThere(): ClusterState | undefined {
  const text = readFileIfThere(paths.state);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as ClusterState;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined; // written whole or not at all; whatever this is, `down` goes by names
    throw error;
  }
}

/** @throws ClusterError NOT_UP */
export function readState(): ClusterState {
  const state = readStateIfThere();
  if (state) return state;
  throw new ClusterError('no test cluster is up: `npm run cluster -- up`', { code: 'NOT_UP' });
}

export function updateState(change: (state: ClusterState) => ClusterState): void {
  writeFileDurableSync(paths.state, `${JSON.stringify(change(readState()), null, 1)}\n`);
}

export function newState(state: ClusterState): void {
  fs.mkdirSync(paths.logs, { recursive: true });
  writeFileDurableSync(paths.state, `${JSON.stringify(state, null, 1)}\n`);
}

/** @throws ClusterError ALREADY_UP when somebody still wants the cluster that is there. */
export function refuseIfInUse(): void {
  const state = readStateIfThere();
  if (!state) return;
  const alive = isAlive(state.owner) && state.owner.pid !== process.pid;
  const keptAlive = state.kept && Object.values(state.nodes).some(isAlive);
  if (!alive && !keptAlive) return;
  throw new ClusterError(
    `a test cluster is up already (${alive ? `process ${state.owner.pid} uses it` : 'kept by hand'}): end it with \`npm run cluster -- down\``,
    { code: 'ALREADY_UP', ownerPid: state.owner.pid },
  );
}
