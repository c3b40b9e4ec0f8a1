/** BGP roles in OPEN, RFC 9234 4: only between ASes. */
import { bgpRole, errorCode, openSubcode, protocolError } from '../wire/index.ts';
import type { OpenMessage, ProtocolError } from '../wire/types.ts';
import type { SessionConfig } from './types.ts';

/** What the peer must be to us, by what we are to it (RFC 9234 4.2, table 2). */
const counterpart: Readonly<Record<number, number>> = {
  [bgpRole.provider]: bgpRole.customer,
  [bgpRole.customer]: bgpRole.provider,
  [bgpRole.routeServer]: bgpRole.routeServerClient,
  [bgpRole.routeServerClient]: bgpRole.routeServer,
  [bgpRole.peer]: bgpRole.peer,
};

/** Roles of our OPEN. */
export function rolesOffered(config: SessionConfig): readonly number[] {
  const internal = config.peerAsn === config.localAsn || config.peerAsn === 'internal';
  return config.role === undefined || internal ? [] : [config.role];
}

/** Role Mismatch (2/11) where the roles of an OPEN do not go with ours. */
export function roleError(config: SessionConfig, open: OpenMessage): ProtocolError | undefined {
  if (config.localAsn === open.asn) return undefined;
  const theirs = open.roles ?? [];
  const mismatch = (reason: string): ProtocolError =>
    protocolError(errorCode.openMessage, openSubcode.roleMismatch, `${reason} (RFC 9234 4.2)`);
  if (theirs.length > 1) return mismatch(`peer says that it is ${theirs.map(roleText).join(' and ')}`);
  if (config.role === undefined) return undefined;
  const wanted = roleText(counterpart[config.role]!);
  const ours = roleText(config.role);
  if (theirs.length === 0) {
    return config.strictRole ? mismatch(`peer says no role, we are ${ours} and insist on ${wanted}`) : undefined;
  }
  if (theirs[0] === counterpart[config.role]) return undefined;
  return mismatch(`peer says that it is ${roleText(theirs[0]!)}, we are ${ours} and want ${wanted}`);
}

export function roleText(role: number): string {
  return Object.entries(bgpRole).find(([, value]) => value === role)?.[0] ?? `role ${role}`;
}
