/** Start: from exec to in sync and programmed, against an API server that holds a whole cluster. */
import { installPoplin } from '../../support/kube/agent.ts';
import { startApiServer } from '../../support/kube/api-server.ts';
import { type ClusterSize, fillCluster } from '../../support/kube/scale.ts';
import { until } from '../../support/wait.ts';
import { benchNode, type Cost, costOf, round, type Undo } from './agent.ts';

/** Pods of the node whose agent is measured: their chains must be in the kernel. */
const LOCAL_PODS = 30;

export interface StartResult extends Cost {
  readonly size: ClusterSize;
  /** Wall time, on a machine that the API server shares. */
  readonly wallSec: number;
  readonly endpoints: number;
}

export async function measureStart(undo: Undo, size: ClusterSize, say: (line: string) => void): Promise<StartResult> {
  const server = await startApiServer(undo);
  await installPoplin(server);
  await fillCluster(server, size, say);
  for (let i = 0; i < LOCAL_PODS; i++) {
    await server.objects.create({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: `local-${i}`, namespace: `ns-${i}`, labels: { app: `a${i % 10}`, tier: 'front' } },
      spec: {
        nodeName: 'n1',
        containers: [{ name: 'c', image: 'example/c', ports: [{ name: 'http', containerPort: 8080 }] }],
      },
    });
  }
  const { agent: node } = await benchNode(undo, server);
  const started = performance.now();
  node.start();
  const status = await until(
    async () => {
      const now = await node.status();
      return now.ready.ok && now.policy.pending === 0 && now;
    },
    { what: `the agent to be in sync; its log ends: ${node.log.slice(-600)}`, deadlineMs: 120_000, intervalMs: 50 },
  );
  const wallSec = round((performance.now() - started) / 1000);
  const result = { size, wallSec, endpoints: LOCAL_PODS, ...costOf(node.pid) };
  say(`in sync after ${wallSec} s: ${JSON.stringify(status.datastore.objects)}`);
  await node.kill();
  await server.stop();
  return result;
}
