import { createHash } from 'node:crypto';

/** Host ends of pods' veths: this and 11 hexadecimal digits, 14 of the 15 characters that the kernel allows. */
export const INTERFACE_PREFIX = 'pop';
const interfacePattern = /^pop[0-9a-f]{11}$/;

export function isPodInterface(name: string): boolean {
  return interfacePattern.test(name);
}

/** One attachment, a container's interface: `containerId/ifName`. */
export type AttachmentKey = string;

/** '/' is allowed in neither part. */
export function attachmentKey(containerId: string, ifName: string): AttachmentKey {
  return `${containerId}/${ifName}`;
}

/**
 * The host end's name and the pod end's MAC, both of the attachment alone: DEL finds the interface without any record. 44 bits: two of 110
 * pods of a node meet with a chance of one in 3 billion, and then the kernel says EEXIST.
 */
export function namesOf(key: AttachmentKey): { readonly interfaceName: string; readonly podMac: string } {
  const digest = createHash('sha256').update(key).digest('hex');
  // 02: locally administered, unicast.
  const octets = digest.slice(20, 30).match(/../g) ?? [];
  return { interfaceName: `${INTERFACE_PREFIX}${digest.slice(0, 11)}`, podMac: ['02', ...octets].join(':') };
}

export function macBytes(mac: string): Uint8Array {
  return Uint8Array.from(mac.split(':').map((octet) => Number.parseInt(octet, 16)));
}
