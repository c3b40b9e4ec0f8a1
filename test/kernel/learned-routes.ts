/** Routes of a RouteWorld's node as BGP would learn them, and what must be said of them. */
import type { RouteCounts, RouteState, RouteStatus } from '#felix';
import type { LearnedRouteDelta } from '#model';
import { ip, net } from './route-world.ts';

export const routers4 = ['172.16.1.1', '172.16.2.1'];
export const routers6 = ['fd16:1::1', 'fd16:2::1'];
export const both = ['172.16.1.1 up0', '172.16.2.1 up1'];
export const both6 = ['fd16:1::1 up0', 'fd16:2::1 up1'];

export function learn(
  routes: Readonly<Record<string, readonly string[]>>,
  withdraw: readonly string[] = [],
): LearnedRouteDelta {
  return {
    upsert: Object.entries(routes).map(([prefix, nextHops]) => ({ prefix: net(prefix), nextHops: nextHops.map(ip) })),
    withdraw: withdraw.map(net),
  };
}

/** What `counts` must say, from the list. */
export function countsOf(list: readonly RouteStatus[]): RouteCounts {
  const count = (six: boolean | undefined, ...states: RouteState[]): number =>
    list.filter(
      ({ prefix, state }) =>
        (six === undefined || prefix.includes(':') === six) && (states.length === 0 || states.includes(state)),
    ).length;
  return {
    learned: { ipv4: count(false), ipv6: count(true) },
    installed: { ipv4: count(false, 'installed'), ipv6: count(true, 'installed') },
    held: count(undefined, 'held'),
    unresolved: count(undefined, 'unresolved'),
    refused: count(undefined, 'refused'),
    pending: count(undefined, 'pending'),
    repairs: 0,
  };
}
