/** Fields of ours on BGPPeer and BGPConfiguration that Calico's speaker knows nothing of: BFD, limits of prefixes, ADD-PATH, roles, LLGR, Adj-RIB-In, BLACKHOLE, link bandwidth. */
import { parseBitRate } from '#kit';
import type { BFDSettings, BGPPeerObject, PrefixLimit } from '#model';
import { readSeconds } from './calico-fields.ts';
import { type Reader, show } from './reader.ts';

export const speakerFields = [
  'bfd',
  'maxPrefixes',
  'addPath',
  'gracefulShutdown',
  'longLivedStaleTime',
  'role',
  'strictRole',
  'adjRibIn',
  'blackhole',
  'linkBandwidth',
];

type SpeakerFields = Pick<
  BGPPeerObject,
  | 'bfd'
  | 'maxPrefixes'
  | 'addPath'
  | 'gracefulShutdown'
  | 'longLivedStaleTimeSec'
  | 'role'
  | 'strictRole'
  | 'adjRibIn'
  | 'blackhole'
  | 'linkBandwidthBytesPerSec'
>;

/** RFC 9494 4.2: twenty-four bits. */
const longLivedStaleTimeSecMax = 0xffffff;

export function readSpeakerFields(spec: Reader): SpeakerFields {
  const bfd = readBfd(spec.field('bfd'));
  const maxPrefixes = readMaxPrefixes(spec.field('maxPrefixes'));
  const addPath = readAddPath(spec.field('addPath'));
  const gracefulShutdown = spec.field('gracefulShutdown').boolean();
  const longLivedStaleTimeSec = readSeconds(spec.field('longLivedStaleTime'), longLivedStaleTimeSecMax);
  const adjRibIn = spec.field('adjRibIn').boolean();
  const blackhole = readBlackhole(spec.field('blackhole'));
  const linkBandwidthBytesPerSec = readBitRate(spec.field('linkBandwidth'));
  return {
    ...(bfd === undefined ? {} : { bfd }),
    ...(maxPrefixes === undefined ? {} : { maxPrefixes }),
    ...(addPath === undefined ? {} : { addPath }),
    ...(gracefulShutdown === undefined ? {} : { gracefulShutdown }),
    ...(longLivedStaleTimeSec === undefined ? {} : { longLivedStaleTimeSec }),
    ...readRole(spec),
    ...(adjRibIn === undefined ? {} : { adjRibIn }),
    ...(blackhole === undefined ? {} : { blackhole }),
    ...(linkBandwidthBytesPerSec === undefined ? {} : { linkBandwidthBytesPerSec }),
  };
}

/** What the speaker takes. */
const bfdIntervalMsMin = 10;
const bfdIntervalMsMax = 60_000;

/** An empty one is all defaults. */
export function readBfd(reader: Reader): BFDSettings | undefined {
  if (!reader.present) return undefined;
  reader.onlyFields(['minTx', 'minRx', 'multiplier', 'multihop', 'graceful']);
  const minTxMs = readInterval(reader.field('minTx'));
  const minRxMs = readInterval(reader.field('minRx'));
  const multiplier = reader.field('multiplier').integer(1, 255);
  const multihop = reader.field('multihop').boolean();
  const graceful = reader.field('graceful').boolean();
  return {
    ...(minTxMs === undefined ? {} : { minTxMs }),
    ...(minRxMs === undefined ? {} : { minRxMs }),
    ...(multiplier === undefined ? {} : { multiplier }),
    ...(multihop === undefined ? {} : { multihop }),
    ...(graceful === undefined ? {} : { graceful }),
  };
}

/** Milliseconds of `300ms` or `1s`. */
function readInterval(reader: Reader): number | undefined {
  if (!reader.present) return undefined;
  const match = /^(?:(\d{1,5})ms|(\d{1,2})s)$/.exec(typeof reader.value === 'string' ? reader.value : '');
  const ms = match ? Number(match[1] ?? Number(match[2]) * 1000) : -1;
  if (ms >= bfdIntervalMsMin && ms <= bfdIntervalMsMax) return ms;
  return reader.fault(
    `${show(reader.value)} is no interval of BFD; write ${bfdIntervalMsMin}ms to ${bfdIntervalMsMax / 1000}s, such as 300ms or 1s`,
  );
}

function readMaxPrefixes(reader: Reader): BGPPeerObject['maxPrefixes'] {
  if (!reader.present) return undefined;
  reader.onlyFields(['ipv4', 'ipv6']);
  const ipv4 = readPrefixLimit(reader.field('ipv4'));
  const ipv6 = readPrefixLimit(reader.field('ipv6'));
  return { ...(ipv4 ? { ipv4 } : {}), ...(ipv6 ? { ipv6 } : {}) };
}

const prefixLimitMax = 0xffffffff;
/** A week. */
const prefixRestartSecMax = 604_800;

function readPrefixLimit(reader: Reader): PrefixLimit | undefined {
  if (!reader.present) return undefined;
  reader.onlyFields(['limit', 'warnPercent', 'restartTime', 'warnOnly']);
  const limitReader = reader.field('limit');
  const limit = limitReader.present ? limitReader.integer(1, prefixLimitMax) : limitReader.fault('is required');
  const warnPercent = reader.field('warnPercent').integer(1, 100);
  const restartReader = reader.field('restartTime');
  const restartSec = readSeconds(restartReader, prefixRestartSecMax);
  if (restartSec === 0) restartReader.fault('0s would end sessions without a pause; write at least 1s, or remove it');
  const warnOnly = reader.field('warnOnly').boolean();
  if (limit === undefined) return undefined;
  return {
    limit,
    ...(warnPercent === undefined ? {} : { warnPercent }),
    ...(restartSec === undefined ? {} : { restartSec }),
    ...(warnOnly === undefined ? {} : { warnOnly }),
  };
}

const addPathMax = 128;

function readAddPath(reader: Reader): BGPPeerObject['addPath'] {
  if (!reader.present) return undefined;
  reader.onlyFields(['receive', 'send', 'limit']);
  const receive = reader.field('receive').boolean() ?? false;
  const send = reader.field('send').integer(0, addPathMax) ?? 0;
  const limitReader = reader.field('limit');
  const limit = limitReader.integer(1, addPathMax);
  if (limit !== undefined && !receive) limitReader.fault('goes with receive: true; set that, or remove it');
  return { receive, send, ...(limit === undefined ? {} : { limit }) };
}

/** An empty one is all defaults. */
function readBlackhole(reader: Reader): BGPPeerObject['blackhole'] {
  if (!reader.present) return undefined;
  reader.onlyFields(['ipv4', 'ipv6']);
  const ipv4 = reader.field('ipv4').integer(1, 32);
  const ipv6 = reader.field('ipv6').integer(1, 128);
  return { ...(ipv4 === undefined ? {} : { ipv4 }), ...(ipv6 === undefined ? {} : { ipv6 }) };
}

function readBitRate(reader: Reader): number | undefined {
  const text = reader.textOrNone();
  if (text === undefined) return undefined;
  return parseBitRate(text) ?? reader.fault(`${show(text)} is no bandwidth; write one such as 10Gbit or 2.5Gbit`);
}

const roles = ['Provider', 'RouteServer', 'RouteServerClient', 'Customer', 'Peer'] as const;

/** RFC 9234 4.1: of this node towards a router, hence not beside peerSelector. */
function readRole(spec: Reader): Pick<BGPPeerObject, 'role' | 'strictRole'> {
  const roleReader = spec.field('role');
  const role = roleReader.choiceOrNone(roles);
  const strictReader = spec.field('strictRole');
  const strictRole = strictReader.boolean();
  if (role && spec.field('peerSelector').textOrNone() !== undefined) {
    roleReader.fault('stands beside peerSelector; nodes have no roles towards each other, remove it');
  }
  if (strictRole && roleReader.textOrNone() === undefined) strictReader.fault('goes with role; set role, or remove it');
  return { ...(role ? { role } : {}), ...(strictRole === undefined ? {} : { strictRole }) };
}
