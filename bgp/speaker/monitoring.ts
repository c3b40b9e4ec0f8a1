/** Ties monitoring stations (BMP) and table dumps (MRT) to the parts of a speaker. */
import { type IpAddress, splitZone } from '#kit';
import { type BmpHost, BmpMonitor } from '../bmp/index.ts';
import { type DumpPeer, ownDumpPeer, TableDump } from '../mrt/index.ts';
import { defaultMultipath, type HopMarks, localPeer, type Rib, type RibTables } from '../rib/index.ts';
import { encodeRouteRefresh } from '../wire/index.ts';
import type { SpeakerConfig } from './config.ts';
import type { Groups } from './groups.ts';
import type { Peer } from './peer.ts';
import { ReceivedRoutes } from './received-routes.ts';
import { routerIdNumber } from './session-config.ts';
import type { SpeakerDeps } from './types.ts';
import type { UpdateReader } from './update-reader.ts';

export interface MonitoringParts {
  readonly deps: SpeakerDeps;
  readonly ribs: readonly [Rib, Rib];
  readonly tables: RibTables;
  readonly groups: Groups;
  readonly reader: UpdateReader;
  readonly config: () => SpeakerConfig;
  readonly peers: () => Iterable<Peer>;
  readonly peerNamed: (name: string) => Peer | undefined;
  readonly selecting: () => boolean;
  readonly schedule: () => void;
}

export class Monitoring {
  readonly bmp: BmpMonitor;
  readonly #parts: MonitoringParts;
  readonly #startedSec: number;

  constructor(parts: MonitoringParts) {
    this.#parts = parts;
    this.#startedSec = Math.floor(this.wallUsec() / 1e6);
    this.bmp = new BmpMonitor(this.#makeHost(), parts.ribs);
  }

  /** Of the wall clock; 0: not known. */
  readonly wallUsec = (): number => Math.floor(1000 * (this.#parts.deps.wallMs?.() ?? 0));

  configure(): void {
    const { reader, tables, config, peers, ribs } = this.#parts;
    const stations = config().bmp ?? [];
    const wanted = stations.some(({ monitor }) => monitor.includes('pre-policy'));
    if (wanted && !reader.received) {
      reader.received = new ReceivedRoutes(tables);
      // Sessions that are there told all they had to before anybody listened.
      for (const peer of peers()) {
        const { negotiated } = peer.session;
        if (negotiated?.routeRefresh) {
          for (const family of negotiated.families) peer.session.writeMessage(encodeRouteRefresh(family));
        } else if (negotiated) {
          reader.received.seed(peer.row, ribs);
        }
      }
    }
    this.bmp.configure(stations);
    if (wanted) this.bmp.observeReceived(reader.received?.ribs ?? []);
    else if (reader.received) {
      reader.received.clear();
      reader.received = undefined;
    }
  }

  markHops(marks: HopMarks): void {
    this.#parts.reader.received?.markHops(marks);
  }

  /** The tables of the moment as MRT; see `TableDump`. */
  tableDump(): TableDump {
    const { ribs, config, peers, peerNamed } = this.#parts;
    const routerId = routerIdNumber(config().routerId);
    const atStart = new Map([...peers()].map((peer) => [peer.row, peer]));
    const dumped = (): DumpPeer[] => [
      ownDumpPeer(routerId, config().asn, this.#startedSec),
      ...[...atStart.values()].map((peer) => ({
        row: peer.row,
        routerId: peer.session.negotiated?.peerRouterId ?? 0,
        address: splitZone(peer.config.address).address as IpAddress,
        asn: peer.asn,
        sinceSec: Math.floor((peer.monitored?.upAtUsec ?? 0) / 1e6),
      })),
    ];
    const isStill = ({ row }: DumpPeer): boolean => {
      const peer = atStart.get(row);
      return peer === undefined ? row === localPeer : peerNamed(peer.config.name) === peer;
    };
    return new TableDump({ ribs, routerId, peers: dumped, isStill }, Math.floor(this.wallUsec() / 1e6));
  }

  #makeHost(): BmpHost {
    const { deps, ribs, groups, reader, config, peers, selecting, schedule } = this.#parts;
    const { clock, log, random, transport } = deps;
    return {
      clock,
      log,
      random,
      transport,
      wallUsec: this.wallUsec,
      system: deps.system ?? { name: '', description: 'Poplin' },
      groups,
      ribs,
      received: () => reader.received?.ribs,
      multipath: () => config().multipath ?? defaultMultipath,
      speaker: () => ({ asn: config().asn, routerId: routerIdNumber(config().routerId) }),
      *peers() {
        for (const peer of peers()) if (peer.monitored) yield peer.monitored;
      },
      get selecting() {
        return selecting();
      },
      schedule,
    };
  }
}
