/**
 * libc through koffi. Calls keep the kernel's own convention: a result >= 0, or -errno; nothing is allocated for EAGAIN
 * on a hot path. `check()` turns a negative result into a SysError.
 *
 * Structs are plain Buffers with offsets written where they are used (x86-64 and arm64 have the same layouts, both little
 * endian). A Buffer given as an argument is pinned for the length of a SYNCHRONOUS call only: an address stored inside
 * another Buffer (msghdr -> iovec -> data), and whatever is given to `.async`, is invisible to the collector.
 */
import koffi from 'koffi';
import { EINTR } from './constants.ts';

export type Bytes = Uint8Array;
export type Pointer = Uint8Array | null;

export interface SystemCall<A extends readonly unknown[]> {
  (...args: A): number;
  /**
   * The same from libuv's thread pool (4 threads for the whole process, at most 256 calls in flight). `keep`: every Buffer that
   * the call touches; it is held until completion, because koffi does not.
   */
  async(keep: readonly Uint8Array[], ...args: A): Promise<number>;
}

/** Of this thread. By itself: a module's object is slow to look into. */
const { errno: lastErrno } = koffi;

// null: the symbols of the process itself, so whichever libc Node runs on, without naming a file.
const library = koffi.load(null);

function declare<A extends readonly unknown[]>(
  prototype: string,
  options: { readonly retry?: boolean } = {},
): SystemCall<A> {
  const native = library.func(prototype);
  const retry = options.retry ?? true;
  const call = (...args: A): number => {
    for (;;) {
      const result: number = native(...args);
      if (result !== -1) return result;
      // The thread's live errno: read it before anything else may touch it.
      const errno = lastErrno();
      if (errno !== EINTR || !retry) return -errno;
    }
  };
  return withAsync(native, call);
}

/** The same for calls that each message makes: without an array for its arguments. */
function declareOf4<A extends readonly [unknown, unknown, unknown, unknown]>(
  prototype: string,
  options: { readonly retry?: boolean } = {},
): SystemCall<A> {
  const native = library.func(prototype);
  const retry = options.retry ?? true;
  const call = (a: A[0], b: A[1], c: A[2], d: A[3]): number => {
    for (;;) {
      const result: number = native(a, b, c, d);
      if (result !== -1) return result;
      // As above.
      const errno = lastErrno();
      if (errno !== EINTR || !retry) return -errno;
    }
  };
  return withAsync(native, call as unknown as (...args: A) => number);
}

function withAsync<A extends readonly unknown[]>(
  native: ReturnType<typeof library.func>,
  call: (...args: A) => number,
): SystemCall<A> {
  const callAsync = (keep: readonly Uint8Array[], ...args: A): Promise<number> =>
    new Promise((resolve, reject) => {
      native.async(...args, (error: unknown, result: number) => {
        // Inside the callback koffi restores the pool thread's errno; one microtask later it is gone.
        const errno = result === -1 ? lastErrno() : 0;
        if (keep.length < 0 || error) reject(error);
        else resolve(result === -1 ? -errno : result);
      });
    });
  return Object.assign(call, { async: callAsync });
}

export const socket = declare<[domain: number, type: number, protocol: number]>('int socket(int, int, int)');
export const socketpair = declare<[domain: number, type: number, protocol: number, pair: Bytes]>(
  'int socketpair(int, int, int, void *)',
);
export const bind = declare<[fd: number, address: Bytes, length: number]>('int bind(int, const void *, uint32_t)');
export const connect = declare<[fd: number, address: Bytes, length: number]>(
  'int connect(int, const void *, uint32_t)',
);
export const listen = declare<[fd: number, backlog: number]>('int listen(int, int)');
export const accept4 = declare<[fd: number, address: Pointer, length: Pointer, flags: number]>(
  'int accept4(int, void *, void *, int)',
);
export const getsockname = declare<[fd: number, address: Bytes, length: Bytes]>('int getsockname(int, void *, void *)');
export const shutdown = declare<[fd: number, how: number]>('int shutdown(int, int)');
export const setsockopt = declare<[fd: number, level: number, option: number, value: Bytes, length: number]>(
  'int setsockopt(int, int, int, const void *, uint32_t)',
);
export const getsockopt = declare<[fd: number, level: number, option: number, value: Bytes, length: Bytes]>(
  'int getsockopt(int, int, int, void *, void *)',
);
export const recv = declareOf4<[fd: number, data: Bytes, length: number, flags: number]>(
  'long recv(int, void *, size_t, int)',
);
/**
 * `recv` and `send` of memory given by its address: see `PinnedBytes`. At most 2 GiB, so that the lower half of the result is all of it, and costs
 * less to bring here.
 */
export const recvAt = declareOf4<[fd: number, address: number, length: number, flags: number]>(
  'int recv(int, uintptr_t, size_t, int)',
);
export const sendAt = declareOf4<[fd: number, address: number, length: number, flags: number]>(
  'int send(int, uintptr_t, size_t, int)',
);
export const recvfrom = declare<
  [fd: number, data: Bytes, length: number, flags: number, address: Pointer, addressLength: Pointer]
>('long recvfrom(int, void *, size_t, int, void *, void *)');
export const send = declareOf4<[fd: number, data: Bytes, length: number, flags: number]>(
  'long send(int, const void *, size_t, int)',
);
export const sendto = declare<
  [fd: number, data: Bytes, length: number, flags: number, address: Bytes, addressLength: number]
>('long sendto(int, const void *, size_t, int, const void *, uint32_t)');
export const recvmsg = declare<[fd: number, header: Bytes, flags: number]>('long recvmsg(int, void *, int)');
export const sendmsg = declare<[fd: number, header: Bytes, flags: number]>('long sendmsg(int, const void *, int)');
export const read = declare<[fd: number, data: Bytes, length: number]>('long read(int, void *, size_t)');
export const write = declare<[fd: number, data: Bytes, length: number]>('long write(int, const void *, size_t)');
/** Never retried: Linux has closed the number even on EINTR, a retry would close somebody else's. */
export const close = declare<[fd: number]>('int close(int)', { retry: false });
/** Variadic in C; fixed arguments are the same call on Linux x86-64 and arm64. */
export const open = declare<[path: string, flags: number, mode: number]>('int open(const char *, int, int)');
export const flock = declare<[fd: number, operation: number]>('int flock(int, int)', { retry: false });
export const setns = declare<[fd: number, type: number]>('int setns(int, int)');
export const unshare = declare<[flags: number]>('int unshare(int)');
export const ioctl = declare<[fd: number, request: number, argument: number]>(
  'int ioctl(int, unsigned long, unsigned long)',
);
/** 0 when there is no such interface. */
export const ifNametoindex = declare<[name: string]>('unsigned int if_nametoindex(const char *)');
/** 0 when there is no such interface; `name` holds 16 octets. */
export const ifIndextoname = declare<[index: number, name: Buffer]>('size_t if_indextoname(unsigned int, void *)');
export const gettid = declare<[]>('int gettid()');
export const epollCreate1 = declare<[flags: number]>('int epoll_create1(int)');
export const epollCtl = declare<[epoll: number, operation: number, fd: number, event: Pointer]>(
  'int epoll_ctl(int, int, int, void *)',
);
/** @param address see `addressOf`. */
export const madviseAt = declare<[address: number, length: number, advice: number]>(
  'int madvise(uintptr_t, size_t, int)',
);
/** @param address of the events: see `PinnedBytes`. */
export const epollWaitAt = declareOf4<[epoll: number, address: number, eventsMax: number, timeoutMs: number]>(
  'int epoll_wait(int, uintptr_t, int, int)',
  { retry: false },
);

/** Variadic in C, as `open`. */
export const syscall = declare<[number: number, a: number, b: number, c: number]>(
  'long syscall(long, long, long, long)',
);
export const fcntl = declare<[fd: number, command: number, argument: number]>('int fcntl(int, int, int)');
export const pipe2 = declare<[pair: Bytes, flags: number]>('int pipe2(void *, int)');
export const memfdCreate = declare<[name: string, flags: number]>('int memfd_create(const char *, unsigned int)');
export const pwrite = declare<[fd: number, data: Bytes, length: number, offset: number]>(
  'long pwrite(int, const void *, size_t, long)',
);
export const waitpid = declare<[pid: number, status: Bytes, options: number]>('int waitpid(int, void *, int)');
export const sigfillset = declare<[set: Bytes]>('int sigfillset(void *)');
type Strings = readonly (string | null)[];
/** This and its like give an error's number as their result; lists end with null. */
export const posixSpawn = declare<
  [pid: Bytes, file: string, actions: Bytes, attributes: Bytes, argv: Strings, env: Strings]
>('int posix_spawn(void *, const char *, const void *, const void *, const char **, const char **)');
export const posixSpawnFileActionsInit = declare<[actions: Bytes]>('int posix_spawn_file_actions_init(void *)');
export const posixSpawnFileActionsDestroy = declare<[actions: Bytes]>('int posix_spawn_file_actions_destroy(void *)');
export const posixSpawnFileActionsAdddup2 = declare<[actions: Bytes, fd: number, as: number]>(
  'int posix_spawn_file_actions_adddup2(void *, int, int)',
);
export const posixSpawnFileActionsAddchdirNp = declare<[actions: Bytes, folder: string]>(
  'int posix_spawn_file_actions_addchdir_np(void *, const char *)',
);
export const posixSpawnattrInit = declare<[attributes: Bytes]>('int posix_spawnattr_init(void *)');
export const posixSpawnattrDestroy = declare<[attributes: Bytes]>('int posix_spawnattr_destroy(void *)');
export const posixSpawnattrSetflags = declare<[attributes: Bytes, flags: number]>(
  'int posix_spawnattr_setflags(void *, short)',
);
export const posixSpawnattrSetsigmask = declare<[attributes: Bytes, set: Bytes]>(
  'int posix_spawnattr_setsigmask(void *, const void *)',
);
export const posixSpawnattrSetsigdefault = declare<[attributes: Bytes, set: Bytes]>(
  'int posix_spawnattr_setsigdefault(void *, const void *)',
);

export const timerfdCreate = declare<[clock: number, flags: number]>('int timerfd_create(int, int)');
export const timerfdSettime = declare<[fd: number, flags: number, value: Bytes, old: Pointer]>(
  'int timerfd_settime(int, int, const void *, void *)',
);
export const schedSetscheduler = declare<[thread: number, policy: number, parameters: Bytes]>(
  'int sched_setscheduler(int, int, const void *)',
);
/** The name goes into `name` (16 bytes); 0 and errno on failure, which `declare` cannot tell from a result: look at the bytes. */
export const ifIndexToName = declare<[index: number, name: Bytes]>('size_t if_indextoname(unsigned int, void *)');

/** Gives back to the kernel what malloc holds and nobody uses; where libc has no such call (musl), nothing. Takes milliseconds. */
export function trimMalloc(): void {
  try {
    trim ??= library.func('int malloc_trim(size_t)');
  } catch {
    // No such symbol.
    trim = () => 0;
  }
  trim(0);
}
let trim: ((padding: number) => number) | undefined;

/** The memory address of a Buffer's first byte. The Buffer must stay referenced for as long as the address is in use. */
export function addressOf(bytes: Uint8Array): bigint {
  return koffi.address(bytes);
}
