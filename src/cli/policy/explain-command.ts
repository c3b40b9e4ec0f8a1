/** `poplin policy explain FROM TO [PORT/PROTO]`: what policy says of one connection, and which rule of it. */
import { type Command, Option } from 'commander';
import type { PolicyCounterView } from '#api';
import {
  addressOfEnd,
  connectionEnds,
  explainConnection,
  families,
  familyNames,
  isFromOwnNode,
  type ServedPort,
  type SimulatedCluster,
  type SimulatedEnd,
  withStagedPolicies,
} from '#policy';
import { type AskOptions, asking, connect } from '../connection.ts';
import type { CliContext } from '../context.ts';
import { exitCode } from '../exit-codes.ts';
import { formatValue } from '../output.ts';
import { agentEnd, parseEnd, parsePort } from './ends.ts';
import { type CounterOf, type ExplainedConnection, formatExplanation } from './explain-text.ts';
import { loadObjects, type SourceOptions, simulate, usage, withSource } from './source.ts';

interface ExplainOptions extends SourceOptions, AskOptions {
  readonly namespace: string;
  readonly staged?: boolean;
  readonly family?: '4' | '6';
}

export function registerExplain(policy: Command, context: CliContext): void {
  asking(withSource(policy.command('explain')))
    .argument('<from>', 'NAMESPACE/POD, POD with -n, node:NAME, an address, a name outside, or NAME=ADDRESS')
    .argument('<to>', 'the same')
    .argument('[port]', 'PORT, or PORT/PROTO as in 53/UDP; default: every port that TO says it serves')
    .option('-n, --namespace <namespace>', 'namespace of pods that are named without one', 'default')
    .addOption(new Option('--family <family>', 'only this family').choices(['4', '6']))
    .option('--staged', 'as it would be were the staged policies in force')
    .summary('why one end reaches another, or does not')
    .description(
      'Walks the tiers, policies and rules that a connection meets, in order: egress of FROM, then ingress of TO, with what each says\n' +
        'and the rule that decides. Without -f and --live the agent of this node says what is in force for the pods here, and how many packets\n' +
        'each rule in the kernel has matched (of all pods of the node that have the policy). Exit code 1 when any of what is asked is denied.',
    )
    .addHelpText(
      'after',
      `
Examples:
  poplin policy explain shop/web-1 shop/db-1 5432
  poplin policy explain -f manifests/ shop/web-1 shop/db-1 5432
  poplin policy explain --live shop/web-1 192.0.2.7 443/TCP
  poplin policy explain --live --staged shop/web-1 shop/db-1 5432
  poplin policy explain --live node:n1 kube-system/coredns-abc 53/UDP
  poplin policy explain -f manifests/ -n shop web www.example.com=192.0.2.7 443 -o json`,
    )
    .action((from: string, to: string, port: string | undefined, options: ExplainOptions) =>
      context.act(async () => {
        const asked = port === undefined ? undefined : parsePort(port);
        const { connections, counterOf } =
          options.file || options.live
            ? await explainObjects({ from, to, asked }, options, context)
            : await explainByAgent({ from, to, asked }, options, context);
        const text = (value: readonly ExplainedConnection[]): string => formatConnections(value, counterOf);
        context.terminal.out(await formatValue(options.output, connections, text));
        const denied = connections.some(({ explanation }) => explanation.verdict === 'deny');
        return denied ? exitCode.negative : exitCode.ok;
      }),
    );
}

interface Question {
  readonly from: string;
  readonly to: string;
  readonly asked: ServedPort | undefined;
}

interface Answer {
  readonly connections: readonly (ExplainedConnection & { readonly counters?: readonly PolicyCounterView[] })[];
  readonly counterOf?: CounterOf;
}

async function explainObjects(question: Question, options: ExplainOptions, context: CliContext): Promise<Answer> {
  const { asked } = question;
  const cluster = simulate(await loadObjects(options), context);
  const source = await parseEnd(question.from, cluster, options.namespace);
  const target = await parseEnd(question.to, cluster, options.namespace);
  const explain = (of: SimulatedCluster) =>
    explainEnds(of, source, target, asked ? [asked] : target.ports, options.family);
  const connections = explain(cluster);
  if (connections.length === 0) throw nothingToAsk(source, target, asked);
  if (!options.staged) return { connections };
  const would = explain(withStagedPolicies(cluster));
  const staged = would.map((one, i) => ({ ...one, staged: { inForce: connections[i]!.explanation.verdict } }));
  return { connections: staged };
}

/** What is in force on this node, with what the kernel counted. */
async function explainByAgent(question: Question, options: ExplainOptions, context: CliContext): Promise<Answer> {
  const { asked } = question;
  if (!asked)
    throw usage('give the port, as in 80/TCP; or -f or --live, to ask for every port that the target says it serves');
  const [from, to] = await Promise.all([question.from, question.to].map((text) => agentEnd(text, options.namespace)));
  const query = { from: from!, to: to!, ...asked, ...(options.staged && { staged: true }) };
  const view = await connect(options, context.env).policyExplain(query);
  const of = (family: string): number => (family === 'ipv4' ? 4 : 6);
  const connections = view.connections
    .filter(({ family }) => options.family === undefined || Number(options.family) === of(family))
    .map((one) => ({ ...one, counters: view.counters.filter(({ family }) => family === of(one.family)) }));
  if (connections.length === 0) throw usage(`the two have no IPv${options.family} addresses both`);
  const counterOf: CounterOf = ({ endpoint, direction, policy, rule, tier, family }) =>
    view.counters.find(
      (one) =>
        one.endpoint === endpoint &&
        one.direction === direction &&
        one.family === of(family) &&
        (policy === undefined ? one.endOfTier === tier : one.policy === policy && one.rule === rule),
    );
  return { connections, counterOf };
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
function explainEnds(
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
            ...connectionEnds(from, to, fromAddress, toAddress),
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

/** The second family is told apart only where something of it differs, as counters do. */
function formatConnections(connections: readonly ExplainedConnection[], counterOf: CounterOf | undefined): string {
  const blocks: string[] = [];
  for (const [index, connection] of connections.entries()) {
    const before = connections[index - 1];
    if (!counterOf && before && connection.family === 'ipv6' && alike(before, connection)) {
      blocks[blocks.length - 1] += `IPv6 (${connection.from.address} -> ${connection.to.address}): the same\n`;
    } else blocks.push(formatExplanation(connection, counterOf));
  }
  return blocks.join('\n');
}

function alike(a: ExplainedConnection, b: ExplainedConnection): boolean {
  return a.port === b.port && JSON.stringify(a.explanation) === JSON.stringify(b.explanation);
}
