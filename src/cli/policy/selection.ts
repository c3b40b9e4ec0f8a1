/** Which ends and ports a matrix or a comparison is about. */
import type { Command } from 'commander';
import type { ServedPort, SimulatedCluster, SimulatedEnd } from '#policy';
import { parseEnd, parsePort } from './ends.ts';
import { collect, usage } from './source.ts';

export interface SelectionOptions {
  readonly namespace?: readonly string[];
  readonly from?: string;
  readonly to?: string;
  readonly port?: readonly string[];
  readonly nodes?: boolean;
  readonly with?: readonly string[];
}

export function withSelection(command: Command): Command {
  return command
    .option('-n, --namespace <namespace>', 'only pods of this namespace; may be given several times', collect)
    .option('--from <pattern>', 'only these sources, as in shop/web-* or */api-*')
    .option('--to <pattern>', 'only these targets')
    .option(
      '-p, --port <port>',
      'ask for this port, as in 80 or 53/UDP, of every target; may be given several times',
      collect,
    )
    .option('--nodes', 'the nodes too')
    .option('--with <end>', 'an end outside too: an address, or NAME=ADDRESS; may be given several times', collect);
}

export interface Selected {
  readonly from: readonly SimulatedEnd[];
  readonly to: readonly SimulatedEnd[];
  readonly ports?: readonly ServedPort[];
}

/** Ends outside that `--with` names. */
export function othersOf(options: SelectionOptions, cluster: SimulatedCluster): Promise<SimulatedEnd[]> {
  return Promise.all((options.with ?? []).map((text) => parseEnd(text, cluster, 'default')));
}

export function portsOf(options: SelectionOptions): ServedPort[] | undefined {
  return options.port?.map(parsePort);
}

export function podFilter({ namespace }: SelectionOptions): (end: SimulatedEnd) => boolean {
  if (!namespace) return () => true;
  return ({ id }) => namespace.some((name) => id.startsWith(`${name}/`));
}

/** @throws PolicyCommandError when nothing is left. */
export async function select(options: SelectionOptions, cluster: SimulatedCluster): Promise<Selected> {
  const ends = [
    ...cluster.pods.filter(podFilter(options)),
    ...(options.nodes ? cluster.nodes : []),
    ...(await othersOf(options, cluster)),
  ];
  const ports = portsOf(options);
  const from = matching(ends, options.from);
  const to = matching(ends, options.to);
  if (from.length === 0 || to.length === 0) {
    const which = from.length === 0 ? 'source' : 'target';
    throw usage(`no ${which} is left of ${cluster.pods.length} pods: look at --namespace, --from and --to`);
  }
  return { from, to, ...(ports && { ports }) };
}

function matching(ends: readonly SimulatedEnd[], pattern: string | undefined): readonly SimulatedEnd[] {
  if (pattern === undefined) return ends;
  const text = pattern.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  const expression = new RegExp(`^${text.join('.*')}$`);
  return ends.filter(({ id }) => expression.test(id));
}
