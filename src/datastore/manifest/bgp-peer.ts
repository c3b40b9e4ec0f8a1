/** projectcalico.org/v3 BGPPeer: Calico's fields, and ours (holdTime, password.value, tcpAO, those of bgp-peer-remote.ts and speaker-fields.ts). */
import { familyOf, type IpAddress, toIpAddress } from '#kit';
import type { BGPPeerObject, ObjectMeta } from '#model';
import { readRemote, remoteFields } from './bgp-peer-remote.ts';
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
import { readTcpAo } from './tcp-ao.ts';

const fields = [
  'node',
  'nodeSelector',
  'localASNumber',
  'keepOriginalNextHop',
  'nextHopMode',
  'sourceAddress',
  'password',
  'tcpAO',
  'holdTime',
  'keepaliveTime',
  'maxRestartTime',
  'numAllowedLocalASNumbers',
  'ttlSecurity',
  'reachableBy',
  'filters',
  'reversePeering',
  'localWorkloadSelector',
  ...remoteFields,
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
  const tcpAO = readTcpAo(spec);
  const timers = readTimers(spec);
  const session = readSessionOptions(spec);
  const speaker = readSpeakerFields(spec);
  const reachableBy = readReachableBy(spec.field('reachableBy'), remote?.peerIP);
  const reversePeering = spec.field('reversePeering').choiceOrNone(['Auto', 'Manual'] as const);
  if (reversePeering && remote && remote.peerSelector === undefined) {
    spec.field('reversePeering').note('is not used by Poplin without peerSelector: a router makes its own end');
  }
  return (
    remote && {
      metadata,
      ...(node ? { node } : {}),
      ...(nodeSelector ? { nodeSelector } : {}),
      ...remote,
      ...(password ? { password } : {}),
      ...(tcpAO ? { tcpAO } : {}),
      ...timers,
      ...session,
      ...speaker,
      ...(reachableBy ? { reachableBy } : {}),
      ...(reversePeering ? { reversePeering } : {}),
    }
  );
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
