/** `poplin policy show POD`: what applies to a pod of this node. */
import type { Command } from 'commander';
import type { PolicyDirectionView, PolicyEndpointView } from '#api';
import { type AskOptions, asking, connect } from './connection.ts';
import type { CliContext } from './context.ts';
import { exitCode } from './exit-codes.ts';
import { formatValue } from './output.ts';
import { registerDiff } from './policy/diff-command.ts';
import { registerExplain } from './policy/explain-command.ts';
import { registerLint } from './policy/lint-command.ts';
import { registerMatrix } from './policy/matrix-command.ts';

export function registerPolicy(program: Command, context: CliContext): void {
  const policy = program
    .command('policy')
    .summary('network policy: what applies, why, who reaches whom, what a change would do')
    .description('Network policy: what applies on this node, and what policies do to a whole cluster.');
  asking(policy.command('show'))
    .argument('<pod>', 'NAMESPACE/NAME, or NAME with -n')
    .option('-n, --namespace <namespace>', 'namespace of the pod', 'default')
    .description('Which policies apply to a pod of this node, in order, as they are in the kernel.')
    .addHelpText(
      'after',
      `
Examples:
  poplin policy show web/frontend-1
  poplin policy show frontend-1 -n web -o yaml`,
    )
    .action((pod: string, options: AskOptions & { readonly namespace: string }) =>
      context.act(async () => {
        const parts = pod.split('/');
        const [namespace, name] = parts.length === 2 ? parts : [options.namespace, pod];
        if (parts.length > 2 || !namespace || !name) {
          context.terminal.err(`poplin: ${JSON.stringify(pod)} is no pod: write NAMESPACE/NAME\n`);
          return exitCode.usage;
        }
        const endpoint = await connect(options, context.env).policyEndpoint({ namespace, name });
        context.terminal.out(await formatValue(options.output, endpoint, formatEndpoint));
        return exitCode.ok;
      }),
    );
  registerExplain(policy, context);
  registerMatrix(policy, context);
  registerDiff(policy, context);
  registerLint(policy, context);
}

export function formatEndpoint(endpoint: PolicyEndpointView): string {
  return [
    `pod         ${endpoint.pod}`,
    `interface   ${endpoint.interfaceName}`,
    `addresses   ${endpoint.addresses.join(' ')}`,
    `in kernel   ${endpoint.applied ? 'yes' : 'NOT YET: the pod carries no traffic'}`,
    '',
    ...formatDirection('Ingress', endpoint.ingress),
    '',
    ...formatDirection('Egress', endpoint.egress),
    '',
  ].join('\n');
}

function formatDirection(title: string, direction: PolicyDirectionView): string[] {
  if (direction.tiers.length === 0) return [`${title}: not isolated, everything is allowed`];
  const last = direction.tiers.length - 1;
  const otherwise = (endOfTier: 'deny' | 'pass', index: number): string =>
    endOfTier === 'deny' ? 'deny' : index === last ? 'allow' : 'pass to the next tier';
  return [
    direction.isolated ? `${title}: isolated` : `${title}: not isolated, what is not denied is allowed`,
    ...direction.tiers.flatMap(({ tier, policies, endOfTier }, index) => [
      `  tier ${tier}`,
      ...policies.flatMap(({ id, rules }) => [
        `    ${id}`,
        ...(rules.length > 0 ? rules.map((rule, index) => `      ${index + 1}. ${rule}`) : ['      no rules']),
      ]),
      `    otherwise: ${otherwise(endOfTier, index)}`,
    ]),
  ];
}
