/**
 * How many prefixes a peer may have here (RFC 4271 6.7, RFC 4486 4), by family. What counts is what takes room: its paths that
 * are held, stale ones included, and of those that the import policy rejected the ones that are kept all the same (`adjRibIn`).
 *
 * Over the limit the session ends with Cease/Maximum Number of Prefixes Reached, its routes go, and until the restart time is
 * over (without one: until the limit is changed or the peer reset) nothing is dialled and who connects is refused.
 */
import type { Clock, Logger } from '#kit';
import { afiOf, type Family } from '../wire/index.ts';
import type { MaxPrefixes, PeerConfig } from './config.ts';

const warnPercentDefault = 75;

export interface PrefixLimitDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** Paths held of the peer. */
  held(family: Family): number;
  /** Ends the session and drops its routes. @param data of the NOTIFICATION. */
  end(data: Uint8Array): void;
  /** The peer may come back. */
  start(): void;
}

interface FamilyLimit extends MaxPrefixes {
  readonly family: Family;
  readonly warnAt: number;
  warned: boolean;
}

export class PrefixLimits {
  readonly #deps: PrefixLimitDeps;
  #limits: readonly FamilyLimit[];
  #holding = false;
  #restartAtMs: number | undefined;
  #cancelRestart: (() => void) | undefined;

  constructor(deps: PrefixLimitDeps, limits: PeerConfig['maxPrefixes']) {
    this.#deps = deps;
    this.#limits = familyLimits(limits);
  }

  /** The peer is kept away. */
  get holding(): boolean {
    return this.#holding;
  }
  /** Seconds until it may come back; undefined while it is not kept away, or is for good. */
  get restartInSec(): number | undefined {
    if (this.#restartAtMs === undefined) return undefined;
    return Math.max(0, Math.ceil((this.#restartAtMs - this.#deps.clock.nowMs()) / 1000));
  }

  /** Routes came in. */
  check(): void {
    if (this.#limits.length === 0) return;
    for (const each of this.#limits) {
      const held = this.#deps.held(each.family);
      if (held <= each.warnAt) each.warned = false;
      else if (!each.warned) this.#warn(each, held);
      if (held <= each.limit || each.warnOnly) continue;
      this.#exceeded(each);
      return;
    }
  }

  /** Other limits: in force at once, also for a peer that the old ones kept away. */
  reconfigure(limits: PeerConfig['maxPrefixes']): void {
    this.#limits = familyLimits(limits);
    if (this.#holding) this.#release();
    else this.check();
  }

  /** The peer goes, or is told to begin anew: nothing is waited for any more. */
  cancel(): void {
    this.#cancelRestart?.();
    this.#cancelRestart = undefined;
    this.#restartAtMs = undefined;
    this.#holding = false;
  }

  #warn(each: FamilyLimit, held: number): void {
    each.warned = true;
    const { family, limit } = each;
    this.#deps.log.warn({ family, held, limit }, 'peer nears or exceeds its maximum of prefixes');
  }

  #exceeded({ family, limit, restartSec }: FamilyLimit): void {
    const { clock, log, end } = this.#deps;
    this.#holding = true;
    log.error({ family, limit, restartSec }, 'peer exceeds its maximum of prefixes: session ended');
    if (restartSec !== undefined) {
      this.#restartAtMs = clock.nowMs() + restartSec * 1000;
      this.#cancelRestart = clock.schedule(restartSec * 1000, () => this.#release());
    }
    end(Uint8Array.of(0, afiOf(family), 1, limit >>> 24, (limit >>> 16) & 255, (limit >>> 8) & 255, limit & 255));
  }

  #release(): void {
    this.cancel();
    this.#deps.start();
  }
}

function familyLimits(limits: PeerConfig['maxPrefixes']): FamilyLimit[] {
  return Object.entries(limits ?? {}).map(([family, each]) => ({
    ...each,
    family: family as Family,
    warnAt: Math.floor((each.limit * (each.warnPercent ?? warnPercentDefault)) / 100),
    warned: false,
  }));
}
