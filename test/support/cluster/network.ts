/** The namespaces and links of the cluster, as drawn in layout.ts. */
import { addNamespaces, deleteNamespaces, ipBatch, namespacesWith, processesIn, writeSysctls } from '#lab';
import { until } from '../wait.ts';
import {
  addressesOf,
  type MachineName,
  type NodeName,
  netnsOf,
  netnsPrefix,
  nodeNames,
  type Pair,
  torOutsideAddresses,
} from './layout.ts';

/** Interfaces with different numbers at their two ends: equal ones delay the news of a lost carrier by a second. */
const firstIndex = 100;

const router = {
  'net/ipv4/ip_forward': '1',
  'net/ipv6/conf/all/forwarding': '1',
  'net/ipv4/conf/all/rp_filter': '0',
  'net/ipv4/conf/default/rp_filter': '0',
};
/** Where the control plane lives: forwards nothing, so that no agent leans on it. */
const noRouter = { 'net/ipv4/ip_forward': '0', 'net/ipv6/conf/all/forwarding': '0' };
const everywhere = { 'net/ipv6/conf/default/accept_dad': '0', 'net/ipv6/conf/default/dad_transmits': '0' };

const addressLines = ([ipv4, ipv6]: Pair, device: string): string[] => [
  `addr add ${ipv4}/24 dev ${device}`,
  `addr add ${ipv6}/64 dev ${device} nodad`,
  `link set ${device} up`,
];
const defaultLines = ([ipv4, ipv6]: Pair): string[] => [`route add default via ${ipv4}`, `route add ::/0 via ${ipv6}`];

const onSegment: readonly MachineName[] = [...nodeNames, 'tor'];

export async function buildNetwork(): Promise<void> {
  await addNamespaces([netnsOf('wire'), netnsOf('outside')]);
  for (const machine of ['wire', 'outside'] as const) writeSysctls(netnsOf(machine), { ...everywhere, ...noRouter });
  await ipBatch(
    ['link add br0 type bridge', ...addressLines(addressesOf('wire'), 'br0'), 'link set lo up'],
    netnsOf('wire'),
  );
  for (const machine of onSegment) await attachMachine(machine);
  await ipBatch([
    `link add eth1 index ${firstIndex + 20} netns ${netnsOf('tor')} type veth peer name eth0 index ${firstIndex} netns ${netnsOf('outside')}`,
  ]);
  await ipBatch(addressLines(torOutsideAddresses, 'eth1'), netnsOf('tor'));
  await ipBatch(
    ['link set lo up', ...addressLines(addressesOf('outside'), 'eth0'), ...defaultLines(torOutsideAddresses)],
    netnsOf('outside'),
  );
  // Only for what is behind the ToR router: pods are reached by the routes of `routeToPods`.
  await ipBatch(
    [
      `route add ${torOutsideAddresses[0].replace(/\.\d+$/, '.0')}/24 via ${addressesOf('tor')[0]}`,
      `route add ${torOutsideAddresses[1].replace(/::.*$/, '::')}/64 via ${addressesOf('tor')[1]}`,
    ],
    netnsOf('wire'),
  );
}

/** Makes the namespace of a node (as its kernel has it right after it booted) or of the router, with its link to the segment. */
async function attachMachine(machine: MachineName): Promise<void> {
  const [own, wire] = [netnsOf(machine), netnsOf('wire')];
  const i = onSegment.indexOf(machine);
  await addNamespaces([own]);
  writeSysctls(own, { ...everywhere, ...(machine === 'tor' ? router : noRouter) });
  await ipBatch([
    `link add to-${machine} index ${firstIndex + 10 + i} netns ${wire} type veth peer name eth0 index ${firstIndex + i} netns ${own}`,
  ]);
  await ipBatch([`link set to-${machine} master br0`, `link set to-${machine} up`], wire);
  const routes = machine === 'tor' ? [] : defaultLines(addressesOf('tor'));
  // Its own for ever, as a network card's: the others know their neighbour again after it was rebooted.
  const mac = `link set eth0 address 02:00:00:00:ff:0${i + 1}`;
  await ipBatch(['link set lo up', mac, ...addressLines(addressesOf(machine), 'eth0'), ...routes], own);
}

/** A node's network anew: no rule, route or setting of before is left. Nothing may run in the node. */
export async function replaceNodeNetwork(node: NodeName): Promise<void> {
  // The link first, and by us: a namespace lives on, and holds it, for as long as the kernel still sends the FIN of a connection to a peer
  // that does not answer (a minute), as one to the other node is that was cut off before.
  await ipBatch([`link del to-${node}`], netnsOf('wire'));
  await deleteNamespaces([netnsOf(node)]);
  await attachMachine(node);
}

/** The API server proxies to pods: its namespace gets routes to the nodes' pod CIDRs, which nodes do not get from us. */
export async function routeToPods(routes: readonly { readonly cidr: string; readonly via: string }[]): Promise<void> {
  await ipBatch(
    routes.map(({ cidr, via }) => `route replace ${cidr} via ${via}`),
    netnsOf('wire'),
  );
}

/** Ends every process in the cluster's namespaces (its pods' aside, whose namespaces are the nodes' own) and removes them. */
export async function removeNetwork(): Promise<void> {
  const names = namespacesWith(netnsPrefix);
  await until(
    () => {
      const left = processesIn(names);
      for (const { pid } of left) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
        }
      }
      return left.length === 0;
    },
    { what: 'the processes in the cluster to end', deadlineMs: 20_000 },
  );
  await deleteNamespaces(names);
}
