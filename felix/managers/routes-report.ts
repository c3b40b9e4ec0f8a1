/** What became of learned routes, of this node's pod CIDRs and of its pods' host routes: each of them, or numbers. */
import type { Cidr, IpAddress, IpFamily } from '#kit';
import type { ApplyLoop } from '../apply.ts';
import type { LearnedRouteTable } from '../drivers/routes.ts';
import type { NodeRoutes } from './blackhole.ts';
import type { NextHop } from './next-hop-resolver.ts';
import type { KernelView } from './routes-kernel-view.ts';
import type { LearnedRoutes, LearnedRouteView } from './routes-learned.ts';

export type RouteState = 'installed' | 'pending' | 'held' | 'unresolved' | 'refused';

export interface RouteStatus {
  readonly prefix: Cidr;
  /** As BGP says. */
  readonly nextHops: readonly NextHop[];
  /** What they resolve to: where packets go. */
  readonly via: readonly { readonly gateway: IpAddress; readonly device: string; readonly weight?: number }[];
  /** Packets to it are dropped. */
  readonly blackhole?: true;
  readonly nexthopGroup: number;
  readonly state: RouteState;
  /** Why it was refused. */
  readonly reason?: string;
}

export interface RouteDataplaneStatus {
  readonly routes: readonly RouteStatus[];
  readonly blackholes: readonly Cidr[];
  readonly missingEndpoints: readonly Cidr[];
  readonly held: Readonly<Record<IpFamily, boolean>>;
  readonly inSync: boolean;
  /** Of the last run that failed. */
  readonly error?: string;
}

/** The same as numbers, at a cost that does not grow with the routes. */
export interface RouteCounts {
  readonly learned: ByFamily;
  readonly installed: ByFamily;
  readonly held: number;
  readonly unresolved: number;
  readonly refused: number;
  /** Learned routes, pod CIDRs' blackholes and pods' host routes that are still to be written. */
  readonly pending: number;
  /** Routes of ours that somebody else removed or changed, since the start. */
  readonly repairs: number;
  readonly error?: string;
}
interface ByFamily {
  readonly ipv4: number;
  readonly ipv6: number;
}

interface RouteReportParts {
  readonly view: KernelView;
  readonly table: LearnedRouteTable;
  readonly learned: LearnedRoutes;
  readonly node: NodeRoutes;
  readonly loop: ApplyLoop;
}

export class RouteReport {
  readonly #parts: RouteReportParts;

  constructor(parts: RouteReportParts) {
    this.#parts = parts;
  }

  /** What became of one learned route, at the cost of one. */
  route(prefix: Cidr): RouteStatus | undefined {
    const route = this.#parts.learned.route(prefix);
    return route && this.#routeStatus(route);
  }

  status(): RouteDataplaneStatus {
    const error = this.#parts.loop.lastError;
    return {
      routes: Array.from(this.#parts.learned.view(), (route) => this.#routeStatus(route)),
      blackholes: this.#parts.node.blackholes,
      missingEndpoints: this.#parts.node.missingEndpoints,
      held: { ...this.#parts.table.held },
      inSync: this.#parts.table.inSync && this.#parts.node.inSync && !this.#parts.loop.pending,
      ...(error ? { error } : {}),
    };
  }

  /** @param repairs see `RouteCounts`. */
  counts(repairs: number): RouteCounts {
    const { routes, errors, held } = this.#parts.table;
    const pending = { 4: 0, 6: 0 };
    for (const prefix of routes.pendingUpdates) pending[prefix.includes(':') ? 6 : 4]++;
    const { learned, resolved } = this.#parts.learned.totals();
    const installed = (family: IpFamily): number => (held[family] ? 0 : resolved[family] - pending[family]);
    const error = this.#parts.loop.lastError;
    return {
      learned: { ipv4: learned[4], ipv6: learned[6] },
      installed: { ipv4: installed(4), ipv6: installed(6) },
      held: (held[4] ? learned[4] : 0) + (held[6] ? learned[6] : 0),
      unresolved: ([4, 6] as const).reduce((sum, f) => sum + (held[f] ? 0 : learned[f] - resolved[f]), 0),
      refused: errors.size,
      pending: pending[4] + pending[6] - errors.size + this.#parts.node.missingEndpoints.length,
      repairs,
      ...(error ? { error } : {}),
    };
  }

  #routeStatus({ prefix, nextHops, resolved, groupId, blackhole }: LearnedRouteView): RouteStatus {
    const { routes, errors, held } = this.#parts.table;
    const via = blackhole
      ? []
      : resolved.map(({ gateway, ifIndex, weight }) => ({
          gateway,
          device: this.#parts.view.link(ifIndex)?.name ?? `#${ifIndex}`,
          ...(weight === undefined ? {} : { weight }),
        }));
    const reason = errors.get(prefix);
    const isHeld = held[prefix.includes(':') ? 6 : 4];
    const installed = !isHeld && routes.desired.has(prefix) && !routes.pendingUpdates.has(prefix);
    const state: RouteState = installed
      ? 'installed'
      : isHeld
        ? 'held'
        : resolved.length === 0
          ? 'unresolved'
          : reason === undefined
            ? 'pending'
            : 'refused';
    return {
      prefix,
      nextHops,
      via,
      ...(blackhole ? { blackhole } : {}),
      nexthopGroup: groupId,
      state,
      ...(state === 'refused' ? { reason: reason! } : {}),
    };
  }
}
