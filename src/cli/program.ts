/** The whole command line, built around what it is given so that tests can run it inside their process. */
import { Command, CommanderError } from 'commander';
import { registerBgp } from './bgp-commands.ts';
import { registerConfig } from './config-commands.ts';
import type { Environment } from './connection.ts';
import { createContext } from './context.ts';
import { exitCode, exitCodesHelp } from './exit-codes.ts';
import { registerFlows } from './flows-command.ts';
import { registerInstall } from './install-commands.ts';
import type { Terminal } from './output.ts';
import { registerPolicy } from './policy-commands.ts';
import { registerPreflight } from './preflight-command.ts';
import { registerRunCommands } from './run-commands.ts';
import { registerStatus } from './status-command.ts';
import { registerUninstall } from './uninstall-command.ts';

export interface CliDeps {
  readonly terminal: Terminal;
  readonly env: Environment;
  readonly version: string;
  readonly now: () => number;
  readonly setExitCode: (code: number) => void;
}

/** Runs one command line (without the names of runtime and script). Unexpected errors are thrown. */
export async function runCli(args: readonly string[], deps: CliDeps): Promise<void> {
  const context = createContext(deps);
  const program = new Command('poplin')
    .description('Routed pod networking for Kubernetes: BGP, routes, network policy and CNI in one agent per node.')
    .version(deps.version, '-V, --version', 'print the version')
    .enablePositionalOptions()
    .configureHelp({ showGlobalOptions: false, helpWidth: process.stdout.columns || 120 })
    .configureOutput({ writeOut: deps.terminal.out, writeErr: deps.terminal.err })
    .exitOverride()
    .showHelpAfterError('(--help says more)')
    .addHelpText(
      'after',
      `
Examples:
  poplin agent --config /etc/poplin/agent.yaml    run the agent
  poplin status                                   is it well?
  poplin bgp routes 10.1.2.3                      where does a packet to this pod go?
  poplin lab demo                                 see it all work on this machine
${exitCodesHelp}`,
    );
  registerStatus(program, context);
  registerBgp(program, context);
  registerPolicy(program, context);
  registerFlows(program, context);
  registerConfig(program, context);
  registerPreflight(program, context);
  registerRunCommands(program, context);
  registerInstall(program, context);
  registerUninstall(program, context);
  await registerLab(program, args);
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // Asked-for help and version are "errors" of code 0; help for want of a command is none that was asked for.
    deps.setExitCode(error.exitCode === 0 ? exitCode.ok : exitCode.usage);
  }
}

/** The lab is loaded only when it is meant; elsewhere one line stands for it. */
async function registerLab(program: Command, args: readonly string[]): Promise<void> {
  const asksHelp = args[0] === 'help' && args[1] === 'lab';
  if (args[0] === 'lab' || asksHelp) {
    const { registerLabCommands } = await import('#lab');
    registerLabCommands(program);
  } else {
    program.command('lab').summary('build nodes, routers and pods on this machine, and probe them with real packets');
  }
}
