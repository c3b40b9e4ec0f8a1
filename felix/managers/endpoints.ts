/**
 * The pods of this node: a chain each way, a place in the dispatch trees, and their addresses in the set that spoofed sources are held against.
 *
 * An endpoint is programmed while both its program (from the policy engine) and its wiring (from CNI) are known. With one of
 * the two missing its interface is unknown, and unknown interfaces drop.
 */
import type { IpAddress, IpFamily } from '#kit';
import type { EndpointId, EndpointProgram, PolicyId, WorkloadEndpoint } from '#model';
import type { Ipsets } from '../drivers/ipset/ipset.ts';
import type { IptablesFamily } from '../drivers/iptables/iptables.ts';
import { workloadSetId } from '../render/base.ts';
import { renderDispatch } from '../render/dispatch.ts';
import { renderEndpoint } from '../render/endpoint.ts';
import type { FlowLogOptions } from '../render/flow-log.ts';
import type { Marks } from '../render/marks.ts';
import { type Direction, endpointChain, type Names } from '../render/names.ts';
import type { PolicyManager } from './policy.ts';
import { PolicyGroups } from './policy-groups.ts';

export interface EndpointsDeps {
  readonly tables: readonly IptablesFamily[];
  readonly sets: Ipsets;
  readonly policies: PolicyManager;
  /** Of a family, decided before the first `flush`. Absent: nobody is told of packets. */
  readonly flowLog?: (family: IpFamily) => FlowLogOptions | undefined;
}

/** What the drivers were asked for an endpoint. */
interface Programmed {
  readonly interfaceName: string;
  readonly addresses: readonly IpAddress[];
  readonly program: EndpointProgram;
}

const directions: readonly Direction[] = ['ingress', 'egress'];
/** IFNAMSIZ without the NUL. */
const interfaceNameCharsMax = 15;

export class EndpointsManager {
  readonly #deps: EndpointsDeps;
  readonly #names: Names;
  readonly #marks: Marks;
  readonly #groups: PolicyGroups;
  readonly #programs = new Map<EndpointId, EndpointProgram>();
  readonly #workloads = new Map<EndpointId, WorkloadEndpoint>();
  readonly #programmed = new Map<EndpointId, Programmed>();
  readonly #interfaces = new Map<string, EndpointId>();
  readonly #dirty = new Set<EndpointId>();
  /** Chains of the dispatch trees as last asked for; one name tells its direction. */
  readonly #dispatch = new Set<string>();
  #dispatchDirty = true;

  constructor(deps: EndpointsDeps, options: { readonly names: Names; readonly marks: Marks }) {
    this.#deps = deps;
    this.#names = options.names;
    this.#marks = options.marks;
    this.#groups = new PolicyGroups(deps.tables, options);
    deps.sets.desire(workloadSetId, 'net,iface', []);
  }

  /** Ids with their interfaces. */
  *programmed(): Generator<readonly [EndpointId, string]> {
    for (const [id, { interfaceName }] of this.#programmed) yield [id, interfaceName];
  }
  /** Of every pod that is wired. */
  *addresses(): Generator<IpAddress> {
    for (const { addresses } of this.#workloads.values()) yield* addresses;
  }
  /** As it was last asked of the drivers. */
  programOf(id: EndpointId): EndpointProgram | undefined {
    return this.#programmed.get(id)?.program;
  }
  get programmedCount(): number {
    return this.#programmed.size;
  }
  get workloadCount(): number {
    return this.#workloads.size;
  }

  /** Undefined removes. */
  updateProgram(id: EndpointId, program: EndpointProgram | undefined): void {
    if (program) this.#programs.set(id, program);
    else this.#programs.delete(id);
    this.#dirty.add(id);
  }

  /** @throws RangeError when the interface cannot be one of ours: its packets would never reach our chains. */
  setWorkload(workload: WorkloadEndpoint): void {
    checkWorkload(workload, this.#names);
    const { id, interfaceName } = workload;
    const holder = this.#interfaces.get(interfaceName);
    if (holder !== undefined && holder !== id) this.removeWorkload(holder);
    const before = this.#workloads.get(id);
    if (before) this.#interfaces.delete(before.interfaceName);
    this.#workloads.set(id, workload);
    this.#interfaces.set(interfaceName, id);
    this.#dirty.add(id);
  }

  /** With `interfaceName`: only while the endpoint is on that interface (a pod of the same name may have come since). */
  removeWorkload(id: EndpointId, interfaceName?: string): void {
    const before = this.#workloads.get(id);
    if (!before || (interfaceName !== undefined && before.interfaceName !== interfaceName)) return;
    this.#workloads.delete(id);
    this.#interfaces.delete(before.interfaceName);
    this.#dirty.add(id);
  }

  /** Everything once more at the next `flush`. */
  renderAgain(): void {
    for (const id of this.#programmed.keys()) this.#dirty.add(id);
  }

  /** Endpoints have to be removed. */
  get untidy(): boolean {
    return this.#dirty.size > 0;
  }

  /**
   * Renders what came or changed into wishes of the drivers, an endpoint a step. Before the policy manager's flush, which renders what this
   * acquires. What has to go waits for `flushRemovals`, unless its interface has passed to another endpoint.
   */
  *flush(): Generator<void> {
    const passed = new Set<string>();
    for (const id of this.#dirty) passed.add(this.#wanted(id)?.interfaceName ?? '');
    for (const id of this.#dirty) {
      const before = this.#programmed.get(id);
      if (before && !this.#wanted(id) && passed.has(before.interfaceName)) this.#unprogram(id);
    }
    for (const id of this.#dirty) {
      const wanted = this.#wanted(id);
      if (wanted) this.#program(id, wanted);
      if (wanted || !this.#programmed.has(id)) this.#dirty.delete(id);
      yield;
    }
    if (this.#dispatchDirty) this.#renderDispatch();
  }

  /** Until then an endpoint that was removed keeps its last policy; its interface is gone or about to go. */
  flushRemovals(): void {
    for (const id of this.#dirty) if (!this.#wanted(id)) this.#unprogram(id);
    for (const id of [...this.#dirty]) if (!this.#wanted(id)) this.#dirty.delete(id);
    if (this.#dispatchDirty) this.#renderDispatch();
  }

  #wanted(id: EndpointId): Programmed | undefined {
    const program = this.#programs.get(id);
    const workload = this.#workloads.get(id);
    return program && workload && { interfaceName: workload.interfaceName, addresses: workload.addresses, program };
  }

  #program(id: EndpointId, wanted: Programmed): void {
    const before = this.#programmed.get(id);
    if (before && before.interfaceName !== wanted.interfaceName) this.#unprogram(id);
    const kept = this.#programmed.get(id);
    this.#acquire(wanted.program);
    if (kept) this.#release(kept.program);
    else this.#dispatchDirty = true;
    for (const direction of directions) {
      const chain = endpointChain(this.#names, direction, wanted.interfaceName);
      const groupOf = (policies: readonly PolicyId[]) => this.#groups.chainOf(direction, policies);
      for (const table of this.#deps.tables) {
        const flowLog = this.#deps.flowLog?.(table.family);
        const isStaged = wanted.program.staged?.[direction] !== undefined;
        const context = { names: this.#names, marks: this.#marks, flowLog, isStaged, groupOf };
        table.desireChain('mangle', chain, renderEndpoint(wanted.program[direction], direction, id, context));
      }
    }
    this.#moveAddresses(kept, wanted);
    this.#programmed.set(id, wanted);
  }

  #unprogram(id: EndpointId): void {
    const before = this.#programmed.get(id);
    if (!before) return;
    this.#programmed.delete(id);
    this.#dispatchDirty = true;
    this.#release(before.program);
    for (const direction of directions) {
      const chain = endpointChain(this.#names, direction, before.interfaceName);
      for (const table of this.#deps.tables) table.undesireChain('mangle', chain);
    }
    this.#moveAddresses(before, undefined);
  }

  #acquire(program: EndpointProgram): void {
    for (const direction of directions) this.#groups.acquire(direction, program[direction]);
    for (const [direction, policy] of policiesOf(program)) this.#deps.policies.acquire(direction, policy);
  }
  #release(program: EndpointProgram): void {
    for (const direction of directions) this.#groups.release(direction, program[direction]);
    for (const [direction, policy] of policiesOf(program)) this.#deps.policies.release(direction, policy);
  }

  #moveAddresses(before: Programmed | undefined, after: Programmed | undefined): void {
    const old = new Set(before?.addresses.map((address) => `${address},${before.interfaceName}`));
    const next = new Set(after?.addresses.map((address) => `${address},${after.interfaceName}`));
    this.#deps.sets.delta(workloadSetId, next.difference(old), old.difference(next));
  }

  #renderDispatch(): void {
    const interfaces = [...this.#programmed.values()].map(({ interfaceName }) => interfaceName);
    const stale = new Set(this.#dispatch);
    this.#dispatch.clear();
    for (const direction of directions) {
      for (const [chain, rules] of renderDispatch(interfaces, direction, this.#names)) {
        this.#dispatch.add(chain);
        stale.delete(chain);
        for (const table of this.#deps.tables) table.desireChain('mangle', chain, rules);
      }
    }
    for (const chain of stale) for (const table of this.#deps.tables) table.undesireChain('mangle', chain);
    this.#dispatchDirty = false;
  }
}

/** @throws RangeError when packets of the interface would never reach our chains. */
export function checkWorkload({ id, interfaceName }: WorkloadEndpoint, { interfacePrefix }: Names): void {
  const known = interfaceName.startsWith(interfacePrefix) && interfaceName.length > interfacePrefix.length;
  if (!known || interfaceName.length > interfaceNameCharsMax || !/^[A-Za-z0-9_.-]+$/.test(interfaceName)) {
    throw new RangeError(
      `interface "${interfaceName}" of ${id} is not "${interfacePrefix}" and up to ${interfaceNameCharsMax - interfacePrefix.length} more characters: policy could not be enforced on it`,
    );
  }
}

function* policiesOf(program: EndpointProgram): Generator<[Direction, PolicyId]> {
  for (const direction of directions) {
    for (const tier of program[direction]) for (const policy of tier.policies) yield [direction, policy];
  }
}
