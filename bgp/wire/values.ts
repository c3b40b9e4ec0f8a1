/** Numbers of an attribute set: defaults, and the reading of single attributes, shared by received and canonical form. */
import { read32 } from './bytes.ts';
import { type AttributeValues, communityFlag } from './types.ts';

export function emptyAttributeValues(): AttributeValues {
  return {
    origin: 0,
    asPathLength: 0,
    firstAsn: 0,
    ownAsnCount: 0,
    med: -1,
    localPref: -1,
    originatorId: -1,
    clusterListLength: 0,
    reflectionLoop: false,
    communityFlags: 0,
    linkBandwidth: -1,
  };
}

export function clearAttributeValues(values: AttributeValues): void {
  values.origin = 0;
  values.asPathLength = 0;
  values.firstAsn = 0;
  values.ownAsnCount = 0;
  values.med = -1;
  values.localPref = -1;
  values.originatorId = -1;
  values.clusterListLength = 0;
  values.reflectionLoop = false;
  values.communityFlags = 0;
  values.linkBandwidth = -1;
}

/** Well-known communities, by the lower half of 0xffff____ (RFC 1997, 8326, 7999, 9494). */
function flagOf(low: number): number {
  switch (low) {
    case 0xff01:
      return communityFlag.noExport;
    case 0xff02:
      return communityFlag.noAdvertise;
    case 0xff03:
      return communityFlag.noExportSubconfed;
    case 0x0000:
      return communityFlag.gracefulShutdown;
    case 0x029a:
      return communityFlag.blackhole;
    case 0x0006:
      return communityFlag.llgrStale;
    case 0x0007:
      return communityFlag.noLlgr;
    default:
      return 0;
  }
}

export function readCommunities(values: AttributeValues, bytes: Uint8Array, start: number, end: number): void {
  let flags = 0;
  for (let at = start; at < end; at += 4) {
    if (bytes[at] === 0xff && bytes[at + 1] === 0xff) flags |= flagOf((bytes[at + 2]! << 8) | bytes[at + 3]!);
  }
  values.communityFlags |= flags;
}

export function readOriginatorId(values: AttributeValues, bytes: Uint8Array, start: number, localId: number): void {
  values.originatorId = read32(bytes, start);
  if (values.originatorId === localId) values.reflectionLoop = true;
}

export function readClusterList(
  values: AttributeValues,
  bytes: Uint8Array,
  start: number,
  end: number,
  localId: number,
): void {
  values.clusterListLength = (end - start) >> 2;
  for (let at = start; at < end; at += 4) if (read32(bytes, at) === localId) values.reflectionLoop = true;
}
