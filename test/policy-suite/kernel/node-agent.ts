/**
 * The enforcing half of one node's agent, in this process and in the node's namespace: the agent's own policy pipeline and dataplane.
 * To stop it leaves the kernel's rules as they are; a start reads them back, as after a crash.
 */
import { createPolicyPipeline, type PolicyPipeline } from '#agent';
import { createPolicyDataplane, type PolicyDataplane } from '#felix';
import { silentLogger, systemClock } from '#kit';
import { netnsPath } from '#lab';
import type { ModelUpdate, WorkloadEndpoint } from '#model';
import {
  exec,
  inNetns,
  openConntrack,
  openFlowTable,
  openNetns,
  openNftCommits,
  openNftTables,
  openSetMembers,
} from '#sys';
import type { SuiteWorld } from '../world.ts';
import type { Wire } from './network.ts';

export interface NodeAgentOptions {
  readonly node: string;
  /** Name of the node's namespace. */
  readonly netns: string;
  readonly backend: 'nft' | 'legacy';
  /** XTABLES_LOCKFILE: nodes of one machine must not wait for each other. */
  readonly lockFile: string;
}

/** As a runtime waits for an ADD. */
const attachMs = 30_000;

interface Parts {
  readonly dataplane: PolicyDataplane;
  readonly pipeline: PolicyPipeline;
  close(): void;
}

export class NodeAgent {
  readonly #options: NodeAgentOptions;
  #parts: Parts | undefined;

  constructor(options: NodeAgentOptions) {
    this.#options = options;
  }

  get running(): boolean {
    return this.#parts !== undefined;
  }

  /** Resolves when the model is in force. `wired`: pods of this node that have an interface. */
  async start(world: SuiteWorld, wired: readonly Wire[]): Promise<void> {
    const parts = this.#build();
    this.#parts = parts;
    await parts.dataplane.start();
    parts.pipeline.adopt(wired.map(endpointOf));
    parts.pipeline.update(world.updates());
    await parts.pipeline.inSync();
    await parts.dataplane.whenApplied();
  }

  async stop(): Promise<void> {
    const parts = this.#parts;
    this.#parts = undefined;
    await parts?.dataplane.stop();
    parts?.close();
  }

  update(updates: readonly ModelUpdate[]): void {
    this.#parts?.pipeline.update(updates);
  }

  /** Resolves when the pod's policy is in force. @throws Error */
  async attach(wire: Wire): Promise<void> {
    await this.#parts?.pipeline.attach(endpointOf(wire), AbortSignal.timeout(attachMs));
    await this.#parts?.pipeline.flushConntrack(wire.addresses);
  }

  async detach(wire: Wire): Promise<void> {
    await this.#parts?.pipeline.detach(endpointOf(wire));
  }

  async settle(): Promise<void> {
    await this.#parts?.pipeline.settled();
    await this.#parts?.dataplane.whenApplied();
  }

  #build(): Parts {
    const { node, netns, backend, lockFile } = this.#options;
    const namespace = openNetns(netnsPath(netns));
    const tables = inNetns(namespace, openNftTables);
    const members = inNetns(namespace, openSetMembers);
    const commits = inNetns(namespace, openNftCommits);
    const flows = inNetns(namespace, openFlowTable);
    let conntrack: ReturnType<typeof openConntrack> | undefined;
    const dataplane = createPolicyDataplane(
      {
        run: (argv, options = {}) =>
          exec('nsenter', [`--net=${netnsPath(netns)}`, ...argv], {
            ...options,
            env: { ...process.env, ...options.env } as Record<string, string>,
          }),
        watchCommits: commits.watch,
        tables,
        members,
        flows: { table: flows, judge: (flow) => pipeline.flowAllowed(flow) },
        log: silentLogger,
        clock: systemClock(),
      },
      { backend, lockFile },
    );
    const pipeline = createPolicyPipeline({
      nodeName: node,
      clock: systemClock(),
      dataplane,
      onEndpoints: () => undefined,
      flushConntrack: async (addresses) => {
        conntrack ??= inNetns(namespace, openConntrack);
        for (const address of addresses) await conntrack.forget(address);
      },
    });
    const close = (): void => {
      tables.close();
      members.close();
      commits.close();
      flows.close();
      conntrack?.close();
      namespace.close();
    };
    return { dataplane, pipeline, close };
  }
}

function endpointOf({ id, interfaceName, addresses }: Wire): WorkloadEndpoint {
  return { id, interfaceName, addresses };
}
