/** Network namespaces, links and addresses of a lab, by `ip -batch`; sysctls only inside the namespaces made here. */
import fs from 'node:fs';
import { exec, inNetns, openNetns, sysctlFiles } from '#sys';
import { LabError } from './errors.ts';
import { type LabPaths, machineNetns, netnsPath, netnsRoot } from './names.ts';
import type { Topology } from './topology.ts';

/** Runs `ip` commands in one process; within `netns` when given. @throws LabError COMMAND_FAILED */
export async function ipBatch(lines: readonly string[], netns?: string): Promise<void> {
  if (lines.length === 0) return;
  const args = [...(netns ? ['-n', netns] : []), '-batch', '-'];
  await must('ip', args, `${lines.join('\n')}\n`);
}

/** @returns stdout. @throws LabError COMMAND_FAILED with what the command said. */
export async function must(command: string, args: readonly string[], stdin = ''): Promise<string> {
  const { code, stdout, stderr } = await exec(command, args, { stdin });
  if (code !== 0) {
    const line = [command, ...args].join(' ');
    throw new LabError(`${line}: exit ${code}: ${stderr.trim() || stdout.trim()}`, {
      code: 'COMMAND_FAILED',
      command: line,
    });
  }
  return stdout;
}

/** Names of existing namespaces that begin with `prefix`. */
export function namespacesWith(prefix: string): string[] {
  if (!fs.existsSync(netnsRoot)) return [];
  return fs
    .readdirSync(netnsRoot)
    .filter((name) => name.startsWith(prefix))
    .sort();
}

export async function addNamespaces(names: readonly string[]): Promise<void> {
  await ipBatch(names.map((name) => `netns add ${name}`));
}

export async function deleteNamespaces(names: readonly string[]): Promise<void> {
  await ipBatch(names.filter((name) => fs.existsSync(netnsPath(name))).map((name) => `netns del ${name}`));
}

/** Writes sysctls (keys with slashes, below /proc/sys) inside a namespace; keys that do not exist there are left out. */
export function writeSysctls(netns: string, values: Readonly<Record<string, string>>): void {
  using namespace = openNetns(netnsPath(netns));
  const files = sysctlFiles();
  inNetns(namespace, () => {
    for (const [key, value] of Object.entries(values)) files.write(key, value);
  });
}

/**
 * `default` before the interfaces are made, so that they are born with it: an IPv6 interface that goes down keeps its addresses (it
 * would lose them), and there is no wait of 1 to 2 s for duplicate address detection.
 */
const everywhere = {
  'net/ipv6/conf/default/keep_addr_on_down': '1',
  'net/ipv6/conf/all/keep_addr_on_down': '1',
  'net/ipv6/conf/default/accept_dad': '0',
  'net/ipv6/conf/default/dad_transmits': '0',
  // Flows, not pairs of addresses, are spread over equal-cost paths: as switches do.
  'net/ipv4/fib_multipath_hash_policy': '1',
  'net/ipv6/fib_multipath_hash_policy': '1',
};
const forwarding = {
  'net/ipv4/ip_forward': '1',
  'net/ipv6/conf/all/forwarding': '1',
  'net/ipv6/conf/default/forwarding': '1',
  'net/ipv4/conf/all/rp_filter': '0',
  'net/ipv4/conf/default/rp_filter': '0',
};

/** Makes namespaces, links and addresses of every node, router and host. `loopbacks`: machine -> its own addresses. */
export async function buildNetwork(
  lab: LabPaths,
  topology: Topology,
  loopbacks: ReadonlyMap<string, readonly string[]>,
): Promise<void> {
  const machines = [...topology.nodes, ...topology.routers, ...topology.hosts].map(({ name }) => name);
  await addNamespaces(machines.map((name) => machineNetns(lab, name)));
  const routers = new Set(topology.routers.map(({ name }) => name));
  for (const name of machines) {
    writeSysctls(machineNetns(lab, name), routers.has(name) ? { ...everywhere, ...forwarding } : everywhere);
  }
  await ipBatch(
    topology.links.map(({ ends: [a, b] }) => {
      const side = (end: typeof a): string =>
        `${end.interfaceName} index ${end.index} netns ${machineNetns(lab, end.owner)}`;
      return `link add ${side(a)} type veth peer name ${side(b)}`;
    }),
  );
  await Promise.all(
    machines.map((name) => ipBatch(addressLines(topology, name, loopbacks.get(name) ?? []), machineNetns(lab, name))),
  );
  const hosts = new Set(topology.hosts.map(({ name }) => name));
  await Promise.all([...hosts].map((name) => ipBatch(defaultRouteLines(topology, name), machineNetns(lab, name))));
}

function addressLines(topology: Topology, machine: string, loopbacks: readonly string[]): string[] {
  const add = (address: string, length: number, device: string): string =>
    `addr add ${address}/${length} dev ${device}${address.includes(':') ? ' nodad' : ''}`;
  const lines = ['link set lo up'];
  for (const address of loopbacks) lines.push(add(address, address.includes(':') ? 128 : 32, 'lo'));
  for (const { ends } of topology.links) {
    for (const end of ends) {
      if (end.owner !== machine) continue;
      for (const { address, prefixLength } of end.addresses) lines.push(add(address, prefixLength, end.interfaceName));
      lines.push(`link set ${end.interfaceName} up`);
    }
  }
  return lines;
}

/** A host sends everything over its (first) link. */
function defaultRouteLines(topology: Topology, host: string): string[] {
  const link = topology.links.find(({ ends }) => ends.some((end) => end.owner === host));
  const peer = link?.ends.find((end) => end.owner !== host);
  return (peer?.addresses ?? []).map(
    ({ address, family }) => `route add ${family === 6 ? '::/0' : '0.0.0.0/0'} via ${address}`,
  );
}
