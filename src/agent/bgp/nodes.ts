/**
 * The nodes as BGP sees them: AS number, port, addresses, cluster id.
 *
 * An AS number comes from the node's annotation, else the BGPConfiguration `node.NAME`, else `default`, else the option; the
 * listening port likewise, without an annotation. Of other nodes the annotated addresses are taken, else the first InternalIP of
 * a family; what this node's own addresses are is detected (node-address.ts) and handed in.
 */
import { familyOf, type IpAddress, type IpFamily, toIpAddress } from '#kit';
import type { BGPConfigurationObject, Labels, NodeObject } from '#model';
import type { Issue } from './issue.ts';

export const annotation = {
  asn: 'projectcalico.org/ASNumber',
  ipv4: 'projectcalico.org/IPv4Address',
  ipv6: 'projectcalico.org/IPv6Address',
  clusterId: 'projectcalico.org/RouteReflectorClusterID',
} as const;

export interface BgpNode {
  readonly name: string;
  readonly labels: Labels;
  readonly asn: number;
  /** It listens there. */
  readonly port: number;
  readonly ipv4: IpAddress | undefined;
  readonly ipv6: IpAddress | undefined;
  /** The annotation's text: a route reflector, and not part of the mesh. See `usableClusterId`. */
  readonly clusterId?: string;
}

export interface NodeDefaults {
  readonly asn: number;
  readonly port: number;
}

export function named<T extends { readonly metadata: { readonly name: string } }>(
  objects: readonly T[],
  name: string,
): T | undefined {
  return objects.find((object) => object.metadata.name === name);
}

/** The node's annotated address of a family, which may carry a prefix length. */
export function annotatedAddress(node: NodeObject, family: IpFamily): IpAddress | undefined {
  const text = node.metadata.annotations[family === 4 ? annotation.ipv4 : annotation.ipv6]?.split('/')[0];
  const address = text ? toIpAddress(text) : undefined;
  return address && familyOf(address) === family ? address : undefined;
}

/** `64512`, `1.10`; undefined when it is none. */
export function parseAsn(text: string): number | undefined {
  const parts = /^(?:(\d{1,5})\.)?(\d{1,10})$/.exec(text.trim());
  if (!parts) return undefined;
  const [, high, low] = parts;
  if (high !== undefined && (Number(high) > 0xffff || Number(low) > 0xffff)) return undefined;
  const asn = high === undefined ? Number(low) : Number(high) * 0x10000 + Number(low);
  return asn > 0 && asn <= 0xffffffff ? asn : undefined;
}

/** The cluster id that an annotation names; undefined when it is no dotted quad, or 0.0.0.0. */
export function usableClusterId(text: string): IpAddress | undefined {
  const address = toIpAddress(text);
  return address && familyOf(address) === 4 && address !== '0.0.0.0' ? address : undefined;
}

/** @param issues gets what of the annotations cannot be read. */
export function bgpNode(
  node: NodeObject,
  configurations: readonly BGPConfigurationObject[],
  defaults: NodeDefaults,
  issues: Issue[],
): BgpNode {
  const { name, labels, annotations } = node.metadata;
  const specific = named(configurations, `node.${name}`);
  const general = named(configurations, 'default');
  const asnText = annotations[annotation.asn];
  const annotated = asnText === undefined ? undefined : parseAsn(asnText);
  if (asnText !== undefined && annotated === undefined) {
    const message = `${JSON.stringify(asnText)} is not an AS number (1..4294967295); it is ignored`;
    issues.push(annotationIssue(name, annotation.asn, message));
  }
  const address = (family: IpFamily): IpAddress | undefined => {
    const key = family === 4 ? annotation.ipv4 : annotation.ipv6;
    const found = annotatedAddress(node, family);
    if (annotations[key] && !found) {
      const message = `${JSON.stringify(annotations[key])} is not an IPv${family} address; it is ignored`;
      issues.push(annotationIssue(name, key, message));
    }
    return found ?? node.internalIPs.find((ip) => familyOf(ip) === family);
  };
  const clusterId = annotations[annotation.clusterId];
  if (clusterId && !usableClusterId(clusterId)) {
    const message = `${JSON.stringify(clusterId)} is not a cluster id such as 244.0.0.1; the node reflects routes under its router id`;
    issues.push(annotationIssue(name, annotation.clusterId, message));
  }
  return {
    name,
    labels,
    asn: annotated ?? specific?.asNumber ?? general?.asNumber ?? defaults.asn,
    port: specific?.listenPort ?? general?.listenPort ?? defaults.port,
    ipv4: address(4),
    ipv6: address(6),
    ...(clusterId ? { clusterId } : {}),
  };
}

function annotationIssue(name: string, key: string, message: string): Issue {
  return { object: { kind: 'Node', name }, field: `metadata.annotations[${key}]`, message, effect: 'partial' };
}
