/**
 * Brings the cluster up and takes it away. What `up` does, in order (side by side where nothing depends on it):
 *
 *   what an earlier run left is removed -> certificates, images, namespaces -> etcd, API server, nodes, containerd, images into it
 *   -> controller-manager, scheduler, kubelets, kube-proxies -> nodes have pod CIDRs -> the agent under test -> nodes Ready -> CoreDNS
 */
import fs from 'node:fs';
import path from 'node:path';
import { endProcesses } from '#lab';
import { acquireLock } from '#sys';
import { until } from '../wait.ts';
import { ApiClient, apiServerReady, type KubeList, type KubeObject } from './api.ts';
import { containerdReady, importImage } from './containerd.ts';
import { corednsObjects } from './coredns.ts';
import { ClusterError } from './errors.ts';
import type { AgentHook } from './hooks.ts';
import { clusterImages } from './images.ts';
import { applyObjects, tryKubectl } from './kubectl.ts';
import {
  addressesOf,
  type ClusterOptions,
  clusterFolder,
  defaultOptions,
  type NodeName,
  nodeNames,
  paths,
} from './layout.ts';
import { buildNetwork, removeNetwork, replaceNodeNetwork, routeToPods } from './network.ts';
import { execOnNode, powerOff, removeNode, startNode } from './node.ts';
import { startPart } from './parts.ts';
import { makePki, writeKubeconfigs } from './pki.ts';
import { newState, ownProcess, readState, readStateIfThere, refuseIfInUse } from './state.ts';
import { defaultTor, type TorOptions, writeTorConfig } from './tor.ts';

export interface UpOptions extends Partial<ClusterOptions> {
  /** The agent under test; without one the nodes stay NotReady and no CoreDNS is started. */
  readonly agent?: AgentHook;
  /** Stays up when this process has ended. */
  readonly keep?: boolean;
  readonly tor?: Partial<TorOptions>;
  /** Default true, with an agent. */
  readonly dns?: boolean;
  /** Told what has been reached. */
  readonly say?: (line: string) => void;
}

export interface Cluster {
  readonly options: ClusterOptions;
  readonly api: ApiClient;
}

const readyDeadlineMs = 120_000;

interface Node extends KubeObject {
  readonly spec: { readonly podCIDRs?: readonly string[]; readonly unschedulable?: boolean };
  readonly status: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason: string;
      readonly message: string;
    }[];
  };
}

/** @throws ClusterError ALREADY_UP when somebody else's is there */
export async function up(wanted: UpOptions = {}): Promise<Cluster> {
  const lock = acquireLock(paths.lock);
  if (!lock.held)
    throw new ClusterError(`process ${lock.holderPid} is bringing a test cluster up or down`, {
      code: 'ALREADY_UP',
      ownerPid: lock.holderPid,
    });
  try {
    refuseIfInUse();
    await removeAll();
    const options: ClusterOptions = {
      family: wanted.family ?? defaultOptions.family,
      proxyMode: wanted.proxyMode ?? defaultOptions.proxyMode,
      containerd: wanted.containerd ?? defaultOptions.containerd,
    };
    newState({ options, owner: ownProcess(), kept: wanted.keep ?? false, processes: {}, nodes: {} });
    return await build(options, wanted);
  } finally {
    lock.release();
  }
}

async function build(options: ClusterOptions, wanted: UpOptions): Promise<Cluster> {
  const started = performance.now();
  const say = (line: string): void =>
    wanted.say?.(`${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s  ${line}`);
  fs.mkdirSync(paths.home, { recursive: true });
  makePki();
  await buildNetwork();
  writeKubeconfigs(options.family);
  writeTorConfig({ ...defaultTor, ...wanted.tor });
  await startPart('etcd');
  await startPart('apiserver');
  await startPart('bird');
  const images = await clusterImages();
  say('images are there');
  const api = new ApiClient();
  await Promise.all([
    ...nodeNames.map((node) => bootNode(node, images)),
    apiServerReady(api).then(async () => {
      say('API server is ready');
      await startPart('kcm');
      await startPart('scheduler');
    }),
  ]);
  say('nodes have booted');
  for (const node of nodeNames) {
    await startPart(`kubelet ${node}`);
    await startPart(`kube-proxy ${node}`);
  }
  await routeToPods(await podRoutes(api));
  say('nodes have pod CIDRs');
  const cluster: Cluster = { options, api };
  if (!wanted.agent) return cluster;
  await installNetwork(cluster, wanted.agent, { ...(wanted.dns === undefined ? {} : { dns: wanted.dns }), say });
  return cluster;
}

/** Puts the agent into a cluster that has none: nodes become Ready, then CoreDNS. */
export async function installNetwork(
  cluster: Cluster,
  agent: AgentHook,
  { dns = true, say = () => undefined }: Pick<UpOptions, 'dns' | 'say'> = {},
): Promise<void> {
  await agent.install(cluster);
  say(`${agent.name} is installed`);
  await nodesReady(cluster);
  say('nodes are Ready');
  if (!dns) return;
  await applyObjects(corednsObjects(cluster.options.family));
  await rolloutDone('kube-system', 'deployment/coredns');
  say('CoreDNS is ready');
}

/** Boots a node as far as containerd with all images. */
export async function bootNode(node: NodeName, images: readonly string[]): Promise<void> {
  await startNode(node);
  await startPart(`containerd ${node}`);
  await containerdReady(node);
  for (const image of images) await importImage(node, image);
}

/**
 * Cuts a node's power and turns it on again: its disk is as it was, its kernel knows no rule, route or interface of before, and none of
 * its parts runs until the caller starts them, in whatever order (`containerd NODE`, `kubelet NODE`, `kube-proxy NODE`).
 */
export async function rebootNode(node: NodeName): Promise<void> {
  await powerOff(node);
  await replaceNodeNetwork(node);
  await startNode(node);
}

/** A handle on the cluster that is up. @throws ClusterError NOT_UP */
export function openCluster(): Cluster {
  return { options: readState().options, api: new ApiClient() };
}

async function podRoutes(api: ApiClient): Promise<{ cidr: string; via: string }[]> {
  const nodes = await until(
    async () => {
      const { items } = await api.get<KubeList<Node>>('/api/v1/nodes');
      return items.length === nodeNames.length && items.every(({ spec }) => spec.podCIDRs?.length === 2) && items;
    },
    { what: 'both nodes to have pod CIDRs', deadlineMs: readyDeadlineMs, intervalMs: 100 },
  );
  return nodes.flatMap(({ metadata, spec }) => {
    const [ipv4, ipv6] = addressesOf(metadata.name as NodeName);
    return spec.podCIDRs!.map((cidr) => ({ cidr, via: cidr.includes(':') ? ipv6 : ipv4 }));
  });
}

/** Pod CIDRs of a node, IPv4 first. */
export async function podCidrsOf({ api }: Cluster, node: NodeName): Promise<readonly [string, string]> {
  const { spec } = await api.get<Node>(`/api/v1/nodes/${node}`);
  const [ipv4, ipv6] = [...(spec.podCIDRs ?? [])].sort((a, b) => Number(a.includes(':')) - Number(b.includes(':')));
  return [ipv4!, ipv6!];
}

/** Name -> whether its condition Ready is True. */
export async function nodeReadiness({ api }: Cluster): Promise<ReadonlyMap<string, boolean>> {
  const { items } = await api.get<KubeList<Node>>('/api/v1/nodes');
  return new Map(
    items.map(({ metadata, status }) => [
      metadata.name,
      status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false,
    ]),
  );
}

export async function nodesReady(cluster: Cluster, deadlineMs = readyDeadlineMs): Promise<void> {
  await until(
    async () => {
      const ready = await nodeReadiness(cluster);
      return ready.size === nodeNames.length && [...ready.values()].every(Boolean);
    },
    { what: 'both nodes to be Ready', deadlineMs, intervalMs: 200 },
  );
}

/** `kubectl rollout status`, with what the pods say when it does not come about. */
export async function rolloutDone(namespace: string, workload: string, deadlineMs = readyDeadlineMs): Promise<void> {
  const seconds = Math.ceil(deadlineMs / 1000);
  const { code, stdout, stderr } = await tryKubectl(
    ['rollout', 'status', '-n', namespace, workload, `--timeout=${seconds}s`],
    { timeoutMs: deadlineMs + 10_000 },
  );
  if (code === 0) return;
  const pods = await tryKubectl(['describe', 'pods', '-n', namespace]);
  throw new ClusterError(`${namespace}/${workload} is not rolled out: ${(stderr || stdout).trim()}\n${pods.stdout}`, {
    code: 'COMMAND_FAILED',
    command: 'kubectl rollout status',
  });
}

/** Ends everything and removes it, also what a crashed run left. */
export async function down(): Promise<void> {
  const lock = acquireLock(paths.lock);
  if (!lock.held)
    throw new ClusterError(`process ${lock.holderPid} is bringing a test cluster up or down`, {
      code: 'ALREADY_UP',
      ownerPid: lock.holderPid,
    });
  try {
    await removeAll();
  } finally {
    lock.release();
  }
}

async function removeAll(): Promise<void> {
  const state = readStateIfThere();
  // What runs in none of the cluster's namespaces (the prober) is known by the state alone.
  await endProcesses(Object.values(state?.processes ?? {}).filter(({ role }) => role === 'prober'));
  await Promise.all(nodeNames.map((node) => removeNode(node, state?.nodes[node])));
  await removeNetwork();
  fs.rmSync(clusterFolder, { recursive: true, force: true });
}

/** Logs of all parts, objects and each node's kernel state, into `folder`: for whoever reads a failed run. */
export async function collectLogs(folder: string): Promise<void> {
  fs.mkdirSync(folder, { recursive: true });
  const save = (name: string, text: string): void => fs.writeFileSync(path.join(folder, name), text);
  fs.cpSync(paths.logs, path.join(folder, 'parts'), { recursive: true });
  for (const what of ['nodes', 'pods', 'events', 'services', 'networkpolicies']) {
    const { stdout, stderr } = await tryKubectl(['get', what, '-A', '-o', 'wide']);
    save(`${what}.txt`, stdout + stderr);
  }
  const describe = await tryKubectl(['describe', 'nodes,pods', '-A']);
  save('describe.txt', describe.stdout + describe.stderr);
  const pods = await tryKubectl([
    'get',
    'pods',
    '-A',
    '-o',
    'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {end}',
  ]);
  for (const name of pods.stdout.split(' ').filter(Boolean)) {
    const [namespace, pod] = name.split('/') as [string, string];
    for (const previous of [[], ['--previous']]) {
      const logs = await tryKubectl(['logs', '-n', namespace, pod, '--all-containers', '--prefix', ...previous]);
      if (logs.code === 0) save(`pod-${namespace}-${pod}${previous.length > 0 ? '-previous' : ''}.log`, logs.stdout);
    }
  }
  for (const node of nodeNames) {
    for (const command of [
      'ip address',
      'ip route',
      'ip -6 route',
      'iptables-save -c',
      'ip6tables-save -c',
      'ls -lR /etc/cni /opt/cni',
    ]) {
      const { stdout, stderr } = await execOnNode(node, command.split(' '));
      save(`${node}-${command.replaceAll(/[ /-]+/g, '-')}.txt`, stdout + stderr);
    }
  }
}

/** Brings a cluster up, runs `use`, and takes it down whatever happens; logs of a failed run go into `$POPLINTEST_LOGS`. */
export async function withCluster(wanted: UpOptions, use: (cluster: Cluster) => Promise<void>): Promise<void> {
  let failed = true;
  let cluster: Cluster | undefined;
  try {
    cluster = await up(wanted);
    await use(cluster);
    failed = false;
  } finally {
    cluster?.api.close();
    const folder = process.env['POPLINTEST_LOGS'];
    if (failed && folder && readStateIfThere()) await collectLogs(folder);
    await down();
  }
}
