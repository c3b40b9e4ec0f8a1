/**
 * Model and endpoints in, kernel out: the policy engine, a copy of what it said (for people), and the policy dataplane.
 *
 *   model updates, endpoints -> PolicyEngine -- flush, once a turn of the loop --> PolicyStateStore
 *                                                                             \--> PolicyDataplane -> kernel
 */
import type { EndpointDataplane } from '#cni';
import type { PolicyDataplane } from '#felix';
import type { IpAddress, Logger } from '#kit';
import type { EndpointId, ModelUpdate, WorkloadEndpoint } from '#model';
import { createPolicyEngine, type PolicyShow, PolicyStateStore, policyShow } from '#policy';

export interface PolicyPipelineDeps {
  readonly dataplane: PolicyDataplane;
  /** Every pod that is wired or about to be, on each change. */
  readonly onEndpoints: (endpoints: readonly WorkloadEndpoint[]) => void;
  readonly flushConntrack: (addresses: readonly IpAddress[]) => Promise<void>;
  readonly log: Logger;
}

export interface PolicyPipeline extends EndpointDataplane {
  update(batch: readonly ModelUpdate[]): void;
  /** The model is complete: compute, and write to the kernel from now on. */
  inSync(): void;
  /** Pods that an earlier run wired; before `inSync`. */
  adopt(endpoints: readonly WorkloadEndpoint[]): void;
  endpoint(id: EndpointId): WorkloadEndpoint | undefined;
  endpoints(): readonly WorkloadEndpoint[];
  show(id: EndpointId): PolicyShow | undefined;
}

export function createPolicyPipeline(deps: PolicyPipelineDeps): PolicyPipeline {
  const engine = createPolicyEngine();
  const state = new PolicyStateStore();
  /** By interface; while a sandbox is replaced two may carry one pod's id, and the last one attached counts. */
  const byInterface = new Map<string, WorkloadEndpoint>();
  const byId = new Map<EndpointId, WorkloadEndpoint>();
  let flushPlanned = false;

  const flush = (): void => {
    const updates = engine.flush();
    if (updates.length === 0) return;
    state.apply(updates);
    deps.dataplane.apply(updates);
  };
  const planFlush = (): void => {
    if (flushPlanned) return;
    flushPlanned = true;
    setImmediate(() => {
      flushPlanned = false;
      flush();
    });
  };
  const set = (endpoint: WorkloadEndpoint): void => {
    byInterface.set(endpoint.interfaceName, endpoint);
    byId.set(endpoint.id, endpoint);
    engine.setLocalEndpoint(endpoint.id, endpoint.addresses);
    deps.dataplane.setEndpoint(endpoint);
  };
  const tellEndpoints = (): void => deps.onEndpoints([...byInterface.values()]);

  return {
    update(batch) {
      for (const update of batch) engine.update(update);
      planFlush();
    },
    inSync() {
      engine.inSync();
      flush();
      deps.dataplane.setInSync();
    },
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
      deps.dataplane.removeEndpoint(endpoint.id, endpoint.interfaceName);
      if (byId.get(endpoint.id)?.interfaceName === endpoint.interfaceName) {
        byId.delete(endpoint.id);
        engine.removeLocalEndpoint(endpoint.id);
        planFlush();
      }
      tellEndpoints();
    },
    flushConntrack: (addresses) => deps.flushConntrack(addresses),
    endpoint: (id) => byId.get(id),
    endpoints: () => [...byInterface.values()],
    show: (id) => policyShow(state, id),
  };
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
