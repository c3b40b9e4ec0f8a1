/**
 * What attribute sets cost the slice of work in which they are filtered and encoded, in prefixes (half a microsecond). Slices count prefixes, and
 * to copy a set of usual length is part of what a prefix costs. But one has up to 64 kB (RFC 8654), and where each prefix has another than the one
 * before, each is copied, looked through by every filter, and written: 10,000 of them were 600 MB, or seconds.
 */

/** Of a group without a filter: sets are copied a few times. Each walk of a filter over a set is one more. */
export const encodingWeight = 4;
/** Octets times weight that take as long as a prefix. */
const shift = 9;

/** @param weight of all groups that have to do with the set. */
export function setCost(octets: number, weight: number): number {
  return (octets * weight) >>> shift;
}
