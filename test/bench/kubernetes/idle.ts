/** What an agent costs that has nothing to do: a small cluster, nothing changes. */
import { setTimeout as sleep } from 'node:timers/promises';
import { installPoplin } from '../../support/kube/agent.ts';
import { startApiServer } from '../../support/kube/api-server.ts';
import { fillCluster } from '../../support/kube/scale.ts';
import { benchNode, costOf, round, type Undo } from './agent.ts';

/** Behind the start: its last writes, and V8's first tidying up. */
const SETTLE_SEC = 30;
const MEASURE_SEC = 120;

export interface IdleResult {
  readonly percentOfCore: number;
  readonly rssMb: number;
}

export async function measureIdle(undo: Undo, say: (line: string) => void): Promise<IdleResult> {
  const server = await startApiServer(undo);
  await installPoplin(server);
  await fillCluster(server, { pods: 500, policies: 50, nodes: 20 }, say);
  const { agent } = await benchNode(undo, server);
  agent.start();
  await agent.untilReady(60_000);
  await sleep(SETTLE_SEC * 1000);
  const before = costOf(agent.pid);
  await sleep(MEASURE_SEC * 1000);
  const after = costOf(agent.pid);
  return { percentOfCore: round(((after.cpuSec - before.cpuSec) / MEASURE_SEC) * 100), rssMb: after.rssMb };
}
