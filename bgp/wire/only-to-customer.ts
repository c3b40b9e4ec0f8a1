/** ONLY_TO_CUSTOMER (OTC), RFC 9234 5: read from an UPDATE, and put into canonical attributes. */
import { attributeType, optionalTransitive } from './attribute-types.ts';
import { read32, write32 } from './bytes.ts';
import { writeAttributeHead } from './canonical.ts';
import type { UpdateView } from './types.ts';
import { valueEnd, valueStart } from './update.ts';

/** Octets that the attribute takes. */
export const onlyToCustomerBytes = 7;

/** The AS number in OTC of an accepted update; -1: there is none. */
export function onlyToCustomerOf(view: UpdateView): number {
  const at = view.slots[attributeType.onlyToCustomer]!;
  return at > 0 ? read32(view.bytes, valueStart(view.bytes, at)) : -1;
}

/** Writes the attribute at `at`; returns its end. */
export function writeOnlyToCustomer(out: Uint8Array, at: number, asn: number): number {
  const value = writeAttributeHead(out, at, optionalTransitive, attributeType.onlyToCustomer, 4);
  write32(out, value, asn);
  return value + 4;
}

/**
 * Puts OTC into the canonical attributes `bytes[0..end)`, which have none, at its place by type. `bytes` has
 * {@link onlyToCustomerBytes} more.
 *
 * @returns the new end.
 */
export function addOnlyToCustomer(bytes: Uint8Array, end: number, asn: number): number {
  let at = 0;
  while (at < end && bytes[at + 1]! < attributeType.onlyToCustomer) at = valueEnd(bytes, at);
  bytes.copyWithin(at + onlyToCustomerBytes, at, end);
  writeOnlyToCustomer(bytes, at, asn);
  return end + onlyToCustomerBytes;
}
