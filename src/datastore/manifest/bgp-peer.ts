/** projectcalico.org/v3 BGPPeer: Calico's fields, and ours (holdTime, password.value, those of speaker-fields.ts). */
import { familyOf, type IpAddress, parseIp, toIpAddress } from '#kit';
import type { BGPPeerObject, ObjectMeta } from '#model';
import {
  readAsn,
  readFilterNames,
  readHoldTime,
  readPassword,
  readSeconds,
  restartTimeSecMax,
} from './calico-fields.ts';
import { type Reader, show } from './reader.ts';
import { readSpeakerFields, speakerFields } from './speaker-fields.ts';

const fields = [
  'node',
  'nodeSelector',
  'peerIP',
  'peerSelector',
  'asNumber',
  'localASNumber',
  'keepOriginalNextHop',
  'nextHopMode',
  'sourceAddress',
  'password',
  'holdTime',
  'keepaliveTime',
  'maxRestartTime',
  'numAllowedLocalASNumbers',
  'ttlSecurity',
  'reachableBy',
  'filters',
  'reversePeering',
  'localWorkloadSelector',
  ...speakerFields,
];

export function readBgpPeer(document: Reader, metadata: ObjectMeta): BGPPeerObject | undefined {
  const spec = document.field('spec');
  spec.onlyFields(fields);
  const node = spec.field('node').textOrNone();
  const nodeSelector = spec.field('nodeSelector').textOrNone();
  if (node && nodeSelector) spec.field('node').fault('stands beside nodeSelector; keep one of them');
  const remote = readRemote(spec);
  const password = readPassword(spec.field('password'));
  const timers = readTimers(spec);
  const session = readSessionOptions(spec);
  const speaker = readSpeakerFields(spec);
  const reachableBy = readReachableBy(spec.field('reachableBy'), remote?.peerIP);
  const reversePeering = spec.field('reversePeering').choiceOrNone(['Auto', 'Manual'] as const);
  if (reversePeering && remote?.peerIP) {
    spec.field('reversePeering').note('is not used by Poplin beside peerIP: a router makes its own end');
  }
  return (
    remote && {
      metadata,
      ...(node ? { node } : {}),
      ...(nodeSelector ? { nodeSelector } : {}),
      ...remote,
      ...(password ? { password } : {}),
      ...timers,
      ...session,
      ...speaker,
      ...(reachableBy ? { reachableBy } : {}),
      ...(reversePeering ? { reversePeering } : {}),
    }
  );
}

type Remote = Pick<BGPPeerObject, 'peerIP' | 'port' | 'peerSelector' | 'asNumber'>;

/** Whom to peer with: a router by address and AS number, or nodes by their labels. */
function readRemote(spec: Reader): Remote | undefined {
  const local = spec.field('localWorkloadSelector');
  if (local.textOrNone() !== undefined) {
    return local.fault('is not supported by Poplin; name a router by peerIP, or nodes by peerSelector');
  }
  const peerReader = spec.field('peerIP');
  const selectorReader = spec.field('peerSelector');
  const peerSelector = selectorReader.textOrNone();
  const asReader = spec.field('asNumber');
  if (peerSelector === undefined) {
    const peer = readPeerAddress(peerReader);
    const asNumber = asReader.present ? readAsn(asReader) : asReader.fault("is required; write the router's AS number");
    return peer && asNumber !== undefined ? { peerIP: peer.address, port: peer.port, asNumber } : undefined;
  }
  if (peerReader.textOrNone() !== undefined) {
    return peerReader.fault('stands beside peerSelector; keep peerIP for a router, or peerSelector for nodes');
  }
  if (asReader.present && asReader.value !== 0) {
    return asReader.fault('stands beside peerSelector, whose nodes have their own; remove it');
  }
  return { peerSelector, port: bgpPort };
}

const bgpPort = 179;

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

type Timers = Pick<BGPPeerObject, 'holdTimeSec' | 'keepaliveTimeSec' | 'maxRestartTimeSec'>;

function readTimers(spec: Reader): Timers {
  const holdTimeSec = readHoldTime(spec.field('holdTime'));
  const keepaliveReader = spec.field('keepaliveTime');
  const keepaliveTimeSec = readSeconds(keepaliveReader, 65535);
  if (holdTimeSec && keepaliveTimeSec !== undefined && keepaliveTimeSec >= holdTimeSec) {
    keepaliveReader.fault(
      `${show(keepaliveReader.value)} is not shorter than holdTime ${holdTimeSec}s; write a third of it`,
    );
  }
  const maxRestartTimeSec = readSeconds(spec.field('maxRestartTime'), restartTimeSecMax);
  return {
    ...(holdTimeSec === undefined ? {} : { holdTimeSec }),
    ...(keepaliveTimeSec === undefined ? {} : { keepaliveTimeSec }),
    ...(maxRestartTimeSec === undefined ? {} : { maxRestartTimeSec }),
  };
}

type SessionOptions = Pick<
  BGPPeerObject,
  'localASNumber' | 'nextHopMode' | 'sourceAddress' | 'numAllowedLocalASNumbers' | 'ttlSecurity' | 'filters'
>;

function readSessionOptions(spec: Reader): SessionOptions {
  const localASNumber = readAsn(spec.field('localASNumber'));
  const nextHopMode = readNextHopMode(spec);
  const sourceAddress = spec.field('sourceAddress').choiceOrNone(['UseNodeIP', 'None'] as const);
  const numAllowedLocalASNumbers = spec.field('numAllowedLocalASNumbers').integer(0, 255);
  const ttlSecurity = spec.field('ttlSecurity').integer(1, 255);
  const filters = readFilterNames(spec.field('filters'));
  return {
    ...(localASNumber === undefined ? {} : { localASNumber }),
    ...(nextHopMode === undefined ? {} : { nextHopMode }),
    ...(sourceAddress === undefined ? {} : { sourceAddress }),
    ...(numAllowedLocalASNumbers === undefined ? {} : { numAllowedLocalASNumbers }),
    ...(ttlSecurity === undefined ? {} : { ttlSecurity }),
    ...(filters.length === 0 ? {} : { filters }),
  };
}

/** keepOriginalNextHop is the older form of `Keep`. */
function readNextHopMode(spec: Reader): BGPPeerObject['nextHopMode'] {
  const mode = spec.field('nextHopMode').choiceOrNone(['Auto', 'Self', 'Keep'] as const);
  const keepReader = spec.field('keepOriginalNextHop');
  if (!keepReader.boolean()) return mode;
  if (mode) keepReader.fault('stands beside nextHopMode; keep nextHopMode');
  return 'Keep';
}

function readReachableBy(reader: Reader, peerIP: IpAddress | undefined): IpAddress | undefined {
  const text = reader.textOrNone();
  if (text === undefined) return undefined;
  const gateway = toIpAddress(text);
  if (!gateway) return reader.fault(`${show(text)} is not an IP address; write that of the gateway to peerIP`);
  if (!peerIP) return reader.fault('is the gateway to peerIP; set peerIP, or remove it');
  if (familyOf(gateway) !== familyOf(peerIP)) {
    return reader.fault(`${gateway} is not of the address family of peerIP ${peerIP}; write a gateway of that family`);
  }
  return gateway;
}
