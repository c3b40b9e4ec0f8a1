/**
 * The API server away for a while, then back, with ten agents of a cluster of 2,000 pods: how soon all follow it again, and what they ask it
 * for meanwhile, second by second.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { installPoplin, kubeNode } from '../../support/kube/agent.ts';
import { type ApiServer, startApiServer } from '../../support/kube/api-server.ts';
import { fillCluster } from '../../support/kube/scale.ts';
import type { LoneAgent } from '../../support/lone-agent.ts';
import { until } from '../../support/wait.ts';
import { bundledProgram, round, type Undo } from './agent.ts';

const AGENTS = 10;
const WATCH_SEC = 15;

export interface OutageResult {
  readonly awaySec: number;
  readonly agents: number;
  /** From the server's being ready until the last agent followed every kind. */
  readonly inSyncSec: number;
  /** Of the agents, in each second from then on. */
  readonly requestsPerSec: readonly number[];
  /** Of these, lists: each is the whole of a kind. */
  readonly lists: number;
}

export async function measureOutage(undo: Undo, awaySec: number, say: (line: string) => void): Promise<OutageResult> {
  const server = await startApiServer(undo);
  await installPoplin(server);
  await fillCluster(server, { pods: 2_000, policies: 200, nodes: 50 }, say);
  const program = await bundledProgram();
  const agents: LoneAgent[] = [];
  for (let i = 1; i <= AGENTS; i++) {
    const podCIDRs = [`10.42.${i}.0/24`, `fd00:42:${i}::/64`];
    const { agent } = await kubeNode(undo, server, { name: `n${i}`, podCIDRs, program });
    agent.start();
    agents.push(agent);
  }
  await Promise.all(agents.map((agent) => agent.untilReady(120_000)));
  say(`${AGENTS} agents are ready; the API server goes for ${awaySec} s`);
  await server.down();
  await sleep(awaySec * 1000);
  await server.up();
  const back = performance.now();
  const counts: Promise<Counted> = count(server);
  const following = async (): Promise<boolean> => {
    const states = await Promise.all(agents.map((agent) => agent.api.datastore()));
    return states.every(({ kinds = {} }) => Object.values(kinds).every((kind) => kind.state === 'synced'));
  };
  await until(following, { what: 'every agent to follow every kind', deadlineMs: 120_000, intervalMs: 100 });
  const inSyncSec = round((performance.now() - back) / 1000);
  return { awaySec, agents: AGENTS, inSyncSec, ...(await counts) };
}

type Counted = Pick<OutageResult, 'requestsPerSec' | 'lists'>;

async function count(server: ApiServer): Promise<Counted> {
  const total = async (): Promise<{ requests: number; lists: number }> => {
    const text = String((await server.request({ path: '/metrics' })).body);
    let requests = 0;
    let lists = 0;
    for (const [, labels, value] of text.matchAll(/^apiserver_request_total\{([^}]*)\} (\S+)$/gm)) {
      // The measuring itself.
      if (labels!.includes('subresource="/metrics"')) continue;
      requests += Number(value);
      if (labels!.includes('verb="LIST"')) lists += Number(value);
    }
    return { requests, lists };
  };
  const first = await total();
  let before = first;
  const requestsPerSec: number[] = [];
  for (let i = 0; i < WATCH_SEC; i++) {
    await sleep(1000);
    const now = await total();
    requestsPerSec.push(now.requests - before.requests);
    before = now;
  }
  return { requestsPerSec, lists: before.lists - first.lists };
}
