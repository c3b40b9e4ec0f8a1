/** The lab as kubelet and container runtime: a namespace for each pod, the CNI plugin called as the specification says. */
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { exec } from '#sys';
import { LabError } from './errors.ts';
import { type LabPaths, machineNetns, netnsPath, nodePaths, podNetns } from './names.ts';
import { addNamespaces, deleteNamespaces, ipBatch } from './netns.ts';
import { type LabPod, podKey } from './state.ts';

export interface KubeletDeps {
  readonly lab: LabPaths;
  /** Path of the CNI plugin. */
  readonly shim: string;
  /** Whether the agent of a node still runs: a dead one is not waited for. */
  readonly agentAlive: (node: string) => boolean;
}

type CniCommand = 'ADD' | 'DEL' | 'CHECK' | 'STATUS';

interface CniAnswer {
  readonly ok: boolean;
  /** CNI error code, 0 when there is none. */
  readonly code: number;
  readonly message: string;
  readonly addresses: readonly string[];
}

const CNI_TRY_AGAIN = 11;
const CNI_NOT_AVAILABLE = 50;
const networkConfig = { cniVersion: '1.1.0', name: 'poplin', type: 'poplin' };
const addDeadlineMs = 30_000;
const addRetryMs = 100;
const addsAtOnceMax = 8;

async function callCni(deps: KubeletDeps, node: string, command: CniCommand, pod?: LabPod): Promise<CniAnswer> {
  const paths = nodePaths(deps.lab, node);
  const env: Record<string, string> = {
    PATH: process.env['PATH'] ?? '',
    CNI_COMMAND: command,
    CNI_PATH: path.dirname(deps.shim),
    POPLIN_CNI_SOCKET: paths.cniSocket,
    POPLIN_CNI_QUEUE: paths.cniQueue,
  };
  if (pod) {
    env['CNI_CONTAINERID'] = pod.containerId;
    env['CNI_NETNS'] = netnsPath(podNetns(deps.lab, pod));
    env['CNI_IFNAME'] = 'eth0';
    env['CNI_ARGS'] = [
      'IgnoreUnknown=1',
      `K8S_POD_NAMESPACE=${pod.namespace}`,
      `K8S_POD_NAME=${pod.name}`,
      `K8S_POD_INFRA_CONTAINER_ID=${pod.containerId}`,
      `K8S_POD_UID=${pod.uid}`,
    ].join(';');
  }
  // As on a node: the runtime, and so the plugin, is in the node's namespace.
  const args = [`--net=${netnsPath(machineNetns(deps.lab, node))}`, deps.shim];
  const { code, stdout, stderr } = await exec('nsenter', args, {
    env,
    stdin: JSON.stringify(networkConfig),
    timeoutMs: 95_000,
  });
  return readAnswer(code, stdout, stderr);
}

function readAnswer(exitCode: number, stdout: string, stderr: string): CniAnswer {
  let body: { code?: number; msg?: string; details?: string; ips?: readonly { address: string }[] } = {};
  try {
    if (stdout.trim() !== '') body = JSON.parse(stdout);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return { ok: false, code: -1, message: `not JSON: ${stdout.slice(0, 200)}`, addresses: [] };
  }
  const addresses = (body.ips ?? []).map(({ address }) => address.split('/')[0]!);
  if (exitCode === 0) return { ok: true, code: 0, message: '', addresses };
  const message = [body.msg, body.details, stderr.trim()].filter(Boolean).join(': ');
  return { ok: false, code: body.code ?? -1, message, addresses: [] };
}

/** Waits until a node's agent can wire pods. @throws LabError NOT_READY */
export async function waitForCni(deps: KubeletDeps, node: string, deadlineMs = 30_000): Promise<void> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const answer = await callCni(deps, node, 'STATUS');
    if (answer.ok) return;
    if (!deps.agentAlive(node)) throw agentTrouble(deps, node, 'ended');
    if (performance.now() >= end)
      throw agentTrouble(deps, node, `is not ready after ${deadlineMs / 1000} s (${answer.message})`);
    await sleep(addRetryMs);
  }
}

function agentTrouble(deps: KubeletDeps, node: string, what: string): LabError {
  const { log } = nodePaths(deps.lab, node);
  const tail = fs.existsSync(log) ? fs.readFileSync(log, 'utf8').trimEnd().split('\n').slice(-8).join('\n') : '';
  return new LabError(`the agent of ${node} ${what}; the end of ${log}:\n${tail}`, {
    code: 'NOT_READY',
    what: `agent ${node}`,
  });
}

/** Makes the namespaces of `pods` and has them wired. @returns addresses by pod key. @throws LabError COMMAND_FAILED */
export async function addPods(deps: KubeletDeps, pods: readonly LabPod[]): Promise<Map<string, readonly string[]>> {
  const names = pods.map((pod) => podNetns(deps.lab, pod));
  await addNamespaces(names);
  const addresses = new Map<string, readonly string[]>();
  const queue = [...pods];
  const worker = async (): Promise<void> => {
    for (let pod = queue.shift(); pod; pod = queue.shift()) {
      await ipBatch(['link set lo up'], podNetns(deps.lab, pod)); // the runtime's loopback plugin
      addresses.set(podKey(pod), await addPod(deps, pod));
    }
  };
  try {
    await Promise.all(Array.from({ length: addsAtOnceMax }, worker));
  } catch (error) {
    queue.length = 0;
    await deletePods(deps, pods); // as if none had been asked for: the next attempt begins afresh
    throw error;
  }
  return addresses;
}

async function addPod(deps: KubeletDeps, pod: LabPod): Promise<readonly string[]> {
  const end = performance.now() + addDeadlineMs;
  for (;;) {
    const answer = await callCni(deps, pod.nodeName, 'ADD', pod);
    if (answer.ok) return answer.addresses;
    if (!deps.agentAlive(pod.nodeName)) throw agentTrouble(deps, pod.nodeName, 'ended');
    const again = answer.code === CNI_TRY_AGAIN || answer.code === CNI_NOT_AVAILABLE;
    if (!again || performance.now() >= end) {
      throw new LabError(
        `Pod ${podKey(pod)}: CNI ADD on ${pod.nodeName} failed: code ${answer.code}: ${answer.message}`,
        {
          code: 'COMMAND_FAILED',
          command: 'CNI ADD',
        },
      );
    }
    await sleep(addRetryMs); // as the kubelet does, only sooner
  }
}

/** Unwires pods and removes their namespaces. @returns what went wrong, for people. */
export async function deletePods(deps: KubeletDeps, pods: readonly LabPod[]): Promise<string[]> {
  const problems: string[] = [];
  for (const pod of pods) {
    const answer = await callCni(deps, pod.nodeName, 'DEL', pod);
    if (!answer.ok) problems.push(`Pod ${podKey(pod)}: CNI DEL failed: code ${answer.code}: ${answer.message}`);
  }
  await deleteNamespaces(pods.map((pod) => podNetns(deps.lab, pod)));
  return problems;
}
