/**
 * Host routes to peers behind a gateway (reachableBy). They go before what is learned for the same prefix: without them there would
 * be no session to learn anything by.
 */
import type { RouteChange } from '#bgp';
import type { RouteDataplane } from '#felix';
import type { Cidr } from '#kit';
import type { LearnedRoute } from '#model';

/** What the route side is told of a change. */
export function learnedRoute({ type: _, ...route }: Extract<RouteChange, { readonly type: 'upsert' }>): LearnedRoute {
  return route;
}

export interface GatewayRoutes {
  set(wanted: readonly LearnedRoute[]): void;
  /** Whether a change of a learned route is kept back because the gateway's stands in its place. */
  learned(change: Exclude<RouteChange, { readonly type: 'deferralEnded' }>): boolean;
}

export function gatewayRoutes(routes: Pick<RouteDataplane, 'setLearned'>): GatewayRoutes {
  const ours = new Map<Cidr, LearnedRoute>();
  /** What the speaker has for the same prefixes, for when they are given up. */
  const kept = new Map<Cidr, LearnedRoute>();
  return {
    set(wanted) {
      const upsert = wanted.filter((route) => ours.get(route.prefix)?.nextHops.join() !== route.nextHops.join());
      const gone = [...ours.keys()].filter((prefix) => !wanted.some((route) => route.prefix === prefix));
      if (upsert.length + gone.length === 0) return;
      for (const prefix of gone) ours.delete(prefix);
      for (const route of upsert) ours.set(route.prefix, route);
      const back = gone.flatMap((prefix) => kept.get(prefix) ?? []);
      const withdraw = gone.filter((prefix) => !kept.has(prefix));
      for (const prefix of gone) kept.delete(prefix);
      routes.setLearned({ upsert: [...upsert, ...back], withdraw });
    },
    learned(change) {
      if (!ours.has(change.prefix)) return false;
      if (change.type === 'upsert') kept.set(change.prefix, learnedRoute(change));
      else kept.delete(change.prefix);
      return true;
    },
  };
}
