/** `poplin config show`: every option with where its value comes from. */
import type { Command } from 'commander';
import type { ConfigValueView } from '#api';
import { type OptionName, optionNames } from '#config';
import { loadFrom, showValue, withAgentOptions } from './agent-config.ts';
import { type AskOptions, asking, connect } from './connection.ts';
import type { CliContext } from './context.ts';
import { exitCode } from './exit-codes.ts';
import { formatTable, formatValue } from './output.ts';

export function registerConfig(program: Command, context: CliContext): void {
  const config = program
    .command('config')
    .summary('options and where their values come from')
    .description('Options and where their values come from.');
  withAgentOptions(asking(config.command('show')))
    .description(
      'The options in force in the running agent; with --local, those that an agent started like this would have.',
    )
    .option('--local', 'do not ask the agent: read flags, environment and file here')
    .addHelpText(
      'after',
      `
Examples:
  poplin config show
  poplin config show --local --config agent.yaml      # check a file before it is used`,
    )
    .action((options: AskOptions & { readonly local?: boolean } & Record<string, unknown>) =>
      context.act(async () => {
        const here = optionNames.some((name) => options[name] !== undefined) || options['config'] !== undefined;
        if (here && !options.local) {
          context.terminal.err('poplin: options of the agent go with --local: the running agent has its own\n');
          return exitCode.usage;
        }
        const values: readonly ConfigValueView[] = options.local
          ? loadFrom(options, context.env).values
          : await connect(options, context.env).config();
        context.terminal.out(await formatValue(options.output, values, formatConfig));
        return exitCode.ok;
      }),
    );
}

function formatConfig(values: readonly ConfigValueView[]): string {
  return formatTable(
    ['OPTION', 'VALUE', 'SOURCE'],
    values.map(({ name, value, source }) => [name, showValue(name as OptionName, value), source]),
  );
}
