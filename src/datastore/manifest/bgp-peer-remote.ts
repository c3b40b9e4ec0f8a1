/** Whom a BGPPeer is with: a router by its address, nodes by their labels, and (ours) the router on an interface or whoever connects from a range. */
import { type Cidr, type IpAddress, isInterfaceName, parseIp, toCidr, toIpAddress } from '#kit';
import type { BGPPeerObject } from '#model';
import { readAsn, readAsns } from './calico-fields.ts';
import { type Reader, show } from './reader.ts';

export const remoteFields = [
  'peerIP',
  'peerSelector',
  'interface',
  'range',
  'limit',
  'asNumber',
  'asNumbers',
  'remoteAS',
];

type Remote = Pick<
  BGPPeerObject,
  'peerIP' | 'port' | 'peerSelector' | 'interface' | 'range' | 'asNumber' | 'asNumbers' | 'remoteAS'
>;

/** Each way to say whom the peer is, and what it is for. */
const ways = {
  peerIP: 'a router',
  peerSelector: 'nodes',
  interface: 'the router on a link',
  range: 'whoever connects from it',
} as const;
const bgpPort = 179;
const rangeLimitDefault = 100;
const rangeLimitMax = 65_535;
const asNumbersMax = 64;

export function readRemote(spec: Reader): Remote | undefined {
  const local = spec.field('localWorkloadSelector');
  if (local.textOrNone() !== undefined) {
    return local.fault('is not supported by Poplin; name a router by peerIP, or nodes by peerSelector');
  }
  const given = (Object.keys(ways) as (keyof typeof ways)[]).filter(
    (name) => spec.field(name).textOrNone() !== undefined,
  );
  const [first, second] = given;
  if (first !== undefined && second !== undefined) {
    const keep = `keep ${first} for ${ways[first]}, or ${second} for ${ways[second]}`;
    return spec.field(first).fault(`stands beside ${second}; ${keep}`);
  }
  const limit = spec.field('limit');
  if (limit.present && first !== 'range') limit.fault('is of the peers of a range; set range, or remove it');
  if (first === 'interface' || first === 'range') return readFound(spec, first);
  for (const name of ['asNumbers', 'remoteAS']) {
    const reader = spec.field(name);
    if (reader.present && reader.value !== '') reader.fault('goes with interface and range; write asNumber');
  }
  return first === 'peerSelector' ? readNodes(spec) : readRouter(spec);
}

function readRouter(spec: Reader): Remote | undefined {
  const peer = readPeerAddress(spec.field('peerIP'));
  const asReader = spec.field('asNumber');
  const asNumber = asReader.present ? readAsn(asReader) : asReader.fault("is required; write the router's AS number");
  return peer && asNumber !== undefined ? { peerIP: peer.address, port: peer.port, asNumber } : undefined;
}

function readNodes(spec: Reader): Remote | undefined {
  const peerSelector = spec.field('peerSelector').textOrNone();
  const asReader = spec.field('asNumber');
  if (asReader.present && asReader.value !== 0) {
    return asReader.fault('stands beside peerSelector, whose nodes have their own; remove it');
  }
  return peerSelector === undefined ? undefined : { peerSelector, port: bgpPort };
}

/** Peers whose addresses the object does not say. */
function readFound(spec: Reader, by: 'interface' | 'range'): Remote | undefined {
  const source = spec.field('sourceAddress');
  if (source.textOrNone() !== undefined) {
    source.fault(`stands beside ${by}, whose sessions begin where the peer is found; remove it`);
  }
  const asn = readAsRule(spec);
  if (by === 'interface') {
    const name = readInterface(spec.field('interface'));
    return asn && name !== undefined ? { interface: name, port: bgpPort, ...asn } : undefined;
  }
  const prefix = readRange(spec.field('range'));
  const limit = spec.field('limit').integer(1, rangeLimitMax) ?? rangeLimitDefault;
  return asn && prefix !== undefined ? { range: { prefix, limit }, port: bgpPort, ...asn } : undefined;
}

function readAsRule(spec: Reader): Pick<Remote, 'asNumber' | 'asNumbers' | 'remoteAS'> | undefined {
  const asNumber = readAsn(spec.field('asNumber'));
  const asNumbers = readAsns(spec.field('asNumbers'), asNumbersMax);
  const remoteAS = spec.field('remoteAS').choiceOrNone(['External', 'Internal'] as const);
  const given = [asNumber, asNumbers, remoteAS].filter((each) => each !== undefined).length;
  if (given > 1) return spec.field('asNumber').fault('is one of several; keep one of asNumber, asNumbers and remoteAS');
  if (asNumber !== undefined) return { asNumber };
  if (asNumbers !== undefined) return { asNumbers };
  if (remoteAS !== undefined) return { remoteAS };
  return spec.field('asNumber').fault('is required; write an AS number, or remoteAS: External');
}

function readInterface(reader: Reader): string | undefined {
  const text = reader.textOrNone();
  if (text === undefined) return undefined;
  if (isInterfaceName(text) && !text.includes('%')) return text;
  return reader.fault(`${show(text)} is no name of an interface; write one such as eth1, at most 15 characters`);
}

function readRange(reader: Reader): Cidr | undefined {
  const text = reader.textOrNone();
  if (text === undefined) return undefined;
  const prefix = text.includes('/') ? toCidr(text) : undefined;
  return prefix ?? reader.fault(`${show(text)} is not a prefix; write one such as 10.2.0.0/16 or 2001:db8::/64`);
}

/** `address`, `IPv4:port` or `[IPv6]:port`. */
function readPeerAddress(reader: Reader): { readonly address: IpAddress; readonly port: number } | undefined {
  if (!reader.present || reader.value === '') {
    return reader.fault('is required; write the address of a router, or name nodes by peerSelector');
  }
  const text = reader.string();
  if (text === undefined) return undefined;
  const withPort = /^\[([^\]]+)\]:(\d{1,5})$/.exec(text) ?? /^([^:]+):(\d{1,5})$/.exec(text);
  const address = toIpAddress(withPort?.[1] ?? text);
  const port = withPort ? Number(withPort[2]) : bgpPort;
  if (!address || port < 1 || port > 65535) {
    return reader.fault(`${show(text)} is not an address; write 192.0.2.1, 192.0.2.1:179 or [2001:db8::1]:179`);
  }
  const first = parseIp(address)!;
  const multicast = first.length === 4 ? first[0]! >= 224 : first[0] === 0xff;
  if (multicast || first.every((byte) => byte === 0)) {
    return reader.fault(`${show(text)} is no host's address; write the address that the peer listens on`);
  }
  return { address, port };
}
