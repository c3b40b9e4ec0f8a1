/** Questions about routes as people ask them, in the speaker's terms. */
import type { BgpRoutesQuery } from '#api';
import type { RouteAnswer, RouteQuery } from '#bgp';
import { familyOf, type IpAddress, toCidr } from '#kit';

export type AskRoutes = (query: RouteQuery) => RouteAnswer | Promise<RouteAnswer>;

const routesPerQueryMax = 1000;
const familyNames = { 4: 'ipv4-unicast', 6: 'ipv6-unicast' } as const;

/** One page; an address is looked up length by length, as a packet to it would be. */
export async function answerQuery(ask: AskRoutes, query: BgpRoutesQuery): Promise<RouteAnswer> {
  const { covers, within, cursor, peer, received, sentTo, sent } = query;
  const which = {
    ...(peer === undefined ? {} : { peer }),
    ...(received === undefined ? {} : { received }),
    ...(sentTo === undefined ? {} : { sentTo }),
    ...(sent === undefined ? {} : { sent }),
  };
  if (covers !== undefined) return covering((each) => ask({ ...each, ...which }), covers);
  if (sent && within !== undefined) return ask({ ...which, prefix: within });
  return ask({
    ...which,
    limit: Math.min(routesPerQueryMax, query.limit),
    ...(query.family === undefined ? {} : { family: familyNames[query.family] }),
    ...(within === undefined ? {} : { within }),
    ...(cursor === undefined ? {} : { cursor }),
  });
}

async function covering(ask: AskRoutes, address: IpAddress): Promise<RouteAnswer> {
  const family = familyOf(address);
  for (let length = family === 4 ? 32 : 128; length >= 0; length--) {
    const prefix = toCidr(`${address}/${length}`)!;
    const answer = await ask({ prefix, family: familyNames[family], limit: 1 });
    if (answer.routes.length > 0) return answer;
  }
  return { routes: [] };
}
