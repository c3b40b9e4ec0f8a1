/**
 * The demonstration: three nodes, two racks, a spine, twelve pods and three policies, built, checked fact by fact and
 * removed again. Everything that it says was measured by packets, read from the kernel, or asked of the daemons.
 */

import path from 'node:path';
import { errorText } from '#kit';
import { down, type Lab, up } from '../lab.ts';
import { createReport, type Fact, type Report, record } from './facts.ts';
import { ownNetworkDump } from './own-network.ts';
import { manifestsBefore, phases, type Stage } from './phases.ts';
import { type Sabotage, sabotageRoute, sabotageSession, sabotageText, withheldPolicy } from './sabotage.ts';

export type { Fact } from './facts.ts';

export interface DemoOptions {
  readonly name: string;
  readonly keep: boolean;
  readonly sabotage?: Sabotage;
  readonly print: (line: string) => void;
}

export interface DemoResult {
  readonly facts: readonly Fact[];
  readonly exitCode: number;
}

/** Runs it from nothing to nothing. @returns exit code 0 only when every expectation held. */
export async function runDemo(options: DemoOptions): Promise<number> {
  return (await demonstrate(options)).exitCode;
}

export async function demonstrate(options: DemoOptions): Promise<DemoResult> {
  const report = createReport(options.print);
  const before = await ownNetworkDump();
  const interrupted = new AbortController();
  const onSignal = (): void => interrupted.abort();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, onSignal);
  let built = false;
  try {
    if (options.sabotage) report.say(`sabotage: ${sabotageText[options.sabotage]}`);
    const lab = await build(options, report);
    built = true;
    const stage: Stage = { lab, report, ...(options.sabotage ? { sabotage: options.sabotage } : {}) };
    for (const phase of phases) {
      if (interrupted.signal.aborted) break;
      await phase(stage);
    }
  } catch (error) {
    record(report, {
      name: 'the demonstration runs to its end',
      held: false,
      expected: 'no error',
      measured: errorText(error),
    });
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, onSignal);
  }
  if (interrupted.signal.aborted) report.say('interrupted');
  if (options.keep && built)
    report.say(
      `lab ${options.name} is left running: poplin lab status --name ${options.name}, poplin lab down --name ${options.name}`,
    );
  else if (built) await clean(options, report, before);
  const failed = report.facts.filter(({ held }) => !held);
  report.say(
    failed.length === 0
      ? `all ${report.facts.length} facts held`
      : `${failed.length} of ${report.facts.length} facts failed: ${failed.map(({ name }) => name).join('; ')}`,
  );
  return { facts: report.facts, exitCode: interrupted.signal.aborted ? 130 : failed.length === 0 ? 0 : 1 };
}

async function build(options: DemoOptions, report: Report): Promise<Lab> {
  const lab = await up({
    name: options.name,
    files: [manifestsBefore],
    say: (line) => report.say(line),
    keepOnFailure: options.keep,
    ...(options.sabotage === 'policy' ? { withheld: withheldPolicy } : {}),
    ...(options.sabotage === 'session' ? { beforeDaemons: sabotageSession } : {}),
  });
  const outside = lab.topology.links.flatMap(({ ends }) => ends).find(({ owner }) => owner === 'outside');
  if (options.sabotage === 'route') await sabotageRoute(lab, outside!.addresses[0]!.address);
  report.say(
    `${lab.topology.nodes.length} nodes, ${lab.topology.routers.length} routers, ${lab.state.pods.length} pods are there; logs in ${path.relative('/', lab.paths.logs).replace(/^/, '/')}`,
  );
  return lab;
}

async function clean(options: DemoOptions, report: Report, before: string): Promise<void> {
  const { processes, namespaces, left } = await down(options.name);
  const after = await ownNetworkDump();
  const untouched = before === after;
  record(report, {
    name: 'the lab is gone and the machine as before',
    held: left.length === 0 && untouched,
    expected: "nothing left over; the machine's own links, addresses, rules and routes unchanged",
    measured:
      left.length > 0
        ? `still there: ${left.join(', ')}`
        : `ended ${processes} processes, removed ${namespaces} namespaces; the machine's own links, addresses, rules and routes ${untouched ? 'are unchanged' : 'CHANGED'}`,
  });
}
