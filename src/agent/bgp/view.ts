/** Sessions and routes in the shapes of the API. */
import type { BgpPathView, BgpPeerFamilyView, BgpPeerView, BgpRoutesView, BgpRouteView } from '#api';
import { filter, type PeerFamilyStatus, type PeerStatus, type RouteAnswer, type RoutePath } from '#bgp';
import type { RouteStatus } from '#felix';
import type { Cidr } from '#kit';

/** @param programmed what became of a prefix in the kernel; absent: nothing is installed */
export function routesView(
  { routes, next }: RouteAnswer,
  programmed?: (prefix: Cidr) => RouteStatus | undefined,
): BgpRoutesView {
  return {
    ...(next === undefined ? {} : { next }),
    routes: routes.map(
      ({ prefix, paths }): BgpRouteView => ({
        prefix,
        source: paths.some((p) => p.best && p.peer === undefined) ? 'originated' : 'learned',
        paths: paths.map((path) => ({
          ...pathView(path),
          ...(programmed ? { resolved: ways(path, programmed(prefix as Cidr)) } : {}),
        })),
      }),
    ),
  };
}

export function peerView(peer: PeerStatus): BgpPeerView {
  const families = peer.negotiated?.families ?? peer.families.map(({ family }) => family);
  return {
    name: peer.name,
    address: peer.address,
    port: peer.port,
    asn: peer.asn,
    state: peer.state,
    since: new Date(Date.now() - peer.stateForMs).toISOString(),
    ...(peer.localAddress ? { localAddress: peer.localAddress } : {}),
    ...(peer.peerRouterId ? { peerRouterId: peer.peerRouterId } : {}),
    ...(peer.interface === undefined ? {} : { interface: peer.interface }),
    ...(peer.range === undefined ? {} : { range: peer.range }),
    ...(peer.negotiated ? { holdTimeSec: peer.negotiated.holdTimeSec } : {}),
    families: peer.families.filter(({ family }) => families.includes(family)).map(familyView),
    messages: { received: peer.messagesIn, sent: peer.messagesOut },
    updates: { received: peer.updatesIn, sent: peer.updatesOut },
    notifications: { received: peer.notificationsIn, sent: peer.notificationsOut },
    updateErrors: peer.updateErrors,
    queuedBytes: peer.queuedBytes,
    gracefulRestart: peer.negotiated?.gracefulRestart !== undefined,
    restarting: peer.state !== 'Established' && peer.families.some((f) => f.stale > 0),
    ...(peer.lastError ? { lastError: peer.lastError } : {}),
    ...(peer.restartInSec === undefined ? {} : { restartInSec: peer.restartInSec }),
    timesEstablished: peer.establishedCount,
    ...(peer.bfd ? { bfd: peer.bfd.state } : {}),
  };
}

function familyView({
  family,
  accepted,
  rejected,
  sent,
  stale,
  endOfRibReceived,
}: PeerFamilyStatus): BgpPeerFamilyView {
  return {
    family,
    received: accepted,
    ...(rejected === undefined ? {} : { receivedPrePolicy: accepted + rejected }),
    sent,
    stale,
    endOfRib: endOfRibReceived,
  };
}

function extendedText(hex: string): string {
  return filter.formatExtendedCommunity(Buffer.from(hex, 'hex'));
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
  sentTo,
  attributes,
}: RoutePath): BgpPathView {
  const { origin, asPath, localPref, med, communities, largeCommunities, extendedCommunities } = attributes;
  return {
    ...(peer === undefined ? {} : { peer }),
    best: best || multipath,
    ...(multipath && !best ? { multipath } : {}),
    nextHop: nextHop ?? '',
    origin: origin === 'INCOMPLETE' ? 'incomplete' : origin,
    asPath,
    ...(localPref === undefined ? {} : { localPref }),
    ...(med === undefined ? {} : { med }),
    ...(communities ? { communities } : {}),
    ...(largeCommunities ? { largeCommunities } : {}),
    ...(extendedCommunities ? { extendedCommunities: extendedCommunities.map(extendedText) } : {}),
    ...(pathId === undefined ? {} : { pathId }),
    ...(blackhole ? { blackhole } : {}),
    stale,
    ...(reason === undefined ? {} : { reason }),
    ...(rejected ? { rejected } : {}),
    ...(sentTo === undefined ? {} : { sentTo }),
  };
}
