/** What a new configuration would do to each session, before it is put in force: for people who want to know what it costs. Pure. */
import type { PeerConfig, SpeakerConfig } from './config.ts';
import { differences } from './config-differences.ts';
import { sessionFacts } from './session-config.ts';

export type PeerChange =
  /** `reset`: the session ends and is made anew, `because` of these. `live`: it goes on, with these changed. */
  | { readonly peer: string; readonly change: 'reset' | 'live'; readonly because: readonly string[] }
  | { readonly peer: string; readonly change: 'added' | 'removed' };

export interface ChangePlan {
  /** Peers that nothing happens to are left out. */
  readonly peers: readonly PeerChange[];
  readonly unchangedPeers: number;
  readonly originate: { readonly added: readonly string[]; readonly removed: readonly string[] };
  readonly listen: { readonly added: readonly string[]; readonly removed: readonly string[] };
  /** Everything else that differs: it touches no session that is there, but by what `peers` says. */
  readonly settings: readonly string[];
}

/** @param cannotImportAgain names of peers that only a new session brings to send again what was rejected before. */
export function planChange(
  before: SpeakerConfig,
  after: SpeakerConfig,
  cannotImportAgain: (name: string, next: PeerConfig) => boolean = () => false,
): ChangePlan {
  const known = new Map(before.peers.map((peer) => [peer.name, peer]));
  const wanted = new Set(after.peers.map(({ name }) => name));
  const peers: PeerChange[] = before.peers.flatMap(({ name }) =>
    wanted.has(name) ? [] : [{ peer: name, change: 'removed' as const }],
  );
  for (const next of after.peers) {
    const old = known.get(next.name);
    if (!old) {
      peers.push({ peer: next.name, change: 'added' });
      continue;
    }
    const because = differences(sessionFacts(before, old), sessionFacts(after, next));
    if (cannotImportAgain(next.name, next)) {
      because.push('routes that were rejected are wanted now, and the peer knows no ROUTE-REFRESH');
    }
    const live = differences(fields(old), fields(next));
    if (because.length > 0) peers.push({ peer: next.name, change: 'reset', because });
    else if (live.length > 0) peers.push({ peer: next.name, change: 'live', because: live });
  }
  const listens = ({ listen }: SpeakerConfig): string[] => listen.map(({ address, port }) => `${address} port ${port}`);
  return {
    peers,
    unchangedPeers: after.peers.length - peers.filter(({ change }) => change !== 'removed').length,
    originate: addedAndRemoved(before.originate, after.originate),
    listen: addedAndRemoved(listens(before), listens(after)),
    settings: differences(settings(before), settings(after)),
  };
}

const settings = ({ peers: _, originate: __, listen: ___, ...others }: SpeakerConfig) => others;
const fields = (peer: PeerConfig): Readonly<Record<string, unknown>> => ({ ...peer });

function addedAndRemoved(before: readonly string[], after: readonly string[]): ChangePlan['originate'] {
  const [old, next] = [new Set(before), new Set(after)];
  return { added: after.filter((entry) => !old.has(entry)), removed: before.filter((entry) => !next.has(entry)) };
}
