/** What terms change: canonical attributes in, canonical attributes out. Once per attribute set and term: these allocate. */
import { parseIp } from '#kit';
import {
  addCommunity,
  addExtendedCommunity,
  attributeType,
  attributeValue,
  isLinkBandwidth,
  optionalNonTransitive,
  optionalTransitive,
  prependAsns,
  segmentType,
  wellKnown,
  withAttribute,
  withoutAttribute,
} from '../wire/index.ts';
import { communityBytes, communityKind, parseCommunity, parseCommunityPattern } from './community.ts';
import { originNumber } from './conditions.ts';
import { read32 } from './route-view.ts';
import { type AttributeChange, type CommunityKind, prependTimesMax } from './types.ts';

/** A copy with the change made; `undefined` when the result is longer than any message. */
export type Change = (attributes: Uint8Array) => Uint8Array | undefined;

/** `self`: our address on the session. `unchanged`: as it was learned. Otherwise address bytes. */
export type NextHopChange = 'self' | 'unchanged' | Uint8Array;

export interface CompiledChanges {
  readonly attributes: readonly Change[];
  readonly nextHop: NextHopChange | undefined;
  /** MED is set: it is sent to eBGP as well. */
  readonly setsMed: boolean;
}

const communityAttribute: Readonly<Record<CommunityKind, number>> = {
  standard: attributeType.communities,
  extended: attributeType.extendedCommunities,
  large: attributeType.largeCommunities,
};

/** @param localAsn our AS number on the session. @throws RangeError when a value is none. */
export function compileChanges(changes: readonly AttributeChange[], localAsn: number): CompiledChanges {
  let nextHop: NextHopChange | undefined;
  let setsMed = false;
  const attributes: Change[] = [];
  for (const change of changes) {
    if (change.type === 'setNextHop') nextHop = parseNextHop(change.value);
    else {
      if (change.type === 'setMed') setsMed = change.value !== undefined;
      attributes.push(compileChange(change, localAsn));
    }
  }
  return { attributes, nextHop, setsMed };
}

function compileChange(change: Exclude<AttributeChange, { type: 'setNextHop' }>, localAsn: number): Change {
  switch (change.type) {
    case 'addCommunity':
      return adding(parseCommunity(change.value));
    case 'setCommunities':
      return replacing(change.kind, change.values);
    case 'deleteCommunities':
      return deleting(change.patterns);
    case 'prepend':
      return (bytes) => prependAsns(bytes, change.asns);
    case 'prependOwn': {
      const { times } = change;
      if (!(times >= 1 && times <= prependTimesMax)) {
        throw new RangeError(`prepending goes from 1 to ${prependTimesMax} times, not ${times}`);
      }
      return (bytes) => prependAsns(bytes, Array<number>(times).fill(localAsn));
    }
    case 'stripPrivateAsns':
      return stripPrivate;
    case 'setMed': {
      const { value } = change;
      if (value === undefined) return (bytes) => withoutAttribute(bytes, attributeType.multiExitDisc);
      const octets = u32(value);
      return (bytes) => withAttribute(bytes, attributeType.multiExitDisc, optionalNonTransitive, octets);
    }
    case 'setLocalPref': {
      const value = u32(change.value);
      return (bytes) => withAttribute(bytes, attributeType.localPref, wellKnown, value);
    }
    case 'setOrigin': {
      const value = Uint8Array.of(originNumber[change.value]);
      return (bytes) => withAttribute(bytes, attributeType.origin, wellKnown, value);
    }
  }
}

function parseNextHop(text: string): NextHopChange {
  if (text === 'self' || text === 'unchanged') return text;
  const address = parseIp(text);
  if (!address) throw new RangeError(`${text} is not an IP address, self or unchanged`);
  return address;
}

function adding(community: Uint8Array): Change {
  const kind = communityKind(community);
  const type = communityAttribute[kind];
  return (bytes) => {
    const value = attributeValue(bytes, 0, bytes.length, type);
    const size = community.length;
    for (let at = value?.start ?? 0; value && at < value.end; at += size) {
      if (Buffer.compare(bytes.subarray(at, at + size), community) === 0) return bytes;
    }
    if (kind !== 'extended') return addCommunity(bytes, community);
    const rest = isLinkBandwidth(community, 0) ? withoutLinkBandwidth(bytes) : bytes;
    return rest && addExtendedCommunity(rest, community);
  };
}

function replacing(kind: CommunityKind, texts: readonly string[]): Change {
  const values = [...new Set(texts)].map(parseCommunity);
  const other = values.findIndex((value) => communityKind(value) !== kind);
  if (other >= 0) throw new RangeError(`${texts[other]} is not a community of the kind ${kind}`);
  const type = communityAttribute[kind];
  if (values.length === 0) return (bytes) => withoutAttribute(bytes, type);
  const value = Buffer.concat(values);
  return (bytes) => withAttribute(bytes, type, optionalTransitive, value);
}

/** RFC 10005: a route has one at most; a new one takes the place of any other. */
const withoutLinkBandwidth: Change = (bytes) => deleting(['bandwidth:*:*'])(bytes);

/** An attribute that is left with none goes: an empty one is malformed (RFC 7606 7.8). */
function deleting(texts: readonly string[]): Change {
  const patterns = texts.map(parseCommunityPattern);
  return (attributes) => {
    let bytes: Uint8Array | undefined = attributes;
    for (const kind of ['standard', 'extended', 'large'] as const) {
      const wanted = patterns.filter((pattern) => pattern.kind === kind);
      const value =
        wanted.length > 0 && bytes ? attributeValue(bytes, 0, bytes.length, communityAttribute[kind]) : undefined;
      if (!value || !bytes) continue;
      const kept: Uint8Array[] = [];
      const size = communityBytes[kind];
      for (let at = value.start; at < value.end; at += size) {
        if (!wanted.some((pattern) => pattern.matches(bytes!, at))) kept.push(bytes.subarray(at, at + size));
      }
      if (kept.length * size === value.end - value.start) continue;
      const type = communityAttribute[kind];
      bytes =
        kept.length === 0
          ? withoutAttribute(bytes, type)
          : withAttribute(bytes, type, optionalTransitive, Buffer.concat(kept));
    }
    return bytes;
  };
}

/** RFC 6996 5. */
function isPrivate(asn: number): boolean {
  return (asn >= 64512 && asn <= 65534) || (asn >= 4200000000 && asn <= 4294967294);
}

function stripPrivate(bytes: Uint8Array): Uint8Array | undefined {
  const value = attributeValue(bytes, 0, bytes.length, attributeType.asPath);
  if (!value) return bytes;
  let at = value.start;
  while (at < value.end && bytes[at] === segmentType.asSequence) {
    const count = bytes[at + 1]!;
    let leading = 0;
    while (leading < count && isPrivate(read32(bytes, at + 2 + 4 * leading))) leading++;
    if (leading === 0) break;
    if (leading < count) {
      const head = Uint8Array.of(segmentType.asSequence, count - leading);
      const path = Buffer.concat([head, bytes.subarray(at + 2 + 4 * leading, value.end)]);
      return withAttribute(bytes, attributeType.asPath, wellKnown, path);
    }
    at += 2 + 4 * count;
  }
  if (at === value.start) return bytes;
  return withAttribute(bytes, attributeType.asPath, wellKnown, bytes.subarray(at, value.end));
}

function u32(value: number): Uint8Array {
  if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) {
    throw new RangeError(`${value} is not a whole number from 0 to 4294967295`);
  }
  return Uint8Array.of(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
}
