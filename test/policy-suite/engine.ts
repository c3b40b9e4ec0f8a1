/**
 * Decides by what the policy engine emits: `matrix` by the evaluator that computes truth tables, `explain` by the explainer's own
 * walk. Every pod is local: the engine of a node that runs them all.
 */
import type { ModelUpdate, Protocol } from '#model';
import {
  createPolicyEngine,
  evaluate,
  evaluateConnection,
  explainConnection,
  explainDirection,
  type PolicyEngine,
  PolicyStateStore,
  type Verdict,
} from '#policy';
import { type End, endOf, isCompleted, serviceTarget, splitEnd } from './ends.ts';
import type { Judge, Outcome } from './judge.ts';
import type { SuiteFlow, SuitePort, SuiteProbe } from './suite.ts';
import type { SuiteWorld } from './world.ts';

export type EngineView = 'matrix' | 'explain';

interface OpenFlow {
  readonly flow: SuiteFlow;
  /** It was allowed when it was opened, and both its ends are still there: it goes on whenever it is allowed. */
  begun: boolean;
  /** It came about, and was allowed at the last look; with `retry`: some attempt was since the last look. */
  alive: boolean;
}

export class EngineJudge implements Judge {
  readonly name: EngineView;
  #world: SuiteWorld | undefined;
  #engine: PolicyEngine = createPolicyEngine();
  #state = new PolicyStateStore();
  #running = true;
  readonly #local = new Set<string>();
  readonly #flows = new Map<string, OpenFlow>();

  constructor(name: EngineView) {
    this.name = name;
  }

  async begin(world: SuiteWorld): Promise<void> {
    this.#world = world;
    this.#flows.clear();
    this.#running = true;
    this.#restart();
  }

  /** What is in force stays while no agent runs; a new one learns everything afresh. */
  #restart(): void {
    this.#engine = createPolicyEngine();
    this.#state = new PolicyStateStore();
    this.#local.clear();
    for (const update of this.#here.updates()) this.#engine.update(update);
    this.#engine.inSync();
    this.#flush();
  }

  async changed(updates: readonly ModelUpdate[]): Promise<void> {
    if (!this.#running) return;
    for (const update of updates) this.#engine.update(update);
  }

  async stopAgent(): Promise<void> {
    this.#running = false;
  }
  async startAgent(): Promise<void> {
    this.#running = true;
    this.#restart();
  }

  async settle(): Promise<void> {
    if (this.#running) this.#flush();
    for (const open of this.#flows.values()) {
      const allowed = this.#allows(open.flow);
      open.begun &&= this.#there(open.flow);
      open.alive = open.flow.retry ? open.alive || allowed : open.begun && allowed;
    }
  }

  #flush(): void {
    const wired = [...this.#here.pods].filter(
      ([, pod]) => !pod.hostNetwork && !isCompleted(pod) && pod.podIPs.length > 0,
    );
    const ids = new Set(wired.map(([id]) => id));
    for (const id of this.#local) {
      if (ids.has(id)) continue;
      this.#engine.removeLocalEndpoint(id);
      this.#local.delete(id);
    }
    for (const [id, pod] of wired) {
      this.#engine.setLocalEndpoint(id, pod.podIPs);
      this.#local.add(id);
    }
    this.#state.apply(this.#engine.flush());
  }

  async probe(probes: readonly SuiteProbe[]): Promise<Outcome[]> {
    return probes.map((probe) => this.#outcome(probe));
  }

  async openFlow(flow: SuiteFlow): Promise<void> {
    const begun = this.#allows(flow);
    this.#flows.set(flow.id, { flow, begun, alive: begun });
  }
  async closeFlow(id: string): Promise<void> {
    this.#flow(id);
    this.#flows.delete(id);
  }
  async flowState(id: string): Promise<'alive' | 'dead'> {
    const open = this.#flow(id);
    const { alive } = open;
    if (open.flow.retry) open.alive = this.#allows(open.flow);
    return alive ? 'alive' : 'dead';
  }
  async end(): Promise<void> {
    this.#world = undefined;
  }

  get #here(): SuiteWorld {
    if (!this.#world) throw new Error('no case has begun');
    return this.#world;
  }

  #flow(id: string): OpenFlow {
    const open = this.#flows.get(id);
    if (!open) throw new Error(`no flow ${id} is open`);
    return open;
  }

  #there({ from, to }: SuiteFlow): boolean {
    return [from, to].every((end) => splitEnd(end)[0] !== 'pod' || this.#here.pods.has(end));
  }

  /** Of a pod that does not exist (yet), nothing is. */
  #allows({ from, to, protocol, port }: SuiteFlow): boolean {
    const [kind] = splitEnd(to);
    if (kind === 'pod' && !this.#here.pods.has(to)) return false;
    return this.#outcome({ from, to, protocol, port, verdict: 'undefined', family: 'IPv4' }).verdict === 'allow';
  }

  #outcome(probe: SuiteProbe): Outcome {
    const from = endOf(this.#here, probe.from, probe.family);
    const [kind, name] = splitEnd(probe.to);
    if (kind !== 'svc') return this.#connection(from, endOf(this.#here, probe.to, probe.family), probe, false);
    const { clusterIP, backends } = serviceTarget(this.#here, name, probe, probe.family);
    if (!clusterIP || backends.length === 0) return { verdict: 'deny', reason: 'no pod behind the service' };
    const outcomes = backends.map(({ end, port }) =>
      this.#connection(from, end, { protocol: probe.protocol, port }, true),
    );
    // Any of them may get the packet: it is allowed where all of them are.
    return outcomes.find(({ verdict }) => verdict === 'deny') ?? outcomes[0]!;
  }

  #connection(from: End, to: End, { protocol, port }: SuitePort, throughService: boolean): Outcome {
    if (!from.address || !to.address) return { verdict: 'deny', reason: 'an end has no such address' };
    for (const { id, pod } of [from, to]) {
      if (pod && !this.#local.has(id)) return { verdict: 'deny', reason: `${id} has no network` };
    }
    // A node's packets to its own pods always pass: the dataplane does not ask policy.
    if (!from.pod && from.node !== undefined && to.pod && from.node === to.node) {
      return { verdict: 'allow', reason: 'from the own node' };
    }
    const ends = {
      from: { address: from.address, ...(from.pod && { endpoint: from.id }) },
      to: { address: to.address, ...(to.pod && { endpoint: to.id }) },
    };
    // By way of a service a pod's packets to itself do leave it, and are judged.
    const hairpin = throughService && from.pod !== undefined && from.id === to.id;
    const connection = { ...ends, protocol: protocol as Protocol, port };
    if (hairpin) {
      const query = { fromAddress: from.address, toAddress: to.address, protocol, port, endpoint: to.id };
      return outcomeOf(
        (['egress', 'ingress'] as const).map((direction) =>
          this.name === 'explain'
            ? explainDirection(this.#state, { ...query, direction }).verdict
            : evaluate(this.#state, { ...query, direction }),
        ),
      );
    }
    if (this.name === 'explain') {
      return outcomeOf(explainConnection(this.#state, connection).directions.map(({ verdict }) => verdict));
    }
    const { egress, ingress } = evaluateConnection(this.#state, connection);
    return outcomeOf([egress, ingress].filter((verdict) => verdict !== undefined));
  }
}

/** Both directions have to allow; the first that does not is the reason. */
function outcomeOf(verdicts: readonly Verdict[]): Outcome {
  const denied = verdicts.find(({ verdict }) => verdict === 'deny');
  if (denied) return { verdict: 'deny', reason: reasonOf(denied) };
  return { verdict: 'allow', reason: verdicts.map(reasonOf).join(', ') };
}

function reasonOf({ by, tier, policy, rule }: Verdict): string {
  if (by === 'rule') return `${policy} rule ${rule! + 1}`;
  return by === 'endOfTier' ? `end of tier ${tier}` : by;
}
