/** `poplin install-cni`: what the DaemonSet's init container runs. */
import type { Command } from 'commander';
import type { CliContext } from './context.ts';
import { exitCode } from './exit-codes.ts';

interface InstallOptions {
  readonly dest: string;
  readonly source: string;
  readonly remove?: boolean;
}

export function registerInstall(program: Command, context: CliContext): void {
  program
    .command('install-cni')
    .summary('put the CNI plugins where the container runtime finds them')
    .description(
      'Copy the CNI plugins (poplin, and the reference portmap and loopback) into the folder where the container runtime looks for them. Safe to\n' +
        'repeat, also while the runtime runs them. A reference plugin that is there already and not of ours is kept.',
    )
    .requiredOption('--dest <folder>', "the runtime's folder of CNI plugins, e.g. /opt/cni/bin")
    .option('--source <folder>', 'folder with the plugins', '/app/cni')
    .option('--remove', 'take away again what was installed there')
    .addHelpText(
      'after',
      `
Examples:
  poplin install-cni --dest /host/opt/cni/bin
  poplin install-cni --dest /host/opt/cni/bin --remove`,
    )
    .action((options: InstallOptions) =>
      context.act(async () => {
        const { installPlugins, removePlugins } = await import('#cni');
        if (options.remove) {
          const removed = removePlugins(options.dest);
          context.terminal.out(removed.length === 0 ? 'nothing to remove\n' : `removed ${removed.join(', ')}\n`);
          return exitCode.ok;
        }
        const lines = Object.entries(installPlugins(options.source, options.dest)).map(([name, what]) => {
          const note = what === 'kept' ? ' (not installed by Poplin; remove it to get the one that Poplin brings)' : '';
          return `${what} ${options.dest}/${name}${note}\n`;
        });
        context.terminal.out(lines.join(''));
        return exitCode.ok;
      }),
    );
}
