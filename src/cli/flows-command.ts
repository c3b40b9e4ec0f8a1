/** `poplin flows`: what policy denied on this node, and allowed when that is logged. */
import type { Command } from 'commander';
import type { ApiClient, FlowCountView, FlowDeciderView, FlowEndView, FlowLogView, FlowView } from '#api';
import { type AskOptions, asking, connect } from './connection.ts';
import type { CliContext } from './context.ts';
import { exitCode } from './exit-codes.ts';
import { formatTable, formatValue } from './output.ts';

const lastDefault = 200;
/** One question of `--follow`; the agent answers sooner when there is something. */
const waitSec = 5;
const followLimit = 1000;

interface FlowsOptions extends AskOptions {
  readonly follow?: boolean;
  readonly last?: string;
  readonly verdict?: string;
  readonly namespace?: string;
  readonly pod?: string;
  readonly staged?: boolean;
  readonly counts?: boolean;
}

export function registerFlows(program: Command, context: CliContext): void {
  asking(program.command('flows'))
    .summary('flows that policy denied on this node')
    .description(
      'Flows that policy denied on this node (and allowed ones with flowLog: all): pods, policy, rule. With -o json one object a line.',
    )
    .option('-f, --follow', 'go on with what comes, until interrupted')
    .option('--last <number>', `how many of the past ones (default: ${lastDefault}, with --follow none)`)
    .option('--verdict <verdict>', 'only denied, allowed or dropped ones (dropped: not by policy)')
    .option('-n, --namespace <namespace>', 'only from or to pods of this namespace')
    .option('--pod <pod>', 'only from or to this pod: NAMESPACE/NAME, or NAME with -n')
    .option('--staged', 'only those on which the staged policies would decide otherwise')
    .option('--counts', 'packets by policy and rule since the agent started, instead of flows')
    .addHelpText(
      'after',
      `
Examples:
  poplin flows
  poplin flows --follow --pod shop/api-1
  poplin flows --staged
  poplin flows --counts
  poplin flows -o json | jq -r 'select(.destination.port == 5432) | .source.pod'`,
    )
    .action((options: FlowsOptions) =>
      context.act(async () => {
        const fault = faultOf(options);
        if (fault !== undefined) {
          context.terminal.err(`poplin: ${fault}\n`);
          return exitCode.usage;
        }
        const client = connect(options, context.env);
        if (options.counts) {
          context.terminal.out(await formatValue(options.output, await client.flowCounts(), formatCounts));
          return exitCode.ok;
        }
        return options.follow ? follow(client, options, context) : printPast(client, options, context);
      }),
    );
}

function faultOf({ last, verdict, pod, namespace, counts, follow: followed }: FlowsOptions): string | undefined {
  if (last !== undefined && !/^(0|[1-9]\d{0,2}|1000)$/.test(last)) return `--last ${last} is not 0..1000`;
  if (verdict !== undefined && !['denied', 'allowed', 'dropped'].includes(verdict))
    return `--verdict ${verdict} is none of denied, allowed and dropped`;
  if (counts && followed) return '--counts and --follow exclude each other';
  if (pod === undefined || /^[^/]+\/[^/]+$/.test(pod) || (namespace !== undefined && !pod.includes('/')))
    return undefined;
  return `${JSON.stringify(pod)} is no pod: write NAMESPACE/NAME, or NAME with -n`;
}

function queryOf({ verdict, namespace, pod, staged }: FlowsOptions): Record<string, string> {
  return {
    ...(staged ? { staged: 'true' } : {}),
    ...(verdict === undefined ? {} : { verdict }),
    ...(pod !== undefined
      ? { pod: pod.includes('/') ? pod : `${namespace}/${pod}` }
      : namespace === undefined
        ? {}
        : { namespace }),
  };
}

async function printPast(client: ApiClient, options: FlowsOptions, context: CliContext): Promise<number> {
  const limit = Number(options.last ?? lastDefault);
  const { flows, log } = await client.flows({ ...queryOf(options), limit: String(Math.max(1, limit)) });
  await flowPrinter(options, context)(limit === 0 ? [] : flows);
  return tellLog(log, context);
}

/** Ends when the agent goes, or by a signal. */
async function follow(client: ApiClient, options: FlowsOptions, context: CliContext): Promise<number> {
  const print = flowPrinter(options, context);
  const query = queryOf(options);
  const past = Number(options.last ?? 0);
  const first = await client.flows({ ...query, limit: String(Math.max(1, past)) });
  await print(past === 0 ? [] : first.flows);
  if (tellLog(first.log, context) !== exitCode.ok && first.log.verdicts === 'off') return exitCode.negative;
  let { next, log } = first;
  for (;;) {
    const answer = await client.flows({
      ...query,
      after: String(next),
      limit: String(followLimit),
      waitSec: String(waitSec),
    });
    if (answer.missed > 0) context.terminal.err(`poplin: ${answer.missed} flows came too fast to be shown\n`);
    if (answer.log.lost > log.lost)
      context.terminal.err(`poplin: the agent did not get ${answer.log.lost - log.lost} packets in time\n`);
    await print(answer.flows);
    ({ next, log } = answer);
  }
}

/** Says why there may be no flows, or not all. */
function tellLog({ verdicts, problem }: FlowLogView, { terminal }: CliContext): number {
  if (verdicts === 'off') {
    terminal.err('poplin: flows are not logged on this node: set flowLog to denied or all\n');
    return exitCode.negative;
  }
  if (problem === undefined) return exitCode.ok;
  terminal.err(`poplin: ${problem}\n`);
  return exitCode.negative;
}

/** Prints flows as they come; columns of a table grow with what they held before. */
function flowPrinter(
  { output }: FlowsOptions,
  { terminal }: CliContext,
): (flows: readonly FlowView[]) => Promise<void> {
  const widths = [24, 15, 20, 20, 8, 7];
  let headed = false;
  return async (flows) => {
    if (output === 'json') return terminal.out(flows.map((flow) => `${JSON.stringify(flow)}\n`).join(''));
    if (output === 'yaml') {
      for (const flow of flows) terminal.out(`---\n${await formatValue('yaml', flow, () => '')}`);
      return;
    }
    const rows = [...(headed ? [] : [header]), ...flows.map(flowRow)];
    headed = true;
    for (const row of rows)
      for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
    const line = (row: readonly string[]): string =>
      row
        .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column]!)))
        .join('   ')
        .trimEnd();
    terminal.out(rows.map((row) => `${line(row)}\n`).join(''));
  };
}

const header = ['TIME', 'VERDICT', 'FROM', 'TO', 'PROTOCOL', 'PACKETS', 'BY'];

function flowRow(flow: FlowView): string[] {
  const { time, verdict, direction, source, destination, packets, host, by, staged } = flow;
  const decider = `${host ? 'host endpoint: ' : ''}${deciderText(by)}`;
  return [
    time,
    `${verdict} ${direction}`,
    endText(source),
    endText(destination),
    protocolText(flow),
    String(packets),
    staged ? `${decider}; staged: ${staged.verdict} by ${deciderText(staged.by)}` : decider,
  ];
}

function endText({ pod, node, address }: FlowEndView): string {
  return pod ?? (node === undefined ? address : `node ${node}`);
}

function protocolText({ protocol, destination, icmp }: FlowView): string {
  if (icmp) return `${protocol} ${icmp.type}/${icmp.code}`;
  return destination.port === undefined ? protocol : `${protocol} ${destination.port}`;
}

function deciderText(by: FlowDeciderView): string {
  switch (by.type) {
    case 'rule':
      return `${by.policy} ${by.rule === 0 ? 'cannot be expressed' : `rule ${by.rule}`}${by.text === undefined ? '' : `: ${by.text}`}`;
    case 'endOfTier': {
      const policies = by.policies.length > 0 ? `, not allowed by ${by.policies.join(', ')}` : '';
      return `end of tier ${by.tier}${policies}`;
    }
    case 'none':
      return 'no policy';
    case 'dataplane':
      return `${by.reason}${by.pod === undefined ? '' : ` (sent by ${by.pod})`}`;
  }
}

export function formatCounts(counts: readonly FlowCountView[]): string {
  const rows = counts
    .toSorted((a, b) => b.packets - a.packets)
    .map(({ packets, verdict, direction, namespace, policy, rule, tier, staged }) => [
      String(packets),
      `${staged ? 'would be ' : ''}${verdict} ${direction}`,
      namespace,
      policy || (tier !== '' ? `end of tier ${tier}` : verdict === 'dropped' ? '' : 'no policy'),
      tier === '' ? rule : '',
    ]);
  return formatTable(['PACKETS', 'VERDICT', 'NAMESPACE', 'POLICY', 'RULE'], rows);
}
