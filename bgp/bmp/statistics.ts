/** Statistics of a peer and of the Loc-RIB (RFC 7854 4.8, RFC 8671 6.2): those that are counted here. */
import type { Rib } from '../rib/index.ts';
import { type BmpStatistic, bmpStatistic } from './messages.ts';
import type { PeerTables } from './peer-tables.ts';

const afiOf = ({ family }: Rib): 1 | 2 => (family === 4 ? 1 : 2);

/** @param received what was received before policy, where that is kept: then it is the Adj-RIB-In (RFC 7854 4.8). */
export function peerStatistics(
  ribs: readonly Rib[],
  received: readonly Rib[] | undefined,
  tables: PeerTables,
): BmpStatistic[] {
  const { peer } = tables;
  const counters = peer.counters();
  const own = ribs.filter((rib) => peer.families.includes(rib.family));
  const adjIn = (received ?? ribs)
    .filter((rib) => peer.families.includes(rib.family))
    .map((rib) => ({ afi: afiOf(rib), value: (rib.pathCount[peer.row] ?? 0) - (rib.rejectedCount[peer.row] ?? 0) }));
  const adjOut = own.map((rib) => {
    const membership = peer.membership(rib.family);
    return { afi: afiOf(rib), value: membership ? membership.group.announcedTo(peer.row) : 0 };
  });
  const outPrePolicy = own.flatMap((rib) => {
    const value = tables.prePolicyAnnounced(rib.family);
    return value === undefined ? [] : [{ afi: afiOf(rib), value }];
  });
  const { duplicateAnnouncements, duplicateWithdrawals, duplicateUpdates } = counters;
  return [
    { type: bmpStatistic.prefixesRejected, value: counters.prefixesRejected },
    { type: bmpStatistic.duplicateAnnouncements, value: duplicateAnnouncements },
    { type: bmpStatistic.duplicateWithdrawals, value: duplicateWithdrawals },
    { type: bmpStatistic.clusterListLoops, value: counters.clusterListLoops },
    { type: bmpStatistic.asPathLoops, value: counters.asPathLoops },
    { type: bmpStatistic.originatorLoops, value: counters.originatorLoops },
    // We are in no confederation: what has such segments is malformed (RFC 5065 5), and counted among those.
    { type: bmpStatistic.confederationLoops, value: 0 },
    { type: bmpStatistic.updatesTreatedAsWithdraw, value: counters.updatesTreatedAsWithdraw },
    { type: bmpStatistic.prefixesTreatedAsWithdraw, value: counters.prefixesTreatedAsWithdraw },
    { type: bmpStatistic.duplicateUpdates, value: duplicateUpdates },
    ...gauges(bmpStatistic.adjRibIn, bmpStatistic.adjRibInByFamily, adjIn),
    ...(outPrePolicy.length > 0
      ? gauges(bmpStatistic.adjRibOutPrePolicy, bmpStatistic.adjRibOutPrePolicyByFamily, outPrePolicy)
      : []),
    ...gauges(bmpStatistic.adjRibOutPostPolicy, bmpStatistic.adjRibOutPostPolicyByFamily, adjOut),
  ];
}

/** A prefix with several paths (see rib-view.ts) counts once. */
export function locRibStatistics(ribs: readonly Rib[]): BmpStatistic[] {
  const routes = ribs.map((rib) => ({ afi: afiOf(rib), value: rib.routeCount }));
  return gauges(bmpStatistic.locRib, bmpStatistic.locRibByFamily, routes);
}

type ByFamily = readonly { readonly afi: 1 | 2; readonly value: number }[];

/** The number of all, and of each family. */
function gauges(all: number, byFamily: number, values: ByFamily): BmpStatistic[] {
  const total = values.reduce((sum, { value }) => sum + value, 0);
  return [{ type: all, value: total }, ...values.map((entry) => ({ type: byFamily, ...entry }))];
}
