/**
 * The policy engine: model in, the rule form for this node's pods out. Pure; one flush computes what changed since the last.
 *
 *   Namespace ------> Namespaces ---- scopes that flipped ----+------------------+
 *                        ^                                    v                  v
 *   Pod ----------+      | namespaces in use            PodMatcher         PodMatcher
 *                 +--> effectivePod --- all pods ---->  (of sets)       (of policies)
 *   endpoint -----+      |                                    |                  ^  |
 *   (CNI, IPAM)          +---------- local pods --------------|------------------+  | who selects whom
 *                                                             v                     v
 *   policies of all kinds ---------------------------->  SetMembers <---- ActivePolicies -- compile --> rules
 *   Node (addresses in sets alone) ------------------->       |  sets in use        |
 *   NetworkSet, GlobalNetworkSet (prefixes) ---------->       |                     |<--- Tier
 *   ServiceAccount (labels that its pods inherit) ---->       |                     |
 *   EndpointSlice --> ServiceEndpoints (by service) -->       |                     |
 *                                                             v                     v
 *              flush: sets, deltas of sets  ->  policies  ->  endpoints  ->  removals: endpoints, policies, sets
 *
 * Inputs only mark what is dirty, in any order and any number of times; the result depends on the final state alone.
 * Nothing is emitted before the datastore is in sync: half a model would open or close what the whole one does not.
 */
import type { IpAddress } from '#kit';
import type {
  EndpointId,
  EndpointSliceObject,
  Labels,
  ModelUpdate,
  NamespaceObject,
  NetworkSetObject,
  NodeObject,
  ObjectKey,
  PodObject,
  PolicyId,
  PolicyUpdate,
  TierObject,
} from '#model';
import { isPolicyUpdate, type Policy, type PolicyObjectUpdate, policyIdOf } from '../rules/policy.ts';
import { ActivePolicies } from './active-policies.ts';
import { DirtySet } from './dirty-set.ts';
import { Namespaces } from './namespaces.ts';
import { effectivePod, networkSetItem, nodeInSets } from './pods.ts';
import { SetMembers } from './set-members.ts';
import { noWork, type Work } from './work.ts';

export interface PolicyEngine {
  /** One change of the model. Kinds that mean nothing for policy are ignored. */
  update(update: ModelUpdate): void;
  /** A pod of this node and its addresses, as IPAM gave them: they count at once, before any status says so. */
  setLocalEndpoint(id: EndpointId, addresses: readonly IpAddress[]): void;
  removeLocalEndpoint(id: EndpointId): void;
  /** The model is complete. Until then `flush` emits nothing. Further calls mean nothing. */
  inSync(): void;
  /**
   * What the receiver has to change, least and in dependency order: applying it never leaves a dangling name. An endpoint
   * whose Pod object is unknown, completed or of the host's network has no program.
   */
  flush(): PolicyUpdate[];
  /**
   * Does up to `stepsMax` steps of the next flush's work (an object, or some dozens of candidates of a new set) and says whether
   * nothing is left, so that a caller with other duties can take a big change in slices. May be called at any time, or never.
   */
  settle(stepsMax: number): boolean;
  /** Whether an input came that no settle or flush has taken in yet. */
  isDirty(): boolean;
  /** Whether a program of the endpoint was emitted by a flush (and not removed since): the ADD of its pod may go on. */
  isEndpointReady(id: EndpointId): boolean;
  /** Work done so far. */
  stats(): Readonly<Work> & { readonly sets: number };
}

export function createPolicyEngine(): PolicyEngine {
  const work = noWork();
  const model = {
    namespaces: new Map<ObjectKey, NamespaceObject>(),
    pods: new Map<ObjectKey, PodObject>(),
    nodes: new Map<ObjectKey, NodeObject>(),
    policies: new Map<PolicyId, Policy>(),
    tiers: new Map<ObjectKey, TierObject>(),
    networkSets: new Map<string, NetworkSetObject>(),
    serviceAccounts: new Map<ObjectKey, Labels>(),
    slices: new Map<ObjectKey, EndpointSliceObject>(),
    endpoints: new Map<EndpointId, readonly IpAddress[]>(),
  };
  const dirty = {
    namespaces: new DirtySet<ObjectKey>(),
    pods: new DirtySet<ObjectKey>(),
    nodes: new DirtySet<ObjectKey>(),
    policies: new DirtySet<PolicyId>(),
    tiers: new DirtySet<ObjectKey>(),
    networkSets: new DirtySet<string>(),
    serviceAccounts: new DirtySet<ObjectKey>(),
    slices: new DirtySet<ObjectKey>(),
  };
  const namespaces = new Namespaces(work);
  const profiles = {
    namespaceLabels: (name: string): Labels => namespaces.labelsOf(name),
    serviceAccountLabels: (key: string): Labels => model.serviceAccounts.get(key) ?? {},
  };
  const sets = new SetMembers(namespaces, profiles, work);
  const policies = new ActivePolicies(namespaces, profiles, sets, work);
  let synced = false;

  function settlePod(key: ObjectKey): void {
    const wired = model.endpoints.get(key);
    const pod = effectivePod(key, model.pods.get(key), wired);
    const before = sets.pod(key);
    if (!pod) {
      if (!before) return;
      policies.removeEndpoint(key);
      sets.removePod(key);
      namespaces.removePod(before.namespace);
      return;
    }
    if (!before) namespaces.addPod(pod.namespace);
    sets.setPod(pod);
    if (wired) policies.setEndpoint(pod);
    else policies.removeEndpoint(key);
  }

  function settleNode(key: ObjectKey): void {
    const node = model.nodes.get(key);
    if (node) sets.setPod(nodeInSets(key, node));
    else sets.removePod(key);
  }

  /** One step of the calculation; false when nothing is left. Inputs may come between steps. */
  function settleOne(): boolean {
    const namespace = dirty.namespaces.take();
    if (namespace !== undefined) {
      namespaces.setObject(namespace, model.namespaces.get(namespace)?.metadata.labels);
      sets.namespaceChanged(namespace);
      policies.namespaceChanged(namespace);
      return true;
    }
    const account = dirty.serviceAccounts.take();
    if (account !== undefined) {
      sets.serviceAccountChanged(account);
      policies.serviceAccountChanged(account);
      return true;
    }
    const networkSet = dirty.networkSets.take();
    if (networkSet !== undefined) {
      const object = model.networkSets.get(networkSet);
      if (object) sets.setPod(networkSetItem(networkSet, object));
      else sets.removePod(networkSet);
      return true;
    }
    const slice = dirty.slices.take();
    if (slice !== undefined) {
      sets.setSlice(slice, model.slices.get(slice));
      return true;
    }
    const tier = dirty.tiers.take();
    if (tier !== undefined) {
      policies.setTier(tier, model.tiers.get(tier));
      return true;
    }
    const pod = dirty.pods.take();
    if (pod !== undefined) {
      settlePod(pod);
      return true;
    }
    const node = dirty.nodes.take();
    if (node !== undefined) {
      settleNode(node);
      return true;
    }
    const policy = dirty.policies.take();
    if (policy !== undefined) {
      policies.setPolicy(policy, model.policies.get(policy));
      return true;
    }
    return policies.settleOne() || sets.settleOne();
  }

  function setPolicy(update: PolicyObjectUpdate): void {
    const id = policyIdOf(update.kind, update.key);
    if (update.type === 'upsert') model.policies.set(id, { kind: update.kind, object: update.object } as Policy);
    else model.policies.delete(id);
    dirty.policies.add(id);
  }

  return {
    update(update) {
      switch (update.kind) {
        case 'Namespace':
          if (update.type === 'upsert') model.namespaces.set(update.key, update.object);
          else model.namespaces.delete(update.key);
          dirty.namespaces.add(update.key);
          break;
        case 'Pod':
          if (update.type === 'upsert') model.pods.set(update.key, update.object);
          else model.pods.delete(update.key);
          dirty.pods.add(update.key);
          break;
        case 'Node':
          if (update.type === 'upsert') model.nodes.set(update.key, update.object);
          else model.nodes.delete(update.key);
          dirty.nodes.add(update.key);
          break;
        case 'Tier':
          if (update.type === 'upsert') model.tiers.set(update.key, update.object);
          else model.tiers.delete(update.key);
          dirty.tiers.add(update.key);
          break;
        case 'NetworkSet':
        case 'GlobalNetworkSet': {
          const id = `${update.kind}:${update.key}`;
          if (update.type === 'upsert') model.networkSets.set(id, update.object);
          else model.networkSets.delete(id);
          dirty.networkSets.add(id);
          break;
        }
        case 'ServiceAccount':
          if (update.type === 'upsert') model.serviceAccounts.set(update.key, update.object.metadata.labels);
          else model.serviceAccounts.delete(update.key);
          dirty.serviceAccounts.add(update.key);
          break;
        case 'EndpointSlice':
          if (update.type === 'upsert') model.slices.set(update.key, update.object);
          else model.slices.delete(update.key);
          dirty.slices.add(update.key);
          break;
        default:
          if (isPolicyUpdate(update)) setPolicy(update);
          break;
      }
    },
    setLocalEndpoint(id, addresses) {
      model.endpoints.set(id, [...addresses]);
      dirty.pods.add(id);
    },
    removeLocalEndpoint(id) {
      if (model.endpoints.delete(id)) dirty.pods.add(id);
    },
    inSync() {
      synced = true;
    },
    settle(stepsMax) {
      for (let steps = 0; steps < stepsMax; steps++) if (!settleOne()) return true;
      return false;
    },
    flush() {
      if (!synced) return [];
      while (settleOne());
      const changes = [...sets.takeChanges(), ...policies.takePolicyChanges(), ...policies.takeEndpointChanges()];
      return [...changes, ...policies.takeEndpointRemovals(), ...policies.takePolicyRemovals(), ...sets.takeRemovals()];
    },
    isDirty: () => Object.values(dirty).some(({ size }) => size > 0),
    isEndpointReady: (id) => policies.isEmitted(id),
    stats: () => ({ ...work, sets: sets.size }),
  };
}
