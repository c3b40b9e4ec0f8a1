/**
 * Everything that the agent writes into the cluster, under one roof:
 *
 *   parts --> collect (facts of one moment) --> PoplinNode          poplin-node.ts, poplin-node-writer.ts
 *                       |                   \-> Events of the Node  node-events.ts, event-book.ts, event-writer.ts
 *   first complete apply --> Node: NetworkUnavailable=False         network-unavailable.ts
 *   CalicoNodeStatus objects about the node --> their answers       calico-node-status*.ts
 *   Lease poplin-status held --> all PoplinNodes --> statuses and Events of BGPPeers, IPPools ...   lease.ts, cluster-*.ts
 *
 * Nothing here decides anything for the node, and nothing waits for it: with an API server that refuses all of it, pods are wired, routed and policed
 * as ever.
 */
import type { CallReport } from '#cni';
import type { KubeClient } from '#datastore';
import { type Clock, errorText, type Logger } from '#kit';
import type { Limits } from '#obs';
import { type CalicoReportInput, ROUTES_MAX } from './calico-node-status.ts';
import { createCalicoNodeStatusWriter } from './calico-node-status-writer.ts';
import { createClusterWriter } from './cluster-writer.ts';
import { createCniFailures } from './cni-failures.ts';
import { createCollector, type StatusParts } from './collect.ts';
import { type ConditionNow, condition, listed } from './conditions.ts';
import { createEventWriter } from './event-writer.ts';
import type { NodeFacts } from './facts.ts';
import { createLeaseElection } from './lease.ts';
import { createNetworkUnavailableWriter } from './network-unavailable.ts';
import { nodeEvents } from './node-events.ts';
import { type PoplinNodeContent, poplinNodeContent } from './poplin-node.ts';
import { createPoplinNodeWriter } from './poplin-node-writer.ts';
import { createSinceKeeper } from './since.ts';

/** Before the first look, unless everything is in the kernel earlier: a start that goes well is one write, not a tale. */
const FIRST_LOOK_MS = 3_000;
/** Between two looks at the parts. */
const LOOK_MS = 5_000;
/** The same when somebody said that something has changed. */
const TOUCHED_MS = 1_000;
/** Changes by others are counted over this time. */
const REPAIRS_WINDOW_MS = 600_000;
const LEASE_NAME = 'poplin-status';
/** The last word of an agent that stops. */
const LAST_WRITE_MS = 1_000;

export interface StatusReporterDeps {
  readonly client: KubeClient;
  readonly parts: StatusParts;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: Limits;
  /** Milliseconds since 1970. Default Date.now. */
  readonly wallMs?: () => number;
  /** 0 <= x < 1. Default Math.random. */
  readonly random?: () => number;
}

export interface StatusReporterOptions {
  readonly nodeName: string;
  /** The agent's own: the Lease is there. */
  readonly namespace: string;
  readonly version: string;
}

export interface StatusReporter {
  start(): void;
  /** All that the model asks for is in the kernel, for the first time. */
  complete(): void;
  /** A session, the datastore or a dataplane changed state: look within a second. */
  touch(): void;
  cniCall(call: CallReport): void;
  stop(): Promise<void>;
}

export function createStatusReporter(deps: StatusReporterDeps, options: StatusReporterOptions): StatusReporter {
  return new Reporter(deps, options);
}

class Reporter implements StatusReporter {
  readonly #deps: StatusReporterDeps;
  readonly #options: StatusReporterOptions;
  readonly #collector: ReturnType<typeof createCollector>;
  readonly #since: ReturnType<typeof createSinceKeeper>;
  readonly #node: ReturnType<typeof createPoplinNodeWriter>;
  readonly #network: ReturnType<typeof createNetworkUnavailableWriter>;
  readonly #events: ReturnType<typeof createEventWriter>;
  readonly #lease: ReturnType<typeof createLeaseElection>;
  readonly #calico: ReturnType<typeof createCalicoNodeStatusWriter>;
  readonly #cluster: ReturnType<typeof createClusterWriter>;
  readonly #cniFailures = createCniFailures();
  #repairs: { readonly atMs: number; readonly total: number }[] = [];
  readonly #startedAtMs: number;
  #configuredAtMs: number | undefined;
  #content: PoplinNodeContent | undefined;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #cancel: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #touched = false;
  #live = false;

  constructor(deps: StatusReporterDeps, options: StatusReporterOptions) {
    this.#deps = deps;
    this.#options = options;
    const { client, clock, log, limits } = deps;
    const wallMs = deps.wallMs ?? Date.now;
    const random = deps.random ?? Math.random;
    const { nodeName, namespace, version } = options;
    const common = { client, clock, wallMs, random, log };
    this.#since = createSinceKeeper(wallMs);
    this.#node = createPoplinNodeWriter(common, { nodeName });
    this.#network = createNetworkUnavailableWriter(common, { nodeName });
    this.#events = createEventWriter({ ...common, limits }, { instance: nodeName });
    // A restarted agent is another one: it did not renew what the one before held.
    const identity = `${nodeName}_${Math.floor(random() * 0xffffffff).toString(36)}`;
    const { datastore, model } = deps.parts;
    this.#lease = createLeaseElection(
      { ...common, nodes: () => model.count('Node') },
      { namespace, name: LEASE_NAME, identity },
    );
    this.#startedAtMs = wallMs();
    this.#calico = createCalicoNodeStatusWriter(
      { ...common, model, datastore, report: (wantsRoutes) => this.#calicoReport(wantsRoutes) },
      { nodeName },
    );
    this.#cluster = createClusterWriter({
      ...common,
      datastore,
      holding: () => this.#lease.holding,
      events: this.#events,
    });
    this.#collector = createCollector(deps.parts, {
      nodeName,
      version,
      nodeVersion: process.version,
      wallMs,
    });
  }

  start(): void {
    this.#live = true;
    this.#lease.start();
    this.#cluster.start();
    this.#arm(FIRST_LOOK_MS);
  }
  complete(): void {
    this.#network.clear();
    // The speaker has just been told to start: its sessions are worth a moment.
    if (this.#running) this.#touched = true;
    else this.#arm(TOUCHED_MS);
  }
  touch(): void {
    this.#touched = true;
    const sinceMs = this.#deps.clock.nowMs() - this.#lookedMs;
    if (!this.#running) this.#arm(Math.max(0, TOUCHED_MS - sinceMs));
  }
  cniCall({ command, outcome }: CallReport): void {
    // While no pod can be added, that is the fault, and said elsewhere.
    if (this.#deps.parts.cni.notServing() !== undefined) return;
    this.#cniFailures.add(command, outcome, this.#deps.clock.nowMs());
  }

  async stop(): Promise<void> {
    this.#live = false;
    this.#cancel?.();
    // First: the next holder is to read what this node says last.
    await Promise.all([this.#running, this.#cluster.stop(), this.#calico.stop()]);
    if (this.#content) this.#offer(stopped(this.#content));
    await Promise.all([this.#node.stop(LAST_WRITE_MS), this.#network.stop(), this.#lease.stop()]);
  }

  #arm(delayMs: number): void {
    if (!this.#live) return;
    this.#cancel?.();
    this.#cancel = this.#deps.clock.schedule(delayMs, () => {
      this.#touched = false;
      this.#running = this.#look()
        .catch((error: unknown) => {
          this.#deps.log.warn({ reason: errorText(error) }, 'the state of the parts cannot be read for the status');
        })
        .finally(() => {
          this.#running = undefined;
          this.#arm(this.#touched ? TOUCHED_MS : LOOK_MS);
        });
    });
  }

  async #look(): Promise<void> {
    this.#lookedMs = this.#deps.clock.nowMs();
    const facts = await this.#collector.collect();
    if (!this.#live) return;
    this.#configuredAtMs = facts.bgp.configuredAtMs;
    this.#calico.look();
    this.#since.keep((facts.speaker?.peers ?? []).map(({ name }) => name));
    const content = poplinNodeContent(facts, (peer) => this.#since.of(peer));
    this.#content = { ...content, conditions: [...content.conditions, ...this.#ownConditions()] };
    this.#offer(this.#content, facts.changesInForce);
    this.#tell(facts, this.#content);
  }

  async #calicoReport(wantsRoutes: boolean): Promise<CalicoReportInput> {
    const { bgp, model, routes, policy } = this.#deps.parts;
    return {
      version: this.#options.version,
      startedAtMs: this.#startedAtMs,
      configuredAtMs: this.#configuredAtMs,
      speaker: await bgp.status(),
      sinceMs: (peer) => this.#since.ms(peer),
      peers: model.list('BGPPeer'),
      rib: wantsRoutes ? await ribOf(bgp) : [],
      programmed: new Map(wantsRoutes ? routes.status().routes.map((route) => [route.prefix, route]) : []),
      localAddresses: routes.localAddresses(),
      endpoints: policy.endpoints(),
    };
  }

  /** Of what this agent does for the cluster; there only while something is wrong with it. */
  #ownConditions(): readonly ConditionNow[] {
    const kinds = this.#cluster.unsupported();
    if (kinds.length === 0) return [];
    const text = `${listed(kinds)}: the installed definitions are not Poplin's and keep no status of it, nor its optional fields: apply poplin.yaml where no Calico runs, or go on without`;
    return [condition('ClusterStatusWritten', false, 'ForeignDefinitions', text)];
  }

  #offer(content: PoplinNodeContent, changesSeen = ''): void {
    const node = this.#deps.parts.model.get('Node', this.#options.nodeName);
    const uid = node?.metadata.uid;
    this.#node.offer(content, uid ? { uid } : undefined, changesSeen);
    if (uid) this.#network.seen({ uid, networkUnavailable: node.networkUnavailable === true });
  }

  #tell(facts: NodeFacts, { conditions }: PoplinNodeContent): void {
    const { clock, parts } = this.#deps;
    const cniFailures = this.#cniFailures.summary(clock.nowMs());
    const nodeUid = parts.model.get('Node', this.#options.nodeName)?.metadata.uid;
    this.#events.tell(
      nodeEvents({
        facts,
        conditions,
        repairs: this.#recentRepairs(facts),
        ...(nodeUid ? { nodeUid } : {}),
        ...(cniFailures === undefined ? {} : { cniFailures }),
      }),
    );
  }

  #recentRepairs({ policy, routes }: NodeFacts): number {
    const nowMs = this.#deps.clock.nowMs();
    const total = policy.repairs + routes.repairs;
    if (this.#repairs.at(-1)?.total !== total) this.#repairs.push({ atMs: nowMs, total });
    // The first is what held when the window began.
    while (this.#repairs.length > 1 && nowMs - this.#repairs[1]!.atMs >= REPAIRS_WINDOW_MS) this.#repairs.shift();
    return total - this.#repairs[0]!.total;
  }
}

/** As much as a report holds, of each family. */
async function ribOf(bgp: StatusParts['bgp']): Promise<CalicoReportInput['rib']> {
  const out: CalicoReportInput['rib'][number][] = [];
  for (const family of [4, 6] as const) {
    let cursor: string | undefined;
    let left = ROUTES_MAX;
    do {
      const answer = await bgp.routes({ family, limit: Math.min(left, 1_000), ...(cursor ? { cursor } : {}) });
      out.push(...answer.routes);
      left -= answer.routes.length;
      cursor = answer.next;
    } while (cursor !== undefined && left > 0);
  }
  return out;
}

function stopped(content: PoplinNodeContent): PoplinNodeContent {
  const text = 'the agent was stopped; the kernel goes on with what it has';
  const conditions = content.conditions.map((each) =>
    each.type === 'Ready' ? condition('Ready', false, 'AgentStopped', text) : each,
  );
  return { ...content, conditions, summary: { ...content.summary, ready: 'False' } };
}
