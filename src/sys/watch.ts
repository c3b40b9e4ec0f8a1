import koffi from 'koffi';

export interface WatchEvents {
  readonly readable?: boolean;
  readonly writable?: boolean;
  readonly disconnect?: boolean;
}

export interface Watcher {
  /** Changes what is waited for, or starts again after an error (`status < 0`), which stops it by itself. */
  restart(events?: WatchEvents): void;
  /** Nothing is waited for until `restart`. */
  stop(): void;
  unref(): void;
  /** Must come before the descriptor is closed. Idempotent. */
  close(): void;
}

type PollHandle = ReturnType<typeof koffi.node.poll>;
const watched = new Map<number, PollHandle>();

/**
 * Calls `onReady(status, events)` when descriptor `fd` is ready. Level triggered: work in bounded slices, what is not drained
 * comes again at once. Sets O_NONBLOCK on the open file, which is shared by all who hold it.
 *
 * uv_poll through koffi has sharp edges, covered here: the raw callback gets (status, events) though its type says (events); an
 * exception in it is never reported, it comes out of the next unrelated koffi call, and no poll callback runs until then,
 * so it is caught and thrown from the event loop, where it ends the process; the handle is closed as soon as the collector finds it,
 * so it is kept here; a second handle on one descriptor, or a descriptor closed before its handle, aborts the process.
 *
 * @throws Error when `fd` is watched already: use one watcher for reading and writing.
 */
export function watch(
  fd: number,
  events: WatchEvents,
  onReady: (status: number, events: WatchEvents) => void,
): Watcher {
  if (watched.has(fd)) throw new Error(`descriptor ${fd} is watched already: use one watcher for reading and writing`);
  const guarded = (status: number, ready: WatchEvents): void => {
    try {
      onReady(status, ready);
    } catch (error) {
      setImmediate(() => {
        throw error;
      });
    }
  };
  const callback = guarded as unknown as (events: {
    readable: boolean;
    writable: boolean;
    disconnect: boolean;
  }) => void;
  const handle = koffi.node.poll(fd, { ...events }, callback);
  watched.set(fd, handle);
  const alive = (): boolean => watched.get(fd) === handle;
  return {
    restart(next = events) {
      if (alive()) handle.start({ ...next }, callback);
    },
    stop() {
      if (alive()) handle.stop();
    },
    unref() {
      if (alive()) handle.unref();
    },
    close() {
      if (!alive()) return;
      watched.delete(fd);
      handle.close();
    },
  };
}
