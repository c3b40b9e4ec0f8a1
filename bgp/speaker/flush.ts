/**
 * What events leave to be done, once they are all in (`SpeakerDeps.defer`), a slice at a time: routes are judged again and decided, and peers
 * that keep up told. The rest after that (`SpeakerDeps.afterwards`): peers behind and stations are told, and whoever programs routes is called.
 * More than a slice: again after the events that came meanwhile.
 */
import type { HopMarks } from '../rib/index.ts';
import { prefixesPerSlice } from './limits.ts';
import type { Monitoring } from './monitoring.ts';
import type { OwnRestart } from './own-restart.ts';
import type { PeerRegistry } from './peer-registry.ts';
import type { Tables } from './tables.ts';
import type { SpeakerDeps } from './types.ts';
import type { UpdateReader } from './update-reader.ts';

export interface FlushParts {
  readonly deps: Pick<SpeakerDeps, 'defer' | 'afterwards' | 'onRoutes'>;
  readonly tables: Tables;
  readonly peers: PeerRegistry;
  readonly restart: OwnRestart;
  readonly monitoring: Monitoring;
  readonly reader: UpdateReader;
}

export class Flush {
  readonly #parts: FlushParts;
  readonly #defer: SpeakerDeps['defer'];
  readonly #afterwards: NonNullable<SpeakerDeps['afterwards']>;
  #scheduled = false;
  #restDue = false;
  #stopped = false;
  /** Peers whose routes are to be judged again are looked for. */
  #reviewing = false;
  /** Whoever programs routes was called, and has not taken them all since. */
  #announced = false;

  constructor(parts: FlushParts) {
    this.#parts = parts;
    this.#defer = parts.deps.defer;
    this.#afterwards = parts.deps.afterwards ?? ((fn) => fn());
  }

  /** Something is to be done. */
  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#defer(this.#deferred);
  }
  readonly #deferred = (): void => {
    this.#scheduled = false;
    if (!this.#stopped) this.#run();
  };
  /** A peer's routes are to be judged again: see `Peer.reviewImport`. */
  reviewDue(): void {
    this.#reviewing = true;
    this.schedule();
  }
  /** Nothing is done any more. */
  stop(): void {
    this.#stopped = true;
  }

  /** See `Speaker.takeRoutes`. */
  takeRoutes(): ArrayBuffer | undefined {
    const buffer = this.#parts.tables.feed?.take();
    if (!buffer) this.#announced = false;
    return buffer;
  }

  readonly #markHops = (marks: HopMarks): void => this.#parts.monitoring.markHops(marks);

  #run(): void {
    const { tables, peers, restart, monitoring } = this.#parts;
    peers.rankIfDue();
    if (this.#reviewing) {
      this.#reviewing = false;
      for (const peer of peers) if (peer.reviewImport(prefixesPerSlice)) this.#reviewing = true;
    }
    tables.decide(restart.deferring, monitoring.bmp);
    if (this.#restDue) return;
    this.#restDue = true;
    this.#afterwards(this.#rest);
  }

  readonly #rest = (): void => {
    this.#restDue = false;
    if (this.#stopped) return;
    const { tables, peers, restart, monitoring, reader } = this.#parts;
    const { bmp } = monitoring;
    const { decided } = tables;
    if (decided && restart.allDecided()) {
      for (const peer of peers) peer.selectionStarted();
      restart.renewOffers();
      bmp.selectionStarted();
      tables.feed?.markDeferralEnded();
    }
    const going = reader.received?.step() ?? false;
    if (decided && !going) peers.freeRows();
    const behind = tables.groups.pump(prefixesPerSlice);
    const more = bmp.pump() || behind || going;
    if (tables.sweepNextHops(this.#markHops)) reader.forgetNextHop();
    if (more || this.#reviewing || !decided) this.schedule();
    if (tables.feed?.waiting && !this.#announced) {
      this.#announced = true;
      this.#parts.deps.onRoutes();
    }
  };
}
