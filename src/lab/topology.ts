/**
 * The topology document: what there is besides what ordinary manifests say.
 *
 *     apiVersion: lab.poplin.dev/v1
 *     kind: Topology
 *     metadata: { name: two-racks }
 *     spec:
 *       nodes:                                  # each needs a Node object of that name
 *         - name: node1
 *           ports: [{ protocol: TCP, port: 10250 }]      # optional: served on the node's own addresses
 *       routers:
 *         - { name: tor1, daemon: bird, asn: 65001, loopbacks: [10.255.0.1, "fd00:255::1"], nodeRoutes: default }
 *       hosts:
 *         - { name: outside, ports: [{ protocol: TCP, port: 80 }] }
 *       links:                                  # the first end gets the first address of each subnet, the other the second
 *         - { ends: [tor1, node1], subnets: [172.16.11.0/30, "fd00:11::/64"] }
 *
 * Router to router and router to node links carry an eBGP session each; a host has its default route over its link.
 */
import { type Cidr, cidrContains, formatIp, type IpAddress, type IpFamily, parseCidr, toCidr, toIpAddress } from '#kit';
import type { Manifest } from './documents.ts';

export interface ServedPort {
  readonly protocol: 'TCP' | 'UDP';
  readonly port: number;
}
export interface TopologyNode {
  readonly name: string;
  readonly ports: readonly ServedPort[];
}
export interface TopologyRouter {
  readonly name: string;
  readonly daemon: 'bird';
  readonly asn: number;
  readonly loopbacks: readonly IpAddress[];
  /** What nodes hear from it: a default route only (as racks do), or everything it knows. */
  readonly nodeRoutes: 'default' | 'all';
}
export interface TopologyHost {
  readonly name: string;
  readonly ports: readonly ServedPort[];
}
export interface LinkEnd {
  readonly owner: string;
  /** Interface name, `to-PEER`. */
  readonly interfaceName: string;
  /** Interface index. The two ends of a link differ: with equal ones the kernel reports loss of carrier 300 times slower. */
  readonly index: number;
  /** One per subnet of the link. */
  readonly addresses: readonly {
    readonly address: IpAddress;
    readonly family: IpFamily;
    readonly prefixLength: number;
  }[];
}
export interface TopologyLink {
  readonly ends: readonly [LinkEnd, LinkEnd];
  readonly subnets: readonly Cidr[];
}
export interface Topology {
  readonly name: string;
  readonly nodes: readonly TopologyNode[];
  readonly routers: readonly TopologyRouter[];
  readonly hosts: readonly TopologyHost[];
  readonly links: readonly TopologyLink[];
}

const nameMaxLength = 12; // "to-" + name must fit into the 15 characters of an interface name
const firstLinkIndex = 100;

type Path = readonly (string | number)[];

/** Collects problems with their lines; every reader returns something usable so that one pass finds them all. */
class Reader {
  readonly problems: string[] = [];
  readonly #manifest: Manifest;
  constructor(manifest: Manifest) {
    this.#manifest = manifest;
  }
  bad(path: Path, what: string): void {
    const where = path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${part}`)).join('');
    this.problems.push(
      `${this.#manifest.file}:${this.#manifest.lineOf(path)}: Topology ${this.#manifest.name}: ${where.slice(1)}: ${what}`,
    );
  }
  record(value: unknown, path: Path, known: readonly string[]): Readonly<Record<string, unknown>> {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      this.bad(path, 'a mapping is wanted');
      return {};
    }
    for (const key of Object.keys(value)) {
      if (!known.includes(key)) this.bad([...path, key], `unknown field; there are: ${known.join(', ')}`);
    }
    return value as Record<string, unknown>;
  }
  list(value: unknown, path: Path): readonly unknown[] {
    if (value === undefined || value === null) return [];
    if (Array.isArray(value)) return value;
    this.bad(path, 'a list is wanted');
    return [];
  }
  name(value: unknown, path: Path): string {
    if (typeof value === 'string' && value.length <= nameMaxLength && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(value))
      return value;
    this.bad(path, `${JSON.stringify(value)} is no name (1 to ${nameMaxLength} of a-z, 0-9 and -)`);
    return '';
  }
  integer(value: unknown, path: Path, min: number, max: number): number {
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
    this.bad(path, `${JSON.stringify(value)} is not a whole number from ${min} to ${max}`);
    return min;
  }
  oneOf<T extends string>(value: unknown, path: Path, allowed: readonly T[], fallback: T): T {
    if (value === undefined) return fallback;
    if (allowed.includes(value as T)) return value as T;
    this.bad(path, `${JSON.stringify(value)}; there are: ${allowed.join(', ')}`);
    return fallback;
  }
  ports(value: unknown, path: Path): ServedPort[] {
    return this.list(value, path).map((item, i) => {
      const at = [...path, i];
      const record = this.record(item, at, ['protocol', 'port']);
      return {
        protocol: this.oneOf(record['protocol'], [...at, 'protocol'], ['TCP', 'UDP'], 'TCP'),
        port: this.integer(record['port'], [...at, 'port'], 1, 65535),
      };
    });
  }
}

/** @returns the topology, or what is wrong with it, each line with file and line number. */
export function parseTopology(manifest: Manifest): {
  readonly topology?: Topology;
  readonly problems: readonly string[];
} {
  const r = new Reader(manifest);
  if (manifest.value['apiVersion'] !== 'lab.poplin.dev/v1') r.bad(['apiVersion'], 'lab.poplin.dev/v1 is wanted');
  const spec = r.record(manifest.value['spec'], ['spec'], ['nodes', 'routers', 'hosts', 'links']);
  const nodes = r.list(spec['nodes'], ['spec', 'nodes']).map((item, i): TopologyNode => {
    const at = ['spec', 'nodes', i];
    const record = r.record(item, at, ['name', 'ports']);
    return { name: r.name(record['name'], [...at, 'name']), ports: r.ports(record['ports'], [...at, 'ports']) };
  });
  const routers = r
    .list(spec['routers'], ['spec', 'routers'])
    .map((item, i) => readRouter(r, item, ['spec', 'routers', i]));
  const hosts = r.list(spec['hosts'], ['spec', 'hosts']).map((item, i): TopologyHost => {
    const at = ['spec', 'hosts', i];
    const record = r.record(item, at, ['name', 'ports']);
    return { name: r.name(record['name'], [...at, 'name']), ports: r.ports(record['ports'], [...at, 'ports']) };
  });
  const owners = new Set<string>();
  for (const [list, items] of Object.entries({ nodes, routers, hosts })) {
    for (const [i, { name }] of items.entries()) {
      if (owners.has(name)) r.bad(['spec', list, i, 'name'], `${name} is there twice`);
      owners.add(name);
    }
  }
  const loopbackOwners = new Map<IpAddress, string>();
  for (const [i, { name, loopbacks }] of routers.entries()) {
    for (const [j, address] of loopbacks.entries()) {
      const other = loopbackOwners.get(address);
      if (other) r.bad(['spec', 'routers', i, 'loopbacks', j], `${address} is a loopback of ${other} already`);
      loopbackOwners.set(address, name);
    }
  }
  if (nodes.length === 0) r.bad(['spec', 'nodes'], 'at least one node is wanted');
  const links = readLinks(r, spec['links'], owners);
  const topology = { name: manifest.name, nodes, routers, hosts, links };
  return r.problems.length > 0 ? { problems: r.problems } : { topology, problems: [] };
}

function readRouter(r: Reader, item: unknown, at: Path): TopologyRouter {
  const record = r.record(item, at, ['name', 'daemon', 'asn', 'loopbacks', 'nodeRoutes']);
  const loopbacks = r.list(record['loopbacks'], [...at, 'loopbacks']).flatMap((text, i) => {
    const address = typeof text === 'string' ? toIpAddress(text) : undefined;
    if (!address) r.bad([...at, 'loopbacks', i], `${JSON.stringify(text)} is not an IP address`);
    return address ? [address] : [];
  });
  if (!loopbacks.some((address) => !address.includes(':'))) {
    r.bad([...at, 'loopbacks'], 'an IPv4 address is wanted (it is the router id as well)');
  }
  return {
    name: r.name(record['name'], [...at, 'name']),
    daemon: r.oneOf(record['daemon'], [...at, 'daemon'], ['bird'], 'bird'),
    asn: r.integer(record['asn'], [...at, 'asn'], 1, 0xffffffff),
    loopbacks,
    nodeRoutes: r.oneOf(record['nodeRoutes'], [...at, 'nodeRoutes'], ['default', 'all'], 'default'),
  };
}

function readLinks(r: Reader, value: unknown, owners: ReadonlySet<string>): TopologyLink[] {
  const interfaceNames = new Set<string>();
  const subnetsSeen = new Map<Cidr, number>();
  return r.list(value, ['spec', 'links']).map((item, i): TopologyLink => {
    const at: Path = ['spec', 'links', i];
    const record = r.record(item, at, ['ends', 'subnets']);
    const names = r.list(record['ends'], [...at, 'ends']).map(String);
    if (names.length !== 2 || names[0] === names[1]) r.bad([...at, 'ends'], 'two different names are wanted');
    for (const [j, name] of names.entries()) {
      if (!owners.has(name)) r.bad([...at, 'ends', j], `${JSON.stringify(name)}: no node, router or host of that name`);
    }
    const subnets = r.list(record['subnets'], [...at, 'subnets']).flatMap((text, j) => {
      const cidr = typeof text === 'string' ? toCidr(text) : undefined;
      const parsed = cidr ? parseCidr(cidr) : undefined;
      const fits = parsed && parsed.length <= (parsed.family === 4 ? 30 : 126);
      if (!cidr || !fits)
        r.bad([...at, 'subnets', j], `${JSON.stringify(text)} is not a prefix with room for two addresses`);
      else {
        const met = [...subnetsSeen].find(([other]) => cidrContains(other, cidr) || cidrContains(cidr, other));
        if (met) {
          const what = met[0] === cidr ? `${cidr} is` : `${cidr} overlaps ${met[0]}, which is`;
          r.bad([...at, 'subnets', j], `${what} on links[${met[1]}] already; every link has subnets of its own`);
        }
      }
      if (cidr) subnetsSeen.set(cidr, i);
      return cidr && fits ? [cidr] : [];
    });
    if (subnets.length === 0) r.bad([...at, 'subnets'], 'at least one subnet is wanted');
    const end = (which: 0 | 1): LinkEnd => {
      const owner = names[which] ?? '';
      const peer = names[1 - which] ?? '';
      let interfaceName = `to-${peer}`;
      for (let n = 2; interfaceNames.has(`${owner} ${interfaceName}`); n++)
        interfaceName = `to-${peer.slice(0, 9)}-${n}`;
      interfaceNames.add(`${owner} ${interfaceName}`);
      return {
        owner,
        interfaceName,
        index: firstLinkIndex + 2 * i + which,
        addresses: subnets.map((subnet) => nthAddress(subnet, which + 1)),
      };
    };
    return { ends: [end(0), end(1)], subnets };
  });
}

function nthAddress(subnet: Cidr, n: number): LinkEnd['addresses'][number] {
  const { bytes, family, length } = parseCidr(subnet)!;
  const address = bytes.slice();
  address[address.length - 1] = address[address.length - 1]! + n;
  return { address: formatIp(address), family, prefixLength: length };
}

/** The links of one owner, its own end first. */
export function linksOf(topology: Topology, owner: string): { readonly own: LinkEnd; readonly peer: LinkEnd }[] {
  return topology.links.flatMap(({ ends: [a, b] }) =>
    a.owner === owner ? [{ own: a, peer: b }] : b.owner === owner ? [{ own: b, peer: a }] : [],
  );
}
