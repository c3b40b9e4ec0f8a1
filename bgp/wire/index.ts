export { attributeType, optionalNonTransitive, optionalTransitive, segmentType, wellKnown } from './attribute-types.ts';
export { canonicalAttributes, originatedAttributes, readCanonical } from './canonical.ts';
export { afiOf, familyOfAfiSafi, ipFamilyOf, multiprotocolCapability } from './capabilities.ts';
export {
  addCommunity,
  addExtendedCommunity,
  attributeValue,
  hasLinkBandwidth,
  prependAsns,
  withAttribute,
  withLocalPref,
  withoutAttribute,
} from './edit.ts';
export { ceaseSubcode, errorCode, fsmSubcode, openSubcode, protocolError, updateSubcode } from './errors.ts';
export { createExportedAttributes, exportAttributes } from './export.ts';
export { checkHeader, createFramer } from './framer.ts';
export {
  encodeLinkBandwidth,
  isLinkBandwidth,
  linkBandwidthAt,
  linkBandwidthBytes,
} from './link-bandwidth.ts';
export { encodeEndOfRib, encodeKeepalive } from './message.ts';
export {
  decodeNotification,
  describeNotification,
  encodeNotification,
  hardReset,
  isHardReset,
  shutdownData,
} from './notification.ts';
export { addOnlyToCustomer, onlyToCustomerBytes, onlyToCustomerOf } from './only-to-customer.ts';
export { decodeOpen, encodeOpen, negotiate } from './open.ts';
export { createUpdatePacker, createUpdatePackerFor } from './packer.ts';
export { escapeText } from './people-text.ts';
export { createPrefixCursor, prefixesWellFormed } from './prefix.ts';
export { decodeRouteRefresh, encodeRouteRefresh } from './refresh.ts';
export { describeAttributes, dottedQuad } from './text.ts';
export * from './types.ts';
export { createUpdateView, decodeUpdate, updateContext, valueEnd, valueStart } from './update.ts';
export { emptyAttributeValues } from './values.ts';
