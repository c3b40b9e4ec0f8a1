/** Sessions and routes in the shapes of the API. */
import type { BgpPathView, BgpPeerView, BgpRoutesView, BgpRouteView } from '#api';
import type { PeerStatus, RouteAnswer, RoutePath } from '#bgp';
import type { RouteStatus } from '#felix';

/** @param programmed what became of a prefix in the kernel; absent: nothing is installed */
export function routesView(
  { routes, next }: RouteAnswer,
  programmed?: (prefix: string) => RouteStatus | undefined,
): BgpRoutesView {
  return {
    ...(next === undefined ? {} : { next }),
    routes: routes.map(
      ({ prefix, paths }): BgpRouteView => ({
        prefix,
        source: paths.some((p) => p.best && p.peer === undefined) ? 'originated' : 'learned',
        paths: paths.map((path) => ({
          ...pathView(path),
          ...(programmed ? { resolved: ways(path, programmed(prefix)) } : {}),
        })),
      }),
    ),
  };
}

export function peerView(peer: PeerStatus): BgpPeerView {
  const received = (family: string) => peer.families.find((f) => f.family === family);
  return {
    name: peer.name,
    address: peer.address,
    port: peer.port,
    asn: peer.asn,
    state: peer.state,
    since: new Date(Date.now() - peer.stateForMs).toISOString(),
    ...(peer.localAddress ? { localAddress: peer.localAddress } : {}),
    ...(peer.negotiated ? { holdTimeSec: peer.negotiated.holdTimeSec } : {}),
    families: (peer.negotiated?.families ?? peer.families.map((f) => f.family)).map((family) => ({
      family,
      received: received(family)?.accepted ?? 0,
      sent: received(family)?.sent ?? 0,
      endOfRib: received(family)?.endOfRibReceived ?? false,
    })),
    gracefulRestart: peer.negotiated?.gracefulRestart !== undefined,
    restarting: peer.state !== 'Established' && peer.families.some((f) => f.stale > 0),
    ...(peer.lastError ? { lastError: peer.lastError } : {}),
    timesEstablished: peer.establishedCount,
    ...(peer.bfd ? { bfd: peer.bfd.state } : {}),
  };
}

function ways(path: RoutePath, programmed: RouteStatus | undefined): NonNullable<BgpPathView['resolved']> {
  return (path.best || path.multipath) && path.peer !== undefined ? (programmed?.via ?? []) : [];
}

function pathView({
  peer,
  best,
  multipath,
  blackhole,
  nextHop,
  stale,
  pathId,
  reason,
  rejected,
  attributes,
}: RoutePath): BgpPathView {
  const { origin, asPath, localPref, med, communities, largeCommunities, extendedCommunities } = attributes;
  return {
    ...(peer === undefined ? {} : { peer }),
    best: best || multipath,
    nextHop: nextHop ?? '',
    origin: origin === 'INCOMPLETE' ? 'incomplete' : origin,
    asPath,
    ...(localPref === undefined ? {} : { localPref }),
    ...(med === undefined ? {} : { med }),
    ...(communities ? { communities } : {}),
    ...(largeCommunities ? { largeCommunities } : {}),
    ...(extendedCommunities ? { extendedCommunities } : {}),
    ...(pathId === undefined ? {} : { pathId }),
    ...(blackhole ? { blackhole } : {}),
    stale,
    ...(reason === undefined ? {} : { reason }),
    ...(rejected ? { rejected } : {}),
  };
}
