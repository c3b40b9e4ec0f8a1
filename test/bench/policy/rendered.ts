/**
 * 10,000 policies on 200 local pods, from the model to the text that goes to iptables and ipset, which here take it and do nothing: what
 * is left is our own time. Then one policy changes, and the lines that are written for it are counted.
 */

import { type CommandOptions, createPolicyDataplane, inputText } from '#felix';
import { silentLogger, systemClock } from '#kit';
import { rounded } from '../../support/numbers.ts';
import { scaleModel } from '../../support/policy-scale.ts';
import { load, spread, sumMs, timed } from './measure.ts';

/** Each pod has the 50 policies of its namespace. */
const shape = { namespaces: 200, podsPerNamespace: 50, policiesPerNamespace: 50, apps: 50, localPods: 200 };
const rounds = 50;

interface Written {
  readonly calls: number;
  readonly lines: number;
  /** Chains that were made or replaced. */
  readonly chains: ReadonlySet<string>;
}

export async function rendered(): Promise<object> {
  const scale = scaleModel(shape);
  let texts: string[] = [];
  const run = async (argv: readonly string[], options: CommandOptions = {}) => {
    if (argv.some((word) => word.endsWith('restore'))) texts.push(await inputText(options.stdin));
    return { code: 0, stdout: '', stderr: '' };
  };
  const taken = (): Written => {
    const lines = texts.flatMap((text) => text.trimEnd().split('\n'));
    const chains = new Set(lines.flatMap((line) => /^(?::|-[AIDR] )(\S+)/.exec(line)?.[1] ?? []));
    const calls = texts.length;
    texts = [];
    return { calls, lines: lines.length, chains };
  };
  const tables = { use: noOp, rules: () => [], deleteRules: noOp, deleteTable: noOp };
  const dataplane = createPolicyDataplane(
    { run, tables, log: silentLogger, clock: systemClock() },
    { backend: 'nft', throttleMs: 0 },
  );
  await dataplane.start();
  let engine = load({ updates: [], local: [] }).engine;
  const calculated = timed(() => {
    const { engine: made, out } = load({ updates: scale.updates, local: scale.endpoints });
    engine = made;
    dataplane.apply(out);
  });
  for (const endpoint of scale.endpoints) dataplane.setEndpoint(endpoint);
  const cpu = process.threadCpuUsage();
  dataplane.setInSync();
  await dataplane.whenApplied();
  const renderedCpuMs = sumMs(process.threadCpuUsage(cpu));
  const first = taken();

  const changeMs: number[] = [];
  const changes: Written[] = [];
  for (let i = 0; i < rounds; i++) {
    const from = performance.now();
    engine.update(scale.policy(i, i % shape.policiesPerNamespace, 5000 + i));
    dataplane.apply(engine.flush());
    await dataplane.whenApplied();
    changeMs.push(performance.now() - from);
    changes.push(taken());
  }
  await dataplane.stop();
  const most = (of: (written: Written) => number): number => Math.max(...changes.map(of));
  return {
    bench: 'policy',
    workload: 'rendered',
    policies: shape.namespaces * shape.policiesPerNamespace,
    localPods: shape.localPods,
    calculatedCpuMs: rounded(calculated.cpuMs),
    renderedCpuMs: rounded(renderedCpuMs),
    lines: first.lines,
    chains: first.chains.size,
    /** Of one policy's ingress: its own chain, in each family. */
    change: {
      ...spread(changeMs),
      calls: most((w) => w.calls),
      lines: most((w) => w.lines),
      chains: most((w) => w.chains.size),
    },
    ok: most((written) => written.chains.size) === 1,
  };
}

function noOp(): undefined {
  return undefined;
}
