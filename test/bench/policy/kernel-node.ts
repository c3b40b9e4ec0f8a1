/**
 * A node's policy half over a real kernel, in a network namespace of its own: pipeline and dataplane as the agent wires them, programs started
 * in the namespace as an agent there starts them, and how long each change takes until it is in force though nobody waits for it.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createPolicyPipeline, type PolicyPipeline } from '#agent';
import {
  type ApplyTiming,
  type Backend,
  type CommandRunner,
  createPolicyDataplane,
  type PolicyDataplane,
} from '#felix';
import { silentLogger, systemClock } from '#kit';
import type { ModelUpdate, WorkloadEndpoint } from '#model';
import { exec, type Fd, inNetns, newNetns, openFlowTable, openNftTables, openSetMembers, takeFlock } from '#sys';
import { watchedInput } from '../../support/command-input.ts';

/** One call of a program that writes rules or sets. */
export interface Written {
  readonly argv: readonly string[];
  readonly lines: readonly string[];
}

export interface NodeModel {
  readonly updates: readonly ModelUpdate[];
  readonly endpoints: readonly WorkloadEndpoint[];
}

const pipelineBatch = 1_000;

export class KernelNode {
  /** The pods of models that are of this node say so. */
  static readonly nodeName = 'local';
  readonly netns: Fd = newNetns();
  readonly dataplane: PolicyDataplane;
  readonly pipeline: PolicyPipeline;
  /** Since `taken` was last called. Members of sets that go by netlink are not among it. */
  #written: Written[] = [];
  #members = 0;
  readonly #lockFile = `/tmp/poplin-bench-${process.pid}-${Math.random().toString(36).slice(2)}.lock`;
  #applied: (() => void)[] = [];
  readonly #close: (() => void)[] = [];

  /** @param onApply told of every run of the apply loop. */
  constructor(backend: Backend, onApply: (timing: ApplyTiming) => void = () => undefined) {
    const [tables, members, table] = inNetns(this.netns, () => [openNftTables(), openSetMembers(), openFlowTable()]);
    this.#close.push(...[tables, members, table].map((each) => () => each.close()));
    const clock = systemClock();
    this.dataplane = createPolicyDataplane(
      {
        run: this.run,
        lock: takeFlock,
        tables,
        members: {
          change: (changes) => {
            this.#members += changes.length;
            return members.change(changes);
          },
        },
        flows: { table, judge: (flow) => this.pipeline.flowAllowed(flow) },
        log: silentLogger,
        clock,
        onApply: (timing) => {
          onApply(timing);
          if (timing.ok && this.dataplane.status().applied) for (const resolve of this.#applied.splice(0)) resolve();
        },
      },
      { backend, lockFile: this.#lockFile },
    );
    this.pipeline = createPolicyPipeline({
      nodeName: KernelNode.nodeName,
      clock,
      dataplane: this.dataplane,
      onEndpoints: () => undefined,
      flushConntrack: async () => undefined,
    });
  }

  /** A program in the node's namespace. */
  readonly run: CommandRunner['run'] = ([command, ...args], options = {}) => {
    assert.ok(command);
    const lines: string[] = [];
    if ([command, ...args].some((word) => word.endsWith('restore')))
      this.#written.push({ argv: [command, ...args], lines });
    const stdin = watchedInput(options.stdin, (text) => lines.push(...text.trimEnd().split('\n')));
    const env = { ...process.env, ...options.env } as Record<string, string>;
    // A child gets the namespace of the thread that starts it, which is before `exec` returns.
    return inNetns(this.netns, () => ({ ended: exec(command, args, { ...options, stdin, env }) })).ended;
  };
  /** @throws AssertionError when it fails. */
  async sh(...argv: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(argv, { env: { XTABLES_LOCKFILE: this.#lockFile } });
    assert.equal(code, 0, `${argv.join(' ')}: ${stderr}`);
    return stdout;
  }

  /** Told everything, and nothing computed or written yet. */
  async told({ updates, endpoints }: NodeModel): Promise<void> {
    await this.dataplane.start();
    this.pipeline.adopt(endpoints);
    for (let at = 0; at < updates.length; at += pipelineBatch) {
      this.pipeline.update(updates.slice(at, at + pipelineBatch));
      await this.pipeline.settled();
    }
  }
  /** Until the kernel holds it. */
  async inSync(): Promise<void> {
    await this.pipeline.inSync();
    await this.dataplane.whenApplied();
  }

  /** Hands a change in, and resolves with the time in ms until it was in force, at the pace of changes that nobody waits for. */
  async inForceMs(...updates: readonly ModelUpdate[]): Promise<number> {
    const from = performance.now();
    this.pipeline.update(updates);
    await this.pipeline.settled();
    if (!this.dataplane.status().applied) await new Promise<void>((resolve) => this.#applied.push(resolve));
    return performance.now() - from;
  }

  taken(): { readonly calls: readonly Written[]; readonly members: number } {
    const taken = { calls: this.#written, members: this.#members };
    this.#written = [];
    this.#members = 0;
    return taken;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dataplane.stop();
    for (const close of this.#close) close();
    this.netns.close();
    fs.rmSync(this.#lockFile, { force: true });
  }
}

/** Chains that these calls made, replaced or inserted rules into. */
export function chainsOf(calls: readonly Written[]): Set<string> {
  return new Set(
    calls
      .filter(({ argv }) => argv[0] !== 'ipset')
      .flatMap(({ lines }) => lines.flatMap((line) => /^(?::|-[AIDR] )(\S+)/.exec(line)?.[1] ?? [])),
  );
}
