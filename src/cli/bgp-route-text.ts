/** BGP routes as text. */
import type { BgpPathView, BgpRouteView } from '#api';
import { parseCidr } from '#kit';
import { formatTable } from './output.ts';

export interface RoutesTable {
  /** The attributes that the decision looks at, and communities. */
  readonly attributes: boolean;
  /** Why a path is chosen or not, and where packets go; not so of what is sent. */
  readonly decision: boolean;
}

type Column = readonly [head: string, cell: (route: BgpRouteView, path: BgpPathView, via: string) => string];

/** Prints page by page, the header with the first; what stands in the first decides about columns. */
export function routesTable({ attributes, decision }: RoutesTable): (routes: readonly BgpRouteView[]) => string {
  let columns: readonly Column[] | undefined;
  return (routes) => {
    const isFirst = columns === undefined;
    columns ??= columnsOf(routes, attributes, decision);
    const rows = routes.flatMap((route) =>
      route.paths.flatMap((path) =>
        waysOf(route, path).map((via, index) =>
          columns!.map(([head, cell]) => (index > 0 && !ofEachWay.has(head) ? '' : cell(route, path, via))),
        ),
      ),
    );
    const text = formatTable(
      columns.map(([head]) => head),
      rows,
    );
    return isFirst ? text : text.slice(text.indexOf('\n') + 1);
  };
}

/** A path has a line for each way that packets may take; these stand on every one. */
const ofEachWay: ReadonlySet<string> = new Set(['NEXT HOP', 'VIA', 'ORIGIN', 'AS PATH', 'FROM']);

function columnsOf(routes: readonly BgpRouteView[], attributes: boolean, decision: boolean): readonly Column[] {
  const installs = decision && routes.some(({ paths }) => paths.some(({ resolved }) => resolved !== undefined));
  const told = routes.some(({ paths }) => paths.some(({ sentTo }) => sentTo !== undefined));
  const via: Column[] = installs ? [['VIA', (_route, _path, way) => way]] : [];
  const ranked: Column[] = [
    ['PREF', (_, { localPref }) => String(localPref ?? '-')],
    ['MED', (_, { med }) => String(med ?? '-')],
  ];
  return [
    ['  PREFIX', ({ prefix }, { best }) => `${best ? '*' : ' '} ${prefix}`],
    ...(told ? [['SENT TO', (_, { sentTo = '-' }) => sentTo] satisfies Column] : []),
    ['NEXT HOP', (_, { peer, nextHop }) => (peer === undefined && !attributes ? '' : nextHop) || '-'],
    ...via,
    ...(attributes ? ranked : []),
    ['ORIGIN', (_, { origin }) => origin],
    ['AS PATH', (_, { asPath }) => asPath || '-'],
    ...(attributes ? [['COMMUNITIES', (_, path) => communitiesText(path)] satisfies Column] : []),
    ['FROM', (_, path) => fromText(path)],
    ...(decision && attributes ? [['WHY', (_, path) => reasonText(path)] satisfies Column] : []),
  ];
}

function communitiesText({ communities = [], largeCommunities = [], extendedCommunities = [] }: BgpPathView): string {
  return [...communities, ...largeCommunities, ...extendedCommunities].join(' ') || '-';
}

function fromText({ peer, pathId, stale }: BgpPathView): string {
  return `${peer ?? 'this node'}${pathId === undefined ? '' : ` path ${pathId}`}${stale ? ' (stale)' : ''}`;
}

/** `best by med`, `lost by as-path-length`, `rejected by filter from-tor, rule 2`. */
function reasonText({ best, multipath, reason, rejected }: BgpPathView): string {
  if (rejected) {
    const { by, filter, term } = rejected;
    const which = [filter, term === undefined ? undefined : `rule ${term + 1}`].filter((part) => part !== undefined);
    return `rejected by ${by}${which.length > 0 ? ` ${which.join(', ')}` : ''}`;
  }
  if (reason === undefined) return '';
  if (reason === 'only-path') return 'only path';
  if (multipath) return `shares the load; lost by ${reason}`;
  return `${best ? 'best' : 'lost'} by ${reason}`;
}

function waysOf(route: BgpRouteView, path: BgpPathView): readonly string[] {
  if (path.resolved === undefined) return ['-'];
  if (path.blackhole) return ['blackhole'];
  if (path.resolved.length > 0) {
    return path.resolved.map(({ gateway, device, weight }) => {
      const way = gateway === undefined ? `dev ${device}` : `${gateway} dev ${device}`;
      return weight === undefined ? way : `${way} weight ${weight}`;
    });
  }
  return [route.source === 'originated' ? '-' : path.best ? 'UNRESOLVED' : '-'];
}

/** IPv4 first, then by address, the shorter prefix first. */
export function sortedByPrefix(routes: readonly BgpRouteView[]): BgpRouteView[] {
  return routes
    .map((route) => ({ route, key: sortKey(route.prefix) }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ route }) => route);
}

function sortKey(prefix: string): string {
  const cidr = parseCidr(prefix);
  if (!cidr) return prefix;
  return `${cidr.family}${Buffer.from(cidr.bytes).toString('hex')}${String(cidr.length).padStart(3, '0')}`;
}
