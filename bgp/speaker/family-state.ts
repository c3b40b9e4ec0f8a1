/** What a session knows of one family: how far its End-of-RIBs and route refreshes (RFC 7313) have got. */
import type { Clock, Logger } from '#kit';
import type { Rib } from '../rib/index.ts';
import type { Family, Negotiated } from '../wire/index.ts';
import type { Membership } from './groups.ts';
import { RefreshAnswer } from './refresh-answer.ts';
import { RefreshIntake } from './refresh-intake.ts';

export interface FamilyState {
  /** The peer's End-of-RIB came. */
  endOfRib: boolean;
  /** Absent: nothing of the family is announced. */
  membership?: Membership;
  readonly answer: RefreshAnswer;
  readonly intake: RefreshIntake;
}

export interface FamilyStateOptions {
  readonly family: Family;
  readonly negotiated: Negotiated;
  readonly clock: Clock;
  readonly log: Logger;
  readonly rib: Rib;
  /** Of the peer. */
  readonly row: number;
  readonly send: (message: Uint8Array) => void;
  /** A flush is due. */
  readonly schedule: () => void;
}

export function createFamilyState(options: FamilyStateOptions): FamilyState {
  const { family, negotiated, clock, log, rib, row, send, schedule } = options;
  const enhanced = negotiated.enhancedRouteRefresh;
  const state: FamilyState = {
    endOfRib: false,
    answer: new RefreshAnswer({ family, enhanced, send, membership: () => state.membership }),
    intake: new RefreshIntake({ clock, log, rib, row, changed: schedule }),
  };
  return state;
}

/** ROUTE-REFRESH of the family came: a request, BoRR or EoRR; other subtypes are ignored (RFC 7313 5). */
export function refreshReceived(state: FamilyState, subtype: number, negotiated: Negotiated, log: Logger): void {
  if (subtype === 0) state.answer.ask();
  else if (!negotiated.enhancedRouteRefresh) return;
  else if (subtype === 2) state.intake.end();
  else if (subtype === 1) {
    // RFC 7313 4.2: what graceful restart still waits for, End-of-RIB sweeps.
    if (state.endOfRib || !negotiated.gracefulRestart) state.intake.begin();
    else log.warn({}, 'BoRR before End-of-RIB is ignored (RFC 7313 4.2)');
  }
}
