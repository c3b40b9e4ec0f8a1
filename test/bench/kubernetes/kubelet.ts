/**
 * From a Pod's creation at the API to its first packet, under a real kubelet and containerd: with our agent, and with the reference ptp and
 * host-local on the same node, in turn. The packet is a datagram that the pod sends as soon as it runs, to the control plane's namespace.
 */
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { netnsPath } from '#lab';
import { kubeAsset } from '#setup';
import { AF_INET, check, type Fd, inNetns, libc, newSocket, openNetns, SOCK_DGRAM, sockaddrIn } from '#sys';
import { type Cluster, down, up } from '../../support/cluster/cluster.ts';
import { manifestHook } from '../../support/cluster/hooks.ts';
import { addressesOf, netnsOf } from '../../support/cluster/layout.ts';
import { nodePath } from '../../support/cluster/node.ts';
import { createNamespace, podObject, podPath } from '../../support/cluster/pods.ts';
import { until } from '../../support/wait.ts';
import { percentile, round } from './agent.ts';

const NODE = 'node1';
const NAMESPACE = 'bench';
const PORT = 9999;
/** In front of ours by name: runtimes take the first file. */
const REFERENCE = '05-reference.conflist';
/** containerd notices a changed folder within half a second. */
const NOTICE_MS = 1_500;

type Side = 'poplin' | 'reference';

function referenceConflist(): object {
  const plugins = [
    {
      type: 'ptp',
      ipMasq: true,
      ipam: { type: 'host-local', ranges: [[{ subnet: '10.250.0.0/24' }]], routes: [{ dst: '0.0.0.0/0' }] },
    },
    { type: 'portmap', capabilities: { portMappings: true } },
  ];
  return { cniVersion: '1.0.0', name: 'reference', plugins };
}

function choose(side: Side): void {
  const file = nodePath(NODE, `/etc/cni/net.d/${REFERENCE}`);
  if (side === 'poplin') fs.rmSync(file, { force: true });
  else {
    fs.writeFileSync(`${file}.new`, JSON.stringify(referenceConflist()));
    fs.renameSync(`${file}.new`, file);
  }
}

function listener(address: string): Fd {
  using namespace = openNetns(netnsPath(netnsOf('wire')));
  return inNetns(namespace, () => {
    const socket = newSocket(AF_INET, SOCK_DGRAM);
    const to = sockaddrIn(address, PORT);
    check('bind', libc.bind(socket.number, to, to.length), address);
    return socket;
  });
}

async function podStartMs(cluster: Cluster, socket: Fd, name: string): Promise<number> {
  const [address] = addressesOf('wire');
  const command = ['/bin/sh', '-c', `while :; do echo ${name} > /dev/udp/${address}/${PORT}; sleep 0.05; done`];
  const pod = podObject({
    namespace: NAMESPACE,
    name,
    node: NODE,
    container: { command, args: [] },
  });
  const began = performance.now();
  await cluster.api.create(`/api/v1/namespaces/${NAMESPACE}/pods`, pod);
  const bytes = Buffer.alloc(256);
  const arrived = (): boolean => {
    for (;;) {
      const length = libc.recv(socket.number, bytes, bytes.length, 0);
      if (length < 0) return false;
      if (bytes.toString('utf8', 0, length).trim() === name) return true;
    }
  };
  await until(arrived, { what: `the first packet of ${name}`, deadlineMs: 60_000, intervalMs: 1 });
  const tookMs = performance.now() - began;
  await cluster.api.delete(`${podPath({ namespace: NAMESPACE, name })}?gracePeriodSeconds=0`);
  await until(async () => (await cluster.api.find(podPath({ namespace: NAMESPACE, name }))) === undefined, {
    what: `${name} to be gone`,
    deadlineMs: 60_000,
  });
  return tookMs;
}

export interface KubeletResult {
  readonly poplinMs: number;
  readonly referenceMs: number;
  /** Of the medians. */
  readonly ratio: number;
  readonly pairs: number;
}

export async function measureKubelet(pairs: number, say: (line: string) => void): Promise<KubeletResult> {
  const cluster = await up({ agent: manifestHook(), dns: false, say });
  try {
    await createNamespace(cluster, NAMESPACE);
    for (const plugin of ['ptp', 'host-local'] as const) {
      const target = nodePath(NODE, path.join('/opt/cni/bin', plugin));
      fs.copyFileSync(kubeAsset(plugin)!, target);
      fs.chmodSync(target, 0o755);
    }
    using socket = listener(addressesOf('wire')[0]);
    const samples: Record<Side, number[]> = { poplin: [], reference: [] };
    for (let pair = 0; pair <= pairs; pair++) {
      const order: Side[] = pair % 2 === 0 ? ['poplin', 'reference'] : ['reference', 'poplin'];
      for (const side of order) {
        choose(side);
        await sleep(NOTICE_MS);
        const tookMs = await podStartMs(cluster, socket, `${side}-${pair}`);
        // The first pair warms up.
        if (pair > 0) samples[side].push(tookMs);
      }
    }
    const [poplinMs, referenceMs] = [percentile(samples.poplin, 0.5), percentile(samples.reference, 0.5)];
    return { poplinMs, referenceMs, ratio: round(poplinMs / referenceMs), pairs };
  } finally {
    cluster.api.close();
    await down();
  }
}
