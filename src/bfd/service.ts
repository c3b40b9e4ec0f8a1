/**
 * BFD with real sockets and a timerfd. Runs in a process of its own (main.ts): nothing else may hold it up. It sleeps on its descriptors by
 * itself, past the event loop: a turn through libuv and back allocates 150 bytes and more, a turn here nearly nothing.
 *
 * Known race: a process that was held up finds its timers due and packets waiting. Whatever woke it, it sends first what is due, since peers wait
 * for that, and before it judges who was silent it reads all that waits on any socket: its own delay is not taken for the peer's.
 */
import { PerformanceObserver } from 'node:perf_hooks';
import { BfdEngine, type BfdSessionConfig, type BfdSessionStatus, bfdSessionsMax } from '#bgp';
import { type Logger, nowMs } from '#kit';
import { EpollSleep, TimerFd } from '#sys';
import type { BfdStop, BfdTiming } from './protocol.ts';
import { ReceivingSockets } from './receiving-sockets.ts';
import { SendingSockets } from './sending-sockets.ts';
import { Buckets, bucketEdgesMs, Longest } from './timing.ts';

export class BfdService {
  readonly #log: Logger;
  readonly #engine: BfdEngine;
  readonly #epoll = new EpollSleep();
  readonly #ownerFd: number;
  readonly #onChange: (statuses: readonly BfdSessionStatus[]) => void;
  #news: BfdSessionStatus[] = [];
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
  #awaitsRoom = false;

  /**
   * @param ownerFd `run` returns when it is readable: the event loop is to see to it.
   * @param onChange told what changed in one turn.
   */
  constructor(
    log: Logger,
    ownerFd: number,
    random: () => number,
    onChange: (statuses: readonly BfdSessionStatus[]) => void,
  ) {
    this.#log = log;
    this.#ownerFd = ownerFd;
    this.#onChange = onChange;
    this.#sending = new SendingSockets(log, random);
    this.#engine = new BfdEngine({
      open: (slot, config) => this.#sending.open(slot, config, this.#nowMs),
      close: (slot) => this.#sending.close(slot),
      send: (slot, packet) => this.#sending.send(slot, packet, this.#nowMs),
      onPeriodic: (lateMs) => this.#lateness.add(lateMs),
      onGap: (gapMs) => this.#gaps.add(gapMs),
      onChange: (status) => this.#news.push(status),
      random,
    });
    this.#receiving = new ReceivingSockets(log, this.#epoll, (bytes, length, path) =>
      this.#engine.receive(bytes, length, path, this.#nowMs),
    );
    this.#epoll.add(this.#timer.fd);
    this.#epoll.add(ownerFd);
    this.#observer.observe({ entryTypes: ['gc'] });
  }

  configure(sessions: readonly BfdSessionConfig[]): void {
    this.#nowMs = nowMs();
    this.#receiving.configure(sessions);
    const leftOut = this.#engine.configure(sessions, this.#nowMs);
    if (leftOut > 0) this.#log.error({ leftOut, bfdSessionsMax }, 'too many BFD sessions; some are left out');
    this.#turn(true);
    this.#tell();
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
    this.#nowMs = nowMs();
    if (how === 'adminDown') this.#engine.disableAll(this.#nowMs);
    this.#observer.disconnect();
    this.#receiving.close();
    this.#epoll.close();
    this.#timer.close();
    this.#sending.closeAll();
  }

  /**
   * Serves the sessions and sleeps in between, for `forMs`, until the owner calls, or there is news. Not to be called once it is closed.
   *
   * @param hasUnsent also until `ownerFd` has room.
   */
  run(forMs: number, hasUnsent: boolean): void {
    if (hasUnsent !== this.#awaitsRoom) this.#epoll.awaitRoom(this.#ownerFd, hasUnsent);
    this.#awaitsRoom = hasUnsent;
    this.#nowMs = nowMs();
    const endMs = this.#nowMs + forMs;
    while (this.#nowMs < endMs) {
      this.#epoll.sleep(Math.ceil(endMs - this.#nowMs));
      this.#nowMs = nowMs();
      const timed = this.#epoll.woke(this.#timer.fd);
      if (timed) {
        this.#timer.acknowledge();
        this.#armedForMs = Number.POSITIVE_INFINITY;
      }
      this.#turn(!timed || this.#epoll.readyCount > 1);
      this.#turns.add(nowMs() - this.#nowMs);
      if (this.#tell() || this.#epoll.woke(this.#ownerFd)) return;
    }
  }

  /** @returns whether there was anything to tell. */
  #tell(): boolean {
    if (this.#news.length === 0) return false;
    this.#onChange(this.#news);
    this.#news = [];
    return true;
  }

  /**
   * A timer that is set too early costs one idle turn; it is not moved back for each packet.
   *
   * @param received packets may be waiting.
   */
  #turn(received: boolean): void {
    this.#engine.sendDue(this.#nowMs);
    if (received || this.#engine.isJudgeDue(this.#nowMs)) this.#receiving.drain();
    this.#engine.judgeDue(this.#nowMs);
    const next = this.#engine.nextDueMs();
    if (next >= this.#armedForMs) return;
    this.#armedForMs = next;
    this.#timer.arm(Math.max(0, next - nowMs()));
  }
}
