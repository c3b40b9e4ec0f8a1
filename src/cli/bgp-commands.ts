/** `poplin bgp`: sessions and routes of an agent or a stand-alone speaker, and orders to the latter. */
import path from 'node:path';
import type { Command } from 'commander';
import type { BgpPathView, BgpPeerView, BgpRouteView, ChangePlanView } from '#api';
import { type AskOptions, asking, connect } from './connection.ts';
import type { CliContext } from './context.ts';
import { exitCode } from './exit-codes.ts';
import { formatAge, formatTable, formatValue } from './output.ts';

export function registerBgp(program: Command, context: CliContext): void {
  const bgp = program
    .command('bgp')
    .summary('BGP sessions and routes of this node')
    .description('BGP sessions and routes of this node.');
  asking(bgp.command('peers'))
    .description('Sessions: state, since when, prefixes received and sent, and why a session is down.')
    .addHelpText(
      'after',
      `
Examples:
  poplin bgp peers
  poplin bgp peers -o json | jq -r '.[] | select(.state != "Established") | .name'`,
    )
    .action((options: AskOptions) =>
      context.act(async () => {
        const peers = await connect(options, context.env).bgpPeers();
        context.terminal.out(await formatValue(options.output, peers, (value) => formatPeers(value, context.now())));
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
    .option('-a, --all', 'every path, not only the chosen ones (marked *), and why it is chosen or not')
    .option('--peer <name>', 'only paths of this peer')
    .option('--received', 'what was received: also what import policy rejects, where that is kept, and by which rule')
    .option('--sent-to <name>', 'what this peer is told, as it is told it')
    .addHelpText(
      'after',
      `
Examples:
  poplin bgp routes
  poplin bgp routes 10.1.2.3          # where does a packet to this pod go?
  poplin bgp routes 10.1.0.0/16 --all
  poplin bgp routes -6 -o json`,
    )
    .action((prefix: string | undefined, options: RoutesOptions) =>
      context.act(async () => {
        if (options['4'] && options['6']) {
          context.terminal.err('poplin: -4 and -6 exclude each other: leave both out for both families\n');
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

export function formatPlan({ peers, unchangedPeers, originate, listen }: ChangePlanView): string {
  const rows = peers.map(({ peer, change, because }) => [peer, change, (because ?? []).join('; ')]);
  const list = (what: string, { added, removed }: ChangePlanView['originate']): string[] => [
    ...added.map((entry) => `${what} ${entry}: added\n`),
    ...removed.map((entry) => `${what} ${entry}: removed\n`),
  ];
  return [
    rows.length > 0 ? formatTable(['PEER', 'CHANGE', 'BECAUSE'], rows) : '',
    ...list('prefix', originate),
    ...list('listener', listen),
    `${unchangedPeers} ${unchangedPeers === 1 ? 'peer does' : 'peers do'} not notice\n`,
  ].join('');
}

interface RoutesOptions extends AskOptions {
  readonly 4?: boolean;
  readonly 6?: boolean;
  readonly all?: boolean;
  readonly peer?: string;
  readonly received?: boolean;
  readonly sentTo?: string;
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
  };
  const every = options.all || options.received || options.sentTo !== undefined;
  const collected: BgpRouteView[] = [];
  let found = 0;
  let cursor: string | undefined;
  do {
    const page = await client.bgpRoutes({ ...query, ...(cursor === undefined ? {} : { cursor }) });
    const routes = every ? page.routes : page.routes.map(onlyBest).filter((route) => route.paths.length > 0);
    if (options.output === 'table' && routes.length > 0) context.terminal.out(formatRoutes(routes, found === 0, every));
    else collected.push(...routes);
    found += routes.length;
    cursor = page.next;
  } while (cursor !== undefined);
  if (options.output !== 'table') context.terminal.out(await formatValue(options.output, collected, () => ''));
  if (found > 0) return exitCode.ok;
  context.terminal.err(`poplin: no route${prefix === undefined ? '' : ` for ${prefix}`}\n`);
  return exitCode.negative;
}

function onlyBest(route: BgpRouteView): BgpRouteView {
  return { ...route, paths: route.paths.filter((path) => path.best) };
}

export function formatPeers(peers: readonly BgpPeerView[], nowMs: number): string {
  const sum = (peer: BgpPeerView, what: 'received' | 'sent'): string =>
    peer.state === 'Established' ? peer.families.map((family) => family[what]).join('/') || '-' : '-';
  const rows = peers.map((peer) => [
    peer.name,
    peer.port === 179
      ? peer.address
      : peer.address.includes(':')
        ? `[${peer.address}]:${peer.port}`
        : `${peer.address}:${peer.port}`,
    String(peer.asn),
    stateText(peer),
    formatAge(peer.since, nowMs),
    peer.families.map(({ family }) => (family === 'ipv4-unicast' ? '4' : '6')).join('/') || '-',
    sum(peer, 'received'),
    sum(peer, 'sent'),
    peer.state === 'Established' ? '' : (peer.lastError ?? ''),
  ]);
  return formatTable(['NAME', 'ADDRESS', 'AS', 'STATE', 'FOR', 'FAMILIES', 'RECEIVED', 'SENT', 'LAST ERROR'], rows);
}

function stateText({ state, restarting, bfd }: BgpPeerView): string {
  const notes = [...(restarting ? ['restarting'] : []), ...(bfd === undefined ? [] : [`BFD ${bfd}`])];
  return notes.length === 0 ? state : `${state} (${notes.join(', ')})`;
}

/** One line for each way that packets may take. */
export function formatRoutes(routes: readonly BgpRouteView[], withHeader = true, withReason = false): string {
  const rows = routes.flatMap((route) =>
    route.paths.flatMap((path) => {
      const ways = waysOf(route, path);
      return ways.map((via, index) => [
        index > 0 ? '' : `${path.best ? '*' : ' '} ${route.prefix}`,
        path.peer === undefined ? '-' : path.nextHop,
        via,
        path.origin,
        path.asPath || '-',
        `${path.peer ?? 'this node'}${path.stale ? ' (stale)' : ''}`,
        ...(withReason ? [index > 0 ? '' : reasonText(path)] : []),
      ]);
    }),
  );
  const head = ['  PREFIX', 'NEXT HOP', 'VIA', 'ORIGIN', 'AS PATH', 'FROM', ...(withReason ? ['WHY'] : [])];
  const text = formatTable(head, rows);
  return withHeader ? text : text.slice(text.indexOf('\n') + 1);
}

/** `best by med`, `lost by as-path-length`, `rejected by filter from-tor, rule 2`. */
function reasonText({ best, reason, rejected }: BgpPathView): string {
  if (rejected) {
    const { by, filter, term } = rejected;
    const which = [filter, term === undefined ? undefined : `rule ${term + 1}`].filter((part) => part !== undefined);
    return `rejected by ${by}${which.length > 0 ? ` ${which.join(', ')}` : ''}`;
  }
  if (reason === undefined) return '';
  if (reason === 'only-path') return 'only path';
  return `${best ? 'best' : 'lost'} by ${reason}`;
}

function waysOf(route: BgpRouteView, path: BgpPathView): readonly string[] {
  if (path.blackhole) return ['blackhole'];
  if (path.resolved === undefined) return ['-'];
  if (path.resolved.length > 0) {
    return path.resolved.map(({ gateway, device, weight }) => {
      const way = gateway === undefined ? `dev ${device}` : `${gateway} dev ${device}`;
      return weight === undefined ? way : `${way} weight ${weight}`;
    });
  }
  return [route.source === 'originated' ? '-' : path.best ? 'UNRESOLVED' : '-'];
}
