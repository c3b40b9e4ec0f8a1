/** From a change at the API server to the kernel's verdict, by datagrams to a pod of this node, in a cluster of 10,000 pods. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { installPoplin } from '../../support/kube/agent.ts';
import { startApiServer } from '../../support/kube/api-server.ts';
import type { KubeObject } from '../../support/kube/objects.ts';
import { fillCluster } from '../../support/kube/scale.ts';
import { benchNode, percentile, type Undo } from './agent.ts';
import { DatagramProbe } from './probe.ts';

const PORT = 8080;
/** The remote pod whose address the outside host has; its namespace is one of the cluster's. */
const REMOTE = 5;

const policy = (name: string, spec: object): KubeObject => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name, namespace: 'default' },
  spec,
});
const gate = policy('gate', {
  podSelector: { matchLabels: { app: 'server' } },
  policyTypes: ['Ingress'],
  ingress: [
    {
      from: [{ namespaceSelector: {}, podSelector: { matchLabels: { gate: 'open' } } }],
      ports: [{ port: PORT, protocol: 'UDP' }],
    },
  ],
});
const deny = policy('deny', { podSelector: {}, policyTypes: ['Ingress'] });

export interface Latency {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  readonly samples: number;
}

const latency = (samples: readonly number[]): Latency => ({
  p50Ms: percentile(samples, 0.5),
  p99Ms: percentile(samples, 0.99),
  maxMs: percentile(samples, 1),
  samples: samples.length,
});

export interface LatencyResults {
  readonly labelSet: Latency;
  readonly labelRemoved: Latency;
  readonly denyCreated: Latency;
  readonly denyDeleted: Latency;
}

export async function measureLatency(
  undo: Undo,
  samples: number,
  say: (line: string) => void,
): Promise<LatencyResults> {
  const server = await startApiServer(undo);
  await installPoplin(server);
  const { objects } = server;
  const cluster = await fillCluster(server, { pods: 10_000, policies: 1_000, nodes: 500 }, say);
  await objects.create({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'server', namespace: 'default', labels: { app: 'server' } },
    spec: { nodeName: 'n1', containers: [{ name: 'c', image: 'example/c' }] },
  });
  const { agent: node } = await benchNode(undo, server);
  node.start();
  await node.untilReady(60_000);
  await node.makePodNetns('server');
  const pod = await objects.get({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'server', namespace: 'default' } });
  const answer = await node.cni('ADD', 'server', {}, pod?.metadata.uid);
  assert.equal(answer.exitCode, 0, answer.message);
  const remote = cluster.pod(REMOTE);
  await node.must('ip', '-netns', node.outside, 'addr', 'add', `${remote.address}/32`, 'dev', 'lo');
  await node.must('ip', '-netns', node.outside, 'link', 'set', 'lo', 'up');
  await node.must('ip', '-netns', node.netns, 'route', 'add', '10.64.0.0/16', 'via', '192.0.2.2');
  const probe = new DatagramProbe({
    fromNetns: node.outside,
    source: remote.address,
    toNetns: node.podNetns('server'),
    destination: answer.addresses.find((address) => !address.includes(':'))!,
    port: PORT,
  });
  undo.after(() => probe.close());
  await probe.until(true);

  /** Milliseconds from the API server's answer to the first datagram that fared as it should from now on. */
  const after = async (change: () => Promise<unknown>, open: boolean): Promise<number> => {
    // A datagram of the old verdict stands between, so that what is seen is the change.
    probe.forget();
    await probe.until(!open);
    probe.forget();
    await change();
    const answered = performance.now();
    return Math.max(0, (await probe.until(open)) - answered);
  };
  const label = (value: string | null) => (): Promise<unknown> =>
    objects.patch(
      { apiVersion: 'v1', kind: 'Pod', metadata: { name: remote.name, namespace: remote.namespace } },
      { metadata: { labels: { gate: value } } },
    );
  /** `pause`: between two changes, as people make them; without, the next follows as soon as the last one is seen. */
  const series = async (
    on: () => Promise<unknown>,
    off: () => Promise<unknown>,
    opens: boolean,
    pause: () => Promise<unknown> = async () => undefined,
  ): Promise<[Latency, Latency]> => {
    const [first, second]: [number[], number[]] = [[], []];
    for (let i = 0; i < samples; i++) {
      await pause();
      first.push(await after(on, opens));
      await pause();
      second.push(await after(off, !opens));
    }
    return [latency(first), latency(second)];
  };

  await objects.create(gate);
  await probe.until(false);
  const [labelSet, labelRemoved] = await series(label('open'), label(null), true);
  await objects.delete(gate);
  probe.forget();
  await probe.until(true);
  const [denyCreated, denyDeleted] = await series(
    () => objects.create(deny),
    () => objects.delete(deny),
    false,
    () => sleep(500 + Math.random() * 500),
  );
  return { labelSet, labelRemoved, denyCreated, denyDeleted };
}
