/** `poplin policy explain FROM TO [PORT/PROTO]`: what policy says of one connection, and which rule of it. */
import { type Command, Option } from 'commander';
import {
  addressOfEnd,
  explainConnection,
  families,
  familyNames,
  isFromOwnNode,
  type ServedPort,
  type SimulatedCluster,
  type SimulatedEnd,
} from '#policy';
import type { CliContext } from '../context.ts';
import { exitCode } from '../exit-codes.ts';
import { formatValue, type OutputFormat, withOutput } from '../output.ts';
import { parseEnd, parsePort } from './ends.ts';
import { type ExplainedConnection, formatExplanation } from './explain-text.ts';
import { loadObjects, type SourceOptions, simulate, usage, withSource } from './source.ts';

interface ExplainOptions extends SourceOptions {
  readonly namespace: string;
  readonly family?: '4' | '6';
  readonly output: OutputFormat;
}

export function registerExplain(policy: Command, context: CliContext): void {
  withOutput(withSource(policy.command('explain')))
    .argument('<from>', 'NAMESPACE/POD, POD with -n, node:NAME, an address, a name outside, or NAME=ADDRESS')
    .argument('<to>', 'the same')
    .argument('[port]', 'PORT, or PORT/PROTO as in 53/UDP; default: every port that TO says it serves')
    .option('-n, --namespace <namespace>', 'namespace of pods that are named without one', 'default')
    .addOption(new Option('--family <family>', 'only this family').choices(['4', '6']))
    .summary('why one end reaches another, or does not')
    .description(
      'Walks the tiers, policies and rules that a connection meets, in order: egress of FROM, then ingress of TO, with what each says\n' +
        'and the rule that decides. Exit code 1 when any of what is asked is denied.',
    )
    .addHelpText(
      'after',
      `
Examples:
  poplin policy explain -f manifests/ shop/web-1 shop/db-1 5432
  poplin policy explain --live shop/web-1 192.0.2.7 443/TCP
  poplin policy explain --live node:n1 kube-system/coredns-abc 53/UDP
  poplin policy explain -f manifests/ -n shop web www.example.com=192.0.2.7 443 -o json`,
    )
    .action((from: string, to: string, port: string | undefined, options: ExplainOptions) =>
      context.act(async () => {
        const asked = port === undefined ? undefined : parsePort(port);
        const cluster = simulate(await loadObjects(options), context);
        const source = await parseEnd(from, cluster, options.namespace);
        const target = await parseEnd(to, cluster, options.namespace);
        const connections = explainEnds(cluster, source, target, asked ? [asked] : target.ports, options.family);
        if (connections.length === 0) throw nothingToAsk(source, target, asked);
        context.terminal.out(await formatValue(options.output, connections, formatConnections));
        const denied = connections.some(({ explanation }) => explanation.verdict === 'deny');
        return denied ? exitCode.negative : exitCode.ok;
      }),
    );
}

function nothingToAsk(source: SimulatedEnd, target: SimulatedEnd, asked: ServedPort | undefined): Error {
  if (!asked && target.ports.length === 0) {
    return usage(`${target.id} does not say which ports it serves: give one, as in 80/TCP`);
  }
  return usage(
    `${source.id} and ${target.id} have no addresses of one family (${addresses(source)}; ${addresses(target)})`,
  );
}

function addresses(end: SimulatedEnd): string {
  return end.addresses.join(', ') || 'none';
}

/** One for each port and each family that both ends have. */
export function explainEnds(
  cluster: SimulatedCluster,
  from: SimulatedEnd,
  to: SimulatedEnd,
  ports: readonly ServedPort[],
  only?: '4' | '6',
): ExplainedConnection[] {
  return ports.flatMap((port) =>
    families.flatMap((family): ExplainedConnection[] => {
      const fromAddress = addressOfEnd(from, family);
      const toAddress = addressOfEnd(to, family);
      if (!fromAddress || !toAddress || (only !== undefined && Number(only) !== family)) return [];
      const fromOwnNode = isFromOwnNode(from, to);
      const explanation = fromOwnNode
        ? { verdict: 'allow' as const, toItself: false, directions: [] }
        : explainConnection(cluster.state, {
            from: { address: fromAddress, ...(from.endpoint !== undefined && { endpoint: from.endpoint }) },
            to: { address: toAddress, ...(to.endpoint !== undefined && { endpoint: to.endpoint }) },
            ...port,
          });
      return [
        {
          from: { id: from.id, address: fromAddress },
          to: { id: to.id, address: toAddress },
          port,
          family: familyNames[family],
          fromOwnNode,
          explanation,
        },
      ];
    }),
  );
}

/** The second family is told apart only where something of it differs. */
export function formatConnections(connections: readonly ExplainedConnection[]): string {
  const blocks: string[] = [];
  for (const [index, connection] of connections.entries()) {
    const before = connections[index - 1];
    if (before && connection.family === 'ipv6' && alike(before, connection)) {
      blocks[blocks.length - 1] += `IPv6 (${connection.from.address} -> ${connection.to.address}): the same\n`;
    } else blocks.push(formatExplanation(connection));
  }
  return blocks.join('\n');
}

function alike(a: ExplainedConnection, b: ExplainedConnection): boolean {
  return a.port === b.port && JSON.stringify(a.explanation) === JSON.stringify(b.explanation);
}
