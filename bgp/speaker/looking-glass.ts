/** Routes as JSON for people: pages through the prefix tables. */
import { cidrContains, parseCidr, toCidr } from '#kit';
import { localPeer, pathFlag, type Rib } from '../rib/index.ts';
import { describeAttributes } from '../wire/index.ts';
import { routesPerAnswerDefault, routesPerAnswerMax } from './limits.ts';
import type { RouteAnswer, RoutePath, RouteQuery } from './types.ts';

export interface GlassTables {
  /** IPv4, IPv6. */
  readonly ribs: readonly [Rib, Rib];
  peerName(row: number): string | undefined;
  peerRow(name: string): number | undefined;
}

/** @throws RangeError when a prefix, cursor or peer in the query is none. */
export function queryRoutes(tables: GlassTables, query: RouteQuery): RouteAnswer {
  const limit = Math.max(1, Math.min(query.limit ?? routesPerAnswerDefault, routesPerAnswerMax));
  const exact = canonical(query.prefix);
  const within = canonical(query.within);
  const peer = query.peer === undefined ? undefined : tables.peerRow(query.peer);
  if (query.peer !== undefined && peer === undefined) throw new RangeError(`no peer is called ${query.peer}`);
  const wanted = (index: number): boolean =>
    query.family === undefined || (query.family === 'ipv4-unicast') === (index === 0);

  if (exact) {
    const index = parseCidr(exact)!.family === 4 ? 0 : 1;
    const rib = tables.ribs[index]!;
    const prefix = rib.prefixes.byText(exact, false) ?? -1;
    const paths = prefix < 0 || !wanted(index) ? [] : pathsOf(tables, rib, prefix, peer);
    return { routes: paths.length > 0 ? [{ prefix: exact, paths }] : [] };
  }
  let [index, prefix] = parseCursor(query.cursor);
  const routes: { prefix: string; paths: RoutePath[] }[] = [];
  for (; index < 2; index++, prefix = 0) {
    if (!wanted(index)) continue;
    const rib = tables.ribs[index]!;
    for (; prefix < rib.prefixes.limit; prefix++) {
      if (!rib.prefixes.isLive(prefix) || rib.firstPath(prefix) === 0) continue;
      const text = rib.prefixes.text(prefix);
      if (within && !cidrContains(within, text)) continue;
      const paths = pathsOf(tables, rib, prefix, peer);
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

function pathsOf(tables: GlassTables, rib: Rib, prefix: number, onlyPeer: number | undefined): RoutePath[] {
  const { paths, tables: pools } = rib;
  const multipath = pools.hopSets.members[rib.locHopSet[prefix]!]!;
  const out: RoutePath[] = [];
  for (let link = rib.firstPath(prefix); link !== 0; link = paths.next[link - 1]!) {
    const path = link - 1;
    const peer = paths.peer[path]!;
    if (onlyPeer !== undefined && peer !== onlyPeer) continue;
    const name = tables.peerName(peer);
    const hop = paths.nextHop[path]!;
    const bytes = Buffer.from(pools.attributes.key(paths.attributes[path]!), 'latin1');
    const best = rib.locPeer[prefix] === peer + 1;
    out.push({
      ...(peer === localPeer || name === undefined ? {} : { peer: name }),
      ...(hop === 0 ? {} : { nextHop: pools.nextHops.addresses[hop]! }),
      best,
      multipath: best || (rib.locPeer[prefix] !== 0 && multipath.includes(hop)),
      stale: (paths.flags[path]! & pathFlag.stale) !== 0,
      attributes: describeAttributes(bytes, 0, bytes.length),
    });
  }
  return out.sort((a, b) => Number(b.best) - Number(a.best));
}
