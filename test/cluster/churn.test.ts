/**
 * Pods that come and go while agents are killed or away: in the end a node has the addresses and interfaces of the pods that run there, and
 * nothing else.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, suite, test } from 'node:test';
import {
  agentStatus,
  agentsReady,
  allocationsAreThoseOf,
  attachmentsFolder,
  conflistOf,
  keepAgentOff,
  killAgent,
  leftOnNode,
  letAgentBack,
} from '../support/cluster/agents.ts';
import type { KubeObject } from '../support/cluster/api.ts';
import { type Cluster, down, nodeReadiness, nodesReady, rolloutDone, up } from '../support/cluster/cluster.ts';
import { agentNamespace, manifestHook, setAgentOptions } from '../support/cluster/hooks.ts';
import { applyObjects, kubectl } from '../support/cluster/kubectl.ts';
import { type NodeName, nodeNames } from '../support/cluster/layout.ts';
import { clusterNeeds } from '../support/cluster/needs.ts';
import { nodePath } from '../support/cluster/node.ts';
import {
  createNamespace,
  createPod,
  listPods,
  type Pod,
  podObject,
  podReady,
  runPods,
} from '../support/cluster/pods.ts';
import { allReach, serverPod, unreachable } from '../support/cluster/reach.ts';
import { until } from '../support/wait.ts';

const namespace = 'churn';
const deadlineMs = 240_000;
const replicasMax = 32;
const killsPerRound = 2;
const deploymentPath = `/apis/apps/v1/namespaces/${namespace}/deployments/churn`;

function deployment(): object {
  const labels = { app: 'churn' };
  const { spec } = podObject(serverPod({ namespace, name: 'churn' })) as { readonly spec: object };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'churn', namespace },
    spec: { replicas: 0, selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
  };
}

suite('pods come and go', clusterNeeds(), () => {
  let cluster: Cluster;

  before(async () => {
    cluster = await up({ agent: manifestHook(), dns: false });
    await createNamespace(cluster, namespace);
    await applyObjects([deployment()]);
  });
  after(async () => {
    cluster?.api.close();
    await down();
  });

  const pods = (): Promise<readonly Pod[]> => listPods(cluster, namespace);

  async function scaledTo(replicas: number): Promise<boolean> {
    const { status } = await cluster.api.get<KubeObject & { status: { availableReplicas?: number } }>(deploymentPath);
    return (status.availableReplicas ?? 0) === replicas && (await pods()).length === replicas;
  }

  /** Kills the agent of a node as soon as it has an ADD or a DEL at work. @returns whether it did so before `isOver` */
  async function killAtWork(node: NodeName, isOver: () => boolean): Promise<boolean> {
    await until(async () => isOver() || (await agentStatus(node).catch(() => undefined)), {
      what: `the agent of ${node} to answer`,
      deadlineMs,
    });
    const folder = nodePath(node, attachmentsFolder);
    const count = (): number => fs.readdirSync(folder).filter((name) => name.endsWith('.json')).length;
    const before = count();
    await until(() => isOver() || count() < before || fs.readdirSync(folder).some((name) => name.endsWith('.intent')), {
      what: `a pod to come or go on ${node}`,
      deadlineMs,
      intervalMs: 1,
    });
    if (isOver()) return false;
    await killAgent(cluster, node);
    return true;
  }

  test('agents killed at work, again and again: no address and no interface is left over, every pod is reachable', async () => {
    const kills = { node1: 0, node2: 0 };
    for (const replicas of [replicasMax, 4, replicasMax, 12]) {
      let over = false;
      await cluster.api.patch(deploymentPath, { spec: { replicas } });
      const killers = nodeNames.map(async (node) => {
        for (let i = 0; i < killsPerRound; i++) if (await killAtWork(node, () => over)) kills[node]++;
      });
      await until(() => scaledTo(replicas), { what: `${replicas} pods, all ready`, deadlineMs, intervalMs: 300 });
      over = true;
      await Promise.all(killers);
    }
    for (const node of nodeNames) assert.ok(kills[node] >= killsPerRound, `${node}: killed ${kills[node]} times`);
    await agentsReady(nodeNames, deadlineMs);
    await allocationsAreThoseOf(pods, deadlineMs);
    const all = await pods();
    const askers = nodeNames.map((node) => all.find(({ spec }) => spec.nodeName === node)!);
    // Routes to the other node come with its session, which stands again a moment after its agent is ready.
    let lines: readonly string[] = [];
    const reached = async (): Promise<boolean> => {
      lines = await unreachable(askers, all);
      return lines.length === 0;
    };
    await until(reached, { what: () => `every pod to be reached: ${lines.join('\n')}`, deadlineMs });

    await cluster.api.patch(deploymentPath, { spec: { replicas: 0 } });
    await until(() => scaledTo(0), { what: 'all pods to be gone', deadlineMs, intervalMs: 300 });
    await allocationsAreThoseOf(async () => [], deadlineMs);
  });

  const names = ['one', 'two', 'three'];

  test('with the agent away pods are deleted, and what is theirs is freed when it is back; a new pod waits for it', async () => {
    const going = await runPods(
      cluster,
      names.map((name) => serverPod({ namespace, name, node: 'node1' })),
    );
    const conflist = conflistOf('node1');
    await keepAgentOff(cluster, 'node1', deadlineMs);
    for (const name of names) await cluster.api.delete(`/api/v1/namespaces/${namespace}/pods/${name}`);
    await until(async () => (await pods()).length === 0, {
      what: 'the kubelet to have ended the pods without an agent',
      deadlineMs,
      intervalMs: 200,
    });
    const left = await until(
      async () => {
        const now = await leftOnNode('node1');
        const isQueued = (id: string): boolean => now.queuedDels.includes(`${id}@eth0`);
        return now.containers.length === names.length && now.containers.every(isQueued) && now;
      },
      { what: 'the DELs of the pods to be queued', deadlineMs, intervalMs: 200 },
    );
    assert.deepEqual(
      [...left.addresses].sort(),
      going.flatMap(({ status }) => status.podIPs!.map(({ ip }) => ip)).sort(),
      'nobody else gets them meanwhile',
    );
    assert.deepEqual(conflistOf('node1'), conflist);
    await createPod(cluster, serverPod({ namespace, name: 'waits', node: 'node1' }));
    await until(
      async () => /poplin agent is not reachable; try again/.test(await kubectl(['get', 'events', '-n', namespace])),
      {
        what: 'an Event that says what the pod waits for',
        deadlineMs,
        intervalMs: 500,
      },
    );
    await letAgentBack(cluster, deadlineMs);
    await podReady(cluster, { namespace, name: 'waits' }, deadlineMs);
    await allocationsAreThoseOf(pods, deadlineMs);
  });

  test('CNI 1.1.0: the runtime asks for the agent, and its node is NotReady while that is away', async () => {
    await setAgentOptions(cluster, { cniVersion: '1.1.0' });
    await kubectl(['rollout', 'restart', '-n', agentNamespace, 'daemonset/poplin']);
    await rolloutDone(agentNamespace, 'daemonset/poplin', deadlineMs);
    await agentsReady(nodeNames, deadlineMs);
    for (const node of nodeNames) assert.match(conflistOf(node)!.text, /"cniVersion": "1\.1\.0"/);
    await nodesReady(cluster, deadlineMs);
    await keepAgentOff(cluster, 'node1', deadlineMs);
    await until(async () => (await nodeReadiness(cluster)).get('node1') === false, {
      what: 'node1 to be NotReady',
      deadlineMs,
      intervalMs: 300,
    });
    // The first reason may be that the agent is stopping.
    await until(
      async () => /poplin agent is not running: no pod can be added/.test(await kubectl(['describe', 'node', 'node1'])),
      { what: 'the reason to be that no agent runs', deadlineMs, intervalMs: 500 },
    );
    await cluster.api.delete(`/api/v1/namespaces/${namespace}/pods/waits`);
    await until(async () => (await pods()).length === 0, { what: 'the pod to be gone', deadlineMs, intervalMs: 200 });
    await letAgentBack(cluster, deadlineMs);
    await nodesReady(cluster, deadlineMs);
    await runPods(
      cluster,
      nodeNames.map((node) => serverPod({ namespace, name: `after-${node}`, node })),
    );
    await allReach(pods, { deadlineMs });
    await allocationsAreThoseOf(pods, deadlineMs);
  });
});
