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

const hex = (text: string): string => createHash('sha256').update(text).digest('hex');

/** The attachment as its record on disk names it (11 hexadecimal digits), and the pod end's MAC: of the attachment alone, found again by DEL. */
export function namesOf(key: AttachmentKey): { readonly attachment: string; readonly podMac: string } {
  const digest = hex(key);
  // 02: locally administered, unicast.
  const octets = digest.slice(20, 30).match(/../g) ?? [];
  return { attachment: digest.slice(0, 11), podMac: ['02', ...octets].join(':') };
}

/**
 * The host end's name: of the pod, not of the container, so that its rules can be in the kernel before the runtime asks. `turn` counts from 0
 * while earlier names are taken: by a sandbox of the same pod that is being replaced, or by a stranger. 44 bits: two of 110 pods
 * of a node meet with a chance of one in 3 billion, and then the second takes its next turn.
 *
 * @param podKey `namespace/name`
 */
export function hostInterfaceName(podKey: string, ifName: string, turn: number): string {
  return `${INTERFACE_PREFIX}${hex(`${podKey}/${ifName}/${turn}`).slice(0, 11)}`;
}

/** What the runtime calls the first interface of a pod. */
export const FIRST_IF_NAME = 'eth0';

export function macBytes(mac: string): Uint8Array {
  return Uint8Array.from(mac.split(':').map((octet) => Number.parseInt(octet, 16)));
}
