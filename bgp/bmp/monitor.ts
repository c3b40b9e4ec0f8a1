/**
 * All monitoring stations of a speaker. Without any, nothing of it is on the way of a route: no table has an observer, and
 * nothing is kept.
 */
import type { IpFamily } from '#kit';
import type { SessionDownReason } from '../fsm/index.ts';
import type { IntStack, Rib } from '../rib/index.ts';
import { stationsMax } from './limits.ts';
import { type BmpHost, BmpStation } from './station.ts';
import type { BmpPeer, BmpStationConfig, BmpStationStatus } from './types.ts';

/** It asks for all paths of the Loc-RIB that share the load. */
const tellsPaths = ({ monitor, multipath }: BmpStationConfig): boolean =>
  monitor.includes('loc-rib') && (multipath ?? true);

export class BmpMonitor {
  readonly #host: BmpHost;
  readonly #watched: readonly Rib[];
  readonly #stations = new Map<string, BmpStation>();
  /** What decides which paths of the Loc-RIB are told, as of the last `configure`. */
  #multipath = '';

  /** @param watched tables whose paths stations may ask for, but for those of `host.received`, which come and go. */
  constructor(host: BmpHost, watched: readonly Rib[]) {
    this.#host = host;
    this.#watched = watched;
  }

  get active(): boolean {
    return this.#stations.size > 0;
  }

  /** Stations that are the same as before do not notice; a changed one is connected to anew. */
  configure(stations: readonly BmpStationConfig[]): void {
    const wanted = new Map(stations.slice(0, stationsMax).map((config) => [config.name, config]));
    if (stations.length > stationsMax) {
      this.#host.log.error(
        { stationsMax, configured: stations.length },
        'too many monitoring stations: the rest is left out',
      );
    }
    const multipath = JSON.stringify(this.#host.multipath());
    const otherPaths = multipath !== this.#multipath;
    this.#multipath = multipath;
    for (const [name, station] of this.#stations) {
      const same = !otherPaths || !tellsPaths(station.config);
      if (same && JSON.stringify(station.config) === JSON.stringify(wanted.get(name))) continue;
      station.stop('monitoring was reconfigured');
      this.#stations.delete(name);
    }
    for (const [name, config] of wanted) {
      if (this.#stations.has(name)) continue;
      const station = new BmpStation(this.#host, config);
      this.#stations.set(name, station);
      station.start();
    }
    this.#observe(
      this.#watched,
      (config) => config.monitor.includes('post-policy') || (tellsPaths(config) && this.#host.multipath().max > 1),
    );
  }
  /** The tables before import policy came, or are about to go. */
  observeReceived(ribs: readonly Rib[]): void {
    this.#observe(ribs, ({ monitor }) => monitor.includes('pre-policy'));
  }
  stop(): void {
    for (const station of this.#stations.values()) station.stop('the speaker stops');
    this.#stations.clear();
    this.#observe(this.#watched, () => false);
  }

  peerUp(peer: BmpPeer): void {
    for (const station of this.#stations.values()) station.peerUp(peer);
  }
  peerDown(row: number, reason: SessionDownReason): void {
    for (const station of this.#stations.values()) station.peerDown(row, reason);
  }
  /** The peer joined, changed or left its update groups. */
  peerFollow(row: number): void {
    for (const station of this.#stations.values()) station.peerFollow(row);
  }
  endOfRib(row: number, family: IpFamily): void {
    for (const station of this.#stations.values()) station.endOfRib(row, family);
  }
  selectionStarted(): void {
    for (const station of this.#stations.values()) station.selectionStarted();
  }
  /** To be called before the changed prefixes are settled. */
  locRibChanged(rib: Rib, changed: IntStack): void {
    if (this.#stations.size === 0) return;
    for (const station of this.#stations.values()) station.locRibChanged(rib, changed);
  }
  /** Whether there is more that could be sent at once. */
  pump(): boolean {
    if (this.#stations.size === 0) return false;
    let more = false;
    for (const station of this.#stations.values()) if (station.connected && station.pump()) more = true;
    return more;
  }
  status(): BmpStationStatus[] {
    return [...this.#stations.values()].map((station) => station.status());
  }

  #observe(ribs: readonly Rib[], wants: (config: BmpStationConfig) => boolean): void {
    const stations = [...this.#stations.values()].filter(({ config }) => wants(config));
    for (const rib of ribs) {
      rib.onPathChange =
        stations.length === 0
          ? undefined
          : (prefix, row, pathId, gone) => {
              for (const station of stations) station.pathChanged(rib, prefix, row, gone ? pathId : -1);
            };
    }
  }
}
