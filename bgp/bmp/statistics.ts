/** Statistics of a peer and of the Loc-RIB (RFC 7854 4.8, RFC 8671 6.2): those that are counted here. */
import type { Rib } from '../rib/index.ts';
import { type BmpStatistic, bmpStatistic } from './messages.ts';
import type { BmpPeer } from './types.ts';

const afiOf = ({ family }: Rib): 1 | 2 => (family === 4 ? 1 : 2);
const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0);

/** @param received what was received before policy, where that is kept: then it is the Adj-RIB-In (RFC 7854 4.8). */
export function peerStatistics(
  ribs: readonly Rib[],
  received: readonly Rib[] | undefined,
  peer: BmpPeer,
): BmpStatistic[] {
  const counters = peer.counters();
  const own = ribs.filter((rib) => peer.families.includes(rib.family));
  const adjIn = (received ?? ribs)
    .filter((rib) => peer.families.includes(rib.family))
    .map((rib) => ({ afi: afiOf(rib), value: (rib.pathCount[peer.row] ?? 0) - (rib.rejectedCount[peer.row] ?? 0) }));
  const adjOut = own.map((rib) => {
    const membership = peer.membership(rib.family);
    return { afi: afiOf(rib), value: membership ? membership.group.announcedTo(peer.row) : 0 };
  });
  const values = (list: readonly { readonly value: number }[]): number => sum(list.map(({ value }) => value));
  return [
    { type: bmpStatistic.prefixesRejected, value: counters.prefixesRejected },
    { type: bmpStatistic.asPathLoops, value: counters.asPathLoops },
    { type: bmpStatistic.updatesTreatedAsWithdraw, value: counters.updatesTreatedAsWithdraw },
    { type: bmpStatistic.prefixesTreatedAsWithdraw, value: counters.prefixesTreatedAsWithdraw },
    { type: bmpStatistic.adjRibIn, value: values(adjIn) },
    ...adjIn.map((entry) => ({ type: bmpStatistic.adjRibInByFamily, ...entry })),
    { type: bmpStatistic.adjRibOutPostPolicy, value: values(adjOut) },
    ...adjOut.map((entry) => ({ type: bmpStatistic.adjRibOutPostPolicyByFamily, ...entry })),
  ];
}

export function locRibStatistics(ribs: readonly Rib[]): BmpStatistic[] {
  return [
    { type: bmpStatistic.locRib, value: sum(ribs.map((rib) => rib.routeCount)) },
    ...ribs.map((rib) => ({ type: bmpStatistic.locRibByFamily, afi: afiOf(rib), value: rib.routeCount })),
  ];
}
