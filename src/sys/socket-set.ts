import { availableParallelism } from 'node:os';
import { nowMs } from '#kit';
import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EpollFd } from './epoll-fd.ts';
import { type EventLoop, eventLoop } from './event-loop.ts';
import { type Watcher, watch } from './watch.ts';

/** Of one look; the rest is ready still at the next. */
const eventsMax = 256;
/** As long as one event follows another within this, the next is waited for past the event loop. */
const stayMsMax = 20;
/** After an event the loop has its turn within this: for what the callback has begun. */
const loopAfterMs = 10;
/**
 * Who goes to sleep is woken late, and finds his caches cold: where others answer at once they are waited for awake, as long as a guest kernel does
 * before it halts (guest_halt_poll_ns). A processor of its own is what that takes.
 */
const awakeMsMax = availableParallelism() > 1 ? 0.2 : 0;
/** Waits that begin awake after an event that came so soon: of a peer that says two things at a time and then rests, every other is fruitless. */
const awakeWaitsMax = 2;
/**
 * A wait that is to end before the kernel's next tick (4 ms at 250 Hz) has the timer of the processor set when it begins and again when something
 * comes: 8 us apiece on a guest, of those who wait for an answer. Sooner than sleep for less than this the loop has its turn at once, and a stay is over.
 */
const sleepMsMin = 5;
/** Looks at the sockets of a turn while something else is to be done. */
const hurriedMax = 3;
/** Turns of the loop in a row with nothing said meanwhile that end a stay: a timer that is due may take a few, a runtime that always has something to do gets no more. */
const fruitlessMax = 20;

/** @param readable or there is an error, or the end: reading tells which. */
export type OnSocketReady = (readable: boolean, writable: boolean) => void;

export interface SocketWatcher {
  /** What is waited for from now on; errors and the end always are. */
  await(readable: boolean, writable: boolean): void;
  /** Must come before the descriptor is closed. Idempotent. */
  close(): void;
}

interface Member {
  readonly onReady: OnSocketReady;
  /** Tells a number that was closed and reused from the one that an event is for. */
  readonly generation: number;
}

const nothing = (): void => undefined;
/** While an immediate runs, the loop is told that there is one to run, even if it was the last; as soon as another is cleared it is not. */
function forgetImmediate(): void {
  clearImmediate(setImmediate(nothing));
}

/**
 * The sockets of a thread whose peers are in a hurry, level triggered. To be called by the event loop costs more than to read a short message, to
 * decide and to answer. So when one event soon follows another, more is waited for right here, past the loop, until nothing has come for `stayMsMax`.
 * Whenever anything else is to be done in this thread (its descriptors, timers and immediates, which the loop is asked for), the loop has a turn in
 * between. Only what a callback has begun and the loop has not seen yet, a promise that is settled or a descriptor to be watched, waits for
 * up to `loopAfterMs`.
 *
 * It keeps the thread alive while it has members.
 */
export class SocketSet {
  /** Among the descriptors of the event loop, or has the event loop's among its own: one in the other, never both. */
  readonly #epoll = new EpollFd(eventsMax);
  readonly #loop: EventLoop | undefined = eventLoop();
  /** By descriptor, of which the kernel gives the lowest ones. */
  readonly #members: (Member | undefined)[] = [];
  #count = 0;
  #watcher: Watcher | undefined;
  readonly #onQuiet: () => void;
  #generation = 0;
  /** The event loop's descriptor is in the set, and the set not among the loop's. */
  #away = false;
  #lastEventMs = Number.NEGATIVE_INFINITY;
  /** So often since the last event the loop had its turn because it had something to do at once. */
  #fruitless = 0;
  /** So many of the next waits begin awake. */
  #awakeWaits = 0;
  /** To go on after a turn of the event loop; only while away. */
  #resuming: NodeJS.Immediate | undefined;

  /** @param onQuiet when all that was ready has been served, nothing else is to be done in this thread, and more is waited for. */
  constructor(onQuiet: () => void = () => undefined) {
    this.#onQuiet = onQuiet;
  }

  /** Nothing is waited for yet. @throws SysError when there is no room for it. */
  add(fd: number, onReady: OnSocketReady): SocketWatcher {
    this.#generation = (this.#generation + 1) >>> 0;
    const member: Member = { onReady, generation: this.#generation };
    this.#epoll.add(fd, 0, member.generation);
    if (!this.#members[fd]) this.#count++;
    this.#members[fd] = member;
    this.#watcher ??= watch(this.#epoll.number, { readable: true }, this.#turn);
    const isMember = (): boolean => this.#members[fd] === member;
    return {
      await: (readable, writable) => {
        if (!isMember()) return;
        this.#epoll.modify(fd, (readable ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0), member.generation);
      },
      close: () => {
        if (!isMember()) return;
        this.#members[fd] = undefined;
        this.#count--;
        this.#epoll.remove(fd);
        if (this.#count === 0) this.#endWatch();
      },
    };
  }

  close(): void {
    this.#members.length = 0;
    this.#count = 0;
    this.#endWatch();
    this.#epoll.close();
  }

  #endWatch(): void {
    clearImmediate(this.#resuming);
    this.#resuming = undefined;
    this.#rejoin();
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  /** From the event loop. */
  readonly #turn = (): void => {
    this.#serve(0, false);
    const now = nowMs();
    const soon = now - this.#lastEventMs < stayMsMax;
    this.#lastEventMs = now;
    if (soon) this.#stay(now + loopAfterMs);
  };
  /** Nothing that a callback has begun waits for the event loop: it was just there. */
  readonly #resume = (): void => {
    this.#resuming = undefined;
    forgetImmediate();
    this.#stay(Number.POSITIVE_INFINITY);
  };

  /** @param loopAtMs when the event loop is to have its turn because of what callbacks have begun. */
  #stay(loopAtMs: number): void {
    let more = false;
    try {
      if (this.#loop) more = this.#serveOn(this.#loop, loopAtMs);
    } finally {
      if (!more) this.#rejoin();
      else if (this.#away) this.#resuming ??= setImmediate(this.#resume);
    }
  }

  /** @returns whether to go on once the event loop has had its turn. */
  #serveOn(loop: EventLoop, loopAtMs: number): boolean {
    let loopAt = loopAtMs;
    let now = nowMs();
    // Whatever else is to be done gets its turn soon, however much comes here.
    for (let hurried = 0; hurried < hurriedMax && this.#watcher; ) {
      const endsAt = this.#lastEventMs + stayMsMax;
      if (endsAt - now < sleepMsMin) return false;
      if (now >= loopAt) return true;
      const loopMs = loop.waitMs();
      if (loopMs === 0) hurried++;
      else {
        this.#leave(loop);
        this.#onQuiet();
      }
      const leftMs = Math.ceil(Math.min(endsAt, loopAt) - now);
      const served = this.#serve(loopMs < 0 || loopMs > leftMs ? leftMs : loopMs, loopAt - now < sleepMsMin);
      now = nowMs();
      if (served > 0) {
        this.#fruitless = 0;
        if (now - this.#lastEventMs < awakeMsMax) this.#awakeWaits = awakeWaitsMax;
        else if (this.#awakeWaits > 0) this.#awakeWaits--;
        this.#lastEventMs = now;
        loopAt = Math.min(loopAt, now + loopAfterMs);
      } else if (served < 0) return true;
      else if (loopMs === 0) return ++this.#fruitless < fruitlessMax;
    }
    return this.#watcher !== undefined;
  }

  #leave(loop: EventLoop): void {
    if (this.#away) return;
    this.#watcher?.stop();
    this.#epoll.add(loop.fd, EPOLLIN);
    this.#away = true;
  }
  #rejoin(): void {
    if (!this.#away) return;
    this.#away = false;
    this.#epoll.remove(this.#loop!.fd);
    this.#watcher?.restart();
  }

  /**
   * Whoever may sleep is awake first where that is worth it.
   *
   * @param loopFirst the loop is to have its turn before a sleep. @returns how many events there are; -1: that turn is due.
   */
  #wait(waitMs: number, loopFirst: boolean): number {
    // Asked once: an answer that the engine has not seen when it compiles makes it take the code back.
    const mayWait = waitMs > 0;
    if (mayWait && this.#awakeWaits > 0) {
      const asleepAt = this.#lastEventMs + awakeMsMax;
      while (nowMs() < asleepAt) {
        const count = this.#epoll.wait(0);
        if (count > 0) return count;
      }
    }
    return loopFirst && mayWait ? -1 : this.#epoll.wait(waitMs);
  }

  /** @param loopFirst see `#wait`. @returns how many events there were; -1: the event loop has something to do, too, or its turn is due. */
  #serve(waitMs: number, loopFirst: boolean): number {
    const epoll = this.#epoll;
    const count = this.#wait(waitMs, loopFirst);
    let only = true;
    for (let i = 0; i < count; i++) {
      const fd = epoll.fdAt(i);
      if (this.#away && fd === this.#loop!.fd) {
        only = false;
        continue;
      }
      const member = this.#members[fd];
      if (member === undefined || member.generation !== epoll.tagAt(i)) continue;
      const events = epoll.eventsAt(i);
      member.onReady((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) !== 0, (events & EPOLLOUT) !== 0);
    }
    return only ? count : -1;
  }
}
