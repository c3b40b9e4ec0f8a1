/** `poplin policy lint`: policies that do nothing, less or more than they seem to say. For people and for CI. */
import { type Command, Option } from 'commander';
import { type LintFinding, lintPolicies } from '#policy';
import type { CliContext } from '../context.ts';
import { exitCode } from '../exit-codes.ts';
import { formatTable, formatValue, type OutputFormat, withOutput } from '../output.ts';
import { complete, loadObjects, type SourceOptions, simulate, withSource } from './source.ts';

interface LintOptions extends SourceOptions {
  readonly failOn: 'error' | 'warning' | 'notice' | 'never';
  readonly output: OutputFormat;
}

export interface LintReport {
  /** Objects that cannot be read: they are not in force. */
  readonly errors: readonly string[];
  readonly findings: readonly LintFinding[];
}

export function registerLint(policy: Command, context: CliContext): void {
  withOutput(withSource(policy.command('lint')))
    .addOption(
      new Option('--fail-on <severity>', 'exit code 1 from this severity on')
        .choices(['error', 'warning', 'notice', 'never'])
        .default('warning'),
    )
    .summary('policies that select nothing, are shadowed, allow the world, or name ports that are missing')
    .description(
      `Findings, by severity:
  error    an object cannot be read, and is not in force
  warning  selects-nothing, peer-selects-nothing, port-name-missing (of all pods), allows-world (all ports in), shadowed
  notice   port-name-missing (of some pods), port-not-served, allows-world (some ports in, or out)
Exit code 1 when one is found from --fail-on on.`,
    )
    .addHelpText(
      'after',
      `
Examples:
  poplin policy lint -f manifests/
  poplin policy lint -f manifests/ --fail-on notice -o json
  poplin policy lint --live`,
    )
    .action((options: LintOptions) =>
      context.act(async () => {
        const objects = await loadObjects(options);
        const { updates } = complete(objects);
        const { state } = simulate({ updates, faults: [] }, context);
        const report: LintReport = { errors: objects.faults, findings: lintPolicies(updates, state) };
        context.terminal.out(await formatValue(options.output, report, formatLint));
        return fails(report, options.failOn) ? exitCode.negative : exitCode.ok;
      }),
    );
}

function fails({ errors, findings }: LintReport, from: LintOptions['failOn']): boolean {
  if (from === 'never') return false;
  if (errors.length > 0) return true;
  return findings.some(({ severity }) => from === 'notice' || (from === 'warning' && severity === 'warning'));
}

export function formatLint({ errors, findings }: LintReport): string {
  if (errors.length + findings.length === 0) return 'Nothing is found.\n';
  const rows = findings.map(({ severity, code, policy, direction, rule, message }) => [
    severity.toUpperCase(),
    code,
    [policy, direction, rule === undefined ? '' : `rule ${rule + 1}`].filter(Boolean).join(' '),
    message,
  ]);
  const table = formatTable(
    ['SEVERITY', 'CODE', 'WHERE', 'FOUND'],
    [...errors.map((error) => ['ERROR', 'invalid', '', error]), ...rows],
  );
  const count = (severity: LintFinding['severity']): number =>
    findings.filter((finding) => finding.severity === severity).length;
  return `${table}\n${errors.length} errors, ${count('warning')} warnings, ${count('notice')} notices\n`;
}
