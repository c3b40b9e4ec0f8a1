/** The agents' pods on the nodes of a cluster: their processes, what they say of themselves, and what they have left on a node. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { type AgentStatus, createApiClient } from '#api';
import { readAttachments } from '#cni';
import { readFileIfThere } from '#sys';
import { until } from '../wait.ts';
import { type Cluster, rolloutDone } from './cluster.ts';
import { agentNamespace, agentSelector } from './hooks.ts';
import { type NodeName, nodeNames } from './layout.ts';
import { execOnNode, nodePath } from './node.ts';
import { listPods, type Pod, podProcess } from './pods.ts';

const readyDeadlineMs = 120_000;
export const daemonSetPath = `/apis/apps/v1/namespaces/${agentNamespace}/daemonsets/poplin`;
/** Where the manifest has them. */
const conflistFile = '/etc/cni/net.d/10-poplin.conflist';
export const attachmentsFolder = '/var/lib/poplin/attachments';
const queueFolder = '/var/lib/poplin/cni-queue';
const podInterface = /^pop[0-9a-f]{11}$/;

/** Pods of the agent that are not on their way out, of one node or of all. */
export async function agentPods(cluster: Cluster, node?: NodeName): Promise<readonly Pod[]> {
  const pods = await listPods(cluster, agentNamespace, agentSelector);
  return pods.filter(
    ({ metadata, spec }) => !metadata.deletionTimestamp && (node === undefined || spec.nodeName === node),
  );
}

/** What the agent of a node answers now, without the API server. @throws ApiClientError when none answers. */
export function agentStatus(node: NodeName): Promise<AgentStatus> {
  return createApiClient({ socketPath: nodePath(node, '/run/poplin/api.sock') }).status();
}

/** Waits until the agents answer that they are ready: fresh news, where the API server's may be of before a reboot. */
export async function agentsReady(nodes: readonly NodeName[] = nodeNames, deadlineMs = readyDeadlineMs): Promise<void> {
  for (const node of nodes)
    await until(
      async () => {
        const { ready } = await agentStatus(node);
        if (!ready.ok) throw new Error(ready.reasons.join('; '));
        return true;
      },
      { what: `the agent of ${node} to be ready`, deadlineMs, intervalMs: 100 },
    );
}

/** Kills the agent's process as the kernel does when memory runs out; its pod stays, and the kubelet starts it again. */
export async function killAgent(cluster: Cluster, node: NodeName): Promise<number> {
  const pid = await until(
    async () => {
      const [pod] = await agentPods(cluster, node);
      return pod && podProcess(pod, 'agent');
    },
    { what: `a process of the agent on ${node}`, deadlineMs: readyDeadlineMs, intervalMs: 50 },
  );
  process.kill(pid, 'SIGKILL');
  return pid;
}

/** Ends the agent of a node, by a node selector: no other comes until `letAgentBack`. */
export async function keepAgentOff(cluster: Cluster, node: NodeName, deadlineMs = readyDeadlineMs): Promise<void> {
  const other = nodeNames.find((name) => name !== node)!;
  await selectNodes(cluster, other);
  await until(async () => (await agentPods(cluster, node)).length === 0, {
    what: `the agent's pod on ${node} to be gone`,
    deadlineMs,
    intervalMs: 200,
  });
  const gone = (): Promise<boolean> =>
    agentStatus(node).then(
      () => false,
      () => true,
    );
  await until(gone, { what: `the agent of ${node} to have ended`, deadlineMs, intervalMs: 200 });
  await agentsReady([other], deadlineMs);
}

export async function letAgentBack(cluster: Cluster, deadlineMs = readyDeadlineMs): Promise<void> {
  await selectNodes(cluster, null);
  await until(async () => (await agentPods(cluster)).length === nodeNames.length, {
    what: "every agent's pod to be there",
    deadlineMs,
    intervalMs: 200,
  });
  await rolloutDone(agentNamespace, 'daemonset/poplin', deadlineMs);
  await agentsReady(nodeNames, deadlineMs);
}

async function selectNodes({ api }: Cluster, name: NodeName | null): Promise<void> {
  const nodeSelector = { 'kubernetes.io/hostname': name };
  await api.patch(daemonSetPath, { spec: { template: { spec: { nodeSelector } } } });
}

export function conflistOf(node: NodeName): { readonly text: string; readonly inode: number } | undefined {
  const file = nodePath(node, conflistFile);
  const text = readFileIfThere(file);
  return text === undefined ? undefined : { text, inode: fs.statSync(file).ino };
}

export interface LeftOnNode {
  /** Host ends of pods' interfaces. */
  readonly interfaces: readonly string[];
  /** Addresses of pods that are attached, or are being attached, by what is on disk. */
  readonly addresses: readonly string[];
  readonly unfinished: readonly string[];
  /** Containers that are attached. */
  readonly containers: readonly string[];
  readonly queuedDels: readonly string[];
}

/** Of pods, by the kernel and by the agent's files. */
export async function leftOnNode(node: NodeName): Promise<LeftOnNode> {
  const { stdout } = await execOnNode(node, ['ip', '-br', 'link']);
  const files = list(nodePath(node, attachmentsFolder)).filter((name) => /\.(json|intent|broken)$/.test(name));
  return {
    interfaces: [...stdout.matchAll(/^([^@\s]+)/gm)].map(([, name]) => name!).filter((name) => podInterface.test(name)),
    addresses: files.flatMap((name) =>
      name
        .replace(/\.[a-z]+$/, '')
        .split('@')
        .slice(2),
    ),
    containers: readAttachments(nodePath(node, attachmentsFolder)).flatMap(({ containerId }) => containerId ?? []),
    unfinished: files.filter((name) => !name.endsWith('.json')),
    queuedDels: list(nodePath(node, queueFolder)).filter((name) => !name.startsWith('.')),
  };
}

function list(folder: string): readonly string[] {
  return fs.existsSync(folder) ? fs.readdirSync(folder) : [];
}

/** Waits until what nodes have, by the kernel, the agent's files and the agent's word, is what `pods` have, and nothing else. */
export async function allocationsAreThoseOf(pods: () => Promise<readonly Pod[]>, deadlineMs: number): Promise<void> {
  for (const node of nodeNames)
    await until(
      async () => {
        const here = (await pods()).filter(({ spec }) => spec.nodeName === node);
        const addresses = here.flatMap(({ status }) => (status.podIPs ?? []).map(({ ip }) => ip)).sort();
        const left = await leftOnNode(node);
        assert.deepEqual(
          {
            ...left,
            addresses: [...left.addresses].sort(),
            interfaces: left.interfaces.length,
            containers: left.containers.length,
          },
          {
            interfaces: here.length,
            addresses,
            containers: here.length,
            unfinished: [],
            queuedDels: [],
          },
        );
        const { cni } = await agentStatus(node);
        assert.deepEqual([cni.pods, ...cni.addresses.map(({ used }) => used)], [here.length, here.length, here.length]);
        return true;
      },
      { what: `${node} to have what its pods have, and nothing else`, deadlineMs, intervalMs: 300 },
    );
}
