/**
 * BFD with real sockets and a timerfd. Runs in a thread of its own (worker.ts): nothing else may hold it up. It sleeps on its descriptors by
 * itself, past the event loop: what allocates nothing is never held up by a collection of garbage, which waits for helper threads that have no
 * real-time scheduling (10 ms on a busy machine as a rule, 215 ms seen).
 *
 * Known race: a thread that was held up finds its timers due and packets waiting. Whatever woke it, it sends first what is due, since peers wait
 * for that, then reads all that waits on any socket, and only then judges who was silent: its own delay is not taken for the peer's.
 */
import { PerformanceObserver } from 'node:perf_hooks';
import { BfdEngine, type BfdSessionConfig, type BfdSessionStatus, bfdSessionsMax } from '#bgp';
import type { Logger } from '#kit';
import { acknowledgeEvent, EpollSleep, TimerFd } from '#sys';
import type { BfdStop, BfdTiming } from './protocol.ts';
import { ReceivingSockets } from './receiving-sockets.ts';
import { SendingSockets } from './sending-sockets.ts';
import { Buckets, bucketEdgesMs, Longest } from './timing.ts';

/** As long as the thread may be deaf to `terminate` at most: a process that exits waits for it. */
const sleepMsMax = 50;

export class BfdService {
  readonly #log: Logger;
  readonly #engine: BfdEngine;
  readonly #epoll = new EpollSleep();
  readonly #wakeFd: number;
  readonly #timer = new TimerFd();
  readonly #sending: SendingSockets;
  readonly #receiving: ReceivingSockets;
  readonly #lateness = new Buckets();
  readonly #gaps = new Buckets();
  readonly #turns = new Longest();
  readonly #pauses = new Longest();
  #collections = 0;
  readonly #observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) {
      this.#collections++;
      this.#pauses.add(duration);
    }
  });
  #armedForMs = Number.POSITIVE_INFINITY;
  #nowMs = 0;

  /** @param wakeFd an `EventFd` of the owner: `run` returns when it is signalled. */
  constructor(log: Logger, wakeFd: number, random: () => number, onChange: (status: BfdSessionStatus) => void) {
    this.#log = log;
    this.#wakeFd = wakeFd;
    this.#sending = new SendingSockets(log, random);
    this.#engine = new BfdEngine({
      open: (slot, config) => this.#sending.open(slot, config, this.#nowMs),
      close: (slot) => this.#sending.close(slot),
      send: (slot, packet) => this.#sending.send(slot, packet, this.#nowMs),
      onPeriodic: (lateMs) => this.#lateness.add(lateMs),
      onGap: (gapMs) => this.#gaps.add(gapMs),
      onChange,
      random,
    });
    this.#receiving = new ReceivingSockets(log, this.#epoll, (bytes, length, path) =>
      this.#engine.receive(bytes, length, path, this.#nowMs),
    );
    this.#epoll.add(this.#timer.fd);
    this.#epoll.add(wakeFd);
    this.#observer.observe({ entryTypes: ['gc'] });
  }

  configure(sessions: readonly BfdSessionConfig[]): void {
    this.#nowMs = performance.now();
    this.#receiving.configure(sessions);
    const leftOut = this.#engine.configure(sessions, this.#nowMs);
    if (leftOut > 0) this.#log.error({ leftOut, bfdSessionsMax }, 'too many BFD sessions; some are left out');
    this.#turn();
  }

  timing(realtime: boolean): BfdTiming {
    const { user, system } = process.threadCpuUsage();
    return {
      realtime,
      edgesMs: bucketEdgesMs,
      lateness: [...this.#lateness.counts],
      latestMs: this.#lateness.takeMax(),
      gaps: [...this.#gaps.counts],
      longestGapMs: this.#gaps.takeMax(),
      longestTurnMs: this.#turns.take(),
      collections: this.#collections,
      longestCollectionMs: this.#pauses.take(),
      cpuMs: (user + system) / 1000,
      sent: this.#sending.sent,
      received: this.#receiving.received,
      sendFailures: this.#sending.failures,
      drops: { ...this.#engine.drops },
    };
  }

  /** Nothing is sent or received afterwards. */
  close(how: BfdStop): void {
    this.#nowMs = performance.now();
    if (how === 'adminDown') this.#engine.disableAll(this.#nowMs);
    this.#observer.disconnect();
    this.#receiving.close();
    this.#epoll.close();
    this.#timer.close();
    this.#sending.closeAll();
  }

  /** Serves the sessions and sleeps in between, for `forMs` or until woken. Not to be called once it is closed. */
  run(forMs: number): void {
    this.#nowMs = performance.now();
    const endMs = this.#nowMs + forMs;
    while (this.#nowMs < endMs) {
      this.#epoll.sleep(sleepMsMax);
      this.#nowMs = performance.now();
      if (this.#epoll.woke(this.#timer.fd)) {
        this.#timer.acknowledge();
        this.#armedForMs = Number.POSITIVE_INFINITY;
      }
      this.#turn();
      this.#turns.add(performance.now() - this.#nowMs);
      if (!this.#epoll.woke(this.#wakeFd)) continue;
      acknowledgeEvent(this.#wakeFd);
      return;
    }
  }

  /** A timer that is set too early costs one idle turn; it is not moved back for each packet. */
  #turn(): void {
    this.#engine.sendDue(this.#nowMs);
    this.#receiving.drain();
    this.#engine.judgeDue(this.#nowMs);
    const next = this.#engine.nextDueMs;
    if (next >= this.#armedForMs) return;
    this.#armedForMs = next;
    this.#timer.arm(Math.max(0, next - performance.now()));
  }
}
