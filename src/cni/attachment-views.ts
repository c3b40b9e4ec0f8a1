/** What others need to know of an attachment. */
import type { WorkloadEndpoint } from '#model';
import type { WiredPod } from './result.ts';
import type { AttachmentRecord } from './store.ts';
import { HOST_MAC } from './wiring.ts';

/** Policy and routes. */
export function endpointOf(record: AttachmentRecord): WorkloadEndpoint {
  return { id: record.pod.key, interfaceName: record.interfaceName, addresses: record.addresses };
}

/** The kernel, and the answer to the caller. */
export function wiredPodOf(record: AttachmentRecord): WiredPod {
  const { interfaceName, ifName, podMac, netns, addresses, mtu } = record;
  return { interfaceName, hostMac: HOST_MAC, ifName, podMac, netns, addresses, ...(mtu === undefined ? {} : { mtu }) };
}
