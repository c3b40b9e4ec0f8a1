/**
 * BFD with real sockets, a timerfd and the thread's own event loop. Runs in a thread of its own (worker.ts): nothing else may hold it up.
 *
 * Known race: a thread that was held up finds its timer due and packets waiting. What waits is read first, so that its own delay is not taken
 * for the peer's silence.
 */
import { PerformanceObserver } from 'node:perf_hooks';
import { BfdEngine, type BfdSessionConfig, type BfdSessionStatus, bfdSessionsMax } from '#bgp';
import type { Logger } from '#kit';
import { EPOLLIN, Epoll, TimerFd } from '#sys';
import type { BfdStop, BfdTiming } from './protocol.ts';
import { ReceivingSockets } from './receiving-sockets.ts';
import { SendingSockets } from './sending-sockets.ts';
import { Buckets, bucketEdgesMs } from './timing.ts';

export class BfdService {
  readonly #log: Logger;
  readonly #engine: BfdEngine;
  readonly #epoll: Epoll;
  readonly #timer = new TimerFd();
  readonly #sending: SendingSockets;
  readonly #receiving: ReceivingSockets;
  readonly #lateness = new Buckets();
  readonly #gaps = new Buckets();
  readonly #collections = { count: 0, max: 0 };
  readonly #observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) {
      this.#collections.count++;
      this.#collections.max = Math.max(this.#collections.max, duration);
    }
  });
  #longestTurnMs = 0;
  #armedForMs = Number.POSITIVE_INFINITY;
  #nowMs = 0;

  constructor(log: Logger, random: () => number, onChange: (status: BfdSessionStatus) => void) {
    this.#log = log;
    this.#sending = new SendingSockets(log, random);
    this.#engine = new BfdEngine({
      open: (slot, config) => this.#sending.open(slot, config, this.#nowMs),
      close: (slot) => this.#sending.close(slot),
      send: (slot, packet) => this.#sending.send(slot, packet, this.#nowMs),
      onPeriodic: (lateMs, gapMs) => {
        this.#lateness.add(lateMs);
        if (gapMs !== undefined) this.#gaps.add(gapMs);
      },
      onChange,
      random,
    });
    this.#epoll = new Epoll((fd) => this.#ready(fd));
    this.#receiving = new ReceivingSockets(log, this.#epoll, (bytes, length, path) =>
      this.#engine.receive(bytes, length, path, this.#nowMs),
    );
    this.#epoll.add(this.#timer.fd, EPOLLIN);
    this.#observer.observe({ entryTypes: ['gc'] });
  }

  configure(sessions: readonly BfdSessionConfig[]): void {
    this.#nowMs = performance.now();
    this.#receiving.configure(sessions);
    const leftOut = this.#engine.configure(sessions, this.#nowMs);
    if (leftOut > 0) this.#log.error({ leftOut, bfdSessionsMax }, 'too many BFD sessions; some are left out');
    this.#run();
  }

  timing(realtime: boolean): BfdTiming {
    const { user, system } = process.threadCpuUsage();
    return {
      realtime,
      edgesMs: bucketEdgesMs,
      lateness: [...this.#lateness.counts],
      latestMs: this.#lateness.max,
      gaps: [...this.#gaps.counts],
      longestGapMs: this.#gaps.max,
      longestTurnMs: this.#longestTurnMs,
      collections: this.#collections.count,
      longestCollectionMs: this.#collections.max,
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
    this.#epoll.remove(this.#timer.fd);
    this.#receiving.close();
    this.#epoll.close();
    this.#timer.close();
    this.#sending.closeAll();
  }

  #ready(fd: number): void {
    this.#nowMs = performance.now();
    if (fd === this.#timer.fd) {
      this.#timer.acknowledge();
      this.#armedForMs = Number.POSITIVE_INFINITY;
      this.#receiving.drain();
    } else {
      this.#receiving.drain(fd);
    }
    this.#run();
    const turnMs = performance.now() - this.#nowMs;
    if (turnMs > this.#longestTurnMs) this.#longestTurnMs = turnMs;
  }

  /** A timer that is set too early costs one idle turn; it is not moved back for each packet. */
  #run(): void {
    this.#engine.runDue(this.#nowMs);
    const next = this.#engine.nextDueMs;
    if (next >= this.#armedForMs) return;
    this.#armedForMs = next;
    this.#timer.arm(Math.max(0, next - performance.now()));
  }
}
