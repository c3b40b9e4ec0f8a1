/** projectcalico.org/v3 BGPConfiguration and BGPPeer: Calico's fields, and ours (advertiseNodeAddresses, holdTime, password.value). */
import { type IpAddress, parseIp, Secret, toIpAddress } from '#kit';
import type { BGPConfigurationObject, BGPPeerObject, ObjectMeta, PasswordSource } from '#model';
import { type Reader, show } from './reader.ts';

const configurationUsed = ['asNumber', 'nodeToNodeMeshEnabled', 'listenPort', 'advertiseNodeAddresses', 'holdTime'];
const configurationNotUsed = [
  'logSeverityScreen',
  'bindMode',
  'serviceClusterIPs',
  'serviceExternalIPs',
  'serviceLoadBalancerIPs',
  'serviceLoadBalancerAggregation',
  'communities',
  'prefixAdvertisements',
  'nodeMeshPassword',
  'nodeMeshMaxRestartTime',
  'ignoredInterfaces',
  'localWorkloadPeeringIPV4',
  'localWorkloadPeeringIPV6',
  'programClusterRoutes',
  'ipv4NormalRoutePriority',
  'ipv6NormalRoutePriority',
];

export function readBgpConfiguration(document: Reader, metadata: ObjectMeta): BGPConfigurationObject {
  if (metadata.name && metadata.name !== 'default' && !metadata.name.startsWith('node.')) {
    document
      .field('metadata')
      .field('name')
      .fault(`${show(metadata.name)} has no meaning; write default for all nodes or node.NAME for one`);
  }
  const spec = document.field('spec');
  spec.onlyFields([...configurationUsed, ...configurationNotUsed]);
  noteNotUsed(spec, configurationNotUsed);
  const asNumber = readAsn(spec.field('asNumber'));
  const mesh = spec.field('nodeToNodeMeshEnabled').boolean();
  const listenPort = spec.field('listenPort').integer(1, 65535);
  const advertise = spec.field('advertiseNodeAddresses').boolean();
  const holdTimeSec = readHoldTime(spec.field('holdTime'));
  return {
    metadata,
    ...(asNumber === undefined ? {} : { asNumber }),
    ...(mesh === undefined ? {} : { nodeToNodeMeshEnabled: mesh }),
    ...(listenPort === undefined ? {} : { listenPort }),
    ...(advertise === undefined ? {} : { advertiseNodeAddresses: advertise }),
    ...(holdTimeSec === undefined ? {} : { holdTimeSec }),
  };
}

const peerUsed = ['node', 'nodeSelector', 'peerIP', 'asNumber', 'password', 'holdTime', 'maxRestartTime'];
const peerNotUsed = [
  'localASNumber',
  'keepOriginalNextHop',
  'nextHopMode',
  'sourceAddress',
  'keepaliveTime',
  'numAllowedLocalASNumbers',
  'ttlSecurity',
  'reachableBy',
  'filters',
  'reversePeering',
];
/** Without these the peer would be a different one: refused rather than left out. */
const peerRefused = ['peerSelector', 'localWorkloadSelector'];

export function readBgpPeer(document: Reader, metadata: ObjectMeta): BGPPeerObject | undefined {
  const spec = document.field('spec');
  spec.onlyFields([...peerUsed, ...peerNotUsed, ...peerRefused]);
  noteNotUsed(spec, peerNotUsed);
  for (const name of peerRefused) {
    const reader = spec.field(name);
    if (reader.present && reader.value !== '') reader.fault('is not supported; name each peer by peerIP');
  }
  const node = spec.field('node').string() || undefined;
  const nodeSelector = spec.field('nodeSelector').string() || undefined;
  if (node && nodeSelector) spec.field('node').fault('stands beside nodeSelector; keep one of them');
  const peer = readPeerAddress(spec.field('peerIP'));
  const asReader = spec.field('asNumber');
  const asNumber = asReader.present ? readAsn(asReader) : asReader.fault('is required');
  const password = readPassword(spec.field('password'));
  const holdTimeSec = readHoldTime(spec.field('holdTime'));
  const maxRestartTimeSec = readSeconds(spec.field('maxRestartTime'), 4095);
  if (!peer || asNumber === undefined) return undefined;
  return {
    metadata,
    ...(node ? { node } : {}),
    ...(nodeSelector ? { nodeSelector } : {}),
    peerIP: peer.address,
    port: peer.port,
    asNumber,
    ...(password ? { password } : {}),
    ...(holdTimeSec === undefined ? {} : { holdTimeSec }),
    ...(maxRestartTimeSec === undefined ? {} : { maxRestartTimeSec }),
  };
}

export function noteNotUsed(spec: Reader, names: readonly string[]): void {
  for (const name of names) {
    const reader = spec.field(name);
    if (reader.present) reader.note('is not used by Poplin; the object works as if it were absent');
  }
}

const asnMax = 0xffffffff;

/** A number, or text as `65001` or `1.10` (RFC 5396 asdot). */
function readAsn(reader: Reader): number | undefined {
  if (!reader.present) return undefined;
  const { value } = reader;
  if (typeof value === 'number' && !Number.isInteger(value)) {
    return reader.fault(`${value} was read as a fraction; put an AS number with a dot in quotes`);
  }
  let asn = typeof value === 'number' ? value : Number.NaN;
  if (typeof value === 'string') {
    const dotted = /^(\d{1,5})\.(\d{1,5})$/.exec(value);
    if (dotted && Number(dotted[1]) <= 0xffff && Number(dotted[2]) <= 0xffff) {
      asn = Number(dotted[1]) * 0x10000 + Number(dotted[2]);
    } else if (/^\d{1,10}$/.test(value)) asn = Number(value);
  }
  if (asn >= 1 && asn <= asnMax) return asn;
  return reader.fault(`${show(value)} is not an AS number; write one in 1..${asnMax}, or "high.low"`);
}

const bgpPort = 179;

/** `address`, `IPv4:port` or `[IPv6]:port`. */
function readPeerAddress(reader: Reader): { readonly address: IpAddress; readonly port: number } | undefined {
  const text = reader.requiredString();
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

/** TCP_MD5SIG_MAXKEYLEN. */
const md5KeyBytesMax = 80;

function readPassword(reader: Reader): PasswordSource | undefined {
  if (!reader.present) return undefined;
  reader.onlyFields(['value', 'secretKeyRef']);
  const reference = reader.field('secretKeyRef');
  if (reference.present) {
    return reference.fault(
      'names a Secret, which a directory of manifests does not hold; write password: {value: TEXT}',
    );
  }
  const value = reader.field('value');
  if (typeof value.value !== 'string' || value.value === '') {
    return value.fault('is required and must be text; put it in quotes');
  }
  const bytes = Buffer.byteLength(value.value);
  if (bytes > md5KeyBytesMax) return value.fault(`has ${bytes} bytes; TCP-MD5 takes at most ${md5KeyBytesMax}`);
  return { type: 'value', value: new Secret(value.value) };
}

/** RFC 4271 4.2: zero or at least three seconds. */
function readHoldTime(reader: Reader): number | undefined {
  const seconds = readSeconds(reader, 65535);
  if (seconds === 1 || seconds === 2)
    return reader.fault(`${show(reader.value)} is refused by BGP; write 0s or at least 3s`);
  return seconds;
}

/** A duration as Kubernetes writes it (`90s`, `1m30s`, `2h`), whole seconds, at most `max`. */
function readSeconds(reader: Reader, max: number): number | undefined {
  if (!reader.present) return undefined;
  const remedy = `write whole seconds like 90s or 1m30s, at most ${max}s`;
  const text = typeof reader.value === 'string' ? reader.value : '';
  const match = /^(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?$/.exec(text);
  if (!match || (text === '' && reader.present))
    return reader.fault(`${show(reader.value)} is not a duration; ${remedy}`);
  const seconds = Number(match[1] ?? 0) * 3600 + Number(match[2] ?? 0) * 60 + Number(match[3] ?? 0);
  return seconds <= max ? seconds : reader.fault(`${show(reader.value)} is too long; ${remedy}`);
}
