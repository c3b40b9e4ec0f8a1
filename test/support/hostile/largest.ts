/**
 * The largest legal UPDATEs, full of what makes the most work an octet: families of 4,096 octets, and of 65,535 (RFC 8654). Each message of a family
 * differs from the others where that costs the receiver more.
 */
import { attribute, fill, mpReach, nextHop, origin, sequence, u16, u32, update } from './build.ts';

/** What goes beside the attribute or the prefixes that a message is full of. */
const besideBytes = 100;

/** @param asn of the sender. @param bytes of the message at most. @param n which of its family. */
type Make = (asn: number, bytes: number, n: number) => Uint8Array;

const times = (count: number, of: (i: number) => readonly number[]): number[] =>
  Array.from({ length: Math.floor(count) }, (_, i) => of(i)).flat();

/** One prefix, with an attribute of `octets` octets in place of or beside the usual ones. */
const withAttribute =
  (of: (octets: number, n: number) => number[]): Make =>
  (asn, bytes, n) =>
    update({
      attributes: [origin, attribute(0x40, 2, sequence(asn, 7)), nextHop, of(bytes - besideBytes, n)],
      nlri: [24, 30, 1, n & 255],
    });

/** Prefixes of `octets` octets, under an AS_PATH that no message before had. */
const withPrefixes =
  (of: (octets: number, n: number) => number[], path = true): Make =>
  (asn, bytes, n) =>
    update({
      attributes: [path ? origin : attribute(0x40, 1, [9]), attribute(0x40, 2, sequence(asn, n + 1)), nextHop],
      nlri: of(bytes - besideBytes, n),
    });

const distinct24 = (octets: number): number[] => times(octets / 4, (i) => [24, 30, i >> 8, i & 255]);

export const largestUpdates: Readonly<Record<string, Make>> = {
  communities: withAttribute((octets, n) =>
    attribute(
      0xc0,
      8,
      times(octets / 4, (i) => u32(0x10000 * n + i + 7)),
    ),
  ),
  'large communities': withAttribute((octets, n) =>
    attribute(
      0xc0,
      32,
      times(octets / 12, (i) => [...u32(n), ...u32(i), ...u32(7)]),
    ),
  ),
  'large communities, each of them twice': withAttribute((octets) =>
    attribute(
      0xc0,
      32,
      times(octets / 12, (i) => [...u32(1), ...u32(i >> 1), ...u32(7)]),
    ),
  ),
  'extended communities': withAttribute((octets, n) =>
    attribute(
      0xc0,
      16,
      times(octets / 8, (i) => [0, 2, ...u16(n), ...u32(i)]),
    ),
  ),
  'an AS_PATH of segments of one AS': (asn, bytes, n) =>
    update({
      attributes: [
        origin,
        attribute(
          0x40,
          2,
          times((bytes - besideBytes) / 6, (i) => sequence(i === 0 ? asn : 1000 + n + i)),
        ),
        nextHop,
      ],
      nlri: [24, 30, 1, n & 255],
    }),
  'an AS_PATH of full segments': (asn, bytes, n) => {
    const segments = Math.floor((bytes - besideBytes) / 1022);
    const path = times(segments, (s) => [2, 255, ...times(255, (i) => u32(s + i === 0 ? asn : 1000 + n + i))]);
    return update({ attributes: [origin, attribute(0x40, 2, path), nextHop], nlri: [24, 30, 1, n & 255] });
  },
  'attributes that nobody knows': withAttribute((octets, n) =>
    times(200, (i) => attribute(0xc0, 50 + i, fill(Math.floor(octets / 200) - 4, n & 255))),
  ),
  'the same attribute again and again': withAttribute((octets) => times(octets / 3, () => [0xc0, 99, 0])),
  'prefixes of no length': withPrefixes((octets) => fill(octets)),
  'prefixes of one octet': withPrefixes((octets) => times(octets / 2, (i) => [8, 11 + (i % 100)])),
  prefixes: withPrefixes(distinct24),
  'prefixes to be treated as withdrawn': withPrefixes(distinct24, false),
  'IPv6 prefixes': (asn, bytes, n) =>
    update({
      attributes: [
        mpReach(times((bytes - besideBytes) / 5, (i) => [32, 0x20, 1, i >> 8, i & 255])),
        origin,
        attribute(0x40, 2, sequence(asn, n + 1)),
      ],
    }),
  'withdrawals of what is not there': (_asn, bytes) => update({ withdrawn: fill(bytes - besideBytes) }),
  'prefixes that are withdrawn and announced at once': (asn, bytes, n) => {
    const prefixes = distinct24((bytes - besideBytes) / 2);
    const attributes = [origin, attribute(0x40, 2, sequence(asn, n + 1)), nextHop];
    return update({ withdrawn: prefixes, attributes, nlri: prefixes });
  },
};
