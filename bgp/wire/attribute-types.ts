/** Path attribute numbers and flag bits, RFC 4271 4.3 and the IANA registry. */
export const attributeType = {
  origin: 1,
  asPath: 2,
  nextHop: 3,
  multiExitDisc: 4,
  localPref: 5,
  atomicAggregate: 6,
  aggregator: 7,
  communities: 8,
  originatorId: 9,
  clusterList: 10,
  mpReach: 14,
  mpUnreach: 15,
  extendedCommunities: 16,
  as4Path: 17,
  as4Aggregator: 18,
  ipv6ExtendedCommunities: 25,
  largeCommunities: 32,
  onlyToCustomer: 35,
} as const;

export const attributeFlag = { optional: 0x80, transitive: 0x40, partial: 0x20, extendedLength: 0x10 } as const;

/** Flags of the classes of attributes. */
export const wellKnown = attributeFlag.transitive;
export const optionalTransitive = attributeFlag.optional | attributeFlag.transitive;
export const optionalNonTransitive = attributeFlag.optional;

/** Segment types of AS_PATH: RFC 4271 4.3, RFC 5065 3. */
export const segmentType = { asSet: 1, asSequence: 2, confedSequence: 3, confedSet: 4 } as const;
export const segmentAsnsMax = 255;
