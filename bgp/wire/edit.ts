/** Canonical attributes with something added, as filters ask for. Once per attribute set and filter: these allocate. */
import { prependAsn } from './as-path.ts';
import { attributeType, optionalTransitive, wellKnown } from './attribute-types.ts';
import { copy } from './bytes.ts';
import { writeAttributeHead } from './canonical.ts';
import { isLinkBandwidth, linkBandwidthBytes } from './link-bandwidth.ts';
import { canonicalAttributesBytesMax } from './types.ts';
import { valueEnd, valueStart } from './update.ts';

/** Where the value of an attribute stands; undefined when there is none of that type. */
export function attributeValue(
  bytes: Uint8Array,
  start: number,
  end: number,
  type: number,
): { readonly start: number; readonly end: number } | undefined {
  for (let at = start; at < end; at = valueEnd(bytes, at)) {
    if (bytes[at + 1] === type) return { start: valueStart(bytes, at), end: valueEnd(bytes, at) };
  }
  return undefined;
}

/** With a community of four (RFC 1997) or twelve octets (RFC 8092) more; undefined when that is longer than any message. */
export function addCommunity(attributes: Uint8Array, community: Uint8Array): Uint8Array | undefined {
  const type = community.length === 4 ? attributeType.communities : attributeType.largeCommunities;
  const old = attributeValue(attributes, 0, attributes.length, type);
  const value = Buffer.allocUnsafe((old ? old.end - old.start : 0) + community.length);
  const end = old ? copy(attributes, old.start, old.end, value, 0) : 0;
  copy(community, 0, community.length, value, end);
  return withAttribute(attributes, type, optionalTransitive, value);
}

/** With an extended community of eight octets more; undefined when that is longer than any message. */
export function addExtendedCommunity(attributes: Uint8Array, community: Uint8Array): Uint8Array | undefined {
  const type = attributeType.extendedCommunities;
  const old = attributeValue(attributes, 0, attributes.length, type);
  const value = old ? Buffer.concat([attributes.subarray(old.start, old.end), community]) : community;
  return withAttribute(attributes, type, optionalTransitive, value);
}

/** Whether canonical attributes have a link bandwidth (RFC 10005), sound or not. */
export function hasLinkBandwidth(attributes: Uint8Array): boolean {
  const value = attributeValue(attributes, 0, attributes.length, attributeType.extendedCommunities);
  for (let at = value?.start ?? 0; value && at < value.end; at += linkBandwidthBytes) {
    if (isLinkBandwidth(attributes, at)) return true;
  }
  return false;
}

/** With ASes in front of AS_PATH, the first of them foremost (RFC 4271 5.1.2); undefined when that is longer than any message. */
export function prependAsns(attributes: Uint8Array, asns: readonly number[]): Uint8Array | undefined {
  const old = attributeValue(attributes, 0, attributes.length, attributeType.asPath);
  let path: Uint8Array = old ? attributes.subarray(old.start, old.end) : new Uint8Array(0);
  if (path.length + 4 * asns.length > 0xffff) return undefined;
  for (let i = asns.length - 1; i >= 0; i--) {
    const longer = Buffer.allocUnsafe(path.length + 6);
    path = longer.subarray(0, prependAsn(path, 0, path.length, asns[i]!, longer, 0));
  }
  return withAttribute(attributes, attributeType.asPath, wellKnown, path);
}

/** With that LOCAL_PREF instead of any other; undefined when that is longer than any message. */
export function withLocalPref(attributes: Uint8Array, value: number): Uint8Array | undefined {
  const octets = Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
  return withAttribute(attributes, attributeType.localPref, wellKnown, octets);
}

const head = new Uint8Array(4);

/** Puts an attribute in its place by type, instead of the one of that type where there is one; undefined when that is too long. */
export function withAttribute(
  attributes: Uint8Array,
  type: number,
  flags: number,
  value: Uint8Array,
): Uint8Array | undefined {
  if (value.length > 0xffff) return undefined;
  const headBytes = writeAttributeHead(head, 0, flags, type, value.length);
  let from = 0;
  while (from < attributes.length && attributes[from + 1]! < type) from = valueEnd(attributes, from);
  const replaced = from < attributes.length && attributes[from + 1] === type;
  const to = replaced ? valueEnd(attributes, from) : from;
  const length = attributes.length - (to - from) + headBytes + value.length;
  if (length > canonicalAttributesBytesMax) return undefined;
  const result = Buffer.allocUnsafe(length);
  let at = copy(attributes, 0, from, result, 0);
  at = copy(head, 0, headBytes, result, at);
  at = copy(value, 0, value.length, result, at);
  copy(attributes, to, attributes.length, result, at);
  return result;
}

/** Without the attribute of that type; the same octets when there is none. */
export function withoutAttribute(attributes: Uint8Array, type: number): Uint8Array {
  for (let at = 0; at < attributes.length; at = valueEnd(attributes, at)) {
    if (attributes[at + 1] !== type) continue;
    return Buffer.concat([attributes.subarray(0, at), attributes.subarray(valueEnd(attributes, at))]);
  }
  return attributes;
}
