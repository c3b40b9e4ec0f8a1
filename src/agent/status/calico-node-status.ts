/**
 * The answer to a CalicoNodeStatus object, in the words and shapes that Calico answers with (a report of BIRD's), for the tools that read it. Pure.
 *
 * One speaker carries both families here, so both of "birdV4" and "birdV6" are it; a session counts to the family of the peer's address.
 */
import type { PeerStatus, RouteAnswer, SpeakerStatus } from '#bgp';
import type { LocalAddress, RouteStatus } from '#felix';
import { type Cidr, hostCidr, type IpAddress } from '#kit';
import type { BGPPeerObject, CalicoNodeStatusObject, WorkloadEndpoint } from '#model';

/** An object in etcd holds 1.5 MB. */
export const ROUTES_MAX = 3_000;

export interface CalicoReportInput {
  readonly version: string;
  /** Milliseconds since 1970. */
  readonly startedAtMs: number;
  readonly configuredAtMs: number | undefined;
  readonly speaker: SpeakerStatus | undefined;
  /** Milliseconds since 1970 at which the peer came up or went down. */
  readonly sinceMs: (peer: PeerStatus) => number;
  readonly peers: readonly BGPPeerObject[];
  /** What the speaker knows, and how the kernel has it. */
  readonly rib: RouteAnswer['routes'];
  readonly programmed: ReadonlyMap<string, RouteStatus>;
  /** Of the node and its pods. */
  readonly localAddresses: readonly LocalAddress[];
  readonly endpoints: readonly WorkloadEndpoint[];
}

interface CalicoPeer {
  readonly peerIP: string;
  readonly type: 'NodeMesh' | 'NodePeer' | 'GlobalPeer';
  readonly state: string;
  readonly since: string;
}
interface CalicoRoute {
  readonly type: 'FIB' | 'RIB';
  readonly destination: string;
  /** `N/A` where there is none. */
  readonly gateway: string;
  readonly interface: string;
  readonly learnedFrom: {
    readonly sourceType: 'Kernel' | 'Static' | 'Direct' | 'NodeMesh' | 'BGPPeer';
    readonly peerIP?: string;
  };
}

/** `status` without `lastUpdated`. */
export function calicoReport(
  classes: CalicoNodeStatusObject['classes'],
  input: CalicoReportInput,
): Readonly<Record<string, unknown>> {
  return {
    ...(classes.includes('Agent') ? { agent: agentReport(input) } : {}),
    ...(classes.includes('BGP') ? { bgp: bgpReport(input) } : {}),
    ...(classes.includes('Routes') ? { routes: routesReport(input) } : {}),
  };
}

function agentReport({ speaker, version, startedAtMs, configuredAtMs }: CalicoReportInput): object {
  const daemon = speaker
    ? {
        state: 'Ready',
        version: `poplin v${version}`,
        routerID: speaker.routerId,
        lastBootTime: birdTime(startedAtMs),
        ...(configuredAtMs === undefined ? {} : { lastReconfigurationTime: birdTime(configuredAtMs) }),
      }
    : { state: 'NotReady' };
  return { birdV4: daemon, birdV6: daemon };
}

function bgpReport({ speaker, peers, sinceMs }: CalicoReportInput): object {
  const all = (speaker?.peers ?? []).map(
    (peer): CalicoPeer => ({
      peerIP: peer.address,
      type: typeOf(peer.name, peers),
      state: peer.state,
      since: birdTime(sinceMs(peer)),
    }),
  );
  const of = (six: boolean): readonly CalicoPeer[] => all.filter(({ peerIP }) => peerIP.includes(':') === six);
  const count = (list: readonly CalicoPeer[], up: boolean): number =>
    list.filter(({ state }) => (state === 'Established') === up).length;
  const [v4, v6] = [of(false), of(true)];
  return {
    numberEstablishedV4: count(v4, true),
    numberNotEstablishedV4: count(v4, false),
    numberEstablishedV6: count(v6, true),
    numberNotEstablishedV6: count(v6, false),
    ...(v4.length > 0 ? { peersV4: v4 } : {}),
    ...(v6.length > 0 ? { peersV6: v6 } : {}),
  };
}

function typeOf(session: string, peers: readonly BGPPeerObject[]): CalicoPeer['type'] {
  const name = /^peer\/([^/]+)/.exec(session)?.[1];
  if (name === undefined) return 'NodeMesh';
  const peer = peers.find(({ metadata }) => metadata.name === name);
  return peer && peer.node === undefined && peer.nodeSelector === undefined ? 'GlobalPeer' : 'NodePeer';
}

function routesReport(input: CalicoReportInput): object {
  const all = [...learnedRoutes(input), ...directRoutes(input), ...podRoutes(input)];
  const of = (six: boolean): readonly CalicoRoute[] =>
    all.filter(({ destination }) => destination.includes(':') === six).slice(0, ROUTES_MAX);
  const [v4, v6] = [of(false), of(true)];
  return { ...(v4.length > 0 ? { routesV4: v4 } : {}), ...(v6.length > 0 ? { routesV6: v6 } : {}) };
}

function* learnedRoutes({ rib, programmed, speaker }: CalicoReportInput): Generator<CalicoRoute> {
  const addresses = new Map(speaker?.peers.map(({ name, address }) => [name, address]));
  for (const { prefix, paths } of rib) {
    const route = programmed.get(prefix);
    for (const path of paths) {
      if (path.peer === undefined) {
        // What the node announces: its pod CIDRs, which are blackholes but for the pods in them.
        yield { ...bare(prefix, 'blackhole'), learnedFrom: { sourceType: 'Static' } };
        continue;
      }
      const used = (path.best || path.multipath) && route?.state === 'installed';
      const via = route?.via.find(({ gateway }) => gateway === path.nextHop) ?? (used ? route?.via[0] : undefined);
      const peerIP = addresses.get(path.peer);
      yield {
        type: used ? 'FIB' : 'RIB',
        destination: prefix,
        gateway: via?.gateway ?? path.nextHop ?? 'N/A',
        interface: via?.device ?? 'N/A',
        learnedFrom: {
          sourceType: path.peer.startsWith('mesh/') ? 'NodeMesh' : 'BGPPeer',
          ...(peerIP === undefined ? {} : { peerIP }),
        },
      };
    }
  }
}

function* directRoutes({ localAddresses }: CalicoReportInput): Generator<CalicoRoute> {
  for (const { subnet, device, linkLocal } of localAddresses) {
    if (!linkLocal) yield { ...bare(subnet, device), learnedFrom: { sourceType: 'Direct' } };
  }
}

function* podRoutes({ endpoints }: CalicoReportInput): Generator<CalicoRoute> {
  for (const { addresses, interfaceName } of endpoints) {
    for (const address of addresses) {
      yield { ...bare(hostCidr(address as IpAddress), interfaceName), learnedFrom: { sourceType: 'Kernel' } };
    }
  }
}

function bare(destination: Cidr | string, device: string): Omit<CalicoRoute, 'learnedFrom'> {
  return { type: 'FIB', destination, gateway: 'N/A', interface: device };
}

/** As BIRD prints times, in UTC. */
export function birdTime(wallMs: number): string {
  return new Date(wallMs).toISOString().slice(0, 19).replace('T', ' ');
}
