/**
 * Routes of the node itself: a blackhole for each of its pod CIDRs, so that packets to addresses without a pod do not go back out by the default
 * route and circle; and the host routes of its pods, which CNI makes and which are repaired here.
 */
import { type Cidr, DeltaTracker, hostCidr, type IpFamily, type Logger } from '#kit';
import type { WorkloadEndpoint } from '#model';
import type { KernelRoute, RouteKernel, RouteSpec, RouteWrite } from '../drivers/route-ports.ts';

/** The worst: whatever else there is for the prefix, a connected subnet included, comes first. */
const BLACKHOLE_METRIC = 0xffffffff;
const SCOPE_LINK = 253;
const BATCH_MESSAGES_MAX = 200;

export class NodeRoutes {
  readonly #protocol: number;
  readonly #log: Logger;
  readonly #blackholes = new DeltaTracker<Cidr, true>();
  /** Host prefix -> device index. Never deleted from here: it goes with its device. */
  readonly #endpoints = new DeltaTracker<Cidr, number>();
  #wanted: readonly { readonly prefix: Cidr; readonly device: string }[] = [];
  /** Until the node's CIDRs are known nothing of an earlier run is swept. */
  #cidrsKnown = false;
  /** Refusals of the last run: each is logged once, not at each retry. */
  #told: ReadonlySet<string> = new Set();

  constructor(protocol: number, log: Logger) {
    this.#protocol = protocol;
    this.#log = log;
  }

  get missingEndpoints(): readonly Cidr[] {
    const there = this.#endpoints.actual;
    return this.#wanted.filter(({ prefix }) => !there.has(prefix)).map(({ prefix }) => prefix);
  }
  get blackholes(): readonly Cidr[] {
    return [...this.#blackholes.actual.keys()];
  }
  /** Whether the kernel has a blackhole or a pod's route of ours. */
  has(family: IpFamily): boolean {
    const there = [...this.#blackholes.actual.keys(), ...this.#endpoints.actual.keys()];
    return there.some((prefix) => prefix.includes(':') === (family === 6));
  }
  get inSync(): boolean {
    return this.#endpoints.pendingUpdates.size === 0 && (!this.#cidrsKnown || this.#blackholes.inSync);
  }

  setCidrs(cidrs: readonly Cidr[]): void {
    this.#cidrsKnown = true;
    this.#blackholes.replaceDesired(cidrs.map((cidr) => [cidr, true] as const));
  }
  setEndpoints(endpoints: readonly WorkloadEndpoint[], indexOf: (device: string) => number | undefined): void {
    this.#wanted = endpoints.flatMap(({ addresses, interfaceName }) =>
      addresses.map((address) => ({ prefix: hostCidr(address), device: interfaceName })),
    );
    this.resolveDevices(indexOf);
  }
  /** Devices come and go: wishes follow their indexes. */
  resolveDevices(indexOf: (device: string) => number | undefined): void {
    const entries: [Cidr, number][] = [];
    for (const { prefix, device } of this.#wanted) {
      const index = indexOf(device);
      if (index !== undefined) entries.push([prefix, index]);
    }
    this.#endpoints.replaceDesired(entries);
  }

  replaceActual(routes: readonly KernelRoute[]): void {
    this.#blackholes.replaceActual(
      routes.filter((route) => route.type === 'blackhole').map((route) => [route.prefix, true] as const),
    );
    this.#endpoints.replaceActual(
      routes
        .filter((route) => route.type === 'unicast')
        .map((route) => [route.prefix, route.nextHops[0]?.ifIndex ?? 0] as const),
    );
  }
  found(route: KernelRoute): void {
    if (route.type === 'blackhole') this.#blackholes.found(route.prefix, true);
    else this.#endpoints.found(route.prefix, route.nextHops[0]?.ifIndex ?? 0);
  }
  gone(route: KernelRoute): void {
    if (route.type === 'blackhole') this.#blackholes.gone(route.prefix);
    else this.#endpoints.gone(route.prefix);
  }
  deviceGone(ifIndex: number): void {
    for (const [prefix, index] of [...this.#endpoints.actual]) if (index === ifIndex) this.#endpoints.gone(prefix);
  }

  /** Returns how many messages were refused. */
  apply(kernel: RouteKernel): number {
    const steps: { readonly write: RouteWrite; done(): void }[] = [];
    for (const prefix of this.#endpoints.pendingUpdates) {
      const ifIndex = this.#endpoints.desired.get(prefix)!;
      const route: RouteSpec = {
        ...this.#spec(prefix),
        ifIndex,
        ...(prefix.includes(':') ? {} : { scope: SCOPE_LINK }),
      };
      steps.push({
        write: { op: 'route', route, mode: 'replace' },
        done: () => this.#endpoints.found(prefix, ifIndex),
      });
    }
    for (const prefix of this.#cidrsKnown ? this.#blackholes.pendingUpdates : []) {
      const write: RouteWrite = { op: 'route', route: this.#blackhole(prefix), mode: 'exclusive' };
      steps.push({ write, done: () => this.#blackholes.found(prefix, true) });
    }
    for (const prefix of this.#cidrsKnown ? this.#blackholes.pendingDeletes : []) {
      const write: RouteWrite = { op: 'routeDelete', route: this.#blackhole(prefix) };
      steps.push({ write, done: () => this.#blackholes.gone(prefix) });
    }
    let refused = 0;
    const told = new Set<string>();
    for (let at = 0; at < steps.length; at += BATCH_MESSAGES_MAX) {
      const batch = steps.slice(at, at + BATCH_MESSAGES_MAX);
      const failures = new Map(kernel.write(batch.map((step) => step.write)).map((f) => [f.index, f]));
      for (const [i, step] of batch.entries()) {
        const failure = failures.get(i);
        if (!failure || (failure.code === 'ESRCH' && step.write.op === 'routeDelete')) step.done();
        // The interface went a moment ago, and its route with it: the event that says so is on its way.
        else if (failure.code === 'ENODEV') continue;
        else {
          refused++;
          const reason = `${failure.code} ${failure.text}`.trimEnd();
          const what = `${JSON.stringify(step.write)} ${reason}`;
          if (!this.#told.has(what)) this.#log.warn({ write: step.write, reason }, 'route of the node was refused');
          told.add(what);
        }
      }
    }
    this.#told = told;
    return refused;
  }

  #spec(prefix: Cidr): RouteSpec {
    return { prefix, protocol: this.#protocol };
  }
  #blackhole(prefix: Cidr): RouteSpec {
    return { ...this.#spec(prefix), type: 'blackhole', metric: BLACKHOLE_METRIC };
  }
}
