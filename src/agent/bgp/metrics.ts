/**
 * What the speaker counts, read when it is scraped. The model is openconfig-bgp's (neighbor/state, afi-safi/state), so that what people
 * have for other speakers fits. Series are bounded: `labelOf` may give many sessions one name, and their values are then added.
 */
import type { BmpStationStatus, PeerFamilyStatus, PeerStatus, SpeakerStatus } from '#bgp';
import type { Metrics } from '#obs';

export type AskStatus = () => SpeakerStatus | undefined | Promise<SpeakerStatus | undefined>;

type Series = readonly (readonly [Record<string, string>, number])[];

export function observeSpeaker(
  metrics: Metrics,
  ask: AskStatus,
  labelOf: (peer: string) => string = (name) => name,
): void {
  // One question for all series of a scrape.
  let asked: Promise<SpeakerStatus | undefined> | undefined;
  const status = (): Promise<SpeakerStatus | undefined> => {
    asked ??= Promise.resolve(ask()).finally(() => {
      asked = undefined;
    });
    return asked;
  };
  const peers = async (): Promise<readonly PeerStatus[]> => (await status())?.peers ?? [];
  const observed = (
    name: string,
    type: 'gauge' | 'counter',
    help: string,
    labels: readonly string[],
    series: () => Promise<Series>,
  ): void => metrics.observed({ name, help, labels, type }, series);

  observed('bgp_sessions', 'gauge', 'BGP sessions by state (RFC 4271 8.2.2).', ['state'], async () => {
    const states = Map.groupBy(await peers(), ({ state }) => state);
    return [...states].map(([state, all]) => [{ state }, all.length]);
  });
  const byPeer = (name: string, type: 'gauge' | 'counter', help: string, value: (peer: PeerStatus) => number): void =>
    observed(name, type, help, ['peer'], async () =>
      summed(await peers(), (peer) => [[{ peer: labelOf(peer.name) }, value(peer)]]),
    );
  byPeer('bgp_peer_established', 'gauge', 'Sessions of a peer in state Established.', (peer) =>
    peer.state === 'Established' ? 1 : 0,
  );
  byPeer(
    'bgp_peer_established_transitions_total',
    'counter',
    'How often a session reached Established.',
    (peer) => peer.establishedCount,
  );
  byPeer(
    'bgp_peer_update_errors_total',
    'counter',
    'UPDATEs treated as withdraw or with attributes discarded (RFC 7606).',
    (peer) => peer.updateErrors,
  );
  byPeer('bgp_peer_queued_bytes', 'gauge', 'Written and not yet taken by TCP.', (peer) => peer.queuedBytes);
  const byDirection = (name: string, help: string, inward: (peer: PeerStatus) => number, out: typeof inward): void =>
    observed(name, 'counter', help, ['peer', 'direction'], async () =>
      summed(await peers(), (peer) => [
        [{ peer: labelOf(peer.name), direction: 'received' }, inward(peer)],
        [{ peer: labelOf(peer.name), direction: 'sent' }, out(peer)],
      ]),
    );
  byDirection(
    'bgp_peer_messages_total',
    'BGP messages of all types.',
    (peer) => peer.messagesIn,
    (peer) => peer.messagesOut,
  );
  byDirection(
    'bgp_peer_updates_total',
    'UPDATE messages.',
    (peer) => peer.updatesIn,
    (peer) => peer.updatesOut,
  );
  byDirection(
    'bgp_peer_notifications_total',
    'NOTIFICATION messages.',
    (peer) => peer.notificationsIn,
    (peer) => peer.notificationsOut,
  );
  observed('bgp_peer_bfd_up', 'gauge', 'BFD sessions of a peer in state Up, where it has any.', ['peer'], async () =>
    summed(await peers(), (peer) =>
      peer.bfd ? [[{ peer: labelOf(peer.name) }, peer.bfd.state === 'Up' ? 1 : 0]] : [],
    ),
  );
  const byFamily = (name: string, help: string, value: (family: PeerFamilyStatus) => number | undefined): void =>
    observed(name, 'gauge', help, ['peer', 'family'], async () =>
      summed(await peers(), (peer) =>
        peer.families.flatMap((each) => {
          const count = value(each);
          return count === undefined ? [] : [[{ peer: labelOf(peer.name), family: each.family }, count] as const];
        }),
      ),
    );
  byFamily('bgp_prefixes_received', 'Prefixes held from a peer, after import policy.', ({ accepted }) => accepted);
  byFamily(
    'bgp_prefixes_received_pre_policy',
    'Prefixes held from a peer, before import policy, where those that it rejects are kept.',
    ({ accepted, rejected }) => (rejected === undefined ? undefined : accepted + rejected),
  );
  byFamily('bgp_prefixes_sent', 'Prefixes announced to a peer.', ({ sent }) => sent);
  byFamily('bgp_prefixes_stale', 'Prefixes kept from a peer that restarts.', ({ stale }) => stale);
  const table = (name: string, help: string, which: 'routes' | 'paths'): void =>
    observed(name, 'gauge', help, ['family'], async () => {
      const counts = (await status())?.[which];
      return counts ? Object.entries(counts).map(([family, count]) => [{ family }, count]) : [];
    });
  table('bgp_routes', 'Prefixes with a best path.', 'routes');
  table('bgp_paths', 'Paths held.', 'paths');
  const byStation = (
    name: string,
    type: 'gauge' | 'counter',
    help: string,
    value: (station: BmpStationStatus) => number,
  ): void =>
    observed(name, type, help, ['station'], async () =>
      ((await status())?.stations ?? []).map((station) => [{ station: station.name }, value(station)]),
    );
  byStation('bmp_station_connected', 'gauge', 'Whether a monitoring station is connected.', ({ state }) =>
    state === 'connected' ? 1 : 0,
  );
  byStation(
    'bmp_station_overflows_total',
    'counter',
    'Connections to a monitoring station that were ended because it did not read.',
    ({ overflowCount }) => overflowCount,
  );
  byStation(
    'bmp_station_messages_total',
    'counter',
    'BMP messages to a monitoring station.',
    ({ messagesOut }) => messagesOut,
  );
  byStation(
    'bmp_station_queued_bytes',
    'gauge',
    'Written to a monitoring station and not yet taken by TCP.',
    ({ queuedBytes }) => queuedBytes,
  );
}

/** One entry for each set of labels. */
function summed(
  peers: readonly PeerStatus[],
  series: (peer: PeerStatus) => Series,
): readonly (readonly [Record<string, string>, number])[] {
  const sums = new Map<string, [Record<string, string>, number]>();
  for (const [labels, value] of peers.flatMap(series)) {
    const key = JSON.stringify(labels);
    const known = sums.get(key);
    if (known) known[1] += value;
    else sums.set(key, [labels, value]);
  }
  return [...sums.values()];
}
