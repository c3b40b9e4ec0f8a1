/** What both OPENs agreed on, as status shows it. */
import type { Negotiated } from '../wire/index.ts';
import type { NegotiatedStatus } from './types.ts';

export function negotiatedStatus(negotiated: Negotiated): NegotiatedStatus {
  const { families, asn4, routeRefresh, holdTimeSec, keepaliveSec, gracefulRestart } = negotiated;
  return {
    families: [...families],
    asn4,
    routeRefresh,
    enhancedRouteRefresh: negotiated.enhancedRouteRefresh,
    extendedMessages: negotiated.extendedMessages,
    holdTimeSec,
    keepaliveSec,
    ...(gracefulRestart
      ? {
          gracefulRestart: {
            restartTimeSec: gracefulRestart.restartTimeSec,
            restarting: gracefulRestart.restarting,
            families: gracefulRestart.families.map((entry) => ({ ...entry })),
          },
        }
      : {}),
  };
}
