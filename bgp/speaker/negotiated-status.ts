/** What both OPENs agreed on, as status shows it. */
import { roleText } from '../fsm/index.ts';
import { escapeText, type Negotiated } from '../wire/index.ts';
import type { NegotiatedStatus } from './types.ts';

export function negotiatedStatus(negotiated: Negotiated): NegotiatedStatus {
  const { families, asn4, routeRefresh, holdTimeSec, keepaliveSec, addPath, gracefulRestart, longLived } = negotiated;
  return {
    families: [...families],
    asn4,
    routeRefresh,
    enhancedRouteRefresh: negotiated.enhancedRouteRefresh,
    extendedMessages: negotiated.extendedMessages,
    ...(negotiated.peerHostName ? { peerHostName: escapeText(negotiated.peerHostName) } : {}),
    ...(negotiated.peerSoftwareVersion ? { peerSoftwareVersion: escapeText(negotiated.peerSoftwareVersion) } : {}),
    ...(negotiated.peerRole === undefined ? {} : { peerRole: roleText(negotiated.peerRole) }),
    holdTimeSec,
    keepaliveSec,
    ...(addPath.length > 0 ? { addPath: addPath.map((entry) => ({ ...entry })) } : {}),
    extendedNextHop: negotiated.extendedNextHop,
    linkLocalNextHop: negotiated.linkLocalNextHop,
    ...(gracefulRestart
      ? {
          gracefulRestart: {
            restartTimeSec: gracefulRestart.restartTimeSec,
            restarting: gracefulRestart.restarting,
            notification: gracefulRestart.notification,
            families: gracefulRestart.families.map((entry) => ({ ...entry })),
          },
        }
      : {}),
    ...(longLived.length > 0 ? { longLived: longLived.map((entry) => ({ ...entry })) } : {}),
  };
}
