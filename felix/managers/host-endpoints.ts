/**
 * The host endpoints of this node: which interface is whose, and chains for each kind of traffic that their policies are about.
 *
 * All is rendered again when anything of it changes: a node has a handful of host endpoints, and drivers write what differs. Without one there
 * is no chain, no jump, and no packet is asked.
 *
 * Whose an interface is: the endpoint's that names it; else one's that expects an address which it has; else the one of `*`. Of several the first
 * by name counts, and the others are refused. Where the kernel does not take rules of doNotTrack, an endpoint that needs them keeps its failsafe ports
 * and nothing else.
 */
import type { IpAddress, IpFamily, Logger } from '#kit';
import {
  defaultFailsafe,
  type EndpointId,
  type EndpointProgram,
  type Failsafe,
  type HostTraffic,
  type PolicyId,
  type TierProgram,
} from '#model';
import type { IptablesFamily } from '../drivers/iptables/iptables.ts';
import type { TableName } from '../render/base.ts';
import { failsafeRules } from '../render/failsafe.ts';
import type { FlowLogOptions } from '../render/flow-log.ts';
import {
  type HostShape,
  noTrackChain,
  noTrackProbe,
  renderHostDispatch,
  renderHostEndpoint,
  tableOf,
} from '../render/host.ts';
import type { Marks } from '../render/marks.ts';
import {
  type Direction,
  type HostTrafficKind,
  hostChain,
  hostDispatchChain,
  hostTraffics,
  type Names,
} from '../render/names.ts';
import type { PolicyManager } from './policy.ts';

export interface HostEndpointsDeps {
  readonly tables: readonly IptablesFamily[];
  readonly policies: PolicyManager;
  readonly log: Logger;
  /** Of a family. Absent: nobody is told of packets. */
  readonly flowLog?: (family: IpFamily) => FlowLogOptions | undefined;
  /** The base chains are to be rendered again. */
  readonly onShape: () => void;
}

/** Interfaces of the node with their addresses, pods' or not. */
export type NodeInterfaces = ReadonlyMap<string, readonly IpAddress[]>;

/** With the ports that it leaves open. */
export interface HostEndpointAt {
  readonly endpoint: EndpointId;
  readonly failsafe: Failsafe;
}

export interface RefusedHostEndpoint {
  readonly id: EndpointId;
  readonly reason: string;
}

type HostEndpointProgram = EndpointProgram & { readonly host: NonNullable<EndpointProgram['host']> };

/** Whose each interface is. */
interface Assignment {
  readonly byInterface: ReadonlyMap<string, EndpointId>;
  readonly any: EndpointId | undefined;
  readonly refused: readonly RefusedHostEndpoint[];
}

const directions: readonly Direction[] = ['ingress', 'egress'];
const nothing: HostTraffic = { ingress: [], egress: [] };
const everyInterface = '*';
/** The kernel takes nearly any; in a rule `+` is a pattern, and others end it: the whole restore would fail. */
const plainName = /^[A-Za-z0-9_.][A-Za-z0-9_.-]{0,14}$/;
const notPlain = (name: string): string =>
  `rules cannot name the interface ${JSON.stringify(name)}: give it one of letters, digits, _ . and -`;

export class HostEndpointsManager {
  readonly #deps: HostEndpointsDeps;
  readonly #names: Names;
  readonly #marks: Marks;
  readonly #programs = new Map<EndpointId, HostEndpointProgram>();
  #interfaces: NodeInterfaces = new Map();
  #failsafe: Failsafe = defaultFailsafe;
  #dirty = false;
  #shape: HostShape | undefined;
  /** Asked for, by `table name`. */
  #chains = new Map<string, { readonly table: TableName; readonly name: string }>();
  #acquired = new Map<
    string,
    { readonly table: TableName; readonly direction: Direction; readonly policy: PolicyId }
  >();
  #refused: readonly RefusedHostEndpoint[] = [];
  #programmed = 0;
  #assigned: Assignment = { byInterface: new Map(), any: undefined, refused: [] };
  /** Why the kernel does not take rules of doNotTrack; undefined: it does, or was not asked. */
  #noTrackRefused: string | undefined;
  #noTrackAsked = false;

  constructor(deps: HostEndpointsDeps, options: { readonly names: Names; readonly marks: Marks }) {
    this.#deps = deps;
    this.#names = options.names;
    this.#marks = options.marks;
  }

  /** Undefined: the node has no host endpoint. */
  get shape(): HostShape | undefined {
    return this.#shape;
  }
  /** That are somebody's interface. */
  get programmedCount(): number {
    return this.#programmed;
  }
  get refused(): readonly RefusedHostEndpoint[] {
    return this.#refused;
  }

  /** Whose policies are asked of what passes an interface. */
  endpointOf(interfaceName: string): HostEndpointAt | undefined {
    if (interfaceName === 'lo' || interfaceName.startsWith(this.#names.interfacePrefix)) return undefined;
    const endpoint = this.#assigned.byInterface.get(interfaceName) ?? this.#assigned.any;
    return endpoint === undefined ? undefined : { endpoint, failsafe: this.#failsafe };
  }

  /** Undefined removes. */
  updateProgram(id: EndpointId, program: EndpointProgram | undefined): void {
    if (program?.host) this.#programs.set(id, program as HostEndpointProgram);
    else if (!this.#programs.delete(id)) return;
    this.#dirty = true;
  }
  setInterfaces(interfaces: NodeInterfaces): void {
    this.#interfaces = interfaces;
    this.#dirty ||= this.#programs.values().some(({ host }) => host.interfaceName === undefined);
  }
  setFailsafe(failsafe: Failsafe): void {
    this.#failsafe = failsafe;
    this.renderAgain();
  }
  /** Everything once more at the next `flush`. */
  renderAgain(): void {
    this.#dirty ||= this.#programs.size > 0;
  }

  /** Asks the kernel for what doNotTrack needs, once it is needed and again with `again`; before `flush`. */
  async ask(again: boolean): Promise<void> {
    if (!this.#programs.values().some(needsNoTrack)) {
      this.#forgetNoTrack();
      return;
    }
    if (this.#noTrackAsked && !(again && this.#noTrackRefused !== undefined)) return;
    const before = this.#noTrackRefused;
    this.#noTrackRefused = undefined;
    for (const table of this.#deps.tables) {
      this.#noTrackRefused ??= await table.tryChain('raw', noTrackChain(this.#names), noTrackProbe);
    }
    this.#noTrackAsked = true;
    if (this.#noTrackRefused === before) return;
    this.#dirty = true;
    if (this.#noTrackRefused !== undefined) {
      const reason = this.#noTrackRefused;
      this.#deps.log.error(
        { reason },
        'doNotTrack cannot be enforced: of its host endpoints the failsafe ports alone stay open',
      );
    }
  }

  #forgetNoTrack(): void {
    if (!this.#noTrackAsked) return;
    this.#noTrackAsked = false;
    this.#noTrackRefused = undefined;
    for (const table of this.#deps.tables) table.undesireChain('raw', noTrackChain(this.#names));
  }

  /** Renders into wishes of the drivers. Before the policy manager's flush, which renders what this acquires. */
  flush(): void {
    if (!this.#dirty) return;
    this.#dirty = false;
    const assignment = assign(this.#programs, this.#interfaces, this.#names);
    this.#assigned = assignment;
    const inForce = new Set([...assignment.byInterface.values(), ...(assignment.any ? [assignment.any] : [])]);
    const shape = this.#shapeOf(inForce);
    const shapeChanged = JSON.stringify(shape) !== JSON.stringify(this.#shape);
    this.#shape = shape;
    if (shapeChanged) this.#deps.onShape();
    const before = this.#chains;
    this.#chains = new Map();
    this.#acquire(inForce);
    for (const id of inForce) this.#program(id);
    if (shape) this.#dispatch(assignment);
    for (const [key, { table, name }] of before) {
      if (!this.#chains.has(key)) for (const driver of this.#deps.tables) driver.undesireChain(table, name);
    }
    this.#programmed = inForce.size;
    this.#report(assignment.refused, inForce);
  }

  #shapeOf(ids: ReadonlySet<EndpointId>): HostShape | undefined {
    if (ids.size === 0) return undefined;
    const programs = [...ids].map((id) => this.#programs.get(id)!);
    return {
      preDNAT: programs.some(({ host }) => host.preDNAT.length > 0),
      untracked: this.#noTrackRefused === undefined && programs.some(needsNoTrack),
    };
  }

  /** It keeps its failsafe ports alone. */
  #isClosed(program: HostEndpointProgram): boolean {
    return this.#noTrackRefused !== undefined && needsNoTrack(program);
  }

  /** The tiers of one kind and direction; undefined: nothing is asked. */
  #tiers(id: EndpointId, kind: HostTrafficKind, direction: Direction): readonly TierProgram[] | undefined {
    const program = this.#programs.get(id)!;
    if (kind === 'local') return this.#isClosed(program) ? [] : program[direction];
    const traffic = { forward: program.host.forward, untracked: program.host.untracked };
    const { [direction]: tiers } =
      kind === 'preDNAT'
        ? { ingress: program.host.preDNAT, egress: [] }
        : this.#isClosed(program) && kind === 'untracked'
          ? nothing
          : traffic[kind];
    return tiers.length > 0 ? tiers : undefined;
  }

  #program(id: EndpointId): void {
    const program = this.#programs.get(id)!;
    const otherwise = this.#isClosed(program) ? 'deny' : program.host.otherwise;
    for (const [kind, direction] of kindsAndDirections()) {
      const tiers = this.#tiers(id, kind, direction);
      if (!tiers) continue;
      for (const driver of this.#deps.tables) {
        const { family } = driver;
        const failsafe = failsafeRules(this.#failsafe, kind, direction, family);
        const flowLog = this.#deps.flowLog?.(family);
        const context = { names: this.#names, marks: this.#marks, family, failsafe, flowLog };
        const rules = renderHostEndpoint({ tiers, otherwise }, kind, direction, id, context);
        this.#desire(driver, tableOf(kind), hostChain(this.#names, kind, direction, id), rules);
      }
    }
  }

  #dispatch({ byInterface, any }: Assignment): void {
    const shape = this.#shape!;
    for (const [kind, direction] of kindsAndDirections()) {
      if ((kind === 'preDNAT' || kind === 'untracked') && !shape[kind]) continue;
      const chainOf = (id: EndpointId): string | undefined =>
        this.#tiers(id, kind, direction) && hostChain(this.#names, kind, direction, id);
      const chains = new Map([...byInterface].map(([name, id]) => [name, chainOf(id)]));
      const rules = renderHostDispatch(
        { byInterface: chains, any: any === undefined ? undefined : chainOf(any) },
        direction,
      );
      const name = hostDispatchChain(this.#names, kind, direction);
      for (const driver of this.#deps.tables) this.#desire(driver, tableOf(kind), name, rules);
    }
  }

  #desire(
    driver: IptablesFamily,
    table: TableName,
    name: string,
    rules: Parameters<IptablesFamily['desireChain']>[2],
  ): void {
    this.#chains.set(`${table} ${name}`, { table, name });
    driver.desireChain(table, name, rules);
  }

  #acquire(ids: ReadonlySet<EndpointId>): void {
    const { policies } = this.#deps;
    const before = this.#acquired;
    this.#acquired = new Map();
    for (const id of ids) {
      for (const [kind, direction] of kindsAndDirections()) {
        const table = tableOf(kind);
        for (const policy of (this.#tiers(id, kind, direction) ?? []).flatMap((tier) => tier.policies)) {
          const key = `${table} ${direction} ${policy}`;
          if (this.#acquired.has(key)) continue;
          this.#acquired.set(key, { table, direction, policy });
          if (!before.has(key)) policies.acquire(direction, policy, table);
        }
      }
    }
    for (const [key, { table, direction, policy }] of before) {
      if (!this.#acquired.has(key)) policies.release(direction, policy, table);
    }
  }

  #report(refused: readonly RefusedHostEndpoint[], inForce: ReadonlySet<EndpointId>): void {
    const closed = [...inForce].flatMap((id) =>
      this.#isClosed(this.#programs.get(id)!)
        ? [{ id, reason: `doNotTrack: ${this.#noTrackRefused}; the failsafe ports alone stay open` }]
        : [],
    );
    const known = new Set(this.#refused.map(({ id, reason }) => `${id} ${reason}`));
    this.#refused = [...refused, ...closed];
    for (const { id, reason } of this.#refused)
      if (!known.has(`${id} ${reason}`))
        this.#deps.log.warn({ hostEndpoint: id, reason }, 'host endpoint is not in force');
  }
}

function needsNoTrack({ host }: HostEndpointProgram): boolean {
  return host.untracked.ingress.length + host.untracked.egress.length > 0;
}

function* kindsAndDirections(): Generator<readonly [HostTrafficKind, Direction]> {
  for (const kind of hostTraffics) for (const direction of directions) yield [kind, direction];
}

function assign(
  programs: ReadonlyMap<EndpointId, HostEndpointProgram>,
  interfaces: NodeInterfaces,
  names: Names,
): Assignment {
  const byInterface = new Map<string, EndpointId>();
  const refused: RefusedHostEndpoint[] = [];
  let any: EndpointId | undefined;
  const take = (name: string, id: EndpointId): void => {
    const holder = byInterface.get(name);
    if (holder === undefined) byInterface.set(name, id);
    else refused.push({ id, reason: `interface ${name} is of ${holder}, whose name comes first` });
  };
  const isHosts = (name: string): boolean => name !== 'lo' && !name.startsWith(names.interfacePrefix);
  const all = [...programs].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [id, { host }] of all) {
    const { interfaceName } = host;
    if (interfaceName === undefined) continue;
    if (interfaceName === everyInterface) {
      if (any === undefined) any = id;
      else refused.push({ id, reason: `${any}, whose name comes first, is of all interfaces too` });
    } else if (!plainName.test(interfaceName)) refused.push({ id, reason: notPlain(interfaceName) });
    else if (isHosts(interfaceName)) take(interfaceName, id);
    else
      refused.push({
        id,
        reason: `interface ${interfaceName} is of a pod, or loopback: it is none of a host endpoint`,
      });
  }
  const byName = new Set(byInterface.keys());
  for (const [id, { host }] of all) {
    if (host.interfaceName !== undefined) continue;
    const expected = new Set(host.expectedIPs);
    const found = [...interfaces].filter(
      ([name, addresses]) => isHosts(name) && addresses.some((a) => expected.has(a)),
    );
    if (found.length === 0) refused.push({ id, reason: 'no interface has any of its expectedIPs' });
    for (const [name] of found) {
      if (byName.has(name)) continue;
      if (plainName.test(name)) take(name, id);
      else refused.push({ id, reason: notPlain(name) });
    }
  }
  return { byInterface, any, refused };
}
