/**
 * Cuts flows that were allowed when they began and are not any more, and lets those go on that are allowed again.
 *
 *   rules in force -> recheck(addresses) -> flows of these -> judge -> bit in the connection mark, set or cleared
 *
 * The bit is dropped both ways ahead of ESTABLISHED (render/base.ts). An entry that is only deleted comes back: the next packet of the other side makes a
 * new one the other way round, which policy may allow. A marked entry stays for as long as either side tries, because dropped packets
 * refresh it; hence the bit has to be cleared when the flow is allowed again, or a client with a fixed port would stay dead.
 *
 * Races:
 * - Rules come first: a flow that begins after them was judged by them. A packet that the old rules let through makes its entry microseconds later,
 *   while whatever wrote the rules still has to end; one that another program holds back (NFQUEUE) is found by the next refresh.
 * - The judge knows the newest state, the kernel's rules may still be older: a flow that the newest state forbids is cut a little early, one that it
 *   allows again goes on a little early. The change in between asks for another look when it is in force.
 * - An entry that ends while it is marked is none. One that comes with the same tuple gets the same verdict.
 *
 * Cost: what the table holds is walked off this thread, 50 ms for 200,000 entries, twice an address; from some addresses on it is read once. At most a fifth
 * of the time is spent so: changes that come meanwhile wait together.
 */
import { type Clock, errorText, type IpAddress, type Logger } from '#kit';
import type { FlowTable, TrackedFlow } from './drivers/flow-table.ts';
import { paced } from './pace.ts';

/** Says whether a flow may go on. */
export type FlowJudge = (flow: TrackedFlow) => boolean;

/** The pause after a look, in lengths of that look. */
const pausePerLook = 4;
const pauseMsMax = 5_000;
const retryFirstMs = 100;
const retryMsMax = 5_000;

export interface FlowCounts {
  /** Flows that were cut. */
  readonly cut: number;
  /** Flows that had been cut and go on. */
  readonly restored: number;
  /** Looks at the table that failed, in a row. */
  readonly failures: number;
}

export class FlowCutter {
  readonly #table: FlowTable;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #cutMark: number;
  readonly #judge: FlowJudge;
  readonly #counts = { cut: 0, restored: 0, failures: 0 };
  #pending = new Set<IpAddress>();
  #looking: Promise<void> | undefined;
  #cancel: (() => void) | undefined;
  #stopped = false;

  /** @param options.cutMark one bit. */
  constructor(
    deps: { readonly table: FlowTable; readonly clock: Clock; readonly log: Logger; readonly judge: FlowJudge },
    options: { readonly cutMark: number },
  ) {
    this.#table = deps.table;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#judge = deps.judge;
    this.#cutMark = options.cutMark;
  }

  get counts(): FlowCounts {
    return { ...this.#counts };
  }

  /** What applies to flows from and to these is in force as the judge knows it. */
  recheck(addresses: Iterable<IpAddress>): void {
    for (const address of addresses) this.#pending.add(address);
    if (!this.#cancel && !this.#looking) this.#arm(0);
  }

  /** Ends after the look that is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    await this.#looking;
  }

  #arm(delayMs: number): void {
    if (this.#stopped) return;
    this.#cancel = this.#clock.schedule(delayMs, () => {
      this.#cancel = undefined;
      if (this.#pending.size > 0) this.#looking = this.#lookThenRest();
    });
  }

  async #lookThenRest(): Promise<void> {
    const startedMs = this.#clock.nowMs();
    const addresses = this.#pending;
    this.#pending = new Set();
    let pauseMs: number;
    try {
      await this.#look(addresses);
      this.#counts.failures = 0;
      pauseMs = Math.min(pauseMsMax, pausePerLook * (this.#clock.nowMs() - startedMs));
    } catch (error) {
      const failures = ++this.#counts.failures;
      pauseMs = Math.min(retryMsMax, retryFirstMs * 2 ** (failures - 1));
      for (const address of addresses) this.#pending.add(address);
      this.#log.warn({ reason: errorText(error), failures, retryMs: pauseMs }, 'flows could not be looked at');
    }
    this.#looking = undefined;
    this.#arm(pauseMs);
  }

  async #look(addresses: ReadonlySet<IpAddress>): Promise<void> {
    const bit = this.#cutMark;
    const isCut = (flow: TrackedFlow): boolean => (flow.mark & bit) !== 0;
    let cut = 0;
    let restored = 0;
    for await (const flows of this.#table.scan(addresses)) {
      const forbidden: TrackedFlow[] = [];
      const allowed: TrackedFlow[] = [];
      await paced(this.#clock, flows, (flow) => {
        if (this.#judge(flow) === isCut(flow)) (isCut(flow) ? allowed : forbidden).push(flow);
      });
      if (forbidden.length > 0) cut += this.#table.mark(forbidden, { value: bit, mask: bit });
      if (allowed.length > 0) restored += this.#table.mark(allowed, { value: 0, mask: bit });
    }
    this.#counts.cut += cut;
    this.#counts.restored += restored;
    if (cut + restored > 0) this.#log.info({ cut, restored }, 'flows were cut, or may go on again, as policy says now');
  }
}
