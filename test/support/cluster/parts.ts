/**
 * The parts of the cluster that can be started and stopped each for itself, in any order. Each runs under a supervisor that starts
 * it again after a second when it ends by itself, as an init system does: a controller-manager gives up when there is no API
 * server yet, a kubelet when there is no containerd.
 */
import fs from 'node:fs';
import path from 'node:path';
import { isAlive, type LabProcess, startProcess } from '#lab';
import { until } from '../wait.ts';
import { containerdCommand } from './containerd.ts';
import {
  addressesOf,
  apiServerPort,
  type ClusterOptions,
  dnsAddress,
  firstOf,
  inOrder,
  type NodeName,
  netnsOf,
  nodeNames,
  paths,
  podCidrs,
  serviceCidrs,
  systemPath,
} from './layout.ts';
import { kill, nodePath, startOnNode } from './node.ts';
import { kubeconfigFile, pkiFiles } from './pki.ts';
import { readState, updateState } from './state.ts';
import { kubeBinary, setupTool } from './tools.ts';
import { torFiles } from './tor.ts';

export type ControlPart = 'etcd' | 'apiserver' | 'kcm' | 'scheduler';
export type NodePartName = 'containerd' | 'kubelet' | 'kube-proxy';
export type Part = ControlPart | 'bird' | `${NodePartName} ${NodeName}`;
export const controlParts: readonly ControlPart[] = ['etcd', 'apiserver', 'kcm', 'scheduler'];
export const allParts: readonly Part[] = [
  ...controlParts,
  'bird',
  ...nodeNames.flatMap((node) =>
    (['containerd', 'kubelet', 'kube-proxy'] as const).map((name): Part => `${name} ${node}`),
  ),
];

/** Then SIGKILL. An API server whose etcd is gone does not end by itself. */
const stopDeadlineMs = 5_000;
const supervisor =
  'trap "exit 0" TERM; while :; do "$@" & wait $!; echo "supervisor: $1 ended with $?, started again in 1 s" >&2; sleep 1; done';
const etcdUrl = 'http://127.0.0.1:2379';

function partOf(part: Part): { readonly name: string; readonly node: NodeName | undefined } {
  const [name, node] = part.split(' ');
  return { name: name!, node: node as NodeName | undefined };
}

export function logOf(part: Part): string {
  return path.join(paths.logs, `${part.replace(' ', '-')}.log`);
}

export function isRunning(part: Part): boolean {
  const running = readState().processes[part];
  return running !== undefined && isAlive(running);
}

/** Starts a part unless it runs. Returns at once: nothing here waits for it to be of use. */
export async function startPart(part: Part): Promise<void> {
  if (isRunning(part)) return;
  const { node } = partOf(part);
  const { options } = readState();
  const { command, env } = commandOf(part, options);
  const supervised = ['sh', '-c', supervisor, 'sh', ...command];
  let started: LabProcess;
  if (node) started = await startOnNode(node, part, supervised, logOf(part), env);
  else {
    const [first, ...args] = supervised;
    started = await startProcess({
      role: part,
      netns: netnsOf(part === 'bird' ? 'tor' : 'wire'),
      command: first!,
      args,
      logFile: logOf(part),
      env: { PATH: systemPath, HOME: paths.home, ...env },
    });
  }
  updateState((state) => ({ ...state, processes: { ...state.processes, [part]: started } }));
}

/** Ends a part (SIGTERM to its whole process group, SIGKILL after 5 s, or at once with `hard`) and returns when it is gone. */
export async function stopPart(part: Part, how: 'gently' | 'hard' = 'gently'): Promise<void> {
  const running = readState().processes[part];
  if (!running || !isAlive(running)) return;
  const group = processGroupOf(running.pid);
  const members = (): number[] => processesOfGroup(group);
  if (how === 'gently') {
    process.kill(-group, 'SIGTERM');
    const end = performance.now() + stopDeadlineMs;
    await until(() => members().length === 0 || performance.now() > end, {
      what: `${part} to end`,
      deadlineMs: 2 * stopDeadlineMs,
    });
  }
  if (members().length > 0) kill(-group);
  await until(() => members().length === 0, { what: `${part} to be gone` });
}

function statFields(pid: number | string): readonly string[] | undefined {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}

function processGroupOf(pid: number): number {
  const group = Number(statFields(pid)?.[2]);
  // A group that were ours would end ourselves; every part is started as the leader of its own session.
  if (!Number.isInteger(group) || group <= 1) throw new Error(`process ${pid} has no process group`);
  return group;
}

/** Live members (no zombies). */
function processesOfGroup(group: number): number[] {
  return fs
    .readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => {
      const fields = statFields(pid);
      return fields && Number(fields[2]) === group && fields[0] !== 'Z';
    })
    .map(Number);
}

interface Command {
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

function commandOf(part: Part, options: ClusterOptions): Command {
  const { name, node } = partOf(part);
  switch (name as ControlPart | 'bird' | NodePartName) {
    case 'etcd':
      return { command: etcd() };
    case 'apiserver':
      return { command: apiServer(options) };
    case 'kcm':
      return { command: controllerManager(options) };
    case 'scheduler':
      return { command: [kubeBinary('kube-scheduler'), ...asUser('scheduler')] };
    case 'bird':
      return { command: [setupTool('bird'), '-f', '-c', torFiles.config, '-s', torFiles.control] };
    case 'containerd':
      return containerdCommand(node!, options);
    case 'kubelet':
      return { command: kubelet(node!, options) };
    case 'kube-proxy':
      return { command: kubeProxy(node!, options) };
  }
}

function etcd(): readonly string[] {
  return [
    kubeBinary('etcd'),
    `--data-dir=${paths.etcd}`,
    `--listen-client-urls=${etcdUrl}`,
    `--advertise-client-urls=${etcdUrl}`,
    '--listen-peer-urls=http://127.0.0.1:2380',
    '--unsafe-no-fsync',
    '--log-level=warn',
  ];
}

function apiServer({ family }: ClusterOptions): readonly string[] {
  return [
    kubeBinary('kube-apiserver'),
    `--etcd-servers=${etcdUrl}`,
    '--bind-address=::',
    `--advertise-address=${firstOf(addressesOf('wire'), family)}`,
    `--secure-port=${apiServerPort}`,
    `--tls-cert-file=${pkiFiles.server}`,
    `--tls-private-key-file=${pkiFiles.serverKey}`,
    `--client-ca-file=${pkiFiles.ca}`,
    `--token-auth-file=${pkiFiles.tokens}`,
    '--authorization-mode=Node,RBAC',
    '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
    `--service-account-key-file=${pkiFiles.serviceAccountPublicKey}`,
    `--service-account-signing-key-file=${pkiFiles.serviceAccountKey}`,
    `--service-cluster-ip-range=${inOrder(serviceCidrs, family)}`,
    '--allow-privileged=true',
    '--kubelet-preferred-address-types=InternalIP',
  ];
}

function asUser(name: string): readonly string[] {
  const file = kubeconfigFile(name);
  return [
    ...['kubeconfig', 'authentication-kubeconfig', 'authorization-kubeconfig'].map((flag) => `--${flag}=${file}`),
    '--leader-elect=false',
    '--bind-address=127.0.0.1',
  ];
}

function controllerManager({ family }: ClusterOptions): readonly string[] {
  return [
    kubeBinary('kube-controller-manager'),
    ...asUser('kcm'),
    `--service-account-private-key-file=${pkiFiles.serviceAccountKey}`,
    `--root-ca-file=${pkiFiles.ca}`,
    '--use-service-account-credentials=true',
    '--allocate-node-cidrs=true',
    `--cluster-cidr=${inOrder(podCidrs, family)}`,
    '--node-cidr-mask-size-ipv4=24',
    '--node-cidr-mask-size-ipv6=64',
    `--service-cluster-ip-range=${inOrder(serviceCidrs, family)}`,
  ];
}

function writeOnNode(node: NodeName, file: string, text: string): string {
  const target = nodePath(node, file);
  fs.mkdirSync(path.dirname(target), { recursive: true });
  fs.writeFileSync(target, text, { mode: 0o600 });
  return file;
}

function kubelet(node: NodeName, { family }: ClusterOptions): readonly string[] {
  const config = {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: 'AlwaysAllow' },
    cgroupDriver: 'cgroupfs',
    failCgroupV1: false,
    failSwapOn: false,
    enforceNodeAllocatable: [],
    localStorageCapacityIsolation: false,
    resolvConf: '',
    clusterDNS: [dnsAddress(family)],
    clusterDomain: 'cluster.local',
    imageGCHighThresholdPercent: 100,
    evictionHard: { 'memory.available': '100Mi' },
    oomScoreAdj: 0,
    containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
    volumePluginDir: '/var/lib/kubelet/volume-plugins',
    staticPodPath: '/etc/kubernetes/manifests',
    // A quarter of the default: pods come and go by the hundred in a run.
    syncFrequency: '15s',
    // What a test kills again and again comes back in seconds, not in minutes.
    crashLoopBackOff: { maxContainerRestartPeriod: '2s' },
  };
  fs.mkdirSync(nodePath(node, '/etc/kubernetes/manifests'), { recursive: true });
  return [
    kubeBinary('kubelet'),
    `--config=${writeOnNode(node, '/etc/kubernetes/kubelet.json', JSON.stringify(config))}`,
    `--kubeconfig=${writeOnNode(node, '/etc/kubernetes/kubelet.kubeconfig', fs.readFileSync(kubeconfigFile(node), 'utf8'))}`,
    `--hostname-override=${node}`,
    `--node-ip=${inOrder(addressesOf(node), family)}`,
    '--housekeeping-interval=30s',
    '--v=2',
  ];
}

function kubeProxy(node: NodeName, { family, proxyMode }: ClusterOptions): readonly string[] {
  const kubeconfig = writeOnNode(
    node,
    '/etc/kubernetes/kube-proxy.kubeconfig',
    fs.readFileSync(kubeconfigFile('kube-proxy'), 'utf8'),
  );
  const config = {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode: proxyMode,
    clientConnection: { kubeconfig },
    clusterCIDR: inOrder(podCidrs, family),
    // The table's size is the machine's, not the namespace's.
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
    oomScoreAdj: 0,
  };
  return [
    kubeBinary('kube-proxy'),
    `--config=${writeOnNode(node, '/etc/kubernetes/kube-proxy.json', JSON.stringify(config))}`,
    `--hostname-override=${node}`,
  ];
}
