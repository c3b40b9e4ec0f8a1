/** What a speaker shows of itself: its status, and its routes for people. */
import type { BmpStationStatus } from '../bmp/index.ts';
import type { Rib } from '../rib/index.ts';
import type { SpeakerConfig } from './config.ts';
import { type GlassPeer, queryRoutes } from './looking-glass.ts';
import type { OwnRestart } from './own-restart.ts';
import type { Peer } from './peer.ts';
import type { PeerRegistry } from './peer-registry.ts';
import type { Tables } from './tables.ts';
import type { RangeStatus, RouteAnswer, RouteQuery, SpeakerStatus } from './types.ts';

export interface SpeakerStatusParts {
  readonly config: SpeakerConfig;
  readonly tables: Tables;
  readonly peers: Iterable<Peer>;
  readonly restart: OwnRestart;
  /** Absent: none is configured. */
  readonly stations: readonly BmpStationStatus[] | undefined;
  readonly ranges: readonly RangeStatus[];
}

export function speakerStatus({ config, tables, peers, restart, stations, ranges }: SpeakerStatusParts): SpeakerStatus {
  const { rib4, rib6 } = tables;
  return {
    asn: config.asn,
    routerId: config.routerId,
    deferring: restart.deferring,
    waitingFor: restart.waitingFor,
    routes: { ipv4: rib4.routeCount, ipv6: rib6.routeCount },
    paths: { ipv4: pathCount(rib4), ipv6: pathCount(rib6) },
    attributeSets: tables.attributes.size,
    nextHops: tables.nextHops.size,
    peers: [...peers].map((peer) => peer.status()),
    ...(stations ? { stations } : {}),
    ranges,
  };
}

/** Those that the import policy let in. */
function pathCount(rib: Rib): number {
  return rib.pathCount.reduce((sum, count, row) => sum + count - rib.rejectedCount[row]!, 0);
}

/** @throws RangeError on a query that names what is not there. */
export function routesFor(query: RouteQuery, { ribs }: Tables, peers: PeerRegistry): RouteAnswer {
  const byRow = new Map([...peers].map((peer) => [peer.row, glassPeer(peer)]));
  const peer = (name: string): GlassPeer | undefined => byRow.get(peers.get(name)?.row ?? -1);
  return queryRoutes({ ribs, peerOf: (row) => byRow.get(row), peer, peers: byRow.values() }, query);
}

function glassPeer(peer: Peer): GlassPeer {
  return {
    name: peer.config.name,
    row: peer.row,
    importPolicy: peer.importPolicy,
    membership: ({ family }) => peer.membership(family === 4 ? 'ipv4-unicast' : 'ipv6-unicast'),
  };
}
