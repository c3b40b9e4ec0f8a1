/**
 * An installation from nothing, and nodes that boot: whatever comes first, all is well in the end. The agent waits for nobody but the API server,
 * and nobody but pods waits for the agent.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { agentPods, agentStatus, agentsReady, conflistOf, daemonSetPath } from '../support/cluster/agents.ts';
import { apiServerReady, type KubeObject } from '../support/cluster/api.ts';
import { type Cluster, down, nodeReadiness, nodesReady, rebootNode, up } from '../support/cluster/cluster.ts';
import { containerdReady } from '../support/cluster/containerd.ts';
import { corednsObjects } from '../support/cluster/coredns.ts';
import { manifestHook, setAgentOptions } from '../support/cluster/hooks.ts';
import { applyObjects, execInPod, kubectl } from '../support/cluster/kubectl.ts';
import { dnsAddress, type NodeName, nodeNames, serviceHosts } from '../support/cluster/layout.ts';
import { clusterNeeds } from '../support/cluster/needs.ts';
import { execOnNode, nodePath } from '../support/cluster/node.ts';
import { type NodePartName, startPart, stopPart } from '../support/cluster/parts.ts';
import { createNamespace, createPod, listPods, type Pod } from '../support/cluster/pods.ts';
import { allReach, serverPod } from '../support/cluster/reach.ts';
import { until } from '../support/wait.ts';

const namespace = 'boot';
const deadlineMs = 180_000;

async function startOnBoth(part: NodePartName): Promise<void> {
  for (const node of nodeNames) await startPart(`${part} ${node}`);
}

/** Power cut of both nodes; containerd runs again, and nothing else of theirs. */
async function rebootBoth(): Promise<void> {
  await Promise.all(nodeNames.map(rebootNode));
  await startOnBoth('containerd');
  await Promise.all(nodeNames.map(containerdReady));
}

/** kube-proxy has written its rules. */
async function servicesWork(node: NodeName): Promise<void> {
  await until(
    async () => /-A KUBE-SERVICES .*10\.96\.0\.1\/32/.test((await execOnNode(node, ['iptables-save'])).stdout),
    { what: `kube-proxy's rules on ${node}`, deadlineMs, intervalMs: 200 },
  );
}

async function kubeletRuns(node: NodeName): Promise<void> {
  await until(
    async () => (await execOnNode(node, ['curl', '-sf', '-m', '2', 'http://127.0.0.1:10248/healthz'])).stdout === 'ok',
    { what: `the kubelet of ${node}`, deadlineMs, intervalMs: 200 },
  );
}

/** The API server's own. */
async function servicesAnswer(pod: { readonly namespace: string; readonly name: string }): Promise<boolean> {
  const { code, stderr } = await execInPod(pod, ['curl', '-ksS', '-m', '3', `https://${serviceHosts[0]}/version`]);
  if (code !== 0) throw new Error(stderr);
  return true;
}

suite('boot', clusterNeeds(), () => {
  let cluster: Cluster;
  const servers = (): Promise<readonly Pod[]> => listPods(cluster, namespace);

  before(async () => {
    cluster = await up();
  });
  after(async () => {
    cluster?.api.close();
    await down();
  });

  /** By what nodes themselves answer: the API server's news may be of before a reboot. */
  async function podsReachEachOther(): Promise<void> {
    await agentsReady(nodeNames, deadlineMs);
    await allReach(servers, { deadlineMs });
  }

  async function everythingWorks(): Promise<void> {
    await podsReachEachOther();
    await nodesReady(cluster, deadlineMs);
    const daemonSet = async (): Promise<boolean> => {
      const { status } = await cluster.api.get<KubeObject & { status: { numberReady: number } }>(daemonSetPath);
      return status.numberReady === nodeNames.length;
    };
    await until(daemonSet, { what: 'every pod of the DaemonSet to be ready', deadlineMs, intervalMs: 200 });
    for (const node of nodeNames)
      await until(() => servicesAnswer({ namespace, name: `server-${node}` }), {
        what: `services to answer a pod on ${node}`,
        deadlineMs,
        intervalMs: 300,
      });
  }

  async function clusterDnsAnswers(): Promise<void> {
    for (const node of nodeNames) {
      const question = [
        'dig',
        '+short',
        '+time=2',
        '+tries=1',
        `@${dnsAddress(4)}`,
        'kubernetes.default.svc.cluster.local',
      ];
      await until(
        async () =>
          (await execInPod({ namespace, name: `server-${node}` }, question)).stdout.trim() === serviceHosts[0],
        { what: `cluster DNS to answer a pod on ${node}`, deadlineMs, intervalMs: 300 },
      );
    }
  }

  test('with no CNI configuration nodes stay NotReady, and pods wait', async () => {
    for (const node of nodeNames) await stopPart(`kube-proxy ${node}`);
    for (const node of nodeNames)
      await execOnNode(node, ['sh', '-c', 'iptables -F; iptables -t nat -F; iptables -X; iptables -t nat -X']);
    for (const node of nodeNames) assert.deepEqual(fs.readdirSync(nodePath(node, '/opt/cni/bin')), []);
    await createNamespace(cluster, namespace);
    await applyObjects(corednsObjects(cluster.options.family));
    for (const node of nodeNames) {
      const pod = serverPod({ namespace, name: `server-${node}`, node });
      await createPod(cluster, { ...pod, spec: { tolerations: [{ operator: 'Exists' }] } });
    }
    await until(async () => (await kubectl(['describe', 'nodes'])).match(/cni plugin not initialized/g)?.length === 2, {
      what: 'both kubelets to say what they wait for',
      deadlineMs,
      intervalMs: 500,
    });
    for (const { status } of await listPods(cluster, namespace)) assert.equal(status.phase, 'Pending');
    assert.deepEqual([...(await nodeReadiness(cluster)).values()], [false, false]);
    const dns = await until(
      async () => {
        const pods = await listPods(cluster, 'kube-system');
        return pods.length > 0 && pods;
      },
      { what: 'the pod of CoreDNS to be made', deadlineMs },
    );
    assert.deepEqual(
      dns.map(({ status }) => status.phase),
      ['Pending'],
    );
  });

  test('installed where pods and cluster DNS wait and no kube-proxy runs: nodes are Ready, pods reach each other', async () => {
    await manifestHook().install(cluster);
    await nodesReady(cluster, deadlineMs);
    await podsReachEachOther();
    for (const node of nodeNames) {
      assert.ok(conflistOf(node));
      assert.doesNotMatch((await execOnNode(node, ['iptables-save'])).stdout, /KUBE-SERVICES/);
    }
  });

  test('kube-proxy after the agent: services work, cluster DNS among them', async () => {
    await startOnBoth('kube-proxy');
    await everythingWorks();
    await clusterDnsAnswers();
  });

  test('nodes reboot, the agent starts before kube-proxy', async () => {
    await rebootBoth();
    await startOnBoth('kubelet');
    await podsReachEachOther();
    await startOnBoth('kube-proxy');
    // Not cluster DNS, which dials the API server for half a minute before it tries again: with the next boot.
    await everythingWorks();
  });

  test('nodes reboot, kube-proxy starts before the agent', async () => {
    await rebootBoth();
    await startOnBoth('kube-proxy');
    await Promise.all(nodeNames.map(servicesWork));
    await startOnBoth('kubelet');
    await everythingWorks();
    await clusterDnsAnswers();
  });

  test('nodes reboot while the API server is away, which comes last', async () => {
    await stopPart('apiserver', 'hard');
    await rebootBoth();
    await startOnBoth('kubelet');
    await startOnBoth('kube-proxy');
    await Promise.all(nodeNames.map(kubeletRuns));
    await startPart('apiserver');
    await apiServerReady(cluster.api);
    await everythingWorks();
    await clusterDnsAnswers();
  });

  test('an agent that is given no address of the API server waits for kube-proxy, which waits for nobody', async () => {
    await setAgentOptions(cluster, { kubeApiServer: '' });
    await rebootBoth();
    await startOnBoth('kubelet');
    for (const node of nodeNames)
      await until(
        async () => {
          const { datastore } = await agentStatus(node);
          return datastore.location.includes('10.96.0.1') && !datastore.inSync;
        },
        { what: `the agent of ${node} to wait for the API server`, deadlineMs, intervalMs: 200 },
      );
    await startOnBoth('kube-proxy');
    await everythingWorks();
    await clusterDnsAnswers();
    assert.equal((await agentPods(cluster)).length, nodeNames.length);
  });
});
