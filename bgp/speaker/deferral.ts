/**
 * Route selection deferral of a restarting speaker (RFC 4724 4.1): nothing is selected, so that routes of the run before
 * stay as they are, until every live peer has sent End-of-RIB.
 *
 * Live is who has a connection. Peers that are down do not hold it up beyond a short grace in which they may connect;
 * peers that restart themselves are not waited for (R bit), and who knows no graceful restart counts as done with its
 * first KEEPALIVE after Established. The longest wait is `deferralTimeSec`.
 */
export interface DeferralPeer {
  readonly name: string;
  /** OpenSent, OpenConfirm. */
  readonly opening: boolean;
  readonly established: boolean;
  /** Everything it had to say it has said. */
  readonly done: boolean;
}

export interface DeferralTimes {
  readonly graceMs: number;
  readonly maxMs: number;
}

/** Names of the peers that are waited for `elapsedMs` after the start; `over` when selection may begin. */
export function deferralState(
  peers: readonly DeferralPeer[],
  elapsedMs: number,
  times: DeferralTimes,
): { readonly over: boolean; readonly waitingFor: readonly string[] } {
  if (elapsedMs >= times.maxMs) return { over: true, waitingFor: [] };
  const inGrace = elapsedMs < times.graceMs;
  const waitingFor = peers.filter((peer) => {
    if (peer.established) return !peer.done;
    return peer.opening || inGrace;
  });
  const over = waitingFor.length === 0 && (peers.length > 0 || !inGrace);
  return { over, waitingFor: waitingFor.map((peer) => peer.name) };
}
