/** `poplin preflight`: is this cluster fit for Poplin, and which manifest is for it? */
import type { Command } from 'commander';
import type { PreflightReport } from '#agent';
import type { CliContext } from './context.ts';
import { exitCode } from './exit-codes.ts';
import { formatTable, formatValue, type OutputFormat, withOutput } from './output.ts';

interface PreflightOptions {
  readonly kubeconfig?: string;
  readonly kubeApiServer?: string;
  readonly output: OutputFormat;
}

export function registerPreflight(program: Command, context: CliContext): void {
  withOutput(program.command('preflight'))
    .summary('look at a cluster before Poplin is installed: which manifest, and what is in the way')
    .description(
      'Look at a cluster before Poplin is installed: name the manifest for it (with the projectcalico.org definitions, or without where\n' +
        'they are served already) and what is in the way. Reads only. Exit code 1 if there is a problem.',
    )
    .option('--kubeconfig <file>', 'credentials (default: $KUBECONFIG, the service account of a pod, ~/.kube/config)')
    .option('--kube-api-server <url>', 'API server to ask instead of the one that the credentials name')
    .addHelpText(
      'after',
      `
Examples:
  poplin preflight
  poplin preflight --kubeconfig admin.conf -o json`,
    )
    .action((options: PreflightOptions) =>
      context.act(async () => {
        const report = await look(options);
        context.terminal.out(await formatValue(options.output, report, formatReport));
        return report.findings.some(({ severity }) => severity === 'problem') ? exitCode.negative : exitCode.ok;
      }),
    );
}

async function look(options: PreflightOptions): Promise<PreflightReport> {
  const [{ connectKube }, { silentLogger }, { decidePreflight, preflightFacts }] = await Promise.all([
    import('#datastore'),
    import('#kit'),
    import('#agent'),
  ]);
  const client = connectKube(
    { log: silentLogger },
    { kubeconfig: options.kubeconfig, apiServer: options.kubeApiServer },
  );
  try {
    return decidePreflight(await preflightFacts(client));
  } finally {
    await client.close();
  }
}

function formatReport({ server, version, manifest, because, findings }: PreflightReport): string {
  const table = findings.map(({ severity, subject, message }) => [severity.toUpperCase(), subject, message]);
  const found = table.length === 0 ? 'Nothing is in the way.\n' : formatTable(['', 'WHAT', 'FOUND'], table);
  return `Kubernetes ${version} at ${server}\nManifest: ${manifest} (${because})\n\n${found}`;
}
