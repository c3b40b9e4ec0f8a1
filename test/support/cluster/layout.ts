/**
 * Names, addresses and options of a test cluster.
 *
 *        outside (192.0.2.10) ---- tor (10.255.0.253, BIRD)
 *                                   |
 *   node1 (10.255.0.1) ---+---------+---------+--- node2 (10.255.0.2)        each `::N` of fd00:255::/64 as well
 *                         |       wire        |
 *                         +--- bridge br0 ----+   10.255.0.254: etcd, API server, controller-manager, scheduler
 */
import os from 'node:os';
import path from 'node:path';

/** Who wants a second cluster beside the usual one gives it a name of its own, a few letters. */
const clusterName = `poplin-cluster${process.env['POPLINTEST_CLUSTER'] ?? ''}`;
/** Everything on disk: state, logs, etcd's data, certificates. Below /run, where sockets' paths stay short. */
export const clusterFolder = `/run/${clusterName}`;
export const netnsPrefix = `${clusterName}.`;
export const nodeNames = ['node1', 'node2'] as const;
export type NodeName = (typeof nodeNames)[number];
export type MachineName = NodeName | 'wire' | 'tor' | 'outside';
export const machineNames: readonly MachineName[] = ['wire', ...nodeNames, 'tor', 'outside'];

export type IpVersion = 4 | 6;

export interface ClusterOptions {
  /** Which family comes first for nodes, pods and services; both are always there. */
  readonly family: IpVersion;
  readonly proxyMode: 'iptables' | 'nftables';
  /** 2: built from the pinned modules; 1.6: Debian's. */
  readonly containerd: '2' | '1.6';
}
export const defaultOptions: ClusterOptions = { family: 4, proxyMode: 'iptables', containerd: '2' };

/** One address of each family, IPv4 first. */
export type Pair = readonly [ipv4: string, ipv6: string];

const hostNumbers: Readonly<Record<MachineName, string>> = {
  node1: '1',
  node2: '2',
  tor: '253',
  wire: '254',
  outside: '10',
};

/** Address on the segment between the nodes; of `outside`, its own behind the ToR router. */
export function addressesOf(machine: MachineName): Pair {
  const number = hostNumbers[machine];
  return machine === 'outside'
    ? [`192.0.2.${number}`, `2001:db8:2::${number}`]
    : [`10.255.0.${number}`, `fd00:255::${number}`];
}
/** The ToR router's address towards `outside`. */
export const torOutsideAddresses: Pair = ['192.0.2.1', '2001:db8:2::1'];

export const podCidrs: Pair = ['10.240.0.0/16', 'fd00:240::/48'];
export const serviceCidrs: Pair = ['10.96.0.0/16', 'fd00:96::/112'];
const dnsAddresses: Pair = ['10.96.0.10', 'fd00:96::a'];
export const serviceHosts: Pair = ['10.96.0.1', 'fd00:96::1'];
export const apiServerPort = 6443;

export function firstOf(pair: Pair, family: IpVersion): string {
  return pair[family === 4 ? 0 : 1];
}
/** Both, the first family first, as flags want them. */
export function inOrder([ipv4, ipv6]: Pair, family: IpVersion): string {
  return family === 4 ? `${ipv4},${ipv6}` : `${ipv6},${ipv4}`;
}
export function dnsAddress(family: IpVersion): string {
  return firstOf(dnsAddresses, family);
}
export function apiServerUrl(family: IpVersion): string {
  const host = firstOf(addressesOf('wire'), family);
  return `https://${host.includes(':') ? `[${host}]` : host}:${apiServerPort}`;
}

export function netnsOf(machine: MachineName): string {
  return netnsPrefix + machine;
}

const below = (...parts: readonly string[]): string => path.join(clusterFolder, ...parts);
export const paths = {
  state: below('state.json'),
  lock: `/run/${clusterName}.lock`,
  logs: below('logs'),
  pki: below('pki'),
  etcd: below('etcd'),
  home: below('home'),
  config: below('config'),
  adminKubeconfig: below('config', 'admin.kubeconfig'),
  proberSocket: below('prober.sock'),
} as const;

/** The (empty) folder on which a node mounts its root, in its own mount namespace. */
export function nodeMountPoint(node: NodeName): string {
  return below('nodes', node);
}

/** PATH of whatever the cluster runs; the caller's own is not handed in. */
export const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Cores that the machine has, so that what runs side by side is chosen to fit. */
export const cores = os.availableParallelism();
