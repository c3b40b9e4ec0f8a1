import fs from 'node:fs';
import {
  AF_UNIX,
  EAGAIN,
  ECONNABORTED,
  EMFILE,
  ENFILE,
  O_CLOEXEC,
  O_RDWR,
  SO_PEERCRED,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
} from './constants.ts';
import { Fd, newSocket, openFile } from './fd.ts';
import * as libc from './libc.ts';
import { sockaddrUn } from './sockaddr.ts';
import { check } from './sys-error.ts';
import { watch } from './watch.ts';

export interface PeerCredentials {
  /** 0 when the caller lives outside this process's pid namespace. */
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** Who called connect() on the other end of an AF_UNIX stream. */
export function peerCredentials(fd: number): PeerCredentials {
  const bytes = Buffer.alloc(12);
  check('getsockopt(SO_PEERCRED)', libc.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, bytes, Buffer.from([12, 0, 0, 0])));
  return { pid: bytes.readInt32LE(0), uid: bytes.readUInt32LE(4), gid: bytes.readUInt32LE(8) };
}

export interface UnixListenerOptions {
  readonly path: string;
  /** File mode of the socket. Default 0o600. */
  readonly mode?: number;
  /** Connections that the kernel queues. Default 128. */
  readonly backlog?: number;
  /** Owns the connection, non-blocking, from now on. */
  readonly onConnection: (connection: Fd, credentials: PeerCredentials) => void;
  /** A caller was turned away because no descriptor is left. */
  readonly onRefused?: () => void;
}

/** Connections taken in one turn of the event loop. */
const ACCEPTS_PER_TURN_MAX = 64;

/**
 * Listens on an AF_UNIX stream path (a stale socket file is replaced). node:net would listen too, but gives neither ancillary data nor
 * credentials.
 *
 * At the descriptor limit a connection left in the queue would make the loop spin, so it is taken with a descriptor held back for that
 * and closed. accept4 takes its descriptor before it looks at the queue: it says EMFILE for ever, also with nobody waiting, and
 * only the second accept tells.
 */
export function listenUnix(options: UnixListenerOptions): { close(): void } {
  const ear = newSocket(AF_UNIX, SOCK_STREAM);
  const address = sockaddrUn(options.path);
  let spare: Fd;
  try {
    fs.rmSync(options.path, { force: true });
    check('bind', libc.bind(ear.number, address, address.length), options.path);
    fs.chmodSync(options.path, options.mode ?? 0o600);
    check('listen', libc.listen(ear.number, options.backlog ?? 128), options.path);
    spare = openFile('/dev/null', O_RDWR | O_CLOEXEC);
  } catch (error) {
    ear.close();
    throw error;
  }
  const refuseOne = (): boolean => {
    spare.close();
    const refused = libc.accept4(ear.number, null, null, SOCK_CLOEXEC);
    if (refused >= 0) {
      libc.close(refused);
      options.onRefused?.();
    }
    const again = libc.open('/dev/null', O_RDWR | O_CLOEXEC, 0);
    if (again >= 0) spare = new Fd(again);
    return refused >= 0;
  };
  const watcher = watch(ear.number, { readable: true }, () => {
    for (let i = 0; i < ACCEPTS_PER_TURN_MAX; i++) {
      const result = libc.accept4(ear.number, null, null, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (result === -EAGAIN) return;
      if (result === -ECONNABORTED) continue;
      if (result === -EMFILE || result === -ENFILE) {
        if (!refuseOne()) return;
        continue;
      }
      const connection = new Fd(check('accept4', result, options.path));
      options.onConnection(connection, peerCredentials(connection.number));
    }
  });
  return {
    close() {
      watcher.close();
      ear.close();
      spare.close();
      fs.rmSync(options.path, { force: true });
    },
  };
}
