/** `poplin status`: what to look at first. */
import type { Command } from 'commander';
import type { AgentStatus, ApplyStatus, DatastoreView } from '#api';
import { type AskOptions, asking, connect } from './connection.ts';
import type { CliContext } from './context.ts';
import { exitCode } from './exit-codes.ts';
import { formatAge, formatDuration, formatTable, formatValue } from './output.ts';

export function registerStatus(program: Command, context: CliContext): void {
  asking(program.command('status'))
    .summary('whether the agent of this node is well, and if not, why')
    .description(
      'Whether the agent of this node is well: datastore, BGP, routes, policy, CNI, and everything that needs a look.\n' +
        'Exit code 1 when it is not ready.',
    )
    .addHelpText(
      'after',
      `
Examples:
  poplin status
  poplin status -o json | jq .bgp
  poplin lab exec n1 -- poplin status         # the agent of a lab's node`,
    )
    .action((options: AskOptions) =>
      context.act(async () => {
        const client = connect(options, context.env);
        const [status, datastore] = await Promise.all([client.status(), client.datastore()]);
        const value = { ...status, faults: datastore.faults };
        const table = (): string => formatStatus(status, datastore, context.now());
        context.terminal.out(await formatValue(options.output, value, table));
        return status.ready.ok ? exitCode.ok : exitCode.negative;
      }),
    );
}

export function formatStatus(status: AgentStatus, datastore: DatastoreView, nowMs: number): string {
  const rows = [
    ['node', status.node],
    ['agent', `version ${status.version}, pid ${status.pid}, up ${formatDuration(status.uptimeSec)}`],
    ['ready', status.ready.ok ? 'yes' : `NO: ${status.ready.reasons.join('; ')}`],
    ['datastore', datastoreLine(status.datastore, nowMs)],
    ['bgp', bgpLine(status.bgp)],
    ['routes', routesLine(status.routes, nowMs)],
    ['policy', policyLine(status.policy, nowMs)],
    ['cni', cniLine(status.cni)],
  ];
  const width = Math.max(...rows.map(([name]) => name!.length));
  const lines = rows.map(([name, text]) => `${name!.padEnd(width)}   ${text}`);
  const list = (title: string, entries: readonly string[]): string[] =>
    entries.length === 0 ? [] : ['', `${title}:`, ...entries.map((entry) => `  ${entry}`)];
  lines.push(...list('Waiting for', status.datastore.waitingFor));
  lines.push(...list('Problems', status.problems));
  lines.push(...faultLines(datastore, nowMs));
  return `${lines.join('\n')}\n`;
}

function datastoreLine(datastore: AgentStatus['datastore'], nowMs: number): string {
  const objects = Object.entries(datastore.objects)
    .filter(([, count]) => count > 0)
    .map(([kind, count]) => `${count} ${kind}`);
  return [
    `${datastore.location}: ${datastore.inSync ? 'in sync' : 'NOT IN SYNC'}`,
    objects.length > 0 ? objects.join(', ') : 'no objects',
    ...(datastore.faults > 0 ? [`${datastore.faults} FAULTS`] : []),
    `changed ${ago(datastore.lastUpdate, nowMs)}`,
  ].join('; ');
}

function bgpLine(bgp: AgentStatus['bgp']): string {
  const { learned, originated, waitingForEndOfRib } = bgp;
  return [
    bgp.asn === undefined ? 'not running' : `AS ${bgp.asn}, router ID ${bgp.routerId ?? '-'}`,
    `${bgp.peersEstablished} of ${bgp.peersConfigured} peers Established`,
    `learned ${learned.ipv4} IPv4 and ${learned.ipv6} IPv6 prefixes`,
    `announces ${originated.length > 0 ? originated.join(' ') : 'nothing'}`,
    ...(waitingForEndOfRib.length > 0 ? [`waiting for End-of-RIB of ${waitingForEndOfRib.join(', ')}`] : []),
  ].join('; ');
}

function routesLine(routes: AgentStatus['routes'], nowMs: number): string {
  return [
    `${routes.programmed.ipv4} IPv4 and ${routes.programmed.ipv6} IPv6 in the kernel`,
    ...(routes.unresolved > 0 ? [`${routes.unresolved} UNRESOLVED`] : []),
    ...(routes.stale > 0 ? [`${routes.stale} kept from an earlier run`] : []),
    applyText(routes, nowMs),
  ].join('; ');
}

function policyLine(policy: AgentStatus['policy'], nowMs: number): string {
  return [
    `${policy.endpoints} pods, ${policy.policies} policies, ${policy.sets} sets (iptables ${policy.backend})`,
    applyText(policy, nowMs),
  ].join('; ');
}

function cniLine(cni: AgentStatus['cni']): string {
  const addresses = cni.addresses.map(({ cidr, used, size }) => `${cidr} ${used} of ${size} addresses`);
  const serving = cni.notServing === undefined ? 'serving' : `NOT SERVING: ${cni.notServing}`;
  return [serving, `${cni.pods} pods`, ...addresses].join('; ');
}

function applyText(apply: ApplyStatus, nowMs: number): string {
  if (apply.error) return `FAILING since ${ago(apply.error.since, nowMs)}: ${apply.error.message}`;
  const took = apply.lastApplyMs === undefined ? '' : ` in ${Math.round(apply.lastApplyMs)} ms`;
  const pending = apply.pending > 0 ? `${apply.pending} changes pending, ` : '';
  if (apply.lastApply === undefined) return apply.pending > 0 ? `${apply.pending} changes pending` : 'all in force';
  return `${pending}applied ${ago(apply.lastApply, nowMs)}${took}`;
}

function ago(timestamp: string | undefined, nowMs: number): string {
  return timestamp === undefined ? 'never' : `${formatAge(timestamp, nowMs)} ago`;
}

function faultLines(datastore: DatastoreView, nowMs: number): string[] {
  if (datastore.faultsTotal === 0) return [];
  const rows = datastore.faults.map((fault) => {
    const where = [fault.file, fault.line].filter((part) => part !== undefined).join(':');
    const what = [fault.field, fault.message].filter((part) => part !== undefined).join(': ');
    return [where, fault.object ?? '-', formatAge(fault.since, nowMs), `${what} (${fault.effect})`];
  });
  const more = datastore.faultsTotal - rows.length;
  return [
    '',
    formatTable(['FAULT IN', 'OBJECT', 'AGE', 'WHAT'], rows).trimEnd(),
    ...(more > 0 ? [`and ${more} more`] : []),
  ];
}
