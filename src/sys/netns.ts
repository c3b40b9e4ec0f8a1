import fs from 'node:fs';
import { CLONE_NEWNET, O_CLOEXEC, O_RDONLY } from './constants.ts';
import { Fd, openFile } from './fd.ts';
import * as libc from './libc.ts';
import { check, SysError } from './sys-error.ts';

const NS_GET_NSTYPE = 0xb703;
const SIOCGSKNS = 0x894c;
const OWN_NAMESPACE = '/proc/thread-self/ns/net';

let poolStarted = false;
/**
 * Threads inherit the namespace of the one that starts them: were libuv's pool to start inside a window, its four threads would live
 * there for ever. All four start with the first job, before queueing returns.
 */
function startPoolAtHome(): void {
  if (poolStarted) return;
  poolStarted = true;
  void libc.gettid.async([]);
}

function ownNamespace(): Fd {
  return openFile(OWN_NAMESPACE, O_RDONLY | O_CLOEXEC);
}

/** A network namespace by path, e.g. `/run/netns/blue` or `/proc/123/ns/net`. @throws SysError, also when it is something else. */
export function openNetns(path: string): Fd {
  const fd = openFile(path, O_RDONLY | O_CLOEXEC);
  if (isNetns(fd.number)) return fd;
  fd.close();
  throw new SysError('open', 22, `${path} is no network namespace`);
}

/** A fresh namespace held by its descriptor alone: no name, nothing to remove, gone with the last descriptor and socket. */
export function newNetns(): Fd {
  startPoolAtHome();
  using home = ownNamespace();
  check('unshare', libc.unshare(CLONE_NEWNET));
  try {
    return ownNamespace();
  } finally {
    goHome(home);
  }
}

/**
 * Runs a SYNCHRONOUS function with this thread inside another network namespace. Sockets stay where they were made, and
 * /proc/sys/net follows the thread. Nothing asynchronous, no worker and no fs promise may be started inside.
 */
export function inNetns<T>(namespace: Fd, run: () => T): T {
  startPoolAtHome();
  using home = ownNamespace();
  check('setns', libc.setns(namespace.number, CLONE_NEWNET));
  try {
    const result = run();
    if (result instanceof Promise) throw new Error('inNetns: the function must be synchronous');
    return result;
  } finally {
    goHome(home);
  }
}

/** There is no way to go on in a namespace that is not ours: the next write would configure a pod as if it were the host. */
function goHome(home: Fd): void {
  if (libc.setns(home.number, CLONE_NEWNET) < 0) process.abort();
}

/** Asks the kernel itself: readlink of a passed descriptor prints a bind mount's path where that is visible. */
export function isNetns(fd: number): boolean {
  return libc.ioctl(fd, NS_GET_NSTYPE, 0) === CLONE_NEWNET;
}

/** Identity of a namespace: `dev:inode`. */
export function netnsId(fd: number): string {
  const stat = fs.fstatSync(fd, { bigint: true });
  return `${stat.dev}:${stat.ino}`;
}

/** Identity of the namespace that this thread is in. */
export function ownNetnsId(): string {
  const stat = fs.statSync(OWN_NAMESPACE, { bigint: true });
  return `${stat.dev}:${stat.ino}`;
}

/** Identity of the namespace that a socket lives in (SIOCGSKNS; needs CAP_NET_ADMIN over that namespace). */
export function socketNetnsId(socket: number): string {
  using namespace = new Fd(check('ioctl(SIOCGSKNS)', libc.ioctl(socket, SIOCGSKNS, 0)));
  return netnsId(namespace.number);
}
