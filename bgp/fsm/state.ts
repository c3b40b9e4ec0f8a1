/** Making and reading of session states. */
import type { OpenMessage } from '../wire/types.ts';
import { rolesOffered } from './role.ts';
import type { Connection, OpenTexts, SessionConfig, SessionState, SessionStateName } from './types.ts';

/** First wait after an error, and the longest; it doubles in between. RFC 4271 8.1.1 (DampPeerOscillations). */
export const idleHoldMinMs = 1_000;
export const idleHoldMaxMs = 30_000;
/** Established this long: earlier errors are forgotten, and leftovers of a collision can no longer arrive. */
export const stableMs = 10_000;
/** How long the peer has to choose between two connections that are open both ways; it takes a few round trips. */
export const collisionMs = 5_000;
/** KEEPALIVE waits so long after OPEN, until the peer has done with, or we have seen, a connection that collides. */
export const keepalivePauseMs = 50;
/** Hold timer until the OPENs have set one: RFC 4271 8.2.2 suggests 4 minutes. */
export const openHoldMs = 240_000;

/** A stopped peer: nothing happens before `manualStart`. */
export function initialState(config: SessionConfig): SessionState {
  return {
    config,
    dialler: 'stopped',
    connections: [],
    stable: false,
    idleHoldMs: idleHoldMinMs,
    connectRetryCounter: 0,
  };
}

/** What OPENs offer from now on. R and F bits change when our own restart is over (RFC 4724 4.1). */
export function setGracefulRestart(
  state: SessionState,
  gracefulRestart: SessionConfig['gracefulRestart'],
): SessionState {
  const { gracefulRestart: _, ...config } = state.config;
  return { ...state, config: gracefulRestart ? { ...config, gracefulRestart } : config };
}

/** What OPENs tell people from now on. */
export function setTexts(state: SessionState, texts: OpenTexts): SessionState {
  return { ...state, config: { ...state.config, texts } };
}

export function establishedConnection(state: SessionState): Connection | undefined {
  return state.connections.find((c) => c.state === 'Established');
}

/** The state as RFC 4271 names it: of the connection that is furthest, else of the dialler. */
export function stateName(state: SessionState): SessionStateName {
  for (const name of ['Established', 'OpenConfirm', 'OpenSent'] as const) {
    if (state.connections.some((c) => c.state === name)) return name;
  }
  switch (state.dialler) {
    case 'connecting':
      return 'Connect';
    case 'waiting':
    case 'off':
      return 'Active';
    default:
      return 'Idle';
  }
}

/** Our OPEN without capabilities: IPv4 unicast and nothing else. Undefined when we want no IPv4. */
export function plainOpen(config: SessionConfig): OpenMessage | undefined {
  if (!config.families.includes('ipv4-unicast')) return undefined;
  const { localAsn: asn, holdTimeSec, routerId } = config;
  return { asn, holdTimeSec, routerId, families: ['ipv4-unicast'], asn4: false, routeRefresh: false, plain: true };
}

/** Our OPEN of the moment. */
export function localOpen(config: SessionConfig): OpenMessage {
  const roles = rolesOffered(config);
  const restart = config.gracefulRestart;
  return {
    asn: config.localAsn,
    holdTimeSec: config.holdTimeSec,
    routerId: config.routerId,
    families: config.families,
    asn4: true,
    routeRefresh: true,
    enhancedRouteRefresh: true,
    ...(config.extendedMessages ? { extendedMessages: true } : {}),
    ...(roles.length > 0 ? { roles } : {}),
    ...config.texts,
    ...(config.addPath ? { addPath: config.addPath } : {}),
    ...(restart ? restartCapabilities(restart) : {}),
    ...(config.extendedNextHop ? { extendedNextHop: true } : {}),
    ...(config.linkLocalNextHop ? { linkLocalNextHop: true } : {}),
  };
}

/** RFC 9494 3.1: the F bit of a family is the same in both capabilities, since it says the same. */
function restartCapabilities(
  restart: NonNullable<SessionConfig['gracefulRestart']>,
): Pick<OpenMessage, 'gracefulRestart' | 'longLived'> {
  const { longLivedStaleTimeSec: staleTimeSec = 0, notification = false, ...rest } = restart;
  const gracefulRestart = { ...rest, notification };
  if (staleTimeSec === 0) return { gracefulRestart };
  return { gracefulRestart, longLived: restart.families.map((entry) => ({ ...entry, staleTimeSec })) };
}
