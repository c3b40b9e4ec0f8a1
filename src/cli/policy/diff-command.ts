/** `poplin policy diff`: what a change of policies would change, before it is applied. */
import type { Command } from 'commander';
import { type ModelUpdate, objectKey } from '#model';
import { diffClusters, diffFlows, type FlowChange, type FlowDiff, type PolicyDiff, type VerdictChange } from '#policy';
import type { CliContext } from '../context.ts';
import { exitCode } from '../exit-codes.ts';
import { formatTable, formatValue, type OutputFormat, withOutput } from '../output.ts';
import { readFlows } from './flow-file.ts';
import { othersOf, podFilter, portsOf, type SelectionOptions } from './selection.ts';
import { collect, loadFiles, loadObjects, type Objects, type SourceOptions, simulate, usage } from './source.ts';

interface DiffCommandOptions extends SourceOptions, SelectionOptions {
  readonly merge?: boolean;
  readonly flows?: string;
  readonly limit: string;
  readonly output: OutputFormat;
}

export interface DiffReport extends PolicyDiff {
  readonly recorded?: FlowDiff & { readonly leftOut: number };
}

const limitMax = 100_000;

export function registerDiff(policy: Command, context: CliContext): void {
  withOutput(policy.command('diff'))
    .requiredOption(
      '-f, --file <new>',
      'manifests as they shall be; a second -f: as they are (without: see --live)',
      collect,
    )
    .option('--live', 'compare with what the API server holds (so without a second -f)')
    .option('--kubeconfig <file>', 'credentials (default: $KUBECONFIG, the service account of a pod, ~/.kube/config)')
    .option('--kube-api-server <url>', 'API server to ask instead of the one that the credentials name')
    .option(
      '--merge',
      'NEW holds only what changes: it is laid over what is there, as kubectl apply does (so with --live)',
    )
    .option('--flows <file>', 'flows as poplin flows -o json prints them: which of them would change')
    .option('-n, --namespace <namespace>', 'only pods of this namespace; may be given several times', collect)
    .option('-p, --port <port>', 'ask for this port of every target; may be given several times', collect)
    .option('--with <end>', 'an end outside too: an address, or NAME=ADDRESS; may be given several times', collect)
    .option('--limit <count>', 'changes that are listed; all are counted', '100')
    .summary('which pairs of pods, and which recorded flows, a change of policies would open or close')
    .description(
      'Computes who reaches whom before and after, and lists the pairs whose verdict changes; pods that are alike in both are one line.\n' +
        'Exit code 0: nothing changes; 1: something does.',
    )
    .addHelpText(
      'after',
      `
Examples:
  poplin policy diff -f new-policy.yaml --live
  poplin policy diff -f new-policy.yaml --live --flows flows.jsonl
  poplin policy diff -f changed/ -f manifests/
  poplin policy diff -f new-policy.yaml -f manifests/ --merge -o json`,
    )
    .action((options: DiffCommandOptions) =>
      context.act(async () => {
        const report = await compare(options, context);
        context.terminal.out(await formatValue(options.output, report, formatDiff));
        const same = report.changesCount === 0 && (report.recorded?.changes.length ?? 0) === 0;
        return same ? exitCode.ok : exitCode.negative;
      }),
    );
}

async function compare(options: DiffCommandOptions, context: CliContext): Promise<DiffReport> {
  const changesMax = Number(options.limit);
  if (!Number.isInteger(changesMax) || changesMax < 0 || changesMax > limitMax) {
    throw usage(`--limit ${JSON.stringify(options.limit)}: give 0 to ${limitMax}`);
  }
  const [newFile, oldFile, ...further] = options.file ?? [];
  if (newFile === undefined || further.length > 0)
    throw usage('give -f once for the new manifests, and once more for the old');
  const overlaid = options.merge || oldFile === undefined;
  const now = await loadFiles([newFile]);
  if (!overlaid && !now.updates.some(({ kind }) => kind === 'Pod')) {
    throw usage(
      `${newFile} holds no pod, so there is nothing to compare: if it is to be laid over ${oldFile}, give --merge`,
    );
  }
  const { file: _, ...live } = options;
  const old = await loadObjects(oldFile === undefined ? { ...live, live: true } : { ...options, file: [oldFile] });
  const updates = overlaid ? overlay(old.updates, now.updates) : now.updates;
  const services = overlaid ? overlayServices(old.services, now.services) : now.services;
  const before = simulate(old, context);
  const after = simulate({ updates, services, faults: now.faults }, context);
  const others = await othersOf(options, after);
  const ports = portsOf(options);
  const diff = diffClusters(before, after, {
    others,
    changesMax,
    keep: podFilter(options),
    ...(ports && { ports }),
  });
  if (options.flows === undefined) return diff;
  const { flows, leftOut } = await readFlows(options.flows);
  return { ...diff, recorded: { ...diffFlows(before, after, flows), leftOut } };
}

/** What `kubectl apply` of the second makes of the first. A Namespace that is only mentioned changes none that is there. */
function overlay(below: readonly ModelUpdate[], above: readonly ModelUpdate[]): ModelUpdate[] {
  const objects = new Map(below.map((update) => [`${update.kind} ${update.key}`, update]));
  for (const update of above) {
    const implied = update.kind === 'Namespace' && update.type === 'upsert' && update.object.metadata.uid === '';
    const onlyMentioned = implied && Object.keys(update.object.metadata.labels).length === 1;
    const ref = `${update.kind} ${update.key}`;
    if (!onlyMentioned || !objects.has(ref)) objects.set(ref, update);
  }
  return [...objects.values()];
}

function overlayServices(below: Objects['services'] = [], above: Objects['services'] = []): Objects['services'] {
  return [...new Map([...below, ...above].map((service) => [objectKey(service), service])).values()];
}

const endsShownMax = 10;

export function formatDiff(report: DiffReport): string {
  const { changes, changesCount, pairs, added, removed, recorded } = report;
  const rows = [...bothFamilies(changes)].map(([change, families]) => [
    sideText(change.from, change.sources),
    sideText(change.to, change.targets),
    `${change.protocol} ${change.port}`,
    families.join(' '),
    verdictText(change),
    String(change.pairs * families.length),
  ]);
  const table =
    rows.length > 0
      ? formatTable(['FROM', 'TO', 'PORT', 'FAMILY', 'VERDICT', 'PAIRS'], rows)
      : changesCount === 0
        ? 'No pair of pods changes its verdict.\n'
        : '';
  const lines = [
    ...(changes.length < changesCount ? [`${changesCount - changes.length} more changes: --limit lists more`] : []),
    `${pairs.opened} pairs opened, ${pairs.closed} closed, ${pairs.unchanged} as before (each pair, port and family)`,
    ...(added.length > 0 ? [`only after: ${listText(added)}`] : []),
    ...(removed.length > 0 ? [`only before: ${listText(removed)}`] : []),
  ];
  return `${table}${rows.length > 0 ? '\n' : ''}${lines.join('\n')}\n${recorded ? `\n${formatFlows(recorded)}` : ''}`;
}

/** What changes alike in both families is one row. */
function bothFamilies(changes: readonly VerdictChange[]): Map<VerdictChange, string[]> {
  const alike = Map.groupBy(changes, ({ family: _, ...rest }) => JSON.stringify(rest));
  return new Map([...alike.values()].map((group) => [group[0]!, group.map(({ family }) => family)]));
}

function sideText(first: string, count: number): string {
  return count === 1 ? first : `${first} (+${count - 1})`;
}

function verdictText({ before, after }: Pick<VerdictChange, 'before' | 'after'>): string {
  return `${before} -> ${after === 'deny' ? 'DENY' : after}`;
}

function listText(ids: readonly string[]): string {
  const more = ids.length > endsShownMax ? ` and ${ids.length - endsShownMax} more` : '';
  return `${ids.slice(0, endsShownMax).join(', ')}${more}`;
}

const flowsShownMax = 100;

function formatFlows({ changes, flows, leftOut }: NonNullable<DiffReport['recorded']>): string {
  const rows = changes
    .slice(0, flowsShownMax)
    .map((flow) => [
      flow.from,
      flow.to,
      `${flow.protocol} ${flow.port}`,
      verdictText(flow),
      String(flow.count),
      flow.decided.map(decidedText).join('; '),
    ]);
  const table = rows.length > 0 ? formatTable(['FROM', 'TO', 'PORT', 'VERDICT', 'PACKETS', 'BY'], rows) : '';
  const more = changes.length > rows.length ? `${changes.length - rows.length} more of them with -o json\n` : '';
  const others = [
    ...(flows.unknown > 0 ? [`${flows.unknown} of ends that are not known`] : []),
    ...(leftOut > 0 ? [`${leftOut} left out (without ports, or dropped by no policy)`] : []),
  ];
  const counts = [`recorded packets: ${flows.changed} change, ${flows.unchanged} do not`, ...others].join(', ');
  return `${table}${more}${counts}\n`;
}

function decidedText({ by, policy, rule, tier }: FlowChange['decided'][number]): string {
  if (by === 'rule') return `${policy} rule ${rule! + 1}`;
  return by === 'endOfTier' ? `end of tier ${tier}` : 'no policy';
}
