/** discovery.k8s.io/v1 EndpointSlice. What is ready, serving or terminating says nothing here: an endpoint counts while it stands in a slice. */
import type { IpAddress } from '#kit';
import { type EndpointPort, type EndpointSliceObject, type ObjectMeta, serviceNameLabel } from '#model';
import { readAddress } from './metadata.ts';
import { protocols } from './network-policy.ts';
import type { Reader } from './reader.ts';

/** Those of the API server's own validation. */
const endpointsMax = 1_000;
const addressesMax = 100;
const portsMax = 20_000;
/** Addresses times ports: what one slice may bring to a set. */
const membersMax = 131_072;

export function readEndpointSlice(document: Reader, metadata: ObjectMeta): EndpointSliceObject | undefined {
  document.notMisspelt(['addressType', 'endpoints', 'ports']);
  const addresses = readAddresses(document);
  const ports = readPorts(document.field('ports'));
  const members = addresses.length * ports.length;
  if (members > membersMax) {
    const counts = `${addresses.length} addresses and ${ports.length} ports`;
    return document
      .field('endpoints')
      .fault(`${counts} make ${members} pairs, more than ${membersMax}; split the slice`);
  }
  return { metadata, serviceName: metadata.labels[serviceNameLabel] ?? '', addresses, ports };
}

/** Names of hosts, as an ExternalName's, stand for no address. */
function readAddresses(document: Reader): IpAddress[] {
  const type = document.field('addressType').oneOf(['IPv4', 'IPv6', 'FQDN'] as const);
  if (type === 'FQDN') return [];
  const endpoints = document.field('endpoints').list(endpointsMax);
  const entries = endpoints.flatMap((endpoint) => endpoint.field('addresses').list(addressesMax));
  return [...new Set(entries.flatMap((entry) => readAddress(entry) ?? []))];
}

/** One without a number is every port to those who ask a service; to a rule it is none. */
function readPorts(reader: Reader): EndpointPort[] {
  const ports = new Map<string, EndpointPort>();
  for (const entry of reader.list(portsMax)) {
    const port = entry.field('port').integer(0, 65_535);
    const protocol = entry.field('protocol').oneOf(protocols) ?? 'TCP';
    if (port) ports.set(`${protocol} ${port}`, { port, protocol });
  }
  return [...ports.values()];
}
