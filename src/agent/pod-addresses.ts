/** Addresses of which Pod objects of this node speak: one that was freed rests until its Pod object is gone. */
import type { IpAddress } from '#kit';
import type { ModelUpdate, ObjectKey } from '#model';

export interface PodAddresses {
  note(update: ModelUpdate): void;
  has(address: IpAddress): boolean;
}

export function createPodAddresses(nodeName: string): PodAddresses {
  const byPod = new Map<ObjectKey, readonly IpAddress[]>();
  const counts = new Map<IpAddress, number>();
  const count = (address: IpAddress, by: 1 | -1): void => {
    const now = (counts.get(address) ?? 0) + by;
    if (now === 0) counts.delete(address);
    else counts.set(address, now);
  };
  return {
    note(update) {
      if (update.kind !== 'Pod') return;
      for (const address of byPod.get(update.key) ?? []) count(address, -1);
      byPod.delete(update.key);
      if (update.type === 'delete' || update.object.nodeName !== nodeName || update.object.hostNetwork) return;
      byPod.set(update.key, update.object.podIPs);
      for (const address of update.object.podIPs) count(address, 1);
    },
    has: (address) => counts.has(address),
  };
}
