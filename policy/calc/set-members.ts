/**
 * Members of the sets that active policies name, as reference counts, and what changed since the last flush.
 *
 * Two pods may hold one address for a moment (the old one is on its way out while the new one is wired): a member stays until the
 * last pod that brings it has gone. A set that lost its last user stays computed until the flush, so that a policy which is
 * replaced by one with the same peers costs nothing.
 */
import { familyOf, type IpAddress } from '#kit';
import type { EndpointSliceObject, ObjectKey, PolicyUpdate, Protocol, SetId } from '#model';
import { type Few, fewHas, fewValues, fewWith, fewWithout } from '../few.ts';
import type { NamedPort, SetDefinition } from '../rules/sets.ts';
import { InheritedMatcher, type Profiles } from './inherited-matcher.ts';
import type { Namespaces } from './namespaces.ts';
import { nodesPlace, PodMatcher } from './pod-matcher.ts';
import type { EffectivePod } from './pods.ts';
import { ServiceEndpoints } from './service-endpoints.ts';
import type { Work } from './work.ts';

interface ActiveSet {
  readonly definition: SetDefinition;
  users: number;
  /** Gives it back. */
  unsubscribe: (() => void) | undefined;
  members: Few<string>;
  /** How many pod addresses (or ports) bring a member, where it is more than one. */
  shared: Map<string, number> | undefined;
  /** The receiver has it; `delta` then is relative to what it has. */
  emitted: boolean;
  delta: { readonly added: Set<string>; readonly removed: Set<string> } | undefined;
}

const inheritedPerStep = 64;

export class SetMembers {
  readonly #sets = new Map<SetId, ActiveSet>();
  readonly #changed = new Set<ActiveSet>();
  readonly #unused = new Set<ActiveSet>();
  readonly #matcher: PodMatcher<ActiveSet, EffectivePod>;
  readonly #inherited: InheritedMatcher<ActiveSet>;
  readonly #services: ServiceEndpoints<ActiveSet>;
  /** From the first set of Calico's on, all pods are filed by the labels that they inherit. */
  #inheriting = false;
  /** Where the walk over those is that were there before. */
  #heirs: Iterator<EffectivePod> | undefined;
  /** Only Calico's selectors know of these. */
  readonly #networkSets = new Map<string, EffectivePod>();
  readonly #work: Work;

  constructor(namespaces: Namespaces, profiles: Profiles, work: Work) {
    this.#work = work;
    const listener = {
      matched: (set: ActiveSet, pod: EffectivePod) => this.#bring(set, pod, 1),
      unmatched: (set: ActiveSet, pod: EffectivePod) => this.#bring(set, pod, -1),
    };
    this.#matcher = new PodMatcher(namespaces, listener, work);
    this.#inherited = new InheritedMatcher(namespaces, profiles, listener, work);
    this.#services = new ServiceEndpoints(
      {
        came: (set, slice) => this.#bringSlice(set, slice, 1),
        left: (set, slice) => this.#bringSlice(set, slice, -1),
      },
      work,
    );
  }

  get size(): number {
    return this.#sets.size;
  }

  /** The pod (node, network set) as it was last set. */
  pod(key: string): EffectivePod | undefined {
    return this.#matcher.pod(key) ?? this.#networkSets.get(key);
  }

  setPod(pod: EffectivePod): void {
    const before = this.pod(pod.key);
    if (before && !sameEndpoints(before, pod)) {
      for (const set of [...this.#matcher.ownersMatching(pod.key), ...this.#inherited.ownersMatching(pod.key)]) {
        this.#bring(set, pod, 1);
        this.#bring(set, before, -1);
      }
    }
    // Calico's selectors know of no nodes.
    if (pod.nets) this.#networkSets.set(pod.key, pod);
    else this.#matcher.setPod(pod);
    if (this.#inheriting && isInherited(pod)) this.#inherited.set(pod);
  }

  removePod(key: string): void {
    this.#matcher.removePod(key);
    this.#inherited.remove(key);
    this.#networkSets.delete(key);
  }

  setSlice(key: ObjectKey, slice: EndpointSliceObject | undefined): void {
    this.#services.set(key, slice);
  }

  namespaceChanged(name: string): void {
    this.#inherited.namespaceChanged(name);
  }
  serviceAccountChanged(key: string): void {
    this.#inherited.serviceAccountChanged(key);
  }

  acquire(definition: SetDefinition): void {
    const known = this.#sets.get(definition.id);
    if (known) {
      if (known.users++ === 0) this.#unused.delete(known);
      return;
    }
    const set: ActiveSet = {
      definition,
      users: 1,
      unsubscribe: undefined,
      members: undefined,
      shared: undefined,
      emitted: false,
      delta: undefined,
    };
    this.#sets.set(definition.id, set);
    this.#changed.add(set);
    this.#subscribe(set, definition);
  }

  #subscribe(set: ActiveSet, definition: SetDefinition): void {
    if ('prefixes' in definition) {
      for (const prefix of definition.prefixes) set.members = fewWith(set.members, prefix as string);
    } else if ('service' in definition) {
      const subscription = this.#services.subscribe(set, definition.service);
      set.unsubscribe = () => this.#services.unsubscribe(subscription);
    } else if (definition.selector.scope.type === 'inherited') {
      this.#inherit();
      const subscription = this.#inherited.subscribe(set, definition.selector.pods);
      set.unsubscribe = () => this.#inherited.unsubscribe(subscription);
    } else {
      const subscription = this.#matcher.subscribe(set, definition.selector);
      set.unsubscribe = () => this.#matcher.unsubscribe(subscription);
    }
  }

  #inherit(): void {
    if (this.#inheriting) return;
    this.#inheriting = true;
    this.#heirs = this.#standing();
  }

  *#standing(): Generator<EffectivePod> {
    yield* this.#matcher.pods();
    yield* this.#networkSets.values();
  }

  #inheritSome(heirs: Iterator<EffectivePod>): void {
    for (let i = 0; i < inheritedPerStep; i++) {
      const { value, done } = heirs.next();
      if (done) {
        this.#heirs = undefined;
        return;
      }
      if (isInherited(value)) this.#inherited.set(value);
    }
  }

  /** Looks for some more members of a new set; false when all have all of theirs. */
  settleOne(): boolean {
    if (this.#heirs) {
      this.#inheritSome(this.#heirs);
      return true;
    }
    return this.#matcher.settleOne() || this.#inherited.settleOne() || this.#services.settleOne();
  }

  release(id: SetId): void {
    const set = this.#sets.get(id);
    if (set && --set.users === 0) this.#unused.add(set);
  }

  /** New sets and changes of members; then forgets them. */
  *takeChanges(): Generator<PolicyUpdate> {
    for (const set of this.#changed) {
      if (set.users === 0) continue;
      const { id, setType } = set.definition;
      if (!set.emitted) yield { type: 'set', id, setType, members: [...fewValues(set.members)] };
      else if (set.delta && set.delta.added.size + set.delta.removed.size > 0) {
        yield { type: 'setDelta', id, added: [...set.delta.added], removed: [...set.delta.removed] };
      }
      set.emitted = true;
      set.delta = undefined;
    }
    this.#changed.clear();
  }

  /** Sets that nobody names any more. */
  *takeRemovals(): Generator<PolicyUpdate> {
    for (const set of this.#unused) {
      this.#sets.delete(set.definition.id);
      set.unsubscribe?.();
      if (set.emitted) yield { type: 'setRemove', id: set.definition.id };
    }
    this.#unused.clear();
  }

  #bring(set: ActiveSet, pod: EffectivePod, count: 1 | -1): void {
    const { definition } = set;
    if (!('selector' in definition)) return;
    const { namedPort, setType } = definition;
    if (setType === 'net') for (const prefix of prefixesOf(pod)) this.#count(set, prefix, count);
    else if (!namedPort) for (const address of pod.addresses) this.#count(set, address, count);
    else for (const member of namedPortMembers(namedPort, pod)) this.#count(set, member, count);
  }

  #bringSlice(set: ActiveSet, { addresses, ports }: EndpointSliceObject, count: 1 | -1): void {
    for (const address of addresses) {
      if (set.definition.setType === 'ip') this.#count(set, address, count);
      else for (const { protocol, port } of ports) this.#count(set, portMember(address, protocol, port), count);
    }
  }

  #count(set: ActiveSet, member: string, count: 1 | -1): void {
    this.#work.memberChanges++;
    const before = fewHas(set.members, member) ? (set.shared?.get(member) ?? 1) : 0;
    const after = before + count;
    if (after > 1) {
      set.shared ??= new Map();
      set.shared.set(member, after);
    } else if (before > 1) {
      set.shared!.delete(member);
      if (set.shared!.size === 0) set.shared = undefined;
    }
    if (before !== 0 && after !== 0) return;
    set.members = after === 0 ? fewWithout(set.members, member) : fewWith(set.members, member);
    this.#changed.add(set);
    if (!set.emitted) return;
    set.delta ??= { added: new Set(), removed: new Set() };
    const { added, removed } = set.delta;
    const [into, outOf] = after === 0 ? [removed, added] : [added, removed];
    if (!outOf.delete(member)) into.add(member);
  }
}

function* prefixesOf({ addresses, nets }: EffectivePod): Generator<string> {
  for (const address of addresses) yield `${address}/${familyOf(address) === 4 ? 32 : 128}`;
  yield* nets ?? [];
}

/** Whether Calico's selectors may select it. */
function isInherited(item: EffectivePod): boolean {
  return item.nets !== undefined || item.namespace !== nodesPlace;
}

/** `address,protocol:port` of each port that the pod declares under one of the names. */
function* namedPortMembers({ names, protocol }: NamedPort, pod: EffectivePod): Generator<string> {
  for (const declared of pod.ports) {
    if (declared.name === undefined || !names.includes(declared.name)) continue;
    if (protocol !== undefined && declared.protocol !== protocol) continue;
    for (const address of pod.addresses) yield portMember(address, declared.protocol, declared.containerPort);
  }
}

function portMember(address: IpAddress, protocol: Protocol, port: number): string {
  return `${address},${protocol.toLowerCase()}:${port}`;
}

/** Whether both bring the same members to every set. Label changes are the matcher's business. */
function sameEndpoints(a: EffectivePod, b: EffectivePod): boolean {
  return (
    a.nets === b.nets &&
    a.addresses.length === b.addresses.length &&
    a.addresses.every((address, i) => address === b.addresses[i]) &&
    a.ports.length === b.ports.length &&
    a.ports.every((port, i) => {
      const other = b.ports[i]!;
      return port.name === other.name && port.containerPort === other.containerPort && port.protocol === other.protocol;
    })
  );
}
