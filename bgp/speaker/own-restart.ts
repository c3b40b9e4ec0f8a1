/**
 * Our own restart (RFC 4724 4.1): until when routes are not selected, and what our OPENs say of it. Selection begins when deferral
 * is over; that it has, peers and the feed learn once all that was held back is decided:
 *
 *   deferring --deferral over--> deciding what was held back --decided--> selecting
 */
import type { Clock, Logger } from '#kit';
import { peerNoticesAfterMs } from './bfd.ts';
import type { PeerConfig, SpeakerConfig } from './config.ts';
import { Deferral, type DeferralPeer } from './deferral.ts';
import type { Peer } from './peer.ts';
import { gracefulRestartOffer, openTexts } from './session-config.ts';

export interface OwnRestartDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** See `SpeakerDeps`. */
  readonly processAgeMs: number;
  readonly config: () => SpeakerConfig;
  readonly peers: () => Iterable<Peer>;
  /** Those that may come by themselves. */
  readonly expected: () => readonly DeferralPeer[];
  /** Deferral is over: everything is to be decided. */
  readonly onOver: () => void;
}

export class OwnRestart {
  readonly #deps: OwnRestartDeps;
  readonly #deferral: Deferral;
  /** When the process began, by the clock. */
  readonly #beganMs: number;
  #deciding = false;

  /** @param restarting this process follows an earlier run, whose routes are in the kernel. */
  constructor(deps: OwnRestartDeps, restarting: boolean) {
    this.#deps = deps;
    this.#beganMs = deps.clock.nowMs() - deps.processAgeMs;
    this.#deferral = new Deferral(
      {
        clock: deps.clock,
        peers: () => this.#deferralPeers(),
        maxSec: () => deps.config().gracefulRestart.deferralTimeSec,
        onOver: (elapsedMs) => this.#over(elapsedMs),
      },
      restarting,
    );
  }

  get deferring(): boolean {
    return this.#deferral.active;
  }
  /** Routes are selected, and those that were held back are too. */
  get selecting(): boolean {
    return !this.#deferral.active && !this.#deciding;
  }
  get waitingFor(): readonly string[] {
    return this.#deferral.waitingFor;
  }

  start(): void {
    this.#deferral.start();
  }
  stop(): void {
    this.#deferral.stop();
  }
  /** Something changed at a peer. */
  check(): void {
    this.#deferral.check();
  }

  /** Nothing waits for a decision. True, once: with that, selection is under way. */
  allDecided(): boolean {
    if (!this.#deciding) return false;
    this.#deciding = false;
    return true;
  }

  /**
   * How long a peer is left alone yet, in milliseconds: until its BFD has noticed that the earlier run is gone. FRR, and whoever knows no better,
   * ends a BGP session, and its restart, when a BFD session falls that is older than it. While BGP is down, too, a fall says nothing new
   * (RFC 5882 4.3.2). At most half of what the restart may take; a peer that must connect to us is not turned away, since it
   * may not come back in time.
   */
  holdMs(peer: PeerConfig): number {
    if (!this.deferring || peer.passive) return 0;
    const { restartTimeSec, deferralTimeSec } = this.#deps.config().gracefulRestart;
    const mostMs = (Math.min(restartTimeSec, deferralTimeSec) * 1000) / 2;
    return Math.max(0, this.#beganMs + Math.min(peerNoticesAfterMs(peer), mostMs) - this.#deps.clock.nowMs());
  }

  /** What OPENs to a peer say; see `gracefulRestartOffer`. */
  offer(peer: PeerConfig, everEstablished: boolean): ReturnType<typeof gracefulRestartOffer> {
    return gracefulRestartOffer(this.#deps.config().gracefulRestart, peer, !this.selecting, everEstablished);
  }
  /** In OPENs to come. */
  renewOffers(): void {
    for (const { session, config, everEstablished } of this.#deps.peers()) {
      session.setGracefulRestart(this.offer(config, everEstablished));
      session.setTexts(openTexts(this.#deps.config()));
    }
  }

  #over(elapsedMs: number): void {
    this.#deps.log.info({ elapsedMs: Math.round(elapsedMs) }, 'route selection begins');
    this.#deciding = true;
    this.#deps.onOver();
  }

  #deferralPeers(): DeferralPeer[] {
    // An unnumbered peer that is not found yet may come any moment.
    const live = [...this.#deps.peers()].filter(
      ({ config }) => config.heldDown === undefined || (config.interface !== undefined && config.address === ''),
    );
    const peers = live.map((peer) => ({
      name: peer.config.name,
      passive: peer.config.passive || peer.config.address === '',
      held: peer.awaited,
      opening: peer.session.stateName === 'OpenSent' || peer.session.stateName === 'OpenConfirm',
      established: peer.established,
      answered: peer.answered,
      stateForMs: peer.stateForMs,
      done: peer.done,
    }));
    return [...peers, ...this.#deps.expected()];
  }
}
