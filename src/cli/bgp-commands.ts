/** `poplin bgp`: sessions and routes of an agent or a stand-alone speaker, and orders to the latter. */
import path from 'node:path';
import type { Command } from 'commander';
import type { BgpPeerView, BgpRouteView, ChangePlanView } from '#api';
import { formatPeer, formatPeers } from './bgp-peer-text.ts';
import { routesTable, sortedByPrefix } from './bgp-route-text.ts';
import { type AskOptions, asking, connect } from './connection.ts';
import type { CliContext } from './context.ts';
import { exitCode } from './exit-codes.ts';
import { formatTable, formatValue } from './output.ts';

export function registerBgp(program: Command, context: CliContext): void {
  const bgp = program
    .command('bgp')
    .summary('BGP sessions and routes of this node')
    .description('BGP sessions and routes of this node.');
  asking(bgp.command('peers'))
    .argument('[name]', 'of one: all that is known about it')
    .description(
      'Sessions: state, since when, prefixes accepted, rejected (where such are kept) and sent, and why a session is down.',
    )
    .addHelpText(
      'after',
      `
Examples:
  poplin bgp peers
  poplin bgp peers 192.0.2.2
  poplin bgp peers -o json | jq -r '.[] | select(.state != "Established") | .name'`,
    )
    .action((name: string | undefined, options: AskOptions) =>
      context.act(async () => {
        const peers = await connect(options, context.env).bgpPeers();
        const { output } = options;
        if (name === undefined) {
          context.terminal.out(await formatValue(output, peers, (all) => formatPeers(all, context.now())));
          return exitCode.ok;
        }
        const peer = peers.find((each) => each.name === name);
        if (!peer) {
          context.terminal.err(`poplin: no peer is called ${name}; \`poplin bgp peers\` names them\n`);
          return exitCode.usage;
        }
        context.terminal.out(await formatValue(output, peer, (one) => formatPeer(one, context.now())));
        return exitCode.ok;
      }),
    );
  registerOrders(bgp, context);
  asking(bgp.command('routes'))
    .argument('[prefix]', 'a prefix: it and what is inside it; an address: the route that a packet to it takes')
    .description(
      'Routes: BGP next hop, where it leads (gateway and device), origin and AS path. Exit code 1 when there is none.',
    )
    .option('-4', 'IPv4 only')
    .option('-6', 'IPv6 only')
    .option(
      '-a, --all',
      'every path with its attributes, not only the chosen ones (marked *), and why it is chosen or not',
    )
    .option('--peer <name>', 'only paths of this peer')
    .option('--received', 'what was received: also what import policy rejects, where that is kept, and by which rule')
    .option('--sent-to <name>', 'what this peer is told, as it is told it')
    .option('--sent', 'which peers are told of this one prefix, or of the longest one for an address, and how')
    .addHelpText(
      'after',
      `
Examples:
  poplin bgp routes
  poplin bgp routes 10.1.2.3          # where does a packet to this pod go?
  poplin bgp routes 10.1.0.0/16 --all
  poplin bgp routes --received --peer 192.0.2.2   # also what is rejected, and by which rule
  poplin bgp routes --sent-to 192.0.2.2
  poplin bgp routes 10.1.0.0/16 --sent
  poplin bgp routes -6 -o json`,
    )
    .action((prefix: string | undefined, options: RoutesOptions) =>
      context.act(async () => {
        const fault = faultOf(prefix, options);
        if (fault !== undefined) {
          context.terminal.err(`poplin: ${fault}\n`);
          return exitCode.usage;
        }
        return printRoutes(prefix, options, context);
      }),
    );
}

/** What only a stand-alone speaker takes: an agent does what its objects say. */
function registerOrders(bgp: Command, context: CliContext): void {
  asking(bgp.command('reload'))
    .description("Read a stand-alone speaker's file again. Prints which sessions are reset, and why; all others go on.")
    .option('--dry-run', 'print it only')
    .addHelpText(
      'after',
      `
Examples:
  poplin bgp reload --dry-run
  poplin bgp reload -o json | jq '.peers[] | select(.change == "reset")'`,
    )
    .action((options: AskOptions & { readonly dryRun?: boolean }) =>
      context.act(async () => {
        const client = connect(options, context.env);
        const plan = options.dryRun ? await client.bgpPlan() : await client.bgpReload();
        context.terminal.out(await formatValue(options.output, plan, formatPlan));
        return exitCode.ok;
      }),
    );
  asking(bgp.command('dump'))
    .argument('<file>', 'where to write it; a file that is there is replaced once the dump is whole')
    .description('Write the routes of all peers of a stand-alone speaker as MRT (RFC 6396), for bgpdump and its like.')
    .addHelpText(
      'after',
      `
Example:
  poplin bgp dump /tmp/table.mrt && bgpdump -m /tmp/table.mrt`,
    )
    .action((file: string, options: AskOptions) =>
      context.act(async () => {
        const counts = await connect(options, context.env).bgpDump(path.resolve(file));
        const text = ({ prefixes, paths }: typeof counts): string => `${prefixes} prefixes, ${paths} paths\n`;
        context.terminal.out(await formatValue(options.output, counts, text));
        return exitCode.ok;
      }),
    );
  asking(bgp.command('reset'))
    .argument('<peer>', 'its name, as `poplin bgp peers` prints it')
    .description(
      'End the session of a stand-alone speaker with a peer (Cease, Administrative Reset) and begin another.',
    )
    .option('--text <text>', "for the peer's operator (RFC 9003)")
    .addHelpText(
      'after',
      `
Example:
  poplin bgp reset 192.0.2.2 --text "new optics"`,
    )
    .action((peer: string, options: AskOptions & { readonly text?: string }) =>
      context.act(async () => {
        await connect(options, context.env).bgpReset(peer, options.text);
        return exitCode.ok;
      }),
    );
}

export function formatPlan({ peers, unchangedPeers, originate, listen, settings }: ChangePlanView): string {
  const rows = peers.map(({ peer, change, because }) => [peer, change, (because ?? []).join('; ')]);
  const list = (what: string, { added, removed }: ChangePlanView['originate']): string[] => [
    ...added.map((entry) => `${what} ${entry}: added\n`),
    ...removed.map((entry) => `${what} ${entry}: removed\n`),
  ];
  const lines = [
    ...(rows.length > 0 ? [formatTable(['PEER', 'CHANGE', 'BECAUSE'], rows)] : []),
    ...list('prefix', originate),
    ...list('listener', listen),
    ...settings.map((text) => `${text}\n`),
  ];
  const others = `${unchangedPeers} ${rows.length > 0 ? 'other ' : ''}${unchangedPeers === 1 ? 'peer does' : 'peers do'} not notice\n`;
  return [...(lines.length > 0 ? lines : ['nothing changes\n']), others].join('');
}

/** More are counted. */
const namesMax = 5;

interface RoutesOptions extends AskOptions {
  readonly 4?: boolean;
  readonly 6?: boolean;
  readonly all?: boolean;
  readonly peer?: string;
  readonly received?: boolean;
  readonly sentTo?: string;
  readonly sent?: boolean;
}

function faultOf(prefix: string | undefined, options: RoutesOptions): string | undefined {
  const { received, peer, sentTo, sent } = options;
  if (options['4'] && options['6']) return '-4 and -6 exclude each other: leave both out for both families';
  if (sentTo === undefined && !sent) return undefined;
  if (received || peer !== undefined)
    return '--sent-to and --sent are of what is sent; leave out --received and --peer';
  if (!sent) return undefined;
  if (sentTo !== undefined) return '--sent is of every peer; leave it out, or --sent-to';
  return prefix === undefined ? '--sent is of one prefix or address: name it' : undefined;
}

/** Asks page by page; a table is printed as pages come, so that a full table needs no memory. */
async function printRoutes(prefix: string | undefined, options: RoutesOptions, context: CliContext): Promise<number> {
  const client = connect(options, context.env);
  const query = {
    ...(prefix === undefined ? {} : { prefix }),
    ...(options['4'] ? { family: '4' } : options['6'] ? { family: '6' } : {}),
    ...(options.peer === undefined ? {} : { peer: options.peer }),
    ...(options.received ? { received: 'true' } : {}),
    ...(options.sentTo === undefined ? {} : { sentTo: options.sentTo }),
    ...(options.sent ? { sent: 'true' } : {}),
  };
  const isTold = options.sentTo !== undefined || options.sent === true;
  const every = options.all || options.received || isTold;
  const table = routesTable({ attributes: every === true, decision: !isTold });
  const collected: BgpRouteView[] = [];
  let found = 0;
  let cursor: string | undefined;
  do {
    const page = await client.bgpRoutes({ ...query, ...(cursor === undefined ? {} : { cursor }) });
    const routes = every ? page.routes : page.routes.map(onlyBest).filter((route) => route.paths.length > 0);
    if (options.output === 'table' && routes.length > 0) context.terminal.out(table(sortedByPrefix(routes)));
    else collected.push(...routes);
    found += routes.length;
    cursor = page.next;
  } while (cursor !== undefined);
  if (options.output !== 'table') {
    context.terminal.out(await formatValue(options.output, sortedByPrefix(collected), () => ''));
  }
  const peers = options.received || (isTold && found === 0) ? await client.bgpPeers() : [];
  if (options.received) context.terminal.err(notKept(peers, options.peer));
  if (found > 0) return exitCode.ok;
  const more = isTold ? notTold(peers, options) : options.received ? '' : '; --received shows also what is rejected';
  context.terminal.err(`poplin: no route${prefix === undefined ? '' : ` for ${prefix}`}${more}\n`);
  return exitCode.negative;
}

/** That an answer about what was rejected cannot be whole. */
function notKept(peers: readonly BgpPeerView[], only: string | undefined): string {
  const names = peers
    .filter(({ name, families }) => (only ?? name) === name && families.some((each) => !('receivedPrePolicy' in each)))
    .map(({ name }) => name);
  if (names.length === 0) return '';
  const which = names.length > namesMax ? `${names.length} peers` : names.join(', ');
  return `poplin: what import policy rejects is not kept of ${which}; adjRibIn: true keeps it\n`;
}

function notTold(peers: readonly BgpPeerView[], { sentTo }: RoutesOptions): string {
  if (sentTo === undefined) return ' is sent to anybody';
  const peer = peers.find(({ name }) => name === sentTo);
  if (!peer || peer.state === 'Established') return ` is sent to ${sentTo}`;
  return ` is sent to ${sentTo}: no session (${[peer.state, peer.lastError].filter(Boolean).join(', ')})`;
}

function onlyBest(route: BgpRouteView): BgpRouteView {
  return { ...route, paths: route.paths.filter((path) => path.best) };
}
