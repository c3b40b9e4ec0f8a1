/** Why a session ended, as Peer Down says it (RFC 7854 4.9). Pure. */
import type { SessionDownReason } from '../fsm/index.ts';
import { encodeNotification } from '../wire/index.ts';
import { type BmpPeerDown, peerDownReason } from './messages.ts';

/** Numbers of RFC 4271 8.1. */
const fsmEvent = { manualStop: 2, automaticStop: 8, bgpOpen: 19, notifMsg: 25 } as const;

export function peerDownOf(reason: SessionDownReason): BmpPeerDown {
  const { localNotification, localSilent, remoteNotification, remoteSilent } = peerDownReason;
  switch (reason.type) {
    case 'notificationSent':
      return { reason: localNotification, notification: encodeNotification(reason.notification) };
    case 'notificationReceived':
      return { reason: remoteNotification, notification: encodeNotification(reason.notification) };
    case 'stopped':
      return reason.notification
        ? { reason: localNotification, notification: encodeNotification(reason.notification) }
        : { reason: localSilent, fsmEvent: fsmEvent.manualStop };
    // RFC 4271 knows no event of BFD's: an automatic stop comes nearest.
    case 'bfdDown':
      return { reason: localSilent, fsmEvent: fsmEvent.automaticStop };
    case 'malformedNotification':
      return { reason: localSilent, fsmEvent: fsmEvent.notifMsg };
    case 'peerRestarted':
      return { reason: localSilent, fsmEvent: fsmEvent.bgpOpen };
    case 'tcpClosed':
    case 'tcpFailed':
      return { reason: remoteSilent };
  }
}
