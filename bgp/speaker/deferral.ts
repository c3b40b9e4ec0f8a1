/**
 * Route selection deferral of a restarting speaker (RFC 4724 4.1): nothing is selected, so that routes of the run before
 * stay as they are, until every live peer has sent End-of-RIB.
 *
 * Live is who has a connection; somebody who never says OPEN on it only for the grace. Peers that restart themselves (R bit) are
 * waited for a short while only: two of them would wait for each other. Who knows no graceful restart counts as done with its first
 * KEEPALIVE after Established, or soon. Those without a connection hold it up for a short while in which they may get one: until
 * `settleMs` after the last peer was done, since a host that answers does so in milliseconds; for the grace while nobody is done at all,
 * or where it is them who must connect to us. While nobody is done, who takes connections and closes them is live as well and waited for:
 * a speaker may refuse us for a while after it lost us (GoBGP: IdleHoldTimer), and until then there is nothing to select. Whom we let wait
 * ourselves is waited for. The longest wait is `deferralTimeSec`.
 */
import type { Clock } from '#kit';
import { deferralGraceSec, deferralSettleMs } from './limits.ts';

export interface DeferralPeer {
  readonly name: string;
  /** We wait for it to connect. */
  readonly passive: boolean;
  /** We let it wait (see `OwnRestart.holdMs`), or did so until a moment ago. */
  readonly held: boolean;
  /** OpenSent, OpenConfirm. */
  readonly opening: boolean;
  readonly established: boolean;
  /** It took a connection of ours, whatever became of that. */
  readonly answered: boolean;
  /** In its state. */
  readonly stateForMs: number;
  /** Everything it had to say it has said. */
  readonly done: boolean;
}

export interface DeferralTimes {
  readonly settleMs: number;
  readonly graceMs: number;
  readonly maxMs: number;
}

/**
 * Names of the peers that are waited for `elapsedMs` after the start; `over` when selection may begin.
 *
 * @param sinceDoneMs since a peer was done that had not been before; undefined: none is yet.
 */
export function deferralState(
  peers: readonly DeferralPeer[],
  elapsedMs: number,
  sinceDoneMs: number | undefined,
  times: DeferralTimes,
): { readonly over: boolean; readonly waitingFor: readonly string[] } {
  const { settleMs, graceMs, maxMs } = times;
  if (elapsedMs >= maxMs) return { over: true, waitingFor: [] };
  const inGrace = elapsedMs < graceMs;
  const waitingFor = peers.filter((peer) => {
    if (peer.established) return !peer.done;
    if (peer.held) return true;
    if (peer.opening) return peer.stateForMs < graceMs;
    if (sinceDoneMs === undefined) return inGrace || peer.answered;
    return peer.passive ? inGrace : sinceDoneMs < settleMs;
  });
  const over = waitingFor.length === 0 && (peers.length > 0 || !inGrace);
  return { over, waitingFor: waitingFor.map((peer) => peer.name) };
}

/** Times that nobody tells of are looked for so often; with `deferralSettleMs` it adds up to less than a second. */
const lookMs = 200;
/** A thousand peers come up within seconds, and each look goes through all of them: what happened is looked at so much later. */
const coalesceMs = 10;
/** One turn of the event loop: what peers said may wait in their sockets while we were busy. */
const secondLookMs = 5;

export interface DeferralDeps {
  readonly clock: Clock;
  /** Those that may have a session. */
  peers(): readonly DeferralPeer[];
  /** Longest wait, seconds. */
  maxSec(): number;
  /** Called once, out of a timer. */
  onOver(elapsedMs: number): void;
}

export class Deferral {
  readonly #deps: DeferralDeps;
  readonly #startedMs: number;
  /** Names of peers that were done at any time: one that comes and goes is no progress. */
  readonly #done = new Set<string>();
  #doneAtMs: number | undefined;
  #active: boolean;
  #cancel: (() => void) | undefined;
  #cancelCheck: (() => void) | undefined;

  /** @param active whether there is anything to defer. */
  constructor(deps: DeferralDeps, active: boolean) {
    this.#deps = deps;
    this.#active = active;
    this.#startedMs = deps.clock.nowMs();
  }

  get active(): boolean {
    return this.#active;
  }
  get waitingFor(): readonly string[] {
    return this.#active ? this.#state().waitingFor : [];
  }

  start(): void {
    if (this.#active) this.#lookLater(lookMs, false);
  }
  /** The speaker stops: it is never over. */
  stop(): void {
    for (const cancel of [this.#cancel, this.#cancelCheck]) cancel?.();
    this.#active = false;
  }
  /** Something changed at a peer. */
  check(): void {
    if (!this.#active || this.#cancelCheck) return;
    this.#cancelCheck = this.#deps.clock.schedule(coalesceMs, () => {
      this.#cancelCheck = undefined;
      // Ends that only time brings are for the other timer, which looks twice.
      if (this.#state().over && this.#deps.peers().every((peer) => peer.established)) this.#end();
    });
  }

  #look(second: boolean): void {
    const { over } = this.#state();
    if (over && second) this.#end();
    else this.#lookLater(over ? secondLookMs : lookMs, over);
  }
  #lookLater(delayMs: number, second: boolean): void {
    this.#cancel = this.#deps.clock.schedule(delayMs, () => this.#look(second));
  }
  #end(): void {
    this.stop();
    this.#deps.onOver(this.#deps.clock.nowMs() - this.#startedMs);
  }

  #state(): ReturnType<typeof deferralState> {
    const now = this.#deps.clock.nowMs();
    const peers = this.#deps.peers();
    for (const { name, done } of peers) {
      if (!done || this.#done.has(name)) continue;
      this.#done.add(name);
      this.#doneAtMs = now;
    }
    const maxMs = this.#deps.maxSec() * 1000;
    const times = { settleMs: deferralSettleMs, graceMs: Math.min(deferralGraceSec * 1000, maxMs), maxMs };
    const sinceDoneMs = this.#doneAtMs === undefined ? undefined : now - this.#doneAtMs;
    return deferralState(peers, now - this.#startedMs, sinceDoneMs, times);
  }
}
