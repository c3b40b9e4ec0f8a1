import koffi from 'koffi';

/** What this thread's event loop (libuv) would do next, for who waits in its place. */
export interface EventLoop {
  /** Readable when anything is to be done that the loop waits for: an epoll set. */
  readonly fd: number;
  /** How long the loop would wait now, ms: 0: something is to be done at once, an immediate perhaps; -1: until `fd` is readable. */
  waitMs(): number;
}

/** Of this thread. Undefined where the runtime does not show it. */
export function eventLoop(): EventLoop | undefined {
  const found: unknown[] = [null];
  try {
    const library = koffi.load(null);
    const loopOf = library.func('int napi_get_uv_event_loop(void *, _Out_ void **)');
    const backend = library.func('int uv_backend_fd(void *)');
    const timeout = library.func('int uv_backend_timeout(void *)');
    const update = library.func('void uv_update_time(void *)');
    if (loopOf(koffi.node.env, found) !== 0) return undefined;
    const [loop] = found;
    return {
      fd: backend(loop),
      waitMs() {
        // The loop's clock stands still while a callback runs; timers are set by it.
        update(loop);
        return timeout(loop);
      },
    };
  } catch {
    return undefined;
  }
}
