/**
 * Who a packet is from and to: the headers of IPv4, IPv6 with its extension headers, TCP, UDP, SCTP and ICMP. Pure and total: the octets come from
 * pods, and may be cut short.
 */
import { formatIp, type IpAddress, type IpFamily } from '#kit';

export interface PacketHeaders {
  readonly family: IpFamily;
  readonly source: IpAddress;
  readonly destination: IpAddress;
  /** IP protocol number, behind extension headers. */
  readonly protocol: number;
  /** Of TCP, UDP, SCTP, DCCP and UDP-Lite; absent in a fragment that is not the first, and where the packet was cut. */
  readonly ports?: { readonly source: number; readonly destination: number };
  readonly icmp?: { readonly type: number; readonly code: number };
}

export const TCP = 6;
export const UDP = 17;
export const SCTP = 132;
export const ICMP = 1;
export const ICMPV6 = 58;
const protocolsWithPorts = new Set([TCP, UDP, 33, SCTP, 136]);
const IPV4_HEADER_BYTES = 20;
const IPV6_HEADER_BYTES = 40;
/** More are no honest packet's. */
const EXTENSION_HEADERS_MAX = 8;
const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const DESTINATION_OPTIONS = 60;
const MOBILITY = 135;

/** Undefined when not even both addresses are there. */
export function packetHeaders(bytes: Uint8Array): PacketHeaders | undefined {
  const found = networkOf(bytes);
  if (!found) return undefined;
  const { protocol, at } = found;
  const isIpv4 = bytes[0]! >> 4 === 4;
  const [source, destination] = isIpv4 ? [12, 16] : [8, 24];
  const length = isIpv4 ? 4 : 16;
  return {
    family: isIpv4 ? 4 : 6,
    source: formatIp(bytes.subarray(source, source + length)),
    destination: formatIp(bytes.subarray(destination, destination + length)),
    protocol,
    ...(at === undefined ? {} : transport(bytes, at, protocol)),
  };
}

export interface Network {
  /** Behind extension headers. */
  readonly protocol: number;
  /** Where its header begins; undefined in a later fragment, and where the packet was cut ahead of it. */
  readonly at: number | undefined;
}

/** Undefined when not even both addresses are there. */
export function networkOf(bytes: Uint8Array): Network | undefined {
  const version = (bytes[0] ?? 0) >> 4;
  return version === 4 ? ipv4(bytes) : version === 6 ? ipv6(bytes) : undefined;
}

function ipv4(bytes: Uint8Array): Network | undefined {
  const headerBytes = (bytes[0]! & 0xf) * 4;
  if (bytes.length < IPV4_HEADER_BYTES || headerBytes < IPV4_HEADER_BYTES) return undefined;
  return { protocol: bytes[9]!, at: (u16(bytes, 6) & 0x1fff) === 0 ? headerBytes : undefined };
}

function ipv6(bytes: Uint8Array): Network | undefined {
  if (bytes.length < IPV6_HEADER_BYTES) return undefined;
  let protocol = bytes[6]!;
  let at = IPV6_HEADER_BYTES;
  for (let headers = 0; headers < EXTENSION_HEADERS_MAX && isExtension(protocol); headers++) {
    if (at + 8 > bytes.length) return { protocol, at: undefined };
    const next = bytes[at]!;
    if (protocol === FRAGMENT && u16(bytes, at + 2) >> 3 !== 0) return { protocol: next, at: undefined };
    at += extensionBytes(protocol, bytes[at + 1]!);
    protocol = next;
  }
  return { protocol, at };
}

function isExtension(protocol: number): boolean {
  return (
    protocol === HOP_BY_HOP ||
    protocol === ROUTING ||
    protocol === FRAGMENT ||
    protocol === AUTHENTICATION ||
    protocol === DESTINATION_OPTIONS ||
    protocol === MOBILITY
  );
}

/** RFC 8200 4.3 to 4.6, RFC 4302 2.2. */
function extensionBytes(protocol: number, length: number): number {
  if (protocol === FRAGMENT) return 8;
  return protocol === AUTHENTICATION ? (length + 2) * 4 : (length + 1) * 8;
}

function transport(bytes: Uint8Array, at: number, protocol: number): Pick<PacketHeaders, 'ports' | 'icmp'> {
  if (protocolsWithPorts.has(protocol) && at + 4 <= bytes.length)
    return { ports: { source: u16(bytes, at), destination: u16(bytes, at + 2) } };
  if ((protocol === ICMP || protocol === ICMPV6) && at + 2 <= bytes.length)
    return { icmp: { type: bytes[at]!, code: bytes[at + 1]! } };
  return {};
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}
