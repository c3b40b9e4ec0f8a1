/**
 * A suite's cluster as network namespaces: nodes and one machine of externals on a bridge, pods behind their nodes as CNI wires them (a
 * /32 and a /128, the node as permanent neighbour). Addresses and routes are the suite's: nothing is allocated.
 *
 *   [pod] eth0 --veth-- pop… [node] up0 --veth-- br0 [fabric] --veth-- up0 [out]: every external's address
 */
import { FIRST_IF_NAME, hostInterfaceName } from '#cni';
import { familyOf, type IpAddress } from '#kit';
import {
  addNamespaces,
  deleteNamespaces,
  ipBatch,
  type LabPaths,
  machineNetns,
  namespacesWith,
  podNetns,
  writeSysctls,
} from '#lab';
import type { PodObject } from '#model';
import { isCompleted } from '../ends.ts';
import type { SuiteWorld } from '../world.ts';

const gatewayMac = '02:00:00:00:00:01';
const gateways = { 4: '169.254.1.1', 6: 'fe80::1' } as const;
const everywhere = { 'net/ipv6/conf/default/accept_dad': '0', 'net/ipv6/conf/all/accept_dad': '0' };
const forwarding = {
  'net/ipv4/ip_forward': '1',
  'net/ipv6/conf/all/forwarding': '1',
  'net/ipv6/conf/default/forwarding': '1',
  'net/ipv4/conf/all/rp_filter': '0',
  'net/ipv4/conf/default/rp_filter': '0',
};

/** A pod with a network of its own. */
export interface Wire {
  readonly id: string;
  readonly node: string;
  readonly netns: string;
  readonly interfaceName: string;
  readonly addresses: readonly IpAddress[];
}

/** Whether the kubelet would keep a sandbox for it, with an address. */
function isWired(pod: PodObject): boolean {
  return !pod.hostNetwork && !isCompleted(pod) && pod.podIPs.length > 0;
}

export function wiresOf(lab: LabPaths, world: SuiteWorld): Map<string, Wire> {
  const wires = [...world.pods]
    .filter(([, pod]) => isWired(pod))
    .map(([id, pod]): [string, Wire] => [
      id,
      {
        id,
        node: pod.nodeName,
        netns: podNetns(lab, pod.metadata),
        interfaceName: hostInterfaceName(id, FIRST_IF_NAME, 0),
        addresses: pod.podIPs,
      },
    ]);
  return new Map(wires);
}

export function sameWire(a: Wire, b: Wire): boolean {
  return a.node === b.node && a.addresses.join() === b.addresses.join();
}

const lengthOf = (address: string): number => (familyOf(address as IpAddress) === 4 ? 32 : 128);
const host = (address: string): string => `${address}/${lengthOf(address)}`;
const addressLine = (address: string, device: string): string =>
  `addr add ${host(address)} dev ${device}${address.includes(':') ? ' nodad' : ''}`;

/**
 * Of the machine of externals, while it has none: with the last IPv4 address of an interface the kernel takes all its routes. Nobody's (RFC 7600).
 */
const placeholder = '192.0.0.8';

/** Networks that no host can have an address of (RFC 6890), for externals that stand for a range. */
const unassignable = /^(0|127|22[4-9]|2[3-5]\d)\.|^(::1?$|ff)/i;

export class SuiteNetwork {
  readonly #lab: LabPaths;
  #nodes: ReadonlyMap<string, readonly string[]> = new Map();
  /** Addresses of externals that are there. */
  readonly #externals = new Set<string>();

  constructor(lab: LabPaths) {
    this.#lab = lab;
  }

  netns(machine: string): string {
    return machineNetns(this.#lab, machine);
  }

  /** An external that cannot be a host here: its connections are for evaluation alone. */
  hasExternal(address: string): boolean {
    return this.#externals.has(address);
  }

  /** Whether the machines are those of `world`. */
  fits(world: SuiteWorld): boolean {
    const wanted = [...world.nodes].map(([name, { internalIPs }]) => `${name} ${internalIPs.join()}`);
    return wanted.join('\n') === [...this.#nodes].map(([name, ips]) => `${name} ${ips.join()}`).join('\n');
  }

  /** Everything from nothing: nodes, bridge, the machine of externals. */
  async build(world: SuiteWorld): Promise<void> {
    await this.remove();
    this.#nodes = new Map([...world.nodes].map(([name, { internalIPs }]) => [name, internalIPs]));
    const machines = [...this.#nodes.keys(), 'out'];
    await addNamespaces([...machines, 'fabric'].map((name) => this.netns(name)));
    for (const name of [...machines, 'fabric']) writeSysctls(this.netns(name), everywhere);
    for (const name of this.#nodes.keys()) writeSysctls(this.netns(name), forwarding);
    await ipBatch(
      [
        'link add br0 type bridge',
        'link set br0 up',
        ...machines.flatMap((name, i) => [
          `link add m${i} type veth peer name up0 netns ${this.netns(name)}`,
          `link set m${i} master br0`,
          `link set m${i} up`,
        ]),
      ],
      this.netns('fabric'),
    );
    for (const name of machines) {
      const own = this.#nodes.get(name) ?? [placeholder];
      const others = [...this.#nodes].filter(([other]) => other !== name).flatMap(([, ips]) => ips);
      await ipBatch(
        [
          'link set lo up',
          'link set up0 up',
          ...own.map((address) => addressLine(address, 'up0')),
          ...others.map((address) => `route add ${host(address)} dev up0`),
        ],
        this.netns(name),
      );
    }
  }

  /** Takes away externals that `world` does not have; before its pods come, which may have their addresses. */
  async dropExternals(world: SuiteWorld): Promise<void> {
    const gone = [...this.#externals.difference(this.#externalsOf(world))];
    await ipBatch(
      gone.map((address) => `addr del ${host(address)} dev up0`),
      this.netns('out'),
    );
    for (const name of this.#nodes.keys()) {
      await ipBatch(
        gone.map((address) => `route del ${host(address)} dev up0`),
        this.netns(name),
      );
    }
    for (const address of gone) this.#externals.delete(address);
  }

  /** Makes those of `world` that are not there, as far as a host can have their addresses; after pods that had them went. */
  async addExternals(world: SuiteWorld): Promise<void> {
    const fresh = [...this.#externalsOf(world).difference(this.#externals)];
    await ipBatch(
      fresh.map((address) => addressLine(address, 'up0')),
      this.netns('out'),
    );
    for (const name of this.#nodes.keys()) {
      await ipBatch(
        fresh.map((address) => `route add ${host(address)} dev up0`),
        this.netns(name),
      );
    }
    for (const address of fresh) this.#externals.add(address);
  }

  #externalsOf(world: SuiteWorld): Set<string> {
    const taken = new Set<string>([...this.#nodes.values()].flat());
    for (const { podIPs } of world.pods.values()) for (const address of podIPs) taken.add(address);
    return new Set(
      [...world.externals.values()]
        .flatMap(({ ips }) => ips)
        .filter((address) => !unassignable.test(address) && !taken.has(address) && address !== gateways[4]),
    );
  }

  async wire(wires: readonly Wire[]): Promise<void> {
    if (wires.length === 0) return;
    await addNamespaces(wires.map(({ netns }) => netns));
    for (const { netns } of wires) writeSysctls(netns, everywhere);
    for (const [node, own] of Map.groupBy(wires, (wire) => wire.node)) {
      await ipBatch(
        own.flatMap(({ netns, interfaceName, addresses }) => [
          `link add ${interfaceName} address ${gatewayMac} type veth peer name eth0 netns ${netns}`,
          `addr add ${gateways[6]}/64 dev ${interfaceName} nodad`,
          `link set ${interfaceName} up`,
          ...addresses.map((address) => `route add ${host(address)} dev ${interfaceName}`),
        ]),
        this.netns(node),
      );
    }
    await Promise.all(wires.map(({ netns, addresses }) => ipBatch(podLines(addresses), netns)));
    await this.#remoteRoutes('add', wires);
  }

  async unwire(wires: readonly Wire[]): Promise<void> {
    if (wires.length === 0) return;
    for (const [node, own] of Map.groupBy(wires, (wire) => wire.node)) {
      await ipBatch(
        own.map(({ interfaceName }) => `link del ${interfaceName}`),
        this.netns(node),
      );
    }
    await deleteNamespaces(wires.map(({ netns }) => netns));
    await this.#remoteRoutes('del', wires);
  }

  /** To pods of other nodes by their node, from everywhere else. */
  async #remoteRoutes(verb: 'add' | 'del', wires: readonly Wire[]): Promise<void> {
    for (const machine of [...this.#nodes.keys(), 'out']) {
      const lines = wires
        .filter(({ node }) => node !== machine)
        .flatMap(({ node, addresses }) =>
          addresses.flatMap((address) => {
            const via = this.#nodes.get(node)?.find((ip) => lengthOf(ip) === lengthOf(address));
            return via === undefined ? [] : [`route ${verb} ${host(address)} via ${via} dev up0 onlink`];
          }),
        );
      await ipBatch(lines, this.netns(machine));
    }
  }

  /** Ends with nothing of the lab's left. */
  async remove(): Promise<void> {
    await deleteNamespaces(namespacesWith(this.#lab.netnsPrefix));
    this.#nodes = new Map();
    this.#externals.clear();
  }
}

function podLines(addresses: readonly string[]): string[] {
  const families = new Set(addresses.map((address) => familyOf(address as IpAddress)));
  const lines = ['link set lo up', ...addresses.map((address) => addressLine(address, 'eth0')), 'link set eth0 up'];
  if (families.has(4)) {
    lines.push(
      `route add ${gateways[4]} dev eth0 scope link`,
      `route add default via ${gateways[4]}`,
      `neigh add ${gateways[4]} lladdr ${gatewayMac} dev eth0 nud permanent`,
    );
  }
  if (families.has(6)) {
    lines.push(
      `route add default via ${gateways[6]} dev eth0`,
      `neigh add ${gateways[6]} lladdr ${gatewayMac} dev eth0 nud permanent`,
    );
  }
  return lines;
}
