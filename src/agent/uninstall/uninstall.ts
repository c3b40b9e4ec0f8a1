/**
 * `poplin uninstall`: an installation out of a cluster, node by node.
 *
 *   read what there is -> [--yes] -> write down how agents ran -> delete the DaemonSet, wait for its pods -> `poplin cleanup` on every node
 *     -> what the agents have written into others' objects -> objects, definitions, namespace -> report
 *
 * Killed anywhere, the next run goes on: every step looks at what is there. How agents ran, which nodes' pods are made of, is written down
 * before the DaemonSet goes. All of that stands in a namespace of its own, which outlives the installation's, so that the Job's log
 * can be read afterwards.
 */
import type { KubeClient } from '#datastore';
import { cleanNodes, deleteCleanupPods, type NodeResult } from './clean-nodes.ts';
import type { PodSpec } from './cleanup-pod.ts';
import { ClusterApi, type KubeItem } from './cluster-api.ts';
import deliveredPod from './daemonset-pod.json' with { type: 'json' };
import {
  AGENT_LABELS,
  configMapPlace,
  daemonSetPlace,
  namespacePlace,
  type ObjectPlace,
  PART_OF_LABEL,
  placeText,
  UNINSTALL_NAMESPACE,
} from './installation.ts';
import { isEmpty, makePlan, type UninstallPlan } from './plan.ts';
import { withdrawStatuses } from './withdraw.ts';

export interface UninstallDeps {
  readonly client: KubeClient;
  /** A line of progress. */
  readonly say: (line: string) => void;
  readonly pause: (ms: number) => Promise<void>;
  readonly nowMs: () => number;
}

export interface UninstallOptions {
  /** Of the installation. */
  readonly namespace: string;
  /** Act; otherwise only what would be done is found out. */
  readonly yes: boolean;
  /** Also the definitions of projectcalico.org that were installed with Poplin, and every object of theirs. */
  readonly crds: boolean;
  /** Longest wait for a node. */
  readonly nodeTimeoutSec: number;
  /** For pods that clean, instead of the agents' own. */
  readonly image?: string;
}

export interface UninstallReport {
  readonly plan: UninstallPlan;
  /** Absent: nothing was done, for want of `--yes`. */
  readonly done?: UninstallDone;
}

export interface UninstallDone {
  readonly nodes: readonly NodeResult[];
  /** `Kind namespace/name` of what was removed. */
  readonly removed: readonly string[];
  /** In words: what is not as it was before. Empty: the cluster is. */
  readonly left: readonly string[];
}

const nodesAtOnceMax = 30;
const agentStopMs = 90_000;
const objectGoneMs = 120_000;
const RECORD_NAME = 'poplin-cleanup';
/** The namespace was made by a run without the Job, and goes with its end. */
const MADE_BY_LABEL = 'poplin.dev/made-by-uninstall';
const recordPath = `/api/v1/namespaces/${UNINSTALL_NAMESPACE}/configmaps/${RECORD_NAME}`;

/** @throws UninstallError, KubeError */
export async function uninstall(deps: UninstallDeps, options: UninstallOptions): Promise<UninstallReport> {
  const api = new ClusterApi(deps);
  const plan = await makePlan(api, options);
  if (!options.yes) return { plan };
  const run = new Run(api, deps, options, plan);
  return { plan, done: await run.run() };
}

class Run {
  readonly #api: ClusterApi;
  readonly #deps: UninstallDeps;
  readonly #options: UninstallOptions;
  readonly #plan: UninstallPlan;
  readonly #removed: string[] = [];
  readonly #left: string[] = [];

  constructor(api: ClusterApi, deps: UninstallDeps, options: UninstallOptions, plan: UninstallPlan) {
    this.#api = api;
    this.#deps = deps;
    this.#options = options;
    this.#plan = plan;
  }

  async run(): Promise<UninstallDone> {
    const plan = this.#plan;
    await this.#makeOwnNamespace();
    const pod = await this.#recordPod();
    await this.#removeDaemonSet();
    this.#deps.say(`cleaning ${plan.nodes.length} nodes`);
    const { image, nodeTimeoutSec } = this.#options;
    const nodes = await cleanNodes(this.#api, pod, plan.nodes, {
      timeoutSec: nodeTimeoutSec,
      nodesAtOnceMax,
      configMap: RECORD_NAME,
      ...(image === undefined ? {} : { image }),
      onResult: ({ node, outcome, reason }) => this.#deps.say(`node ${node}: ${outcome}${reason ? `: ${reason}` : ''}`),
    });
    for (const { node, outcome, reason } of nodes)
      if (outcome !== 'clean')
        this.#left.push(`node ${node} was ${outcome === 'failed' ? 'not cleaned' : outcome}: ${reason}`);
    this.#left.push(...(await withdrawStatuses(this.#api, plan)));
    await this.#removeObjects();
    await deleteCleanupPods(this.#api);
    await this.#removeOwnNamespace();
    return { nodes, removed: this.#removed, left: this.#left };
  }

  async #makeOwnNamespace(): Promise<void> {
    const { path } = namespacePlace(UNINSTALL_NAMESPACE);
    if (await this.#api.get(path)) return;
    await this.#api.create('/api/v1/namespaces', {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: {
        name: UNINSTALL_NAMESPACE,
        labels: {
          [PART_OF_LABEL]: UNINSTALL_NAMESPACE,
          [MADE_BY_LABEL]: 'true',
          'pod-security.kubernetes.io/enforce': 'privileged',
        },
      },
    });
  }

  /** What the pods that clean are made of: the DaemonSet as it is, else as a run before this one found it, else as it is delivered. */
  async #recordPod(): Promise<PodSpec> {
    const { daemonSet, namespace } = this.#plan;
    const before = await this.#api.get<KubeItem & { readonly data?: Readonly<Record<string, string>> }>(recordPath);
    if (!daemonSet) {
      const recorded = before?.data?.['pod.json'];
      if (recorded !== undefined) return JSON.parse(recorded) as PodSpec;
      return deliveredPod;
    }
    // Those of an earlier uninstall say nothing about this installation.
    await deleteCleanupPods(this.#api);
    const config = await this.#api.get<KubeItem & { readonly data?: Readonly<Record<string, string>> }>(
      configMapPlace(namespace).path,
    );
    const record = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: {
        name: RECORD_NAME,
        namespace: UNINSTALL_NAMESPACE,
        labels: { [PART_OF_LABEL]: UNINSTALL_NAMESPACE },
      },
      data: { ...config?.data, 'pod.json': JSON.stringify(daemonSet.pod) },
    };
    const made = await this.#api.create(recordPath.slice(0, recordPath.lastIndexOf('/')), record);
    if (!made) await this.#api.replace(recordPath, record);
    return daemonSet.pod;
  }

  async #removeDaemonSet(): Promise<void> {
    const { namespace, daemonSet } = this.#plan;
    if (daemonSet) await this.#remove(daemonSetPlace(namespace));
    const answering = new Set(
      this.#plan.nodes.filter((node) => node.unreachable === undefined).map(({ name }) => name),
    );
    const labelSelector = Object.entries(AGENT_LABELS)
      .map(([key, value]) => `${key}=${value}`)
      .join(',');
    const gone = await this.#api.until(agentStopMs, async () => {
      const pods = await this.#api.list(
        '/api/v1/pods',
        ({ metadata, spec }: KubeItem & { readonly spec: { readonly nodeName?: string } }) =>
          metadata.namespace === namespace && answering.has(spec.nodeName ?? '') ? metadata.name : undefined,
        { labelSelector },
      );
      return (pods ?? []).length === 0 ? true : undefined;
    });
    if (!gone) this.#deps.say(`some agents have not ended within ${agentStopMs / 1000} s`);
  }

  async #removeObjects(): Promise<void> {
    const { objects, removedDefinitions, removesNamespace, namespace } = this.#plan;
    for (const place of objects) await this.#remove(place);
    for (const { place } of removedDefinitions) await this.#remove(place);
    if (removesNamespace) await this.#remove(namespacePlace(namespace));
    for (const place of [
      ...removedDefinitions.map((each) => each.place),
      ...(removesNamespace ? [namespacePlace(namespace)] : []),
    ])
      await this.#waitGone(place);
  }

  async #remove(place: ObjectPlace): Promise<void> {
    if (!(await this.#api.delete(place.path))) return;
    this.#removed.push(placeText(place));
    this.#deps.say(`removed ${placeText(place)}`);
  }

  async #waitGone(place: ObjectPlace): Promise<void> {
    type Stuck = KubeItem & { readonly status?: { readonly conditions?: readonly { readonly message?: string }[] } };
    let last: Stuck | undefined;
    const gone = await this.#api.until(objectGoneMs, async () => {
      last = await this.#api.get<Stuck>(place.path);
      return last === undefined ? true : undefined;
    });
    if (gone) return;
    const why = (last?.status?.conditions ?? []).flatMap(({ message }) => message ?? []).join('; ');
    this.#left.push(`${placeText(place)} is being deleted, and has not gone within ${objectGoneMs / 1000} s: ${why}`);
  }

  /** One that came with the Job holds its log, and goes with `kubectl delete`. */
  async #removeOwnNamespace(): Promise<void> {
    const { path } = namespacePlace(UNINSTALL_NAMESPACE);
    const own = await this.#api.get(path);
    if (own?.metadata.labels?.[MADE_BY_LABEL] !== undefined) await this.#api.delete(path);
  }
}

/** Nothing was there, in the API or on a node. */
export function foundNothing({ plan, done }: UninstallReport): boolean {
  const nodes = done?.nodes ?? [];
  const untouched = nodes.every(
    ({ outcome, removed, restored }) => outcome === 'clean' && Object.keys(removed).length + restored.length === 0,
  );
  return isEmpty(plan) && untouched && (done?.left.length ?? 0) === 0;
}
