/**
 * Which addresses of this machine are the node's: where BGP sessions between nodes start, and its BGP identifier. Pure; each
 * family for itself.
 *
 *   1 option nodeIpv4, nodeIpv6        the operator's word: taken as it is
 *   2 annotation of the Node           Calico's, also the operator's word, but one that outlives a change of address
 *   3 InternalIP of the Node           what everybody else in the cluster knows the node by
 *   4 source of the route to the API server, which is the network that the cluster is on
 *   5 the interface of the default route, then the others in order of their index
 *
 * 2 and 3 must be addresses of this machine. An InternalIP that is none (a cloud's 1:1 NAT) is taken only where nothing else is
 * left. From 4 on the choice is ours, and addresses that many machines share or that move are left out: bridges, tunnels, pods'
 * interfaces, dummies, loopback, and virtual addresses beside a real one. Whatever is not chosen is named with the reason.
 */
import { filter } from '#bgp';
import { familyOf, type IpAddress, type IpFamily } from '#kit';
import type { NodeObject } from '#model';
import type { Issue } from './bgp/issue.ts';
import { annotatedAddress, annotation } from './bgp/nodes.ts';

export interface MachineLink {
  readonly index: number;
  readonly name: string;
  /** `bridge`, `veth`, `wireguard` ...; empty for physical ones and loopback. */
  readonly kind: string;
  readonly up: boolean;
  readonly carrier: boolean;
  /** Index of the bridge, bond or VRF that it is a port of; 0 for none. */
  readonly masterIndex: number;
}

export interface MachineAddress {
  readonly family: IpFamily;
  readonly address: IpAddress;
  readonly prefixLength: number;
  readonly ifIndex: number;
  /** Loopback, or valid on its link only. */
  readonly scope: 'global' | 'link' | 'host';
  /** IPv4: beside another of its subnet. */
  readonly secondary: boolean;
  /** IPv6 privacy address (RFC 8981). */
  readonly temporary: boolean;
  readonly deprecated: boolean;
  /** Duplicate address detection runs or has failed. */
  readonly tentative: boolean;
  /** Has a lifetime: DHCP or router advertisements gave it. */
  readonly dynamic: boolean;
}

/** What the kernel would do with a packet. */
export interface MachineRoute {
  readonly ifIndex: number;
  readonly source?: IpAddress;
}

export interface NodeAddressInput {
  readonly node: NodeObject;
  readonly options: { readonly ipv4?: IpAddress | undefined; readonly ipv6?: IpAddress | undefined };
  /** Name patterns, from BGPConfiguration. */
  readonly ignoredInterfaces: readonly string[];
  readonly links: readonly MachineLink[];
  readonly addresses: readonly MachineAddress[];
  /** To the API server, in the family of its address. */
  readonly apiServer?: { readonly address: IpAddress; readonly route: MachineRoute | undefined } | undefined;
  readonly defaultRoutes: Partial<Record<IpFamily, MachineRoute | undefined>>;
}

export type AddressSource =
  | 'option'
  | 'annotation'
  | 'InternalIP'
  | 'route to the API server'
  | 'default route'
  | 'first address';

export interface NodeAddress {
  readonly address: IpAddress;
  readonly source: AddressSource;
  /** Empty: not an address of this machine. */
  readonly interfaceName: string;
}

export interface RejectedAddress {
  readonly address: IpAddress;
  /** Empty: not an address of this machine. */
  readonly interfaceName: string;
  readonly reason: string;
}

export interface NodeAddressResult {
  readonly ipv4?: NodeAddress;
  readonly ipv6?: NodeAddress;
  readonly rejected: readonly RejectedAddress[];
  readonly issues: readonly Issue[];
}

export function nodeAddresses(input: NodeAddressInput): NodeAddressResult {
  const issues: Issue[] = [];
  const four = new Detection(4, input, issues);
  const six = new Detection(6, input, issues);
  const ipv4 = four.run();
  const ipv6 = six.run();
  const rejected = [...four.rejected.values(), ...six.rejected.values()];
  if (!ipv4 && !ipv6) {
    const named = rejected.map((r) => `${r.address}${r.interfaceName && ` on ${r.interfaceName}`}: ${r.reason}`);
    const found = named.length === 0 ? 'the machine has no address' : named.join('; ');
    const message = `no address for BGP (${found}); set --node-ipv4 or --node-ipv6, or the annotation ${annotation.ipv4}`;
    issues.push({ object: object(input), field: 'status.addresses', message, effect: 'waiting' });
  }
  return { ...(ipv4 ? { ipv4 } : {}), ...(ipv6 ? { ipv6 } : {}), rejected, issues };
}

/** Kinds of links whose addresses are never the node's, unless it is said. */
const tunnelKinds = new Set(
  'ipip sit gre gretap ip6gre ip6gretap ip6tnl vti vti6 erspan ip6erspan vxlan geneve wireguard tun xfrm amt bareudp gtp nlmon vcan ifb'.split(
    ' ',
  ),
);
/** Interfaces of pods, services and containers: not even an InternalIP is right there. */
const neverNames: readonly (readonly [name: RegExp, what: string])[] = [
  [/^(pop|cali)/, "a pod's interface"],
  [/^kube-ipvs/, 'the interface of Service addresses'],
  [/^nodelocaldns/, 'the interface of NodeLocal DNSCache'],
  [/^(docker\d|cni\d|cni-podman|podman\d|lxdbr|lxcbr|kube-bridge)/, 'a bridge of containers'],
  [/^br-[0-9a-f]{12}$/, 'a bridge of containers'],
  [/^virbr/, 'a bridge of virtual machines'],
];
/** Left alone unless it is said. */
const guessNames: readonly (readonly [name: RegExp, what: string])[] = [
  [/^(veth|lxc|azv|eni[0-9a-f]|gke[0-9a-f])/, "a container's interface, by its name"],
  [/^(tunl|wg|tun|tap|flannel|cilium|vxlan|tailscale|zt|weave|sit\d|gre\d|ip6tnl)/, 'a tunnel, by its name'],
];

class Detection {
  readonly rejected = new Map<string, RejectedAddress>();
  readonly #family: IpFamily;
  readonly #input: NodeAddressInput;
  readonly #issues: Issue[];
  readonly #links: ReadonlyMap<number, MachineLink>;
  readonly #addresses: readonly MachineAddress[];
  /** Without what every machine and interface has, and nobody would look for: loopback and IPv6 link-local addresses. */
  readonly #candidates: readonly MachineAddress[];

  constructor(family: IpFamily, input: NodeAddressInput, issues: Issue[]) {
    this.#family = family;
    this.#input = input;
    this.#issues = issues;
    this.#links = new Map(input.links.map((link) => [link.index, link]));
    this.#addresses = input.addresses.filter((address) => address.family === family);
    const everywhere = ({ scope }: MachineAddress): boolean => scope === 'host' || (scope === 'link' && family === 6);
    this.#candidates = this.#addresses.filter((address) => !everywhere(address));
  }

  run(): NodeAddress | undefined {
    const found = this.#option() ?? this.#annotated() ?? this.#internalIP() ?? this.#byRoute() ?? this.#first();
    const chosen = found ?? this.#foreignInternalIP();
    this.#explainRest(chosen);
    if (chosen) this.#compareWithNode(chosen);
    return chosen;
  }

  #option(): NodeAddress | undefined {
    const address = this.#family === 4 ? this.#input.options.ipv4 : this.#input.options.ipv6;
    if (address === undefined) return undefined;
    const local = this.#local(address);
    if (!local) {
      const flag = `--node-ipv${this.#family}`;
      this.#issue('', `${flag} ${address} is not an address of this machine; sessions from it fail until it is`);
    }
    return this.#choose(address, 'option', local);
  }

  #annotated(): NodeAddress | undefined {
    const address = annotatedAddress(this.#input.node, this.#family);
    if (address === undefined) return undefined;
    const local = this.#local(address);
    if (local && this.#isWhole(local)) return this.#choose(address, 'annotation', local);
    if (!local) this.#reject(address, undefined, notLocal);
    const key = this.#family === 4 ? annotation.ipv4 : annotation.ipv6;
    const { reason } = this.rejected.get(address)!;
    const message = `${address}: ${reason}; it is not used here, though other nodes go by it: correct or remove the annotation`;
    this.#issue(`metadata.annotations[${key}]`, message);
    return undefined;
  }

  #internalIP(): NodeAddress | undefined {
    for (const address of this.#internalIPs()) {
      const local = this.#local(address);
      if (!local) this.#reject(address, undefined, notLocal);
      else if (this.#isWhole(local) && this.#mayBeSaid(local)) return this.#choose(address, 'InternalIP', local);
    }
    return undefined;
  }

  /** A 1:1 NAT, perhaps: better than nothing, and what the other nodes know. */
  #foreignInternalIP(): NodeAddress | undefined {
    const address = this.#internalIPs().find((each) => this.#local(each) === undefined);
    if (address === undefined) return undefined;
    this.rejected.delete(address);
    const message = `InternalIP ${address} is not an address of this machine, and there is no other; sessions that start from it fail until it is`;
    this.#issue('status.addresses', message);
    return this.#choose(address, 'InternalIP', undefined);
  }

  #byRoute(): NodeAddress | undefined {
    const { apiServer, defaultRoutes } = this.#input;
    const toApi = apiServer && familyOf(apiServer.address) === this.#family ? apiServer.route : undefined;
    const byApi = toApi && this.#atRoute(toApi, 'route to the API server');
    const byDefault = defaultRoutes[this.#family];
    return byApi ?? (byDefault && this.#atRoute(byDefault, 'default route'));
  }

  /**
   * The source that the kernel chose, else any address there. A bridge with an uplink in it is the machine's own way out; a source on
   * loopback is what nodes without addresses on their uplinks have.
   */
  #atRoute(route: MachineRoute, source: AddressSource): NodeAddress | undefined {
    const chosen = this.#candidates.find(({ address }) => address === route.source);
    const there = this.#candidates.filter((local) => local.ifIndex === route.ifIndex && local !== chosen);
    if (chosen) {
      const chosenSource = chosen.ifIndex !== route.ifIndex;
      if (this.#mayBeGuessed(chosen, { uplinkBridge: true, chosenSource }))
        return this.#choose(chosen.address, source, chosen);
    }
    const local = there.find((each) => this.#mayBeGuessed(each, { uplinkBridge: true }));
    return local && this.#choose(local.address, source, local);
  }

  #first(): NodeAddress | undefined {
    const ordered = this.#candidates.toSorted((a, b) => a.ifIndex - b.ifIndex);
    const local = ordered.find((address) => this.#mayBeGuessed(address));
    return local && this.#choose(local.address, 'first address', local);
  }

  /** Usable at all, wherever it is. */
  #isWhole(local: MachineAddress): boolean {
    if (local.scope === 'host') return this.#reject(local.address, local, 'a loopback address');
    if (local.scope === 'link') return this.#reject(local.address, local, 'link-local');
    if (local.tentative) return this.#reject(local.address, local, 'duplicate address detection runs or has failed');
    return true;
  }

  /** Where somebody said it: only what is certainly somebody else's is refused. */
  #mayBeSaid(local: MachineAddress): boolean {
    const link = this.#link(local);
    for (const pattern of this.#input.ignoredInterfaces) {
      if (!filter.namePattern(pattern)(link.name)) continue;
      return this.#reject(local.address, local, `ignoredInterfaces of BGPConfiguration names it (${pattern})`);
    }
    const never = neverNames.find(([name]) => name.test(link.name));
    return never ? this.#reject(local.address, local, never[1]) : true;
  }

  #mayBeGuessed(
    local: MachineAddress,
    allowed: { readonly uplinkBridge?: boolean; readonly chosenSource?: boolean } = {},
  ): boolean {
    if (!this.#isWhole(local) || !this.#mayBeSaid(local)) return false;
    const link = this.#link(local);
    const no = (reason: string): boolean => this.#reject(local.address, local, reason);
    if (link.name === 'lo' && !allowed.chosenSource)
      return no('on loopback: a virtual address, unless it is named by annotation or option');
    if (link.kind === 'bridge' && !(allowed.uplinkBridge && this.#hasUplink(link))) return no('a bridge');
    if (tunnelKinds.has(link.kind)) return no(`a tunnel (${link.kind})`);
    const named = guessNames.find(([name]) => name.test(link.name));
    if (named) return no(named[1]);
    if (link.kind === 'dummy' && !allowed.chosenSource)
      return no('a dummy interface: many machines may have the address');
    if (!link.up) return no('the interface is down');
    if (!link.carrier) return no('the interface has no carrier');
    if (local.deprecated) return no('deprecated');
    if (local.temporary) return no('temporary (privacy address)');
    if (local.secondary) return no('secondary: a virtual address beside another of its subnet');
    if (this.#isVirtual(local)) return no('a host address beside a subnet address: a virtual address');
    return true;
  }

  /** What keepalived and kube-vip put on an interface. DHCPv6 gives host addresses too, but with a lifetime. */
  #isVirtual(local: MachineAddress): boolean {
    const whole = this.#family === 4 ? 32 : 128;
    if (local.prefixLength !== whole || local.dynamic) return false;
    return this.#addresses.some(
      (other) => other.ifIndex === local.ifIndex && other.prefixLength < whole && other.scope === 'global',
    );
  }
  #hasUplink(bridge: MachineLink): boolean {
    const uplinks = ['', 'bond', 'team', 'vlan'];
    return this.#input.links.some((link) => link.masterIndex === bridge.index && uplinks.includes(link.kind));
  }

  #explainRest(chosen: NodeAddress | undefined): void {
    for (const local of this.#candidates) {
      if (local.address === chosen?.address || this.rejected.has(local.address)) continue;
      const fits = this.#mayBeGuessed(local, { uplinkBridge: true });
      if (fits && chosen) this.#reject(local.address, local, `usable; ${chosen.address} goes first (${chosen.source})`);
    }
  }

  /** Other nodes dial what the Node object says. */
  #compareWithNode(chosen: NodeAddress): void {
    const known = annotatedAddress(this.#input.node, this.#family) ?? this.#internalIPs()[0];
    if (known === chosen.address) return;
    // A second family that the cluster does not use.
    if (known === undefined && this.#input.node.internalIPs.length > 0) return;
    const key = this.#family === 4 ? annotation.ipv4 : annotation.ipv6;
    const message =
      known === undefined
        ? `this node uses ${chosen.address} (${chosen.source}), which the Node object does not name: other nodes have no IPv${this.#family} sessions to it; annotate it with ${key}=${chosen.address}`
        : `this node uses ${chosen.address} (${chosen.source}), and other nodes know it by ${known}: their sessions fail; annotate it with ${key}=${chosen.address}`;
    this.#issue('status.addresses', message);
  }

  #choose(address: IpAddress, source: AddressSource, local: MachineAddress | undefined): NodeAddress {
    this.rejected.delete(address);
    return { address, source, interfaceName: local ? this.#link(local).name : '' };
  }
  #reject(address: IpAddress, local: MachineAddress | undefined, reason: string): false {
    const interfaceName = local ? this.#link(local).name : '';
    if (!this.rejected.has(address)) this.rejected.set(address, { address, interfaceName, reason });
    return false;
  }
  #issue(field: string, message: string): void {
    this.#issues.push({ object: object(this.#input), field, message, effect: 'partial' });
  }
  #local(address: IpAddress): MachineAddress | undefined {
    return this.#addresses.find((local) => local.address === address);
  }
  #internalIPs(): readonly IpAddress[] {
    return this.#input.node.internalIPs.filter((address) => familyOf(address) === this.#family);
  }
  #link({ ifIndex }: MachineAddress): MachineLink {
    const gone = { index: ifIndex, name: `#${ifIndex}`, kind: '', up: false, carrier: false, masterIndex: 0 };
    return this.#links.get(ifIndex) ?? gone;
  }
}

const notLocal = 'not an address of this machine';

function object({ node }: NodeAddressInput): { readonly kind: 'Node'; readonly name: string } {
  return { kind: 'Node', name: node.metadata.name };
}
