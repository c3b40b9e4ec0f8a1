/** What a probe's ends stand for: addresses, pods, nodes, and the pods behind a service. */
import { familyOf, type IpAddress, toIpAddress } from '#kit';
import type { PodObject } from '#model';
import type { SuiteFamily, SuitePort } from './suite.ts';
import { type SuiteWorld, SuiteWorldError } from './world.ts';

export interface End {
  /** `ns/pod`, `node:NAME`, `ext:NAME`. */
  readonly id: string;
  /** Undefined: it has none of that family (yet). */
  readonly address: IpAddress | undefined;
  /** Of a pod with a network of its own. */
  readonly pod?: PodObject;
  /** The node that a pod runs on, or that the end is. */
  readonly node?: string;
}

const familyNumbers: Readonly<Record<SuiteFamily, 4 | 6>> = { IPv4: 4, IPv6: 6 };

export function addressOf(ips: readonly string[], family: SuiteFamily): IpAddress | undefined {
  const found = ips.find((ip) => familyOf(ip as IpAddress) === familyNumbers[family]);
  return found === undefined ? undefined : toIpAddress(found);
}

/** It ran once and is over: its address may be somebody else's. */
export function isCompleted({ phase }: PodObject): boolean {
  return phase === 'Succeeded' || phase === 'Failed';
}

/** @throws SuiteWorldError when there is no such pod, node or host. */
export function endOf(world: SuiteWorld, id: string, family: SuiteFamily): End {
  const [kind, name] = splitEnd(id);
  if (kind === 'node') {
    const node = world.nodes.get(name);
    if (!node) throw new SuiteWorldError(`no node ${name}`);
    return { id, node: name, address: addressOf(node.internalIPs, family) };
  }
  if (kind === 'ext') {
    const external = world.externals.get(name);
    if (!external) throw new SuiteWorldError(`no external ${name}`);
    return { id, address: addressOf(external.ips, family) };
  }
  if (kind !== 'pod') throw new SuiteWorldError(`${id} is no end of a connection`);
  const pod = world.pod(id);
  const address = addressOf(pod.podIPs, family);
  return { id, node: pod.nodeName, address, ...(pod.hostNetwork ? {} : { pod }) };
}

export function splitEnd(id: string): readonly [kind: string, name: string] {
  const at = id.indexOf(':');
  return at < 0 ? ['pod', id] : [id.slice(0, at), id.slice(at + 1)];
}

/** A pod behind a service, and its port there. */
export interface Backend {
  readonly end: End;
  readonly port: number;
}

export interface ServiceTarget {
  /** Undefined: it has none of that family. */
  readonly clusterIP: IpAddress | undefined;
  readonly backends: readonly Backend[];
}

/** Where kube-proxy sends a packet to a service's port. @throws SuiteWorldError when there is no such service. */
export function serviceTarget(world: SuiteWorld, name: string, probed: SuitePort, family: SuiteFamily): ServiceTarget {
  const service = world.services.get(name);
  if (!service) throw new SuiteWorldError(`no service ${name}`);
  const port = service.ports.find((one) => one.port === probed.port && one.protocol === probed.protocol);
  const clusterIP = addressOf(service.clusterIPs, family);
  if (!port || Object.keys(service.selector).length === 0) return { clusterIP, backends: [] };
  const backends = [...world.pods].flatMap(([id, pod]): Backend[] => {
    const selected =
      pod.metadata.namespace === service.namespace &&
      Object.entries(service.selector).every(([key, value]) => pod.metadata.labels[key] === value);
    if (!selected || pod.phase !== 'Running' || pod.terminating) return [];
    const wanted = port.targetPort ?? port.port;
    const number =
      typeof wanted === 'number'
        ? wanted
        : pod.ports.find((one) => one.name === wanted && one.protocol === port.protocol)?.containerPort;
    const end = endOf(world, id, family);
    return number !== undefined && end.address ? [{ end, port: number }] : [];
  });
  return { clusterIP, backends };
}
