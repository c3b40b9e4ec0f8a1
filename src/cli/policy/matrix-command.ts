/** `poplin policy matrix`: who reaches whom, all of it. */
import { type Command, Option } from 'commander';
import {
  type ClassMatrix,
  classMatrix,
  countResults,
  type MatrixResult,
  matrixResults,
  matrixTotals,
  VerdictTable,
} from '#policy';
import type { CliContext } from '../context.ts';
import { exitCode } from '../exit-codes.ts';
import { matrixHtml } from './matrix-html.ts';
import { formatClasses } from './matrix-text.ts';
import { type Selected, type SelectionOptions, select, withSelection } from './selection.ts';
import { loadObjects, type SourceOptions, simulate, usage, withSource } from './source.ts';

interface MatrixOptions extends SourceOptions, SelectionOptions {
  readonly output: 'table' | 'json' | 'html';
  readonly byClass?: boolean;
}

/** Lines of JSON, 100 octets each, and cells of a table that a person or a browser can take in. */
const resultsMax = 2_000_000;
const tableEndsMax = 40;
const htmlClassesMax = 400;
const linesAtATime = 10_000;

export function registerMatrix(policy: Command, context: CliContext): void {
  withSelection(withSource(policy.command('matrix')))
    .addOption(new Option('-o, --output <format>', 'output format').choices(['table', 'json', 'html']).default('table'))
    .option('--by-class', 'pods that no rule tells apart as one; tables of more than 40 pods are always so')
    .summary('who reaches whom: the whole truth table')
    .description(
      'Computes every ordered pair of pods, every port that the target says it serves (or those of --port) and both families.\n' +
        '-o json prints what `poplin lab probe -o json` prints of the same cluster; with --by-class, {"classes", "results"}.',
    )
    .addHelpText(
      'after',
      `
Examples:
  poplin policy matrix -f manifests/
  poplin policy matrix -f manifests/ -o json > expected.json
  poplin policy matrix --live -n shop -o html > shop.html
  poplin policy matrix --live --from 'shop/*' --to 'db/*' -p 5432 --with internet=192.0.2.1`,
    )
    .action((options: MatrixOptions) =>
      context.act(async () => {
        const cluster = simulate(await loadObjects(options), context);
        const selected = await select(options, cluster);
        const ends = [...new Map([...selected.from, ...selected.to].map((end) => [end.id, end])).values()];
        const table = new VerdictTable(cluster.state, ends);
        if (options.output === 'json' && !options.byClass) printPairs(table, selected, context);
        else await printClasses(table, selected, options, ends.length, context);
        return exitCode.ok;
      }),
    );
}

function printPairs(table: VerdictTable, selected: Selected, context: CliContext): void {
  const count = countResults(selected);
  if (count > resultsMax) throw tooMany(`${count} lines`, resultsMax);
  printJsonList(matrixResults(table, selected), context);
  context.terminal.out('\n');
}

function printJsonList(results: Iterable<MatrixResult>, context: CliContext): void {
  let lines: string[] = [];
  let first = true;
  const flush = (): void => {
    context.terminal.out(`${first ? '' : ','}${lines.join(',')}`);
    first = false;
    lines = [];
  };
  context.terminal.out('[');
  for (const result of results) {
    lines.push(JSON.stringify(result));
    if (lines.length === linesAtATime) flush();
  }
  if (lines.length > 0) flush();
  context.terminal.out(']');
}

function tooMany(what: string, max: number): Error {
  return usage(
    `${what} are over ${max}: ask for fewer with --namespace, --from, --to or --port, or by classes with --by-class`,
  );
}

async function printClasses(
  table: VerdictTable,
  selected: Selected,
  { output, byClass }: MatrixOptions,
  ends: number,
  context: CliContext,
): Promise<void> {
  const pairs = !byClass && ends <= tableEndsMax;
  const matrix: ClassMatrix = pairs ? pairMatrix(table, selected) : classMatrix(table, selected);
  if (matrix.resultsCount > resultsMax) throw tooMany(`${matrix.resultsCount} lines by classes`, resultsMax);
  if (output === 'json') {
    context.terminal.out(`{"classes":${JSON.stringify(matrix.classes)},"results":`);
    printJsonList(matrix.results, context);
    context.terminal.out('}\n');
    return;
  }
  if (output === 'html' && matrix.classes.length > htmlClassesMax) {
    throw tooMany(`${matrix.classes.length} rows`, htmlClassesMax);
  }
  const results = [...matrix.results];
  const totals = matrixTotals(table, selected);
  context.terminal.out(
    output === 'html'
      ? matrixHtml(matrix.classes, results, totals)
      : formatClasses(matrix.classes, results, { totals, ends, pairs }),
  );
}

/** Every end as a class of its own. */
function pairMatrix(table: VerdictTable, selected: Selected): ClassMatrix {
  const names = new Set([...selected.from, ...selected.to].map(({ id }) => id));
  return {
    classes: [...names].map((name) => ({ name, members: [name] })),
    results: matrixResults(table, selected),
    resultsCount: countResults(selected),
  };
}
