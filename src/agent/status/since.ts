/**
 * When each peer came up or went down, as a time that stands still: the speaker says for how long, and that minus now is another second at each
 * look. Down counts as one state, whatever the session does to come up again.
 */
import type { PeerStatus } from '#bgp';
import { timestamp } from './conditions.ts';

export interface SinceKeeper {
  of(peer: PeerStatus): string;
  /** Milliseconds since 1970. */
  ms(peer: PeerStatus): number;
  /** Forgets peers that are none of these. */
  keep(names: Iterable<string>): void;
}

export function createSinceKeeper(wallMs: () => number): SinceKeeper {
  const known = new Map<string, { readonly up: boolean; readonly count: number; readonly sinceMs: number }>();
  const keeper: SinceKeeper = {
    of: (peer) => timestamp(keeper.ms(peer)),
    ms(peer) {
      const up = peer.state === 'Established';
      const before = known.get(peer.name);
      if (before && before.up === up && before.count === peer.establishedCount) return before.sinceMs;
      const sinceMs = wallMs() - peer.stateForMs;
      known.set(peer.name, { up, count: peer.establishedCount, sinceMs });
      return sinceMs;
    },
    keep(names) {
      const wanted = new Set(names);
      for (const name of known.keys()) if (!wanted.has(name)) known.delete(name);
    },
  };
  return keeper;
}
