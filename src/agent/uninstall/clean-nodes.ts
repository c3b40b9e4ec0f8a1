/** `poplin cleanup` on every node: a pod bound to each, a bounded number at once, and what came of it. */

import { CLEANUP_LABEL, cleanupPod, cleanupPodName, type PodSpec } from './cleanup-pod.ts';
import type { ClusterApi, KubeItem } from './cluster-api.ts';
import { UNINSTALL_NAMESPACE } from './installation.ts';
import type { PlannedNode } from './plan.ts';

export interface NodeResult {
  readonly node: string;
  readonly outcome: /** All as before. */
    | 'clean'
    /** `poplin cleanup` ran and says that something is left, or failed. */
    | 'failed'
    /** Its kubelet does not answer, or did not run the pod in time. */
    | 'not reached';
  /** In words, for the two latter. */
  readonly reason?: string;
  /** By kind, without zeros. */
  readonly removed: Readonly<Record<string, number>>;
  readonly restored: readonly string[];
  readonly notes: readonly string[];
  readonly exitCode?: number;
  /** Last lines, unless the node is clean. */
  readonly log?: string;
}

export interface CleanNodesOptions {
  readonly timeoutSec: number;
  readonly nodesAtOnceMax: number;
  readonly configMap: string;
  readonly image?: string;
  readonly onResult: (result: NodeResult) => void;
}

const podsPath = `/api/v1/namespaces/${UNINSTALL_NAMESPACE}/pods`;
const podPath = (node: string): string => `${podsPath}/${encodeURIComponent(cleanupPodName(node))}`;
const logLinesMax = 40;
const logBytesMax = 16_384;

/** Sorted by node. A pod that an earlier run left, running or at its end, counts. @throws UninstallError */
export async function cleanNodes(
  api: ClusterApi,
  spec: PodSpec,
  nodes: readonly PlannedNode[],
  options: CleanNodesOptions,
): Promise<readonly NodeResult[]> {
  const results: NodeResult[] = [];
  const waiting = [...nodes];
  const worker = async (): Promise<void> => {
    for (let node = waiting.shift(); node !== undefined; node = waiting.shift()) {
      const result = await cleanNode(api, spec, node, options);
      results.push(result);
      options.onResult(result);
    }
  };
  await Promise.all(Array.from({ length: options.nodesAtOnceMax }, worker));
  return results.sort((a, b) => (a.node < b.node ? -1 : 1));
}

/** Those of all nodes, with their results. */
export async function deleteCleanupPods(api: ClusterApi): Promise<void> {
  const names = await api.list(podsPath, ({ metadata }: KubeItem) => metadata.name, {
    labelSelector: `${CLEANUP_LABEL}=true`,
  });
  for (const name of names ?? []) await api.delete(`${podsPath}/${encodeURIComponent(name)}`);
}

interface Terminated {
  readonly exitCode: number;
  readonly reason?: string;
  readonly message?: string;
}
interface CleanupPod extends KubeItem {
  readonly status?: {
    readonly phase?: string;
    readonly reason?: string;
    readonly message?: string;
    readonly containerStatuses?: readonly {
      readonly state?: {
        readonly waiting?: { readonly reason?: string; readonly message?: string };
        readonly terminated?: Terminated;
      };
    }[];
  };
}

const nothing = { removed: {}, restored: [], notes: [] };

async function cleanNode(
  api: ClusterApi,
  spec: PodSpec,
  { name: node, unreachable }: PlannedNode,
  options: CleanNodesOptions,
): Promise<NodeResult> {
  // Nobody would run the pod now, and run later it might take a newer installation's work away.
  if (unreachable !== undefined) return { node, outcome: 'not reached', reason: unreachable, ...nothing };
  const { timeoutSec, configMap, image } = options;
  const pod = cleanupPod(spec, { node, timeoutSec, configMap, ...(image === undefined ? {} : { image }) });
  await api.create(podsPath, pod);
  let last: CleanupPod | undefined;
  const ended = await api.until(timeoutSec * 1000, async () => {
    last = await api.get<CleanupPod>(podPath(node));
    if (last === undefined) await api.create(podsPath, pod); // evicted, or removed by somebody
    return last?.status?.phase === 'Succeeded' || last?.status?.phase === 'Failed' ? last : undefined;
  });
  if (!ended) {
    await api.delete(podPath(node));
    return { node, outcome: 'not reached', reason: `${whyNotRun(last)} within ${timeoutSec} s`, ...nothing };
  }
  return resultOf(node, ended, async () =>
    api.text(`${podPath(node)}/log`, { tailLines: logLinesMax, limitBytes: logBytesMax }),
  );
}

function whyNotRun(pod: CleanupPod | undefined): string {
  const waiting = pod?.status?.containerStatuses?.[0]?.state?.waiting;
  if (waiting) return `the pod ${podName(pod)} did not start: ${waiting.reason ?? ''} ${waiting.message ?? ''}`.trim();
  if (pod?.status?.phase === 'Running') return `the pod ${podName(pod)} did not end`;
  return 'the kubelet did not take the pod';
}

function podName(pod: CleanupPod | undefined): string {
  return `${UNINSTALL_NAMESPACE}/${pod?.metadata.name ?? ''}`;
}

async function resultOf(node: string, pod: CleanupPod, readLog: () => Promise<string>): Promise<NodeResult> {
  const terminated = pod.status?.containerStatuses?.[0]?.state?.terminated;
  const summary = readSummary(terminated?.message);
  const removed = Object.fromEntries(Object.entries(summary?.removed ?? {}).filter(([, count]) => count > 0));
  const { restored = [], notes = [], left = [] } = summary ?? {};
  const counted = { removed, restored, notes, ...(terminated ? { exitCode: terminated.exitCode } : {}) };
  if (pod.status?.phase === 'Succeeded' && left.length === 0) return { node, outcome: 'clean', ...counted };
  const log = await readLog();
  if (left.length > 0) return { node, outcome: 'failed', reason: left.join('; '), ...counted, log };
  const reason = terminated
    ? `poplin cleanup ended with code ${terminated.exitCode}${terminated.reason ? ` (${terminated.reason})` : ''}`
    : [pod.status?.reason, pod.status?.message].filter(Boolean).join(': ');
  return { node, outcome: 'failed', reason, ...counted, log };
}

interface Summary {
  readonly removed: Readonly<Record<string, number>>;
  readonly restored: readonly string[];
  readonly left: readonly string[];
  readonly notes: readonly string[];
}

/** What `poplin cleanup --summary-file` wrote; undefined for anything else, a log for instance. */
function readSummary(text: string | undefined): Partial<Summary> | undefined {
  try {
    const value: unknown = JSON.parse(text ?? '');
    return typeof value === 'object' && value !== null && 'removed' in value ? (value as Partial<Summary>) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
