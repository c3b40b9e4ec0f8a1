/** Pods for tests: made through the API, waited for, and entered by their network namespace. */
import { readFileIfThere } from '#sys';
import { until } from '../wait.ts';
import type { KubeList, KubeObject } from './api.ts';
import type { Cluster } from './cluster.ts';
import { imageNames } from './images.ts';
import type { NodeName } from './layout.ts';
import { podProcesses } from './usage.ts';

export interface Pod extends KubeObject {
  readonly spec: { readonly nodeName?: string; readonly hostNetwork?: boolean };
  readonly status: {
    readonly phase?: string;
    readonly podIPs?: readonly { readonly ip: string }[];
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly containerStatuses?: readonly { readonly restartCount: number; readonly ready: boolean }[];
  };
}

export interface PodOptions {
  readonly namespace: string;
  readonly name: string;
  readonly node?: NodeName;
  readonly labels?: Readonly<Record<string, string>>;
  /** Arguments of agnhost. Default: `pause`. */
  readonly args?: readonly string[];
  /** Further fields of the container, e.g. `ports`, `readinessProbe`. */
  readonly container?: object;
  /** Further fields of the spec, e.g. `hostNetwork`. */
  readonly spec?: object;
}

const runningDeadlineMs = 120_000;

export function podPath({ namespace, name }: { readonly namespace: string; readonly name: string }): string {
  return `/api/v1/namespaces/${namespace}/pods/${name}`;
}

/** Makes a namespace and waits for the ServiceAccount that its pods have. */
export async function createNamespace(
  { api }: Cluster,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<void> {
  await api.create('/api/v1/namespaces', { metadata: { name, labels } });
  await namespaceReady({ api }, name);
}

/** Waits for the ServiceAccount that pods of a namespace have: without it they are refused. */
export async function namespaceReady({ api }: Pick<Cluster, 'api'>, name: string): Promise<void> {
  await until(() => api.find(`/api/v1/namespaces/${name}/serviceaccounts/default`), {
    what: `ServiceAccount default of namespace ${name}`,
    deadlineMs: 60_000,
  });
}

/** Deletes a namespace and waits until all in it is gone. */
export async function deleteNamespace({ api }: Cluster, name: string): Promise<void> {
  await api.delete(`/api/v1/namespaces/${name}`);
  await until(async () => (await api.find(`/api/v1/namespaces/${name}`)) === undefined, {
    what: `namespace ${name} to be gone`,
    deadlineMs: 90_000,
    intervalMs: 200,
  });
}

export function podObject(options: PodOptions): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace: options.namespace, name: options.name, labels: options.labels ?? {} },
    spec: {
      ...(options.node ? { nodeName: options.node } : {}),
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: 'c',
          image: imageNames.agnhost,
          imagePullPolicy: 'IfNotPresent',
          args: options.args ?? ['pause'],
          ...options.container,
        },
      ],
      ...options.spec,
    },
  };
}

export async function createPod({ api }: Cluster, options: PodOptions): Promise<void> {
  await api.create(`/api/v1/namespaces/${options.namespace}/pods`, podObject(options));
}

/** The pod once it is Running (and, with a readiness probe, Ready) with addresses. */
export async function podReady(
  { api }: Cluster,
  pod: { readonly namespace: string; readonly name: string },
  deadlineMs = runningDeadlineMs,
): Promise<Pod> {
  return until(
    async () => {
      const found = await api.get<Pod>(podPath(pod));
      const { phase, conditions = [], podIPs = [] } = found.status;
      const ready = conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
      return phase === 'Running' && ready && podIPs.length > 0 && found;
    },
    { what: `pod ${pod.namespace}/${pod.name} to be ready`, deadlineMs, intervalMs: 100 },
  );
}

/** Makes pods side by side and waits for all of them. */
export async function runPods(cluster: Cluster, pods: readonly PodOptions[]): Promise<readonly Pod[]> {
  await Promise.all(pods.map((pod) => createPod(cluster, pod)));
  return Promise.all(pods.map((pod) => podReady(cluster, pod)));
}

export async function listPods({ api }: Cluster, namespace: string, selector = ''): Promise<readonly Pod[]> {
  const query = selector ? `?labelSelector=${encodeURIComponent(selector)}` : '';
  return (await api.get<KubeList<Pod>>(`/api/v1/namespaces/${namespace}/pods${query}`)).items;
}

/** Deletes a pod and waits until it is gone. */
export async function deletePod(
  { api }: Cluster,
  pod: { readonly namespace: string; readonly name: string },
): Promise<void> {
  await api.delete(podPath(pod));
  await until(async () => (await api.find(podPath(pod))) === undefined, {
    what: `pod ${pod.namespace}/${pod.name} to be gone`,
    deadlineMs: 60_000,
    intervalMs: 100,
  });
}

/** Its address of a family. @throws Error when it has none. */
export function addressOf(pod: Pod, family: 4 | 6): string {
  const found = pod.status.podIPs?.find(({ ip }) => ip.includes(':') === (family === 6));
  if (!found) throw new Error(`pod ${pod.metadata.namespace}/${pod.metadata.name} has no IPv${family} address`);
  return found.ip;
}

/** Path of the network namespace of a running pod, as seen from outside the nodes. */
export function podNetnsPath(pod: Pod): string {
  const [pid] = podProcesses(pod.spec.nodeName as NodeName, pod.metadata.uid!);
  if (pid === undefined) throw new Error(`pod ${pod.metadata.namespace}/${pod.metadata.name} has no process`);
  return `/proc/${pid}/ns/net`;
}

/** A process of a running pod with `word` among its arguments, as seen from outside. */
export function podProcess(pod: Pod, word: string): number | undefined {
  return podProcesses(pod.spec.nodeName as NodeName, pod.metadata.uid!).find((pid) =>
    (readFileIfThere(`/proc/${pid}/cmdline`) ?? '').split('\0').includes(word),
  );
}
