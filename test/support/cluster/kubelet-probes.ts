/** Probes of the kubelet under default-deny: pods of which each has one kind, and what the kubelet counts of them. */
import assert from 'node:assert/strict';
import { until } from '../wait.ts';
import type { Cluster } from './cluster.ts';
import type { NodeName } from './layout.ts';
import { addressOf, createPod, type Pod, type PodOptions, podPath, podReady } from './pods.ts';
import { answers, blocked, url } from './requests.ts';

const httpPort = 8080;
const grpcPort = 5000;
/** Of each pod's liveness, before the verdict. */
const successesMin = 3;
const kinds = {
  http: { httpGet: { path: '/', port: httpPort } },
  tcp: { tcpSocket: { port: httpPort } },
  grpc: { grpc: { port: grpcPort } },
  exec: { exec: { command: ['true'] } },
} as const;
const timing = { periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 6 };

function probed(namespace: string, name: string, node: NodeName, probe: object, args: readonly string[]): PodOptions {
  const all = { startupProbe: probe, readinessProbe: probe, livenessProbe: probe };
  return { namespace, name, node, labels: { app: name }, args, container: all };
}

/** Successes and failures of its liveness probe that the kubelet has counted. */
async function livenessOf(
  { api }: Cluster,
  pod: Pod,
): Promise<{ readonly successful: number; readonly failed: number }> {
  const { text } = await api.raw('GET', `/api/v1/nodes/${pod.spec.nodeName}/proxy/metrics/probes`);
  const count = (result: string): number => {
    const line = text
      .split('\n')
      .find((one) =>
        ['prober_probe_total{', `pod_uid="${pod.metadata.uid}"`, 'probe_type="Liveness"', `result="${result}"`].every(
          (part) => one.includes(part),
        ),
      );
    return Number(line?.split(' ').at(-1) ?? 0);
  };
  return { successful: count('successful'), failed: count('failed') };
}

/** `namespace` must be under a default-deny in both directions. Pods run on node1; the other family is probed by address. */
export async function probesPass(cluster: Cluster, namespace: string): Promise<void> {
  const serve = ['netexec', `--http-port=${httpPort}`];
  const options = (Object.keys(kinds) as (keyof typeof kinds)[]).map((kind) =>
    probed(
      namespace,
      `probe-${kind}`,
      'node1',
      { ...kinds[kind], ...timing },
      kind === 'grpc' ? ['grpc-health-checking', `--port=${grpcPort}`] : serve,
    ),
  );
  await Promise.all(options.map((one) => createPod(cluster, one)));
  const pods = await Promise.all(options.map((one) => podReady(cluster, one, 120_000)));
  const target = pods[0]!;
  const secondFamily = cluster.options.family === 4 ? 6 : 4;
  const host = addressOf(target, secondFamily);
  const others = [
    probed(namespace, 'probe-http-second', 'node1', { httpGet: { path: '/', host, port: httpPort }, ...timing }, [
      'pause',
    ]),
    probed(namespace, 'probe-tcp-second', 'node1', { tcpSocket: { host, port: httpPort }, ...timing }, ['pause']),
  ];
  await Promise.all(others.map((one) => createPod(cluster, one)));
  const all = [...pods, ...(await Promise.all(others.map((one) => podReady(cluster, one, 120_000))))];
  await Promise.all(
    all.map(async (pod) => {
      await until(async () => (await livenessOf(cluster, pod)).successful >= successesMin, {
        what: `${successesMin} successful probes of ${pod.metadata.name}`,
        deadlineMs: 60_000,
        intervalMs: 300,
      });
      const { status } = await cluster.api.get<Pod>(podPath({ namespace, name: pod.metadata.name }));
      assert.deepEqual(
        status.containerStatuses?.map(({ ready, restartCount }) => ({ ready, restartCount })),
        [{ ready: true, restartCount: 0 }],
        pod.metadata.name,
      );
    }),
  );
  // That is not because the policy were without effect.
  await Promise.all(
    ([4, 6] as const).map(async (family) => {
      const address = url(addressOf(target, family), httpPort);
      await answers('node1', address, /./);
      await blocked('node2', address);
    }),
  );
}
