/**
 * Filters that a speaker's file may name without writing them: what RFC 7454 (BCP 194) wants kept out between networks. Each rejects and
 * leaves the rest to what stands behind it; one of the file with the same name takes its place.
 *
 *   bogon-prefixes    special-purpose ones that are routed nowhere (6.1.1; the IANA registries of RFC 6890)
 *   private-prefixes  those of RFC 1918, 6598 and 4193, which networks inside a site have
 *   long-prefixes     longer than /24 and /48 (6.1.3)
 *   own-prefixes      what this speaker originates, and parts of it (6.1.4)
 *   default-route     0.0.0.0/0 and ::/0 (6.1.6)
 *   bogon-asns        reserved AS numbers anywhere in AS_PATH (9; RFC 5398, 6793, 7300, 7607)
 *   private-asns      those of RFC 6996
 */
import type { FilterTerm, PrefixSetEntry, RouteFilter } from '#bgp';
import { parseCidr } from '#kit';

type Family = 4 | 6;
const lengthMax = { 4: 32, 6: 128 } as const;

const bogonPrefixes = [
  '0.0.0.0/8', // RFC 791
  '127.0.0.0/8', // RFC 1122
  '169.254.0.0/16', // RFC 3927
  '192.0.0.0/24', // RFC 6890
  '192.0.2.0/24', // RFC 5737
  '192.88.99.0/24', // RFC 7526
  '198.18.0.0/15', // RFC 2544
  '198.51.100.0/24', // RFC 5737
  '203.0.113.0/24', // RFC 5737
  '224.0.0.0/4', // RFC 5771
  '240.0.0.0/4', // RFC 1112
  '::/8', // RFC 4291
  '100::/64', // RFC 6666
  '2001:2::/48', // RFC 5180
  '2001:10::/28', // RFC 4843
  '2001:db8::/32', // RFC 3849
  '2002::/16', // RFC 7526
  '3ffe::/16', // RFC 3701
  '3fff::/20', // RFC 9637
  '5f00::/16', // RFC 9602
  'fe80::/10', // RFC 4291
  'fec0::/10', // RFC 3879
  'ff00::/8', // RFC 4291
];
const privatePrefixes = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7'];

const bogonAsns: readonly AsnRange[] = [
  { min: 0, max: 0 },
  { min: 23456, max: 23456 },
  { min: 64496, max: 64511 },
  { min: 65535, max: 131071 },
  { min: 4294967295, max: 4294967295 },
];
const privateAsns: readonly AsnRange[] = [
  { min: 64512, max: 65534 },
  { min: 4200000000, max: 4294967294 },
];
interface AsnRange {
  readonly min: number;
  readonly max: number;
}

/** @param originate our own prefixes. */
export function readyFilters(originate: readonly string[]): ReadonlyMap<string, RouteFilter> {
  const lengths = (family: Family): PrefixSetEntry => ({
    cidr: family === 4 ? '0.0.0.0/0' : '::/0',
    minLength: family === 4 ? 25 : 49,
    maxLength: lengthMax[family],
  });
  const filters: Readonly<Record<string, (family: Family) => Condition>> = {
    'bogon-prefixes': (family) => inside(bogonPrefixes, family),
    'private-prefixes': (family) => inside(privatePrefixes, family),
    'long-prefixes': (family) => ({ prefixes: { entries: [lengths(family)] } }),
    'own-prefixes': (family) => inside(originate, family),
    'default-route': (family) => ({ prefixes: { entries: [{ cidr: lengths(family).cidr }] } }),
    'bogon-asns': () => ({ asPath: { contains: bogonAsns } }),
    'private-asns': () => ({ asPath: { contains: privateAsns } }),
  };
  return new Map(
    Object.entries(filters).map(([name, condition]) => {
      const terms = (family: Family): FilterTerm[] => {
        const conditions = condition(family);
        if (conditions.prefixes?.entries.length === 0) return [];
        return [{ action: 'reject', from: { filter: name, index: 0 }, ...conditions }];
      };
      return [name, { ipv4: terms(4), ipv6: terms(6) }];
    }),
  );
}

type Condition = Pick<FilterTerm, 'prefixes' | 'asPath'>;

/** The prefixes of the family, and all parts of them. */
function inside(prefixes: readonly string[], family: Family): Condition {
  const entries = prefixes.flatMap((cidr) => {
    const parsed = parseCidr(cidr)!;
    return parsed.family === family ? [{ cidr, minLength: parsed.length, maxLength: lengthMax[family] }] : [];
  });
  return { prefixes: { entries } };
}
