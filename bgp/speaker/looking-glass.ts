/** Routes as JSON for people: pages through the prefix tables. */
import { cidrContains, formatIp, parseCidr, toCidr } from '#kit';
import { localPeer, pathFlag, type Rib } from '../rib/index.ts';
import { describeAttributes } from '../wire/index.ts';
import type { Membership } from './groups.ts';
import type { ImportPolicy } from './import-policy.ts';
import { routesPerAnswerDefault, routesPerAnswerMax } from './limits.ts';
import type { RouteAnswer, RoutePath, RouteQuery, RouteRejection } from './types.ts';

export interface GlassTables {
  /** IPv4, IPv6. */
  readonly ribs: readonly [Rib, Rib];
  peer(name: string): GlassPeer | undefined;
  peerOf(row: number): GlassPeer | undefined;
}

export interface GlassPeer {
  readonly name: string;
  readonly row: number;
  /** What judged its routes, since the first session. */
  readonly importPolicy: ImportPolicy | undefined;
  /** What it is told, by table; undefined without a session. */
  membership(rib: Rib): Membership | undefined;
}

type PathsOf = (rib: Rib, prefix: number) => RoutePath[];

/** @throws RangeError when a prefix, cursor or peer in the query is none. */
export function queryRoutes(tables: GlassTables, query: RouteQuery): RouteAnswer {
  const limit = Math.max(1, Math.min(query.limit ?? routesPerAnswerDefault, routesPerAnswerMax));
  const exact = canonical(query.prefix);
  const within = canonical(query.within);
  const pathsOf = query.sentTo === undefined ? held(tables, query) : sent(tables, query.sentTo);
  const wanted = (index: number): boolean =>
    query.family === undefined || (query.family === 'ipv4-unicast') === (index === 0);

  if (exact) {
    const index = parseCidr(exact)!.family === 4 ? 0 : 1;
    const rib = tables.ribs[index]!;
    const prefix = rib.prefixes.byText(exact, false) ?? -1;
    const paths = prefix < 0 || !wanted(index) ? [] : pathsOf(rib, prefix);
    return { routes: paths.length > 0 ? [{ prefix: exact, paths }] : [] };
  }
  let [index, prefix] = parseCursor(query.cursor);
  const routes: { prefix: string; paths: RoutePath[] }[] = [];
  for (; index < 2; index++, prefix = 0) {
    if (!wanted(index)) continue;
    const rib = tables.ribs[index]!;
    for (; prefix < rib.prefixes.limit; prefix++) {
      if (!rib.prefixes.isLive(prefix) || (query.sentTo === undefined && rib.firstPath(prefix) === 0)) continue;
      const text = rib.prefixes.text(prefix);
      if (within && !cidrContains(within, text)) continue;
      const paths = pathsOf(rib, prefix);
      if (paths.length === 0) continue;
      if (routes.length === limit) return { routes, next: `${index}.${prefix}` };
      routes.push({ prefix: text, paths });
    }
  }
  return { routes };
}

function canonical(text: string | undefined): ReturnType<typeof toCidr> {
  if (text === undefined) return undefined;
  const cidr = toCidr(text);
  if (!cidr) throw new RangeError(`${text} is not a prefix`);
  return cidr;
}

function parseCursor(cursor: string | undefined): [number, number] {
  if (cursor === undefined) return [0, 0];
  const match = /^([01])\.(\d{1,9})$/.exec(cursor);
  if (!match) throw new RangeError(`${cursor} is not a cursor of an earlier answer`);
  return [Number(match[1]), Number(match[2])];
}

ours}
