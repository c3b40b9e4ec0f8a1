/** `poplin uninstall`: Poplin out of a cluster, as a Job there or from an administrator's machine. */
import { setTimeout as pause } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import { agentOptions, ConfigError, envOf } from '#config';
import type { CliContext } from './context.ts';
import { exitCode } from './exit-codes.ts';
import { formatTable, formatValue, type OutputFormat, withOutput } from './output.ts';

interface UninstallFlags {
  readonly yes?: boolean;
  readonly crds?: boolean;
  readonly kubeconfig?: string;
  readonly kubeApiServer?: string;
  readonly namespace: string;
  readonly nodeTimeoutSec: string;
  readonly image?: string;
  readonly output: OutputFormat;
}

export function registerUninstall(program: Command, context: CliContext): void {
  withOutput(program.command('uninstall'))
    .summary('take Poplin out of a cluster, and every node back to what it was')
    .description(
      'Take Poplin out of a cluster: agents, everything that they made on every node, interfaces of pods included, and its objects at\n' +
        'the API server. Without --yes nothing is changed: the pods that lose their network and all that would go are listed.\n' +
        'Safe to repeat, and goes on where a run before it was interrupted.',
    )
    .option('--yes', 'do it')
    .option(
      '--crds',
      'remove the definitions of projectcalico.org too that came with Poplin, and with them every BGPPeer, IPPool ...',
    )
    .option('--kubeconfig <path>', "credentials (default: $KUBECONFIG, the pod's service account, ~/.kube/config)")
    .addOption(
      new Option('--kube-api-server <url>', 'API server to talk to instead of the one that the credentials name').env(
        envOf('kubeApiServer'),
      ),
    )
    .option('--namespace <name>', 'namespace that Poplin is installed in', agentOptions.namespace.default)
    .option('--node-timeout-sec <seconds>', 'longest wait for one node', '120')
    .option('--image <image>', "image for the pods that clean nodes, instead of the agents' own")
    .addHelpText(
      'after',
      `
Examples:
  poplin uninstall                              what would go, and which pods lose their network
  poplin uninstall --yes
  kubectl apply -f uninstall-confirmed.yaml     the same as a Job`,
    )
    .action((flags: UninstallFlags) => context.act(() => run(flags, context)));
}

async function run(flags: UninstallFlags, context: CliContext): Promise<number> {
  const nodeTimeoutSec = Number(flags.nodeTimeoutSec);
  if (!Number.isInteger(nodeTimeoutSec) || nodeTimeoutSec < 1 || nodeTimeoutSec > 3600) {
    const problem = `flag --node-timeout-sec: ${JSON.stringify(flags.nodeTimeoutSec)}; give 1..3600 seconds`;
    throw new ConfigError(problem, { code: 'CONFIG_INVALID', problems: [problem] });
  }
  const [{ agentVersion, isEmpty, uninstall, uninstallText }, { connectKube }, { createLogger }] = await Promise.all([
    import('#agent'),
    import('#datastore'),
    import('#obs'),
  ]);
  const { kubeconfig, kubeApiServer, image, namespace } = flags;
  const client = connectKube(
    { log: createLogger({ level: 'error' }) },
    {
      ...(kubeconfig ? { kubeconfig } : {}),
      ...(kubeApiServer ? { apiServer: kubeApiServer } : {}),
      userAgent: `poplin-uninstall/${agentVersion()}`,
    },
  );
  try {
    const report = await uninstall(
      {
        client,
        pause: (ms) => pause(ms),
        nowMs: () => performance.now(),
        say: (line) => context.terminal.err(`${line}\n`),
      },
      { namespace, yes: flags.yes ?? false, crds: flags.crds ?? false, nodeTimeoutSec, ...(image ? { image } : {}) },
    );
    context.terminal.out(await formatValue(flags.output, report, () => uninstallText(report, formatTable)));
    const done = report.done ? report.done.left.length === 0 : isEmpty(report.plan);
    return done ? exitCode.ok : exitCode.negative;
  } finally {
    await client.close();
  }
}
