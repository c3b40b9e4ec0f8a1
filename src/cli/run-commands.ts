/** `poplin agent`, `cleanup`, `speaker`: what runs something on this machine. Each loads its part only when it is run. */
import fs from 'node:fs';
import type { Command } from 'commander';
import type { CleanupSummary } from '#agent';
import { agentOptions } from '#config';
import { loadFrom, withAgentOptions } from './agent-config.ts';
import { speakerSocketPath } from './connection.ts';
import type { CliContext } from './context.ts';
import { exitCode } from './exit-codes.ts';
import { formatTable, formatValue, type OutputFormat, withOutput } from './output.ts';

export function registerRunCommands(program: Command, context: CliContext): void {
  registerAgent(program, context);
  registerCleanup(program, context);
  registerSpeaker(program, context);
}

function registerAgent(program: Command, context: CliContext): void {
  withAgentOptions(program.command('agent'))
    .summary('run the agent of this node')
    .description(
      'Run the agent of this node, in the foreground, with JSON log lines on stderr. A flag counts more than the environment,\n' +
        'which counts more than the file.',
    )
    .addHelpText(
      'after',
      `
Signals:
  SIGTERM, SIGINT  stop for a restart: peers keep our routes (graceful restart), rules and routes stay in the kernel
  SIGQUIT          drain: BGP sessions are closed with Cease, and peers drop our routes at once

Examples:
  poplin agent --datastore-dir /etc/poplin/manifests --node-name n1
  POPLIN_LOG_LEVEL=debug poplin agent --config /etc/poplin/agent.yaml
  poplin config show --local --config /etc/poplin/agent.yaml    # what would be in force, and from where`,
    )
    .action((parsed: Record<string, unknown>) =>
      context.act(async () => {
        const loaded = loadFrom(parsed, context.env);
        const { runAgent } = await import('#agent');
        await runAgent(loaded);
        return exitCode.ok;
      }),
    );
}

interface CleanupFlags {
  readonly output: OutputFormat;
  readonly cniBin?: string;
  readonly summaryFile?: string;
}

function registerCleanup(program: Command, context: CliContext): void {
  withOutput(withAgentOptions(program.command('cleanup')))
    .summary('remove everything that the agent ever made on this machine')
    .description(
      'Remove everything that the agent ever made on this machine: chains and sets, routes and next hops, pod interfaces, the CNI\n' +
        'configuration, plugins and state; and put changed kernel settings back. Pods that run lose their network.\n' +
        'Stop the agent first; give the options it ran with.',
    )
    .option(
      '--cni-bin <folder>',
      "the runtime's folder of CNI plugins, where it is mounted elsewhere (default: that of --cni-binary)",
    )
    .option('--summary-file <file>', 'write the summary there as well, as one line of JSON')
    .addHelpText(
      'after',
      `
Examples:
  poplin cleanup
  poplin cleanup --config /etc/poplin/agent.yaml -o json`,
    )
    .action((parsed: Record<string, unknown> & CleanupFlags) =>
      context.act(async () => {
        const { config } = loadFrom(parsed, context.env);
        const { runCleanup } = await import('#agent');
        const { cniBin, summaryFile } = parsed;
        const summary = await runCleanup(config, cniBin === undefined ? {} : { pluginFolder: cniBin });
        if (summaryFile !== undefined) fs.writeFileSync(summaryFile, summaryLine(summary));
        context.terminal.out(
          await formatValue(parsed.output, summary, ({ removed, restored, left, notes }) =>
            [
              formatTable(
                ['REMOVED', 'COUNT'],
                Object.entries(removed).map(([what, count]) => [what, String(count)]),
              ),
              ...restored.map((name) => `restored ${name}\n`),
              ...notes.map((what) => `note: ${what}\n`),
              ...left.map((what) => `still there: ${what}\n`),
            ].join(''),
          ),
        );
        return summary.left.length === 0 ? exitCode.ok : exitCode.negative;
      }),
    );
}

/** A termination message of a container holds 4096 bytes. */
function summaryLine(summary: CleanupSummary): string {
  const some = (texts: readonly string[]): string[] => texts.slice(0, 5).map((text) => text.slice(0, 250));
  const { restored, left, notes } = summary;
  const short = { ...summary, restored: restored.slice(0, 15), left: some(left), notes: some(notes) };
  return `${JSON.stringify(short)}\n`;
}

interface SpeakerFlags {
  readonly config: string;
  readonly logLevel: string;
  readonly socket: string;
  readonly stateDir: string;
}

function registerSpeaker(program: Command, context: CliContext): void {
  program
    .command('speaker')
    .summary('run the BGP speaker alone, without Kubernetes')
    .description(
      'Run the BGP speaker alone: it announces and relays as its file says, and installs what it learns when the file says\n' +
        '`kernel: true`. In the foreground, with JSON log lines on stderr. `poplin bgp` asks it, and gives it orders, over its socket.',
    )
    .requiredOption('--config <file>', 'YAML: asn, routerId, listen, originate, peers (see docs/bgp.md)')
    .option('--log-level <level>', 'error, warn, info or debug', 'info')
    .option('--socket <path>', 'where it is asked; empty: nowhere', speakerSocketPath(context.env))
    .option(
      '--state-dir <folder>',
      'with `kernel: true`: remembers settings that it changed',
      agentOptions.stateDir.default,
    )
    .addHelpText(
      'after',
      `
Example file:
  asn: 65001
  routerId: 192.0.2.1
  listen: ["0.0.0.0:179"]
  originate: [10.1.0.0/16]
  peers:
    - address: 192.0.2.2
      asn: 65002
      families: [ipv4-unicast, ipv6-unicast]
      holdTime: 90s
      password: "secret"
      import: accept
      export: accept

Signals: SIGTERM and SIGINT stop for a restart (peers keep our routes), SIGQUIT drains (Cease), SIGHUP reads the file again.

Example:
  poplin speaker --config speaker.yaml
  poplin bgp reload --dry-run            # which sessions would a changed file reset, and why?`,
    )
    .action((flags: SpeakerFlags) => context.act(() => runSpeaker(flags)));
}

async function runSpeaker({ config, logLevel, socket, stateDir }: SpeakerFlags): Promise<number> {
  const [{ runSpeakerDaemon }, { createLogger }, { configFile: readable, ConfigError }] = await Promise.all([
    import('#agent/speaker'),
    import('#obs'),
    import('#config'),
  ]);
  const level = agentOptions.logLevel.parse(logLevel);
  if (!level) {
    const problem = `flag --log-level: ${JSON.stringify(logLevel)}; give ${agentOptions.logLevel.allowed}`;
    throw new ConfigError(problem, { code: 'CONFIG_INVALID', problems: [problem] });
  }
  readable(config, (file) => fs.readFileSync(file, 'utf8')); // says what is wrong with an unreadable one
  // Before it starts: a signal in between would end it without a word to its peers.
  const stopping = new Promise<'graceful' | 'drain'>((resolve) => {
    // Heard again and again: a second signal must not cut short what the first one began.
    process.on('SIGTERM', () => resolve('graceful'));
    process.on('SIGINT', () => resolve('graceful'));
    process.on('SIGQUIT', () => resolve('drain'));
  });
  let reload = (): void => undefined;
  process.on('SIGHUP', () => reload());
  const log = createLogger({ level });
  const speaker = await runSpeakerDaemon({ configFile: config, socketPath: socket, stateDir, log });
  reload = () => speaker.reload();
  const mode = await stopping;
  await speaker.stop(mode);
  return exitCode.ok;
}
