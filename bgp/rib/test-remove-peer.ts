import type { Rib } from './rib.ts';

/** All paths of a peer go, and whatever else was about to. */
export function removePeer({ removals }: Rib, peer: number): void {
  removals.begin(peer, 0);
  while (removals.waiting) removals.step();
}
