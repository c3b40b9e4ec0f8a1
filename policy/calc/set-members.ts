/**
 * Members of the sets that active policies name, as reference counts, and what changed since the last flush.
 *
 * Two pods may hold one address for a moment (the old one is on its way out while the new one is wired): a member stays until the
 * last pod that brings it has gone. A set that lost its last user stays computed until the flush, so that a policy which is
 * replaced by one with the same peers costs nothing.
 */
import { familyOf } from '#kit';
import type { PolicyUpdate, SetId } from '#model';
import type { SetDefinition } from '../rules/sets.ts';
import { InheritedMatcher, type Profiles } from './inherited-matcher.ts';
import type { Namespaces } from './namespaces.ts';
import { nodesPlace, PodMatcher, type Subscription } from './pod-matcher.ts';
import type { EffectivePod } from './pods.ts';
import type { Work } from './work.ts';

interface ActiveSet {
  readonly definition: SetDefinition;
  users: number;
  subscription: Subscription<ActiveSet> | undefined;
  /** How many pod addresses (or ports) bring each member. */
  readonly members: Map<string, number>;
  /** The receiver has it; `added` and `removed` then are relative to what it has. */
  emitted: boolean;
  readonly added: Set<string>;
  readonly removed: Set<string>;
}

export class SetMembers {
  readonly #sets = new Map<SetId, ActiveSet>();
  readonly #changed = new Set<ActiveSet>();
  readonly #unused = new Set<ActiveSet>();
  readonly #pods = new Map<string, EffectivePod>();
  readonly #matcher: PodMatcher<ActiveSet>;
  readonly #inherited: InheritedMatcher<ActiveSet>;
  /** From the first set of Calico's on, all pods are filed by the labels that they inherit. */
  #inheriting = false;
  readonly #work: Work;

  constructor(namespaces: Namespaces, profiles: Profiles, work: Work) {
    this.#work = work;
    const listener = {
      matched: (set: ActiveSet, key: string) => this.#bring(set, this.#pods.get(key)!, 1),
      unmatched: (set: ActiveSet, key: string) => this.#bring(set, this.#pods.get(key)!, -1),
    };
    this.#matcher = new PodMatcher(namespaces, listener, work);
    this.#inherited = new InheritedMatcher(namespaces, profiles, listener, work);
  }

  get size(): number {
    return this.#sets.size;
  }

  /** The pod as it was last set. */
  pod(key: string): EffectivePod | undefined {
    return this.#pods.get(key);
  }

  setPod(pod: EffectivePod): void {
    const before = this.#pods.get(pod.key);
    if (before && !sameEndpoints(before, pod)) {
      for (const set of [...this.#matcher.ownersMatching(pod.key), ...this.#inherited.ownersMatching(pod.key)]) {
        this.#bring(set, pod, 1);
        this.#bring(set, before, -1);
      }
    }
    this.#pods.set(pod.key, pod);
    // Only Calico's selectors know of network sets, and they know of no nodes.
    if (!pod.nets) this.#matcher.setPod(pod.key, pod.namespace, pod.labels);
    if (this.#inheriting && isInherited(pod)) this.#inherited.set(pod);
  }

  removePod(key: string): void {
    this.#matcher.removePod(key);
    this.#inherited.remove(key);
    this.#pods.delete(key);
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
      subscription: undefined,
      members: new Map(),
      emitted: false,
      added: new Set(),
      removed: new Set(),
    };
    this.#sets.set(definition.id, set);
    this.#changed.add(set);
    if ('prefixes' in definition) for (const prefix of definition.prefixes) set.members.set(prefix, 1);
    else if (definition.selector.scope.type !== 'inherited') {
      set.subscription = this.#matcher.subscribe(set, definition.selector);
    } else {
      this.#inherit();
      set.subscription = this.#inherited.subscribe(set, definition.selector.pods);
    }
  }

  #inherit(): void {
    if (this.#inheriting) return;
    this.#inheriting = true;
    for (const pod of this.#pods.values()) if (isInherited(pod)) this.#inherited.set(pod);
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
      if (!set.emitted) yield { type: 'set', id, setType, members: [...set.members.keys()] };
      else if (set.added.size + set.removed.size > 0) {
        yield { type: 'setDelta', id, added: [...set.added], removed: [...set.removed] };
      }
      set.emitted = true;
      set.added.clear();
      set.removed.clear();
    }
    this.#changed.clear();
  }

  /** Sets that nobody names any more. */
  *takeRemovals(): Generator<PolicyUpdate> {
    for (const set of this.#unused) {
      this.#sets.delete(set.definition.id);
      if (set.subscription) this.#matcherOf(set.definition).unsubscribe(set.subscription);
      if (set.emitted) yield { type: 'setRemove', id: set.definition.id };
    }
    this.#unused.clear();
  }

  #matcherOf(definition: SetDefinition): { unsubscribe(subscription: Subscription<ActiveSet>): void } {
    const inherited = 'selector' in definition && definition.selector.scope.type === 'inherited';
    return inherited ? this.#inherited : this.#matcher;
  }

  #bring(set: ActiveSet, pod: EffectivePod, count: 1 | -1): void {
    for (const member of membersOf(set.definition, pod)) {
      this.#work.memberChanges++;
      const before = set.members.get(member) ?? 0;
      const after = before + count;
      if (after === 0) set.members.delete(member);
      else set.members.set(member, after);
      if (before !== 0 && after !== 0) continue;
      this.#changed.add(set);
      if (!set.emitted) continue;
      const [into, outOf] = after === 0 ? [set.removed, set.added] : [set.added, set.removed];
      if (!outOf.delete(member)) into.add(member);
    }
  }
}

function* membersOf(definition: SetDefinition, pod: EffectivePod): Generator<string> {
  if ('prefixes' in definition) return;
  const port = definition.namedPort;
  if (!port) {
    if (definition.setType !== 'net') yield* pod.addresses;
    else {
      for (const address of pod.addresses) yield `${address}/${familyOf(address) === 4 ? 32 : 128}`;
      yield* pod.nets ?? [];
    }
    return;
  }
  for (const declared of pod.ports) {
    if (declared.name === undefined || !port.names.includes(declared.name)) continue;
    if (port.protocol !== undefined && declared.protocol !== port.protocol) continue;
    for (const address of pod.addresses) {
      yield `${address},${declared.protocol.toLowerCase()}:${declared.containerPort}`;
    }
  }
}

/** Whether Calico's selectors may select it. */
function isInherited(item: EffectivePod): boolean {
  return item.nets !== undefined || item.namespace !== nodesPlace;
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
