/** BFD for the peers of one speaker: asks for the sessions that they want now, and tells each what befell its own. */
import type { Clock } from '#kit';
import type { BfdSessionStatus } from '../bfd/index.ts';
import { BfdMonitor, type BfdPort, bfdSession, type PeerBfdStatus } from './bfd.ts';
import type { PeerConfig } from './config.ts';
import type { Peer } from './peer.ts';

export interface BfdWatchDeps {
  /** Absent: peers' `bfd` has no effect. */
  readonly port: BfdPort | undefined;
  readonly clock: Clock;
  readonly peers: () => Iterable<Peer>;
  /** See `BfdMonitor.configure`. */
  readonly restarting: () => boolean;
  /** The BFD session of a peer is not what it was. */
  readonly onChanged: (peer: Peer) => void;
}

export class BfdWatch {
  readonly #deps: BfdWatchDeps;
  readonly #monitor: BfdMonitor;

  constructor(deps: BfdWatchDeps) {
    this.#deps = deps;
    this.#monitor = new BfdMonitor(deps.port, deps.clock, () => this.configure());
  }

  /** Peers, or what they have been through, changed. */
  configure(): void {
    const peers = [...this.#deps.peers()].map(({ config, session }) => ({
      config,
      wasEstablished: session.establishedCount > 0,
    }));
    this.#monitor.configure(peers, this.#deps.restarting());
  }

  /** News of a session: see `SpeakerDeps.bfd`. */
  changed(status: BfdSessionStatus): void {
    const down = this.#monitor.changed(status);
    for (const peer of this.#deps.peers()) {
      if (bfdSession(peer.config)?.key !== status.key) continue;
      if (down) peer.bfdDown(down);
      this.#deps.onChanged(peer);
    }
  }

  statusOf(peer: PeerConfig): PeerBfdStatus | undefined {
    return this.#monitor.statusOf(peer);
  }
  stop(): void {
    this.#monitor.stop();
  }
}
