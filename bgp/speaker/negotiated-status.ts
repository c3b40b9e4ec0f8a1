/** What a session has agreed on, as plain data for people. */
import type { Negotiated } from '../wire/index.ts';
import type { NegotiatedStatus } from './types.ts';

export function negotiatedStatus(negotiated: Negotiated): NegotiatedStatus {
  const { families, asn4, routeRefresh, holdTimeSec, keepaliveSec, gracefulRestart, longLived } = negotiated;
  return {
    families: [...families],
    asn4,
    routeRefresh,
    holdTimeSec,
    keepaliveSec,
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
