/**
 * The route side of the dataplane: what BGP learned, the node's pod CIDRs and its pods' addresses, kept true in the kernel.
 *
 *   setLearned ---> LearnedRoutes --(sets of next hops)--> NextHopResolver <--- KernelView <--- kernel events, dumps
 *                        |  groups, prefixes                    ^ links, addresses, routes of others      |
 *   setNodeCidrs         v                                                                                v
 *   setEndpoints -> NodeRoutes, LearnedRouteTable ---------> apply loop ------> netlink            onLinkDown
 *
 * start() reads what an earlier run left; where there is something, the family is held until `release` (BGP's restart deferral is over) and
 * nothing of it is touched. Drift by others is seen as events and repaired; a full dump confirms every refresh interval, after lost
 * events and after a refused write.
 */
import { type Cidr, type Clock, errorText, type IpAddress, type IpFamily, type Logger } from '#kit';
import type { LearnedRouteDelta, WorkloadEndpoint } from '#model';
import { ApplyLoop, type ApplyTiming } from '../apply.ts';
import {
  type KernelNexthop,
  type KernelRoute,
  type RouteEvent,
  type RouteKernel,
  type StateFile,
  type SysctlFiles,
  TABLE_MAIN,
} from '../drivers/route-ports.ts';
import { LearnedRouteTable } from '../drivers/routes.ts';
import { SysctlSettings } from '../drivers/sysctl.ts';
import { NodeRoutes } from './blackhole.ts';
import { NextHopResolver } from './next-hop-resolver.ts';
import { KernelView, type LinkDown, type LocalAddress } from './routes-kernel-view.ts';
import { LearnedRoutes } from './routes-learned.ts';
import { type RouteCounts, type RouteDataplaneStatus, RouteReport, type RouteStatus } from './routes-report.ts';
import { Uplinks } from './uplinks.ts';

export interface RouteDataplaneDeps {
  readonly kernel: RouteKernel;
  readonly sysctls: SysctlFiles;
  /** Remembers settings as they were before us. */
  readonly sysctlState: StateFile;
  readonly clock: Clock;
  readonly log: Logger;
  /** Told of every run. */
  readonly onApply?: (timing: ApplyTiming) => void;
}

export interface RouteDataplaneOptions {
  /** Number that marks our routes. Default 155. */
  readonly protocol?: number;
  /** Pod interfaces begin with it. Default `pop`. */
  readonly interfacePrefix?: string;
  /**
   * Of learned routes. Default 2048: behind connected routes, static ones, DHCP and router advertisements, so that a learned default
   * route never takes a node's own away.
   */
  readonly metric?: number;
  /** Source address of the node's own packets over learned routes, while the node has it. */
  readonly preferredSource?: Partial<Record<IpFamily, IpAddress>>;
  /** Between full comparisons. Default 90000. */
  readonly refreshMs?: number;
  /** Marks in the kernel tell the next run that this one was there, also where it left no routes: see `hadEarlierRoutes`. Default off. */
  readonly marksRun?: boolean;
  /** `start` leaves forwarding as it is: the caller says when (`enableForwarding`). */
  readonly forwardingLater?: boolean;
}

const THROTTLE_MS = 5;
const RETRY_FIRST_MS = 100;
const RETRY_MAX_MS = 5_000;
const REFRESH_MS_DEFAULT = 90_000;
/** Behind an event that only a dump explains: routes of others may come in floods. */
const REDUMP_DELAY_MS = 500;
/** The last of them holds up the event loop instead. */
const READ_ATTEMPTS_MAX = 3;

export class RouteDataplane {
  readonly #deps: RouteDataplaneDeps;
  readonly #protocol: number;
  readonly #resolver: NextHopResolver;
  readonly #view: KernelView;
  readonly #table: LearnedRouteTable;
  readonly #learned: LearnedRoutes;
  readonly #node: NodeRoutes;
  readonly #uplinks: Uplinks;
  readonly #loop: ApplyLoop;
  readonly #report: RouteReport;
  readonly #forwardingLater: boolean;
  readonly #marksRun: boolean;
  readonly #linkDownListeners = new Set<(down: LinkDown) => void>();
  readonly #uplinkListeners = new Set<() => void>();
  readonly #wayListeners = new Set<() => void>();
  #watch: { close(): void } | undefined;
  #cancelRetry: (() => void) | undefined;
  #cancelRedump: (() => void) | undefined;
  #refusedRuns = 0;
  #lastRefusal = '';
  #touched = false;
  #uplinksTouched = false;
  #waysTouched = false;
  #events = 0;
  #hadEarlierRoutes: Readonly<Record<IpFamily, boolean>> = { 4: false, 6: false };
  #writes = 0;
  #repairs = 0;

  constructor(deps: RouteDataplaneDeps, options: RouteDataplaneOptions = {}) {
    this.#forwardingLater = options.forwardingLater ?? false;
    this.#marksRun = options.marksRun ?? false;
    this.#deps = deps;
    const { protocol = 155, interfacePrefix = 'pop', metric = 2048, preferredSource: sources = {} } = options;
    this.#protocol = protocol;
    this.#resolver = new NextHopResolver({ learnedMetric: metric });
    this.#view = new KernelView(this.#resolver, { interfacePrefix });
    const preferredSource = (family: IpFamily): IpAddress | undefined => {
      const source = sources[family];
      return source && this.#view.isLocal(source) ? source : undefined;
    };
    this.#table = new LearnedRouteTable({ protocol, metric, preferredSource });
    this.#learned = new LearnedRoutes(this.#resolver, this.#table);
    this.#node = new NodeRoutes(protocol, deps.log);
    const { sysctls: files, sysctlState: state, log, clock } = deps;
    this.#uplinks = new Uplinks(new SysctlSettings({ files, state, log }), files, log);
    this.#loop = new ApplyLoop(
      { clock, log, run: (resync) => this.#run(resync), tidy: async () => true, onRun: deps.onApply },
      {
        throttleMs: THROTTLE_MS,
        retryFirstMs: RETRY_FIRST_MS,
        retryMaxMs: RETRY_MAX_MS,
        refreshMs: options.refreshMs ?? REFRESH_MS_DEFAULT,
      },
    );
    this.#report = new RouteReport({
      view: this.#view,
      table: this.#table,
      learned: this.#learned,
      node: this.#node,
      loop: this.#loop,
    });
  }

  /**
   * Whether an earlier run left routes of ours, or a mark that it had none, by family; after `start`. Decides the forwarding-state bit of
   * graceful restart: a node that has learned nothing still forwards to its pods. A mark lives as long as the kernel's tables (not over a reboot, and in
   * this namespace only), and is never beside a route for long: whoever clears our routes while we are away clears what this rests on.
   */
  get hadEarlierRoutes(): Readonly<Record<IpFamily, boolean>> {
    return this.#hadEarlierRoutes;
  }
  /** Messages sent to the kernel that ask for a change. */
  get writes(): number {
    return this.#writes;
  }

  /** @throws SysctlError without forwarding; SysError when the kernel cannot be read. */
  async start(): Promise<void> {
    // Watch before the first dump: what changes in between comes twice, never not at all.
    this.#watch = this.#deps.kernel.watch({
      onEvent: (event) => this.#onEvent(event),
      onLost: () => this.#loop.requestResync(),
      onTurn: () => this.#onTurn(),
    });
    await this.#readAll();
    const { held, routes } = this.#table;
    for (const prefix of routes.actual.keys()) held[prefix.includes(':') ? 6 : 4] = true;
    // Only learned routes are held: BGP has no say in the others.
    const had = (family: IpFamily): boolean =>
      held[family] || this.#node.has(family) || (this.#marksRun && this.#table.nexthops.hasMark(family));
    this.#hadEarlierRoutes = { 4: had(4), 6: had(6) };
    if (!this.#forwardingLater) this.enableForwarding();
    this.#loop.open();
  }

  /** Makes the node a router; once is enough. @throws SysctlError */
  enableForwarding(): void {
    this.#uplinks.enableForwarding([...this.#view.dynamicIpv6Links()].map((link) => link.name));
  }

  async stop(): Promise<void> {
    this.#watch?.close();
    await this.#loop.stop();
    // Last: the run that was under way may have set them.
    this.#cancelRetry?.();
    this.#cancelRedump?.();
  }

  setLearned(delta: LearnedRouteDelta): void {
    this.#learned.update(delta);
    this.#loop.markDirty();
  }
  /** This node's pod CIDRs, all of them. */
  setNodeCidrs(cidrs: readonly Cidr[]): void {
    this.#node.setCidrs(cidrs);
    this.#loop.markDirty();
  }
  /** This node's pods, all of them. */
  setEndpoints(endpoints: readonly WorkloadEndpoint[]): void {
    this.#node.setEndpoints(endpoints, (name) => this.#view.indexOf(name));
    this.#loop.markDirty();
  }
  /** What BGP has said by now is complete: write the difference and sweep the rest. Without a family: both. */
  release(family?: IpFamily): void {
    this.#learned.settle();
    for (const each of family ? [family] : ([4, 6] as const)) if (this.#table.held[each]) this.#learned.release(each);
    this.#loop.markDirty();
  }
  /** Resolves when everything said before is in the kernel, or was refused by it (see `status`). */
  whenApplied(): Promise<void> {
    return this.#loop.whenApplied();
  }

  /** A device lost carrier, went down or away, told at once. Returns the way to stop listening. */
  onLinkDown(listener: (down: LinkDown) => void): () => void {
    this.#linkDownListeners.add(listener);
    return () => void this.#linkDownListeners.delete(listener);
  }
  /** Links or addresses other than pods' may have changed. Returns the way to stop listening. */
  onUplinksChanged(listener: () => void): () => void {
    this.#uplinkListeners.add(listener);
    return () => void this.#uplinkListeners.delete(listener);
  }
  /** `ways` may have changed, routes of others among them: perhaps many times a second. Returns the way to stop listening. */
  onWaysChanged(listener: () => void): () => void {
    this.#wayListeners.add(listener);
    return () => void this.#wayListeners.delete(listener);
  }
  /** Prefixes of the main table, but for learned ones, and the device that packets leave by; empty: several, or a blackhole. */
  *ways(): Generator<{ readonly prefix: Cidr; readonly device: string }> {
    for (const { prefix, ifIndex } of this.#resolver.foreignWays()) {
      yield { prefix, device: ifIndex === undefined ? '' : (this.#view.link(ifIndex)?.name ?? '') };
    }
  }
  localAddresses(): readonly LocalAddress[] {
    return this.#view.localAddresses();
  }
  /** Which way the node itself would send to `destination` now. */
  lookup(destination: IpAddress): { readonly device: string; readonly localAddress?: IpAddress } | undefined {
    const found = this.#deps.kernel.lookup(destination);
    const device = found && this.#view.link(found.ifIndex)?.name;
    if (!device) return undefined;
    return { device, ...(found.prefsrc ? { localAddress: found.prefsrc } : {}) };
  }

  /** What became of one learned route, at the cost of one. */
  route(prefix: Cidr): RouteStatus | undefined {
    return this.#report.route(prefix);
  }
  status(): RouteDataplaneStatus {
    return this.#report.status();
  }
  counts(): RouteCounts {
    return this.#report.counts(this.#repairs);
  }

  async #run(resync: boolean): Promise<void> {
    if (resync) await this.#readAll();
    this.#settle();
    if (this.#marksRun) this.#setMarks();
    const outcome = await this.#table.apply(this.#deps.kernel);
    const refused = outcome.failed + this.#node.apply(this.#deps.kernel);
    this.#writes += outcome.writes;
    if (refused === 0) {
      this.#refusedRuns = 0;
      this.#lastRefusal = '';
      return;
    }
    // Not thrown: the loop's back-off would hold up link events. Read back and try again beside it.
    const what = JSON.stringify(outcome.failures);
    if (what !== this.#lastRefusal) this.#deps.log.warn({ refused, first: outcome.failures }, 'kernel refused routes');
    this.#lastRefusal = what;
    const delayMs = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** this.#refusedRuns++);
    this.#cancelRetry?.();
    this.#cancelRetry = this.#deps.clock.schedule(delayMs, () => this.#loop.requestResync());
  }

  /** Before the last route of a family goes and until the first one is there: objects are made first and removed last. */
  #setMarks(): void {
    const { resolved } = this.#learned.totals();
    for (const family of [4, 6] as const) {
      if (!this.#table.held[family]) this.#table.nexthops.setMark(family, resolved[family] === 0);
    }
  }

  #settle(): void {
    if (this.#learned.settle()) {
      for (const ifIndex of [...this.#learned.devices(), ...this.#view.defaultDevices()]) {
        const link = this.#view.link(ifIndex);
        if (link && link.name !== 'lo') this.#uplinks.loosen(link.name, ifIndex);
      }
    }
    this.#node.resolveDevices((name) => this.#view.indexOf(name));
  }

  /** Routes may be many and are read in slices; what changed meanwhile makes the reading worthless. */
  async #readAll(): Promise<void> {
    const { kernel } = this.#deps;
    const filters = [
      { protocol: this.#protocol, table: TABLE_MAIN },
      { exceptProtocol: this.#protocol, table: TABLE_MAIN },
    ] as const;
    for (let attempt = 1; attempt < READ_ATTEMPTS_MAX; attempt++) {
      const before = this.#events;
      const [ours, foreign]: [KernelRoute[], KernelRoute[]] = [[], []];
      for (const [i, into] of [ours, foreign].entries()) {
        for (const family of [4, 6] as const) {
          for (const route of await kernel.dumpRoutesSliced(family, filters[i]!)) into.push(route);
        }
      }
      if (this.#events !== before) continue;
      this.#take(ours, foreign);
      return;
    }
    const [ours, foreign] = filters.map((filter) => [...kernel.dumpRoutes(4, filter), ...kernel.dumpRoutes(6, filter)]);
    this.#take(ours!, foreign!);
  }

  #take(ours: readonly KernelRoute[], foreign: readonly KernelRoute[]): void {
    const lost = this.#view.readLinks(this.#deps.kernel);
    const nexthops = this.#deps.kernel.dumpNexthops();
    this.#view.replaceForeign(foreign, nexthops);
    const learned = ours.filter((route) => this.#isLearned(route));
    this.#table.replaceActual(nexthops, learned);
    this.#node.replaceActual(learned.length === ours.length ? [] : ours.filter((route) => !this.#isLearned(route)));
    this.#tellDown(lost);
    this.#tellWays();
  }

  /** Blackholes and routes to pods are ours too, but BGP has no say in them. */
  #isLearned(route: KernelRoute): boolean {
    // Learned ones have a next-hop object, which may be one that drops.
    if (route.type === 'blackhole') return route.nexthopId !== 0;
    return route.type === 'unicast' && !route.nextHops.some((hop) => this.#view.isPod(hop.ifIndex));
  }

  #onEvent(event: RouteEvent): void {
    this.#touched = true;
    this.#events++;
    switch (event.type) {
      case 'link': {
        const lost = this.#view.onLink(event.link, event.gone);
        if (event.gone || !event.link.up || !event.link.carrier) {
          this.#table.deviceGone(event.link.index);
          // Carrier alone does not take routes that name the device.
          if (event.gone || !event.link.up) this.#node.deviceGone(event.link.index);
        }
        this.#uplinksTouched ||= !this.#view.isPodName(event.link.name);
        this.#tellDown(lost);
        return;
      }
      case 'address':
        this.#uplinksTouched ||= !this.#view.isPod(event.address.ifIndex);
        this.#view.onAddress(event.address, event.gone);
        return;
      case 'route':
        this.#onRoute(event.route, event.gone);
        return;
      case 'nexthop':
        this.#onNexthop(event.nexthop, event.gone);
        return;
    }
  }

  #onRoute(route: KernelRoute, gone: boolean): void {
    if (route.table !== TABLE_MAIN) return;
    if (route.protocol === this.#protocol && gone && this.#isThere(route)) this.#repairs++;
    if (route.protocol !== this.#protocol) {
      this.#view.onForeignRoute(route, gone);
      this.#waysTouched = true;
    } else if (!this.#isLearned(route)) {
      if (gone) this.#node.gone(route);
      else this.#node.found(route);
    } else if (gone) this.#table.routeGone(route.prefix);
    else this.#table.routeFound(route);
  }

  /** It is wanted and was there, as far as we know: its end was not our doing. */
  #isThere({ prefix }: KernelRoute): boolean {
    const { desired, actual } = this.#table.routes;
    return desired.has(prefix) && desired.get(prefix) === actual.get(prefix);
  }

  #onNexthop(nexthop: KernelNexthop, gone: boolean): void {
    if (nexthop.protocol !== this.#protocol) this.#view.onForeignNexthop(nexthop, gone);
    else if (gone) this.#table.nexthopGone(nexthop.id);
    else this.#table.nexthops.found(nexthop);
  }

  #onTurn(): void {
    if (this.#view.stale && !this.#cancelRedump) {
      this.#cancelRedump = this.#deps.clock.schedule(REDUMP_DELAY_MS, () => {
        this.#cancelRedump = undefined;
        this.#loop.requestResync();
      });
    }
    if (!this.#touched) return;
    this.#touched = false;
    if (this.#waysTouched || this.#uplinksTouched) this.#tellWays();
    if (this.#uplinksTouched) {
      this.#uplinksTouched = false;
      for (const listener of this.#uplinkListeners) listener();
    }
    // Wishes follow at once: an apply that is under way writes changed objects between two batches.
    this.#settle();
    if (!this.#table.inSync || !this.#node.inSync) this.#loop.markDirty();
  }

  #tellWays(): void {
    this.#waysTouched = false;
    for (const listener of this.#wayListeners) listener();
  }
  #tellDown(lost: readonly LinkDown[]): void {
    for (const down of lost) {
      for (const listener of this.#linkDownListeners) {
        try {
          listener(down);
        } catch (error) {
          this.#deps.log.error({ device: down.device, reason: errorText(error) }, 'listener for lost links failed');
        }
      }
    }
  }
}

export function createRouteDataplane(deps: RouteDataplaneDeps, options?: RouteDataplaneOptions): RouteDataplane {
  return new RouteDataplane(deps, options);
}
