/**
 * Decides by packets: a suite's cluster in namespaces, each node with the agent's own policy pipeline and dataplane over real iptables,
 * ipset and conntrack, and the lab's prober that sends what the probes say. The runner plays API server and kubelet.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  claim,
  down,
  type FlowRequest,
  type LabPaths,
  must,
  netnsPath,
  type ProbeRequest,
  ProberClient,
  startProber,
  type Target,
} from '#lab';
import { type ModelUpdate, objectKey } from '#model';
import { endOf, serviceTarget, splitEnd } from '../ends.ts';
import type { Judge, Outcome } from '../judge.ts';
import type { SuiteFlow, SuitePort, SuiteProbe } from '../suite.ts';
import type { SuiteWorld } from '../world.ts';
import { SuiteNetwork, sameWire, type Wire, wiresOf } from './network.ts';
import { NodeAgent } from './node-agent.ts';
import { ServiceRewriter } from './services.ts';

/** A wrongly denied connection is tried again: one packet lost to a busy machine is no verdict. A wrongly allowed one is. */
const denialRoundsMax = 3;
/** How long a flow that is expected to live may take to show it, and how often it is looked at. */
const aliveMs = 6_000;
const lookMs = 50;
/** Eight beats of a flow; what was under way when the rules came in force is over by then. */
const silenceMs = 800;
/** So many answers within that time are no leftovers. */
const answersOfLife = 3;
const connectMs = 1_500;

export interface KernelOptions {
  readonly backend: 'nft' | 'legacy';
}

interface OpenFlow {
  readonly flow: SuiteFlow;
  /** At the last look. */
  answers: number;
}

export class KernelJudge implements Judge {
  readonly name = 'kernel';
  readonly #options: KernelOptions;
  readonly #lab: LabPaths;
  readonly #network: SuiteNetwork;
  readonly #prober: ProberClient;
  #world: SuiteWorld | undefined;
  #agents = new Map<string, NodeAgent>();
  #services = new Map<string, ServiceRewriter>();
  #wires = new Map<string, Wire>();
  /** Objects that agents have been told of. */
  #told: ReadonlyMap<string, ModelUpdate> = new Map();
  /** No change of the network was left half done: else the next case begins from nothing. */
  #whole = true;
  readonly #flows = new Map<string, OpenFlow>();
  /** Ports that nodes and externals serve, because something connects to them. */
  readonly #asked = new Map<string, Map<string, SuitePort>>();

  private constructor(options: KernelOptions, lab: LabPaths, prober: ProberClient) {
    this.#options = options;
    this.#lab = lab;
    this.#network = new SuiteNetwork(lab);
    this.#prober = prober;
  }

  static async create(options: KernelOptions): Promise<KernelJudge> {
    const lab = claim(`suite-${process.pid}`);
    const prober = await startProber(lab);
    try {
      return new KernelJudge(options, lab, await ProberClient.connect(lab.proberSocket));
    } catch (error) {
      process.kill(prober.pid);
      await down(lab.name);
      throw error;
    }
  }

  async begin(world: SuiteWorld): Promise<void> {
    await this.#closeFlows();
    this.#world = world;
    this.#asked.clear();
    if (!this.#whole || !this.#network.fits(world)) await this.#rebuild(world);
    this.#whole = false;
    await this.#network.dropExternals(world);
    for (const [name, agent] of this.#agents) {
      if (!agent.running) await agent.start(world, this.#wiresOn(name));
    }
    const wanted = new Map(world.updates().map((update) => [refOf(update), update]));
    const gone = [...this.#told.values()].filter((update) => !wanted.has(refOf(update)));
    await this.changed([
      ...gone.map(({ kind, key }): ModelUpdate => ({ type: 'delete', kind, key })),
      ...wanted.values(),
    ]);
    this.#told = wanted;
    this.#whole = false;
    await this.#network.addExternals(world);
    this.#whole = true;
    for (const name of this.#agents.keys()) {
      // An entry of an earlier case must not decide a connection of this one.
      await must('nsenter', [`--net=${netnsPath(this.#network.netns(name))}`, 'conntrack', '-F']);
    }
  }

  async #rebuild(world: SuiteWorld): Promise<void> {
    for (const agent of this.#agents.values()) await agent.stop();
    this.#wires = new Map();
    this.#told = new Map();
    await this.#prober.call({ op: 'sync', targets: [] });
    await this.#network.build(world);
    const { backend } = this.#options;
    const names = [...world.nodes.keys()];
    this.#agents = new Map(
      names.map((node) => {
        const lockFile = `${this.#lab.directory}/${node}.lock`;
        return [node, new NodeAgent({ node, netns: this.#network.netns(node), backend, lockFile })];
      }),
    );
    this.#services = new Map(names.map((node) => [node, new ServiceRewriter(this.#network.netns(node), backend)]));
  }

  /** Objects first told of stay known until the next case begins, whatever is deleted: a second delete means nothing. */
  async changed(updates: readonly ModelUpdate[]): Promise<void> {
    this.#whole = false;
    const wanted = wiresOf(this.#lab, this.#here);
    const gone = [...this.#wires.values()].filter((wire) => {
      const next = wanted.get(wire.id);
      return !next || !sameWire(wire, next);
    });
    for (const wire of gone) {
      await this.#agents.get(wire.node)?.detach(wire);
      this.#wires.delete(wire.id);
    }
    // The prober lets go of their namespaces: one of the same name is another.
    if (gone.length > 0) await this.#serve();
    await this.#network.unwire(gone);
    for (const agent of this.#agents.values()) agent.update(updates);
    this.#told = new Map([...this.#told, ...updates.map((update) => [refOf(update), update] as const)]);
    await this.#wireWhatIsMissing(wanted);
    this.#whole = true;
  }

  /** Pods of nodes whose agent runs; the kubelet tries the others again when it does. */
  async #wireWhatIsMissing(wanted: ReadonlyMap<string, Wire>): Promise<void> {
    const fresh = [...wanted.values()].filter(
      ({ id, node }) => !this.#wires.has(id) && this.#agents.get(node)?.running,
    );
    if (fresh.length === 0) return;
    await this.#network.wire(fresh);
    for (const wire of fresh) this.#wires.set(wire.id, wire);
    await this.#serve();
    await Promise.all(fresh.map((wire) => this.#agents.get(wire.node)!.attach(wire)));
  }

  async stopAgent(): Promise<void> {
    for (const agent of this.#agents.values()) await agent.stop();
  }

  async startAgent(): Promise<void> {
    for (const [name, agent] of this.#agents) await agent.start(this.#here, this.#wiresOn(name));
    await this.#wireWhatIsMissing(wiresOf(this.#lab, this.#here));
  }

  async settle(): Promise<void> {
    await Promise.all([...this.#agents.values()].map((agent) => agent.settle()));
    for (const rewriter of this.#services.values()) await rewriter.sync(this.#here);
    await this.#serve();
  }

  async probe(probes: readonly SuiteProbe[]): Promise<(Outcome | undefined)[]> {
    for (const probe of probes) this.#ask(probe.to, probe);
    await this.#serve();
    const outcomes: (Outcome | undefined)[] = [];
    let open = [...probes.keys()];
    for (let round = 0; round < denialRoundsMax && open.length > 0; round++) {
      const requests = open.map((i) => this.#request(probes[i]!));
      const sent = requests.filter((request) => typeof request === 'object');
      const { outcomes: answers } = await this.#prober.call({ op: 'probe', probes: sent });
      let next = 0;
      for (const [n, i] of open.entries()) {
        const request = requests[n];
        if (request === 'skip') outcomes[i] = undefined;
        else
          outcomes[i] =
            request === 'nobody' ? { verdict: 'deny', reason: 'an end has no such address' } : answers[next++]!;
      }
      open = open.filter((i) => probes[i]!.verdict === 'allow' && outcomes[i]?.verdict === 'deny');
    }
    return outcomes;
  }

  async openFlow(flow: SuiteFlow, address?: string): Promise<void> {
    this.#ask(flow.to, flow);
    await this.#serve();
    const probe: SuiteProbe = { ...flow, verdict: 'undefined', family: 'IPv4' };
    const request =
      address === undefined ? this.#request(probe) : { ...this.#source(probe), ...flowEnds(flow), address };
    if (typeof request === 'string') throw new Error(`flow ${flow.id}: ${flow.from} cannot connect to ${flow.to} here`);
    const flowRequest: FlowRequest = { ...request, flow: flow.id, retry: flow.retry ?? false };
    await this.#prober.call({ op: 'flowOpen', flows: [flowRequest] });
    this.#flows.set(flow.id, { flow, answers: 0 });
    if (flow.retry) return;
    await this.#until(connectMs, async () => {
      const { answers, ended } = await this.#prober.call({ op: 'flowStatus', flow: flow.id });
      return answers > 0 || ended !== undefined;
    });
  }

  async closeFlow(id: string): Promise<void> {
    await this.#prober.call({ op: 'flowClose', flow: id });
    this.#flows.delete(id);
  }

  async flowState(id: string, expected: 'alive' | 'dead'): Promise<'alive' | 'dead'> {
    const open = this.#flows.get(id);
    if (!open) throw new Error(`no flow ${id} is open`);
    const answersNow = async (): Promise<number> => (await this.#prober.call({ op: 'flowStatus', flow: id })).answers;
    const { retry } = open.flow;
    const from = retry ? open.answers : await answersNow();
    const needed = from + (retry ? 1 : answersOfLife);
    if (expected === 'dead') await sleep(silenceMs);
    else await this.#until(aliveMs, async () => (await answersNow()) >= needed);
    open.answers = await answersNow();
    return open.answers >= needed ? 'alive' : 'dead';
  }

  async end(): Promise<void> {
    await this.#closeFlows();
    for (const agent of this.#agents.values()) await agent.stop();
    const { pid } = await this.#prober.call({ op: 'status' });
    this.#prober.close();
    process.kill(pid, 'SIGTERM');
    await down(this.#lab.name);
  }

  get #here(): SuiteWorld {
    if (!this.#world) throw new Error('no case has begun');
    return this.#world;
  }

  #wiresOn(node: string): Wire[] {
    return [...this.#wires.values()].filter((wire) => wire.node === node);
  }

  async #closeFlows(): Promise<void> {
    for (const id of [...this.#flows.keys()]) await this.closeFlow(id);
  }

  async #until(deadlineMs: number, condition: () => Promise<boolean>): Promise<void> {
    const end = performance.now() + deadlineMs;
    while (!(await condition()) && performance.now() < end) await sleep(lookMs);
  }

  /** Nodes and externals serve whatever somebody connects to. */
  #ask(to: string, { protocol, port }: SuitePort): void {
    const [kind] = splitEnd(to);
    if (kind !== 'node' && kind !== 'ext') return;
    const ports = this.#asked.get(to) ?? new Map<string, SuitePort>();
    this.#asked.set(to, ports.set(`${protocol} ${port}`, { protocol, port }));
  }

  async #serve(): Promise<void> {
    const { problems } = await this.#prober.call({ op: 'sync', targets: this.#targets() });
    if (problems.length > 0) throw new Error(problems.join('\n'));
  }

  #targets(): Target[] {
    const world = this.#here;
    const pods = [...this.#wires.values()].map(
      ({ id, netns, addresses }): Target => ({
        id,
        netns: netnsPath(netns),
        addresses,
        ports: world.serves.get(id) ?? [],
      }),
    );
    const hostPods = [...world.pods].filter(([, pod]) => pod.hostNetwork);
    // Of those on one node that say to serve a port, one does: they have one address, and any may answer for it.
    const served = new Set<string>();
    const firstToServe = (node: string, { protocol, port }: SuitePort): boolean => {
      const place = `${node} ${protocol} ${port}`;
      return !served.has(place) && served.add(place).has(place);
    };
    const ofHosts = hostPods.map(
      ([id, pod]): Target => ({
        id,
        netns: this.#path(pod.nodeName),
        addresses: pod.podIPs,
        ports: (world.serves.get(id) ?? []).filter((port) => firstToServe(pod.nodeName, port)),
      }),
    );
    const nodes = [...world.nodes].map(([name, { internalIPs }]): Target => {
      const taken = new Set(
        hostPods
          .filter(([, pod]) => pod.nodeName === name)
          .flatMap(([id]) => world.serves.get(id) ?? [])
          .map(({ protocol, port }) => `${protocol} ${port}`),
      );
      const ports = [...(this.#asked.get(`node:${name}`) ?? [])].filter(([key]) => !taken.has(key));
      return {
        id: `node:${name}`,
        netns: this.#path(name),
        addresses: internalIPs,
        ports: ports.map(([, port]) => port),
      };
    });
    const externals = [...world.externals.values()].map(
      ({ name, ips }): Target => ({
        id: `ext:${name}`,
        netns: this.#path('out'),
        addresses: ips.filter((address) => this.#network.hasExternal(address)),
        ports: [...(this.#asked.get(`ext:${name}`)?.values() ?? [])],
      }),
    );
    return [...pods, ...ofHosts, ...nodes, ...externals];
  }

  #path(machine: string): string {
    return netnsPath(this.#network.netns(machine));
  }

  /** `skip`: an external that no host can be. `nobody`: an end has no address of that family. */
  #request(probe: SuiteProbe): ProbeRequest | 'skip' | 'nobody' {
    const world = this.#here;
    const from = endOf(world, probe.from, probe.family);
    const [kind, name] = splitEnd(probe.to);
    if (kind === 'svc') {
      const { clusterIP, backends } = serviceTarget(world, name, probe, probe.family);
      if (!from.address || !clusterIP || backends.length === 0) return 'nobody';
      const answeredBy = backends.map(({ end }) => end.id);
      return { ...flowEnds(probe), source: from.address, address: clusterIP, answeredBy };
    }
    const to = endOf(world, probe.to, probe.family);
    if (!from.address || !to.address) return 'nobody';
    for (const { id, address } of [from, to]) {
      if (id.startsWith('ext:') && !this.#network.hasExternal(address!)) return 'skip';
    }
    // Processes of a node and its pods of the host's network have the same addresses.
    const ofNode = to.pod ? undefined : to.node;
    const answeredBy = ofNode === undefined ? undefined : [probe.to, ...this.#hostPodsOn(ofNode)];
    return {
      ...flowEnds(probe),
      source: from.address,
      address: to.address,
      ...(answeredBy && { answeredBy }),
    };
  }

  #source(probe: SuiteProbe): { readonly source?: string } {
    const { address } = endOf(this.#here, probe.from, probe.family);
    return address === undefined ? {} : { source: address };
  }

  #hostPodsOn(node: string): string[] {
    return [...this.#here.pods].filter(([, pod]) => pod.hostNetwork && pod.nodeName === node).map(([id]) => id);
  }
}

function flowEnds({ from, to, protocol, port }: SuiteFlow | SuiteProbe) {
  return { from, to, protocol, port };
}

function refOf(update: ModelUpdate): string {
  const key = update.type === 'upsert' ? objectKey(update.object.metadata) : update.key;
  return `${update.kind} ${key}`;
}
