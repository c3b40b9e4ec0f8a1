/** Routes as JSON for people: pages through the prefix tables. */
import { cidrContains, formatIp, parseCidr, toCidr } from '#kit';
import { discardSet, localPeer, pathFlag, type Rib } from '../rib/index.ts';
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
  readonly peers: Iterable<GlassPeer>;
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
  if (query.sent && !exact) throw new RangeError('sent is asked of one prefix: give prefix');
  const pathsOf = query.sent
    ? sentToAll(tables)
    : query.sentTo === undefined
      ? held(tables, query)
      : sent(tables, named(tables, query.sentTo));
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

function named(tables: GlassTables, name: string): GlassPeer {
  const peer = tables.peer(name);
  if (!peer) throw new RangeError(`no peer is called ${name}`);
  return peer;
}

/** Adj-RIB-Ins and what became of them. */
function held(tables: GlassTables, { peer: name, received = false }: RouteQuery): PathsOf {
  const only = name === undefined ? undefined : named(tables, name).row;
  return (rib, prefix) => {
    const { paths, tables: pools } = rib;
    const multipath = pools.hopSets.members[rib.locHopSet[prefix]!]!;
    // While selection is deferred nothing of this is in force.
    const outcome = rib.locPeer[prefix] === 0 ? undefined : rib.explain(prefix);
    const out: RoutePath[] = [];
    for (let link = rib.firstPath(prefix); link > 0; link = paths.next[link - 1]!) {
      const path = link - 1;
      const row = paths.peer[path]!;
      if (only !== undefined && row !== only) continue;
      const isRejected = (paths.flags(path) & pathFlag.rejected) !== 0;
      if (isRejected && !received) continue;
      const peer = tables.peerOf(row);
      const asReceived = received ? rib.received.attributes(path) : -1;
      const hop = asReceived < 0 ? paths.nextHop[path]! : rib.received.nextHop(path);
      const pathId = paths.pathId(path);
      const bytes = pools.attributes.copy(asReceived < 0 ? paths.attributes[path]! : asReceived);
      const best = outcome?.best === path;
      const rejected = isRejected ? rejection(rib, path, peer?.importPolicy) : undefined;
      const reason = best ? (outcome.decidedBy ?? 'only-path') : outcome?.lostBy.get(path);
      out.push({
        ...(row === localPeer || !peer ? {} : { peer: peer.name }),
        ...(hop === 0 ? {} : { nextHop: pools.nextHops.addresses[hop]! }),
        ...(pathId === 0 ? {} : { pathId }),
        best,
        multipath: best || (!isRejected && rib.locPeer[prefix] !== 0 && multipath.includes(hop)),
        ...(best && rib.locHopSet[prefix] === discardSet ? { blackhole: true as const } : {}),
        stale: (paths.flags(path) & pathFlag.stale) !== 0,
        ...(reason === undefined ? {} : { reason }),
        ...(rejected ? { rejected } : {}),
        attributes: describeAttributes(bytes, 0, bytes.length),
      });
    }
    return out.sort((a, b) => Number(b.best) - Number(a.best));
  };
}

/** Judged once more: which term it was is not kept. Undefined when the policy changed and the path waits for its review. */
function rejection(rib: Rib, path: number, policy: ImportPolicy | undefined): RouteRejection | undefined {
  const received = rib.received.attributes(path);
  if (!policy || received < 0) return undefined;
  const set = policy.judge(rib, path, received, rib.received.nextHop(path));
  const filter = policy.filter(rib.family);
  filter?.release();
  policy.forget();
  if (set >= 0) return undefined;
  const { refusal } = policy;
  if (refusal !== 'filter' || !filter) return { by: refusal };
  const index = filter.filter.decidedBy;
  const from = filter.filter.terms[index]?.from;
  return { by: 'filter', ...(from ? { filter: from.filter, term: from.index } : { term: index }) };
}

/** Adj-RIB-Out of one peer. */
function sent(tables: GlassTables, peer: GlassPeer): PathsOf {
  return (rib, prefix) => {
    const announcements = peer.membership(rib)?.group.announcements(prefix, peer.row) ?? [];
    return announcements.map(({ source, nextHop, pathId, attributes }) => {
      const from = source === localPeer ? undefined : tables.peerOf(source);
      return {
        ...(from ? { peer: from.name } : {}),
        nextHop: formatIp(nextHop, 0, nextHop.length === 4 ? 4 : 16),
        ...(pathId === 0 ? {} : { pathId }),
        best: rib.locPeer[prefix] === source + 1,
        multipath: false,
        stale: false,
        attributes: describeAttributes(attributes, 0, attributes.length),
      };
    });
  };
}

function sentToAll(tables: GlassTables): PathsOf {
  return (rib, prefix) =>
    [...tables.peers].flatMap((peer) =>
      sent(tables, peer)(rib, prefix).map((path) => ({ ...path, sentTo: peer.name })),
    );
}
