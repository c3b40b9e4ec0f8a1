/**
 * Model and endpoints in, kernel out: the policy engine, a copy of what it said (for people), and the policy dataplane.
 *
 *   model updates, endpoints -> PolicyEngine -- flush, once a turn of the loop --> PolicyStateStore
 *                                                                             \--> PolicyDataplane -> kernel
 *                        ^ addresses of names: DomainSets (and what comes later by `domainsChanged`)
 *                                                  AffectedFlows --- whose flows ------^  | flowAllowed? <- established flows
 *
 * A pod of this node is prepared as soon as its Pod object is known: its chains and its place in the dispatch go into the
 * kernel under the name that its interface will have, without addresses, so that nothing passes. Its ADD then waits for a few
 * members of sets instead of a rewrite of rules.
 */
import { type EndpointDataplane, FIRST_IF_NAME, hostInterfaceName } from '#cni';
import type { PolicyDataplane, TrackedFlow } from '#felix';
import type { Clock, IpAddress } from '#kit';
import type { EndpointId, ModelUpdate, PodObject, PolicyUpdate, SetId, WorkloadEndpoint } from '#model';
import {
  AffectedFlows,
  createPolicyEngine,
  type Explanation,
  explainConnection,
  flowAllowed,
  type PolicyShow,
  type PolicyState,
  PolicyStateStore,
  policyShow,
  stagedState,
} from '#policy';
import type { DomainSets } from './domains/domain-sets.ts';

export interface PolicyPipelineDeps {
  readonly nodeName: string;
  readonly clock: Clock;
  readonly dataplane: PolicyDataplane;
  /** Every pod that is wired or about to be, on each change. */
  readonly onEndpoints: (endpoints: readonly WorkloadEndpoint[]) => void;
  readonly flushConntrack: (addresses: readonly IpAddress[]) => Promise<void>;
  /** Who knows addresses of domain names; absent: they have none. */
  readonly domains?: Pick<DomainSets, 'addSet' | 'removeSet' | 'learnt' | 'wasLearnt'>;
}

/** What the pipeline takes of one turn of the main loop, and how many objects between two looks at the clock. */
const SLICE_MS = 8;
const SETTLE_STEPS = 16;

export interface PolicyPipeline extends EndpointDataplane {
  /** What the dataplane was told. */
  readonly state: PolicyState;
  update(batch: readonly ModelUpdate[]): void;
  /** The model is complete: compute, and write to the kernel from now on. Resolves when that has begun. */
  inSync(): Promise<void>;
  /** Resolves when all that `update` was told has been handed to the dataplane. */
  settled(): Promise<void>;
  /** Pods that an earlier run wired; before `inSync`. */
  adopt(endpoints: readonly WorkloadEndpoint[]): void;
  /** Addresses of names that came, and are in the kernel, or that are over, and are not. */
  domainsChanged(
    set: SetId,
    change: { readonly added: readonly IpAddress[]; readonly removed: readonly IpAddress[] },
  ): void;
  endpoint(id: EndpointId): WorkloadEndpoint | undefined;
  endpoints(): readonly WorkloadEndpoint[];
  show(id: EndpointId): PolicyShow | undefined;
  /** As `explainConnection`, by what is in force here, or would be with the staged policies; ends with an endpoint are pods of this node. */
  explain(connection: Parameters<typeof explainConnection>[1], staged: boolean): Explanation;
  /** Whether an established flow may go on, by what the engine said last. */
  flowAllowed(flow: TrackedFlow): boolean;
}

export function createPolicyPipeline(deps: PolicyPipelineDeps): PolicyPipeline {
  const engine = createPolicyEngine((node) => node === deps.nodeName);
  const { domains } = deps;
  const state = new PolicyStateStore(
    domains
      ? {
          learnt: (set, address) => domains.learnt(set, address as IpAddress),
          wasLearnt: (set, address) => domains.wasLearnt(set, address as IpAddress),
        }
      : {},
  );
  const affected = new AffectedFlows();
  /** By interface; while a sandbox is replaced two may carry one pod's id, and the last one attached counts. */
  const byInterface = new Map<string, WorkloadEndpoint>();
  const byId = new Map<EndpointId, WorkloadEndpoint>();
  const idByAddress = new Map<IpAddress, EndpointId>();
  /** Pods of this node, wired or not. */
  const localPods = new Map<EndpointId, PodObject>();
  const prepared = new Map<EndpointId, WorkloadEndpoint>();
  let flushPlanned = false;
  const onSettled: (() => void)[] = [];

  /** A set of names with what is known of them. */
  const withDomains = (update: PolicyUpdate): PolicyUpdate => {
    if (update.type === 'set' && update.domains && domains)
      return { ...update, members: domains.addSet(update.id, update.domains) };
    if (update.type === 'setRemove') domains?.removeSet(update.id);
    return update;
  };
  const flush = (): void => {
    const updates = engine.flush().map(withDomains);
    if (updates.length === 0) return;
    const { endpoints, addresses } = affected.note(updates);
    state.apply(updates);
    deps.dataplane.apply(updates);
    // Without a pod there is no flow of one.
    if (byId.size === 0) return;
    const whose = [...addresses, ...[...endpoints].flatMap((id) => byId.get(id)?.addresses ?? [])];
    if (whose.length > 0) deps.dataplane.recheckFlows(whose);
  };
  /** Takes in what changed, a slice of the main loop at a time; `done` is called within the last one. */
  const settleThen = (done: () => void): void => {
    const end = deps.clock.nowMs() + SLICE_MS;
    let settled = false;
    while (!settled && deps.clock.nowMs() < end) settled = engine.settle(SETTLE_STEPS);
    if (settled) done();
    else setImmediate(() => settleThen(done));
  };
  const planFlush = (): void => {
    if (flushPlanned) return;
    flushPlanned = true;
    const done = (): void => {
      flushPlanned = false;
      flush();
      for (const resolve of onSettled.splice(0)) resolve();
    };
    setImmediate(() => settleThen(done));
  };
  /** What is prepared follows the Pod object, while no interface of the pod is there or under way. */
  const reconsider = (id: EndpointId): void => {
    if (byId.has(id)) return;
    const pod = localPods.get(id);
    const before = prepared.get(id);
    if (pod && expectsInterface(pod)) {
      if (before) return;
      const endpoint = { id, interfaceName: hostInterfaceName(id, FIRST_IF_NAME, 0), addresses: [] };
      prepared.set(id, endpoint);
      engine.setLocalEndpoint(id, []);
      deps.dataplane.setEndpoint(endpoint);
    } else if (before) {
      prepared.delete(id);
      engine.removeLocalEndpoint(id);
      deps.dataplane.removeEndpoint(id, before.interfaceName);
    }
  };
  const notePod = (update: Extract<ModelUpdate, { readonly kind: 'Pod' }>): void => {
    if (update.type === 'upsert' && update.object.nodeName === deps.nodeName) localPods.set(update.key, update.object);
    else if (!localPods.delete(update.key)) return;
    reconsider(update.key);
  };
  const set = (endpoint: WorkloadEndpoint): void => {
    prepared.delete(endpoint.id);
    byInterface.set(endpoint.interfaceName, endpoint);
    byId.set(endpoint.id, endpoint);
    for (const address of endpoint.addresses) idByAddress.set(address, endpoint.id);
    engine.setLocalEndpoint(endpoint.id, endpoint.addresses);
    deps.dataplane.setEndpoint(endpoint);
  };
  const tellEndpoints = (): void => deps.onEndpoints([...byInterface.values()]);

  return {
    state,
    update(batch) {
      for (const update of batch) {
        engine.update(update);
        if (update.kind === 'Pod') notePod(update);
      }
      planFlush();
    },
    async inSync() {
      await new Promise<void>((resolve) => settleThen(resolve));
      engine.inSync();
      flush();
      // What was allowed when the agent went may be forbidden now.
      deps.dataplane.recheckFlows('pods');
      deps.dataplane.setInSync();
    },
    settled: () => (flushPlanned ? new Promise((resolve) => onSettled.push(resolve)) : Promise.resolve()),
    adopt(endpoints) {
      for (const endpoint of endpoints) set(endpoint);
      tellEndpoints();
    },
    async attach(endpoint, signal) {
      set(endpoint);
      tellEndpoints();
      flush();
      if (!engine.isEndpointReady(endpoint.id)) {
        throw new Error(`Pod ${endpoint.id} has completed, or uses the host's network: it gets no interface`);
      }
      await abortable(deps.dataplane.whenApplied(), signal);
      if (!deps.dataplane.endpointInForce(endpoint.id, endpoint.interfaceName)) {
        throw new Error(`the rules of Pod ${endpoint.id} are not in the kernel (see poplin status)`);
      }
    },
    async detach(endpoint) {
      byInterface.delete(endpoint.interfaceName);
      for (const address of endpoint.addresses) idByAddress.delete(address);
      if (byId.get(endpoint.id)?.interfaceName === endpoint.interfaceName) {
        byId.delete(endpoint.id);
        // The pod's next sandbox finds its rules there.
        reconsider(endpoint.id);
        if (!prepared.has(endpoint.id)) engine.removeLocalEndpoint(endpoint.id);
        planFlush();
      }
      if (prepared.get(endpoint.id)?.interfaceName !== endpoint.interfaceName) {
        deps.dataplane.removeEndpoint(endpoint.id, endpoint.interfaceName);
      }
      tellEndpoints();
      // The interface is gone: whoever gets the address inherits no flow, whether its ADD comes to an agent or not.
      await deps.flushConntrack(endpoint.addresses);
    },
    domainsChanged(id, change) {
      const update: PolicyUpdate = { type: 'setDelta', id, ...change };
      state.apply([update]);
      // What came is in the kernel, and what is over goes by itself: in order with all else the driver has to know of both.
      deps.dataplane.apply([update]);
    },
    flushConntrack: (addresses) => deps.flushConntrack(addresses),
    endpoint: (id) => byId.get(id) ?? prepared.get(id),
    endpoints: () => [...byInterface.values()],
    show: (id) => policyShow(state, id),
    explain(connection, staged) {
      const { from, to } = connection;
      const asked = [from, to]
        .flatMap(({ endpoint, host }) => [endpoint, host?.endpoint])
        .filter((id) => id !== undefined);
      return explainConnection(staged ? stagedState(state, asked) : state, connection);
    },
    flowAllowed: (flow) => flowAllowed(state, flow, (address) => idByAddress.get(address)),
  };
}

/** A runtime will ask for an interface, or has. */
function expectsInterface(pod: PodObject): boolean {
  return !pod.hostNetwork && !pod.terminating && pod.phase !== 'Succeeded' && pod.phase !== 'Failed';
}

/** Rejects with the signal's reason when that comes first; the work goes on. */
function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) return abort();
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
