/**
 * TCP-AO keys of a BGPPeer (RFC 5925). A key whose Secret is not there (yet) is left out as long as there is another; with none, or where the kernel
 * cannot sign, the session is held down: it never goes on unsigned.
 */
import type { PeerConfig, TcpAoKey } from '#bgp';
import type { BGPPeerObject } from '#model';
import type { IssueEffect } from './issue.ts';
import { type PeerContext, peerRef } from './peer-context.ts';

/** @param reversed this node is the other end of the object: what is sent there is received here. */
export function tcpAoSettings(
  peer: BGPPeerObject,
  { secret, tcpAoFault, issues }: Pick<PeerContext, 'secret' | 'tcpAoFault' | 'issues'>,
  reversed: boolean,
): Pick<PeerConfig, 'tcpAo' | 'heldDown'> {
  if (!peer.tcpAO) return {};
  const issue = (field: string, message: string, effect: IssueEffect): void =>
    void issues.push({ object: peerRef(peer), field, message, effect });
  const missing: (readonly [field: string, why: string])[] = [];
  const keys: TcpAoKey[] = [];
  for (const [index, { sendID, recvID, algorithm, secret: source, excludeTCPOptions }] of peer.tcpAO.keys.entries()) {
    const field = `spec.tcpAO.keys[${index}].secret`;
    const found = secret(source, 'TCP-AO');
    if ('missing' in found) {
      missing.push([field, found.missing]);
      continue;
    }
    if (found.warning) issue(field, found.warning, 'partial');
    const [sendId, recvId] = reversed ? [recvID, sendID] : [sendID, recvID];
    const options = excludeTCPOptions === undefined ? {} : { excludeTcpOptions: excludeTCPOptions };
    keys.push({ sendId, recvId, algorithm, secret: found.password, ...options });
  }
  const fault = peer.tcpAO.keys.map(tcpAoFault).find((reason) => reason !== undefined);
  if (fault !== undefined) {
    issue('spec.tcpAO', `${fault}; the session is kept down`, 'heldDown');
    return { heldDown: `TCP-AO: ${fault}` };
  }
  for (const [field, why] of missing) {
    if (keys.length > 0) issue(field, `${why}; the key is left out`, 'partial');
    else issue(field, `${why}; the session is kept down`, 'heldDown');
  }
  return keys.length > 0 ? { tcpAo: keys } : { heldDown: missing.map(([, why]) => why).join('; ') };
}
