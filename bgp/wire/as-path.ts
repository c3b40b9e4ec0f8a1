/**
 * AS_PATH: checks and numbers (RFC 4271 4.3 and 9.1.2.2, RFC 7606 7.2, RFC 7607, RFC 9774), and the two widths of AS
 * numbers (RFC 6793). A path is handled as its octets; segments are never made into arrays.
 */
import { segmentAsnsMax, segmentType } from './attribute-types.ts';
import { copy, read16, read32, write32 } from './bytes.ts';
import { updateSubcode } from './errors.ts';
import { type Fault, withdraw } from './fault.ts';
import type { AttributeValues } from './types.ts';

const malformed = (reason: string): Fault => withdraw(updateSubcode.malformedAsPath, `AS_PATH: ${reason}`);
const faults = {
  truncated: malformed('a segment is cut short (RFC 7606 7.2)'),
  empty: malformed('a segment has no AS (RFC 7606 7.2)'),
  unknown: malformed('a segment of unknown type (RFC 7606 7.2)'),
  confederation: malformed('a confederation segment from a peer outside (RFC 5065 5)'),
  asSet: malformed('AS_SET is deprecated (RFC 9774 3)'),
  asZero: malformed('AS 0 (RFC 7607 2)'),
};

export type AsnWidth = 2 | 4;

function readAsn(bytes: Uint8Array, at: number, width: AsnWidth): number {
  return width === 4 ? read32(bytes, at) : read16(bytes, at);
}

/** Sets `asPathLength`, `firstAsn` and `ownAsnCount` of `values`; returns the fault that makes the path unusable. */
export function scanAsPath(
  bytes: Uint8Array,
  start: number,
  end: number,
  width: AsnWidth,
  localAsn: number,
  acceptAsSet: boolean,
  values: AttributeValues,
): Fault | undefined {
  let length = 0;
  let own = 0;
  values.firstAsn = 0;
  for (let at = start; at < end; ) {
    if (at + 2 > end) return faults.truncated;
    const type = bytes[at]!;
    const count = bytes[at + 1]!;
    const next = at + 2 + count * width;
    if (type === segmentType.confedSequence || type === segmentType.confedSet) return faults.confederation;
    if (type !== segmentType.asSequence && type !== segmentType.asSet) return faults.unknown;
    if (count === 0) return faults.empty;
    if (next > end) return faults.truncated;
    if (type === segmentType.asSet && !acceptAsSet) return faults.asSet;
    for (let p = at + 2; p < next; p += width) {
      const asn = readAsn(bytes, p, width);
      if (asn === 0) return faults.asZero;
      if (asn === localAsn) own++;
    }
    if (at === start && type === segmentType.asSequence) values.firstAsn = readAsn(bytes, at + 2, width);
    length += type === segmentType.asSequence ? count : 1;
    at = next;
  }
  values.asPathLength = length;
  values.ownAsnCount = own;
  return undefined;
}

/** Whether the octets are whole segments with at least one AS each (AS4_PATH: RFC 6793 6). */
export function segmentsWellFormed(bytes: Uint8Array, start: number, end: number, width: AsnWidth): boolean {
  let at = start;
  while (at < end) {
    const type = bytes[at]!;
    if (at + 2 > end || type < segmentType.asSet || type > segmentType.confedSet || bytes[at + 1] === 0) return false;
    at += 2 + bytes[at + 1]! * width;
  }
  return at === end;
}

/** RFC 4271 9.1.2.2 and RFC 5065 5.3: a set counts as one, confederation segments as none. Input is well formed. */
function pathLength(bytes: Uint8Array, start: number, end: number, width: AsnWidth): number {
  let length = 0;
  for (let at = start; at < end; at += 2 + bytes[at + 1]! * width) {
    if (bytes[at] === segmentType.asSequence) length += bytes[at + 1]!;
    else if (bytes[at] === segmentType.asSet) length += 1;
  }
  return length;
}

/** Appends 4-octet path octets to `out`, joining a sequence with a sequence before it where both fit one segment. */
class PathWriter {
  readonly out: Uint8Array;
  length = 0;
  #segment = -1;

  constructor(out: Uint8Array) {
    this.out = out;
  }
  segment(type: number, count: number): void {
    const last = this.#segment;
    if (last >= 0 && type === segmentType.asSequence && this.out[last] === type) {
      if (this.out[last + 1]! + count <= segmentAsnsMax) {
        this.out[last + 1]! += count;
        return;
      }
    }
    this.#segment = this.length;
    this.out[this.length] = type;
    this.out[this.length + 1] = count;
    this.length += 2;
  }
  asn(asn: number): void {
    write32(this.out, this.length, asn);
    this.length += 4;
  }
}

/**
 * Writes the 4-octet form of a 2-octet AS_PATH into `out`, merged with AS4_PATH where there is one (RFC 6793 4.2.3): the
 * leading ASes that only AS_PATH has, then AS4_PATH without its confederation segments. An AS4_PATH longer than the path
 * is ignored. Both inputs are well formed.
 *
 * @returns octets written.
 */
export function widenAsPath(
  bytes: Uint8Array,
  start: number,
  end: number,
  as4Start: number,
  as4End: number,
  out: Uint8Array,
): number {
  const writer = new PathWriter(out);
  const surplus = pathLength(bytes, start, end, 2) - pathLength(bytes, as4Start, as4End, 4);
  const merge = as4End > as4Start && surplus >= 0;
  let leading = merge ? surplus : Number.POSITIVE_INFINITY;
  for (let at = start; at < end && leading > 0; at += 2 + bytes[at + 1]! * 2) {
    const isSet = bytes[at] !== segmentType.asSequence;
    const count = isSet ? bytes[at + 1]! : Math.min(bytes[at + 1]!, leading);
    writer.segment(bytes[at]!, count);
    for (let i = 0; i < count; i++) writer.asn(read16(bytes, at + 2 + 2 * i));
    leading -= isSet ? 1 : count;
  }
  if (!merge) return writer.length;
  for (let at = as4Start; at < as4End; at += 2 + bytes[at + 1]! * 4) {
    if (bytes[at]! >= segmentType.confedSequence) continue;
    writer.segment(bytes[at]!, bytes[at + 1]!);
    for (let i = 0; i < bytes[at + 1]!; i++) writer.asn(read32(bytes, at + 2 + 4 * i));
  }
  return writer.length;
}

/** Writes a 4-octet path with `asn` put in front (RFC 4271 5.1.2); a full first segment gets a new one before it. */
export function prependAsn(
  bytes: Uint8Array,
  start: number,
  end: number,
  asn: number,
  out: Uint8Array,
  at: number,
): number {
  const joins = start < end && bytes[start] === segmentType.asSequence && bytes[start + 1]! < segmentAsnsMax;
  out[at] = segmentType.asSequence;
  out[at + 1] = joins ? bytes[start + 1]! + 1 : 1;
  write32(out, at + 2, asn);
  return copy(bytes, joins ? start + 2 : start, end, out, at + 6);
}

/** Writes the 2-octet form of a 4-octet path, AS_TRANS standing for what does not fit; `wide.any` tells if it ever did. */
export function narrowAsPath(
  bytes: Uint8Array,
  start: number,
  end: number,
  out: Uint8Array,
  at: number,
  asTrans: number,
): { readonly end: number; readonly wide: boolean } {
  let to = at;
  let wide = false;
  for (let p = start; p < end; ) {
    const count = bytes[p + 1]!;
    out[to] = bytes[p]!;
    out[to + 1] = count;
    to += 2;
    p += 2;
    for (let i = 0; i < count; i++, p += 4, to += 2) {
      const asn = read32(bytes, p);
      wide ||= asn > 0xffff;
      const narrow = asn > 0xffff ? asTrans : asn;
      out[to] = narrow >> 8;
      out[to + 1] = narrow;
    }
  }
  return { end: to, wide };
}
