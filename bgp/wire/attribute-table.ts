/**
 * Path attributes as data: one row per attribute that is understood. The row says which flags are right, and its `check`
 * reads the value into the view or answers with a fault; RFC 7606's rules are the faults. Flags, duplicates, lengths
 * against the list and unknown attributes are the walk's business (`update.ts`), in one place for all rows.
 */
import { scanAsPath, segmentsWellFormed } from './as-path.ts';
import { attributeType, optionalNonTransitive, optionalTransitive, wellKnown } from './attribute-types.ts';
import { read16, read32 } from './bytes.ts';
import { updateSubcode } from './errors.ts';
import { discard, type Fault, unwelcome, withdraw } from './fault.ts';
import { readLinkBandwidth } from './link-bandwidth.ts';
import { checkMpReach, checkMpUnreach } from './multiprotocol.ts';
import { communityFlag, type UpdateContext, type UpdateView } from './types.ts';
import { readClusterList, readCommunities, readOriginatorId } from './values.ts';

/** Judges the value at `bytes[start..end)`; undefined keeps it. */
type AttributeCheck = (
  view: UpdateView,
  context: UpdateContext,
  bytes: Uint8Array,
  start: number,
  end: number,
) => Fault | undefined;

export interface AttributeDescriptor {
  readonly name: string;
  /** Optional and Transitive bits as they must be (RFC 7606 3c); Partial and the low four bits are ignored. */
  readonly flags: number;
  readonly check: AttributeCheck;
}

const badLength = (name: string, clause: string): Fault =>
  withdraw(updateSubcode.attributeLengthError, `${name} has a wrong length (${clause})`);

const fromExternal = (name: string, clause: string): Fault => unwelcome(`${name} from an external peer (${clause})`);

/** A list of items of `size` octets, at least one. */
function list(name: string, size: number, clause: string): AttributeCheck {
  const fault = badLength(name, clause);
  return (_view, _context, _bytes, start, end) => (end > start && (end - start) % size === 0 ? undefined : fault);
}

const origin = {
  length: badLength('ORIGIN', 'RFC 7606 7.1'),
  value: withdraw(updateSubcode.invalidOriginAttribute, 'ORIGIN has an undefined value (RFC 7606 7.1)'),
};
const nextHopLength = badLength('NEXT_HOP', 'RFC 7606 7.3');
const extendedCommunityLength = badLength('EXTENDED COMMUNITIES', 'RFC 7606 7.14');
const medLength = badLength('MULTI_EXIT_DISC', 'RFC 7606 7.4');
const localPref = {
  external: fromExternal('LOCAL_PREF', 'RFC 7606 7.5'),
  length: badLength('LOCAL_PREF', 'RFC 7606 7.5'),
};
const atomicAggregateLength = discard('ATOMIC_AGGREGATE is not empty (RFC 7606 7.6)');
const aggregator = {
  length: discard('AGGREGATOR has a wrong length (RFC 7606 7.7)'),
  asZero: discard('AGGREGATOR names AS 0 (RFC 7607 2)'),
};
const communityLength = badLength('COMMUNITIES', 'RFC 7606 7.8');
const originatorId = {
  external: fromExternal('ORIGINATOR_ID', 'RFC 7606 7.9'),
  length: badLength('ORIGINATOR_ID', 'RFC 7606 7.9'),
};
const clusterList = {
  external: fromExternal('CLUSTER_LIST', 'RFC 7606 7.10'),
  length: badLength('CLUSTER_LIST', 'RFC 7606 7.10'),
};
const as4 = {
  fromNew: unwelcome('AS4_PATH or AS4_AGGREGATOR from a 4-octet peer (RFC 6793 6)'),
  malformed: discard('AS4_PATH or AS4_AGGREGATOR is malformed (RFC 6793 6)'),
};
const onlyToCustomerLength = badLength('ONLY_TO_CUSTOMER', 'RFC 9234 5');
const firstAsMismatch = withdraw(
  updateSubcode.malformedAsPath,
  'AS_PATH does not begin with the AS of the peer (RFC 4271 6.3)',
);

const checkAsPath: AttributeCheck = (view, context, bytes, start, end) => {
  view.asPathStart = start;
  view.asPathEnd = end;
  const width = context.asn4 ? 4 : 2;
  const fault = scanAsPath(bytes, start, end, width, context.localAsn, context.acceptAsSet === true, view);
  if (fault) return fault;
  return context.ebgp && view.firstAsn !== context.peerAsn ? firstAsMismatch : undefined;
};

const checkAggregator: AttributeCheck = (_view, context, bytes, start, end) => {
  if (end - start !== (context.asn4 ? 8 : 6)) return aggregator.length;
  const asn = context.asn4 ? read32(bytes, start) : read16(bytes, start);
  return asn === 0 ? aggregator.asZero : undefined;
};

const rows: readonly (readonly [type: number, name: string, flags: number, check: AttributeCheck])[] = [
  [
    attributeType.origin,
    'ORIGIN',
    wellKnown,
    (view, _context, bytes, start, end) => {
      if (end - start !== 1) return origin.length;
      view.origin = bytes[start]!;
      return view.origin > 2 ? origin.value : undefined;
    },
  ],
  [attributeType.asPath, 'AS_PATH', wellKnown, checkAsPath],
  [
    attributeType.nextHop,
    'NEXT_HOP',
    wellKnown,
    (view, _context, _bytes, start, end) => {
      if (end - start !== 4) return nextHopLength;
      view.nextHopStart = start;
      return undefined;
    },
  ],
  [
    attributeType.multiExitDisc,
    'MULTI_EXIT_DISC',
    optionalNonTransitive,
    (view, _context, bytes, start, end) => {
      if (end - start !== 4) return medLength;
      view.med = read32(bytes, start);
      return undefined;
    },
  ],
  [
    attributeType.localPref,
    'LOCAL_PREF',
    wellKnown,
    (view, context, bytes, start, end) => {
      if (context.ebgp) return localPref.external;
      if (end - start !== 4) return localPref.length;
      view.localPref = read32(bytes, start);
      return undefined;
    },
  ],
  [
    attributeType.atomicAggregate,
    'ATOMIC_AGGREGATE',
    wellKnown,
    (_view, _context, _bytes, start, end) => (end === start ? undefined : atomicAggregateLength),
  ],
  [attributeType.aggregator, 'AGGREGATOR', optionalTransitive, checkAggregator],
  [
    attributeType.communities,
    'COMMUNITIES',
    optionalTransitive,
    (view, _context, bytes, start, end) => {
      if (end === start || (end - start) % 4 !== 0) return communityLength;
      view.communitiesStart = start;
      view.communitiesEnd = end;
      readCommunities(view, bytes, start, end);
      return undefined;
    },
  ],
  [
    attributeType.originatorId,
    'ORIGINATOR_ID',
    optionalNonTransitive,
    (view, context, bytes, start, end) => {
      if (context.ebgp) return originatorId.external;
      if (end - start !== 4) return originatorId.length;
      readOriginatorId(view, bytes, start, context.localRouterId);
      return undefined;
    },
  ],
  [
    attributeType.clusterList,
    'CLUSTER_LIST',
    optionalNonTransitive,
    (view, context, bytes, start, end) => {
      if (context.ebgp) return clusterList.external;
      if (end === start || (end - start) % 4 !== 0) return clusterList.length;
      readClusterList(view, bytes, start, end, context.localClusterId ?? context.localRouterId);
      return undefined;
    },
  ],
  [attributeType.mpReach, 'MP_REACH_NLRI', optionalNonTransitive, checkMpReach],
  [attributeType.mpUnreach, 'MP_UNREACH_NLRI', optionalNonTransitive, checkMpUnreach],
  [
    attributeType.extendedCommunities,
    'EXTENDED COMMUNITIES',
    optionalTransitive,
    (view, _context, bytes, start, end) => {
      if (end === start || (end - start) % 8 !== 0) return extendedCommunityLength;
      readLinkBandwidth(view, bytes, start, end);
      return undefined;
    },
  ],
  [
    attributeType.as4Path,
    'AS4_PATH',
    optionalTransitive,
    (_view, context, bytes, start, end) => {
      if (context.asn4) return as4.fromNew;
      return end > start && segmentsWellFormed(bytes, start, end, 4) && !containsAsZero(bytes, start, end)
        ? undefined
        : as4.malformed;
    },
  ],
  [
    attributeType.as4Aggregator,
    'AS4_AGGREGATOR',
    optionalTransitive,
    (_view, context, bytes, start, end) => {
      if (context.asn4) return as4.fromNew;
      return end - start === 8 && read32(bytes, start) !== 0 ? undefined : as4.malformed;
    },
  ],
  [
    attributeType.ipv6ExtendedCommunities,
    'IPv6 EXTENDED COMMUNITIES',
    optionalTransitive,
    list('IPv6 EXTENDED COMMUNITIES', 20, 'RFC 7606 7.15'),
  ],
  [attributeType.largeCommunities, 'LARGE_COMMUNITY', optionalTransitive, list('LARGE_COMMUNITY', 12, 'RFC 8092 6')],
  [
    attributeType.onlyToCustomer,
    'ONLY_TO_CUSTOMER',
    optionalTransitive,
    (view, _context, _bytes, start, end) => {
      if (end - start !== 4) return onlyToCustomerLength;
      view.communityFlags |= communityFlag.onlyToCustomer;
      return undefined;
    },
  ],
];

/** AS 0 makes AS4_PATH malformed (RFC 7607 2). Input is whole segments. */
function containsAsZero(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at += 2 + 4 * bytes[at + 1]!) {
    for (let i = 0; i < bytes[at + 1]!; i++) if (read32(bytes, at + 2 + 4 * i) === 0) return true;
  }
  return false;
}

/** Descriptors by attribute type; absent: not understood. */
export const attributeTable: readonly (AttributeDescriptor | undefined)[] = (() => {
  const table: (AttributeDescriptor | undefined)[] = new Array(256).fill(undefined);
  for (const [type, name, flags, check] of rows) table[type] = { name, flags, check };
  return table;
})();
