/** Sockets in other namespaces, all under one epoll set. */
import {
  AF_INET,
  AF_INET6,
  check,
  Epoll,
  type Fd,
  inNetns,
  libc,
  newSocket,
  openNetns,
  SO_REUSEADDR,
  SOCK_DGRAM,
  SOCK_STREAM,
  SOL_SOCKET,
  setIntOption,
  sockaddrIn,
} from '#sys';
import type { ProbeProtocol } from './protocol.ts';

const SO_LINGER = 13;
const SO_RCVBUFFORCE = 33;
const receiveBufferBytes = 8 << 20;
const listenBacklog = 4096;
const noLinger = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);

/** The one epoll set: descriptor -> what to do when it is ready. */
export class Reactor {
  readonly #handlers = new Map<number, (events: number) => void>();
  readonly #epoll: Epoll;
  constructor() {
    this.#epoll = new Epoll((fd, events) => this.#handlers.get(fd)?.(events));
  }
  get size(): number {
    return this.#handlers.size;
  }
  add(fd: Fd, events: number, onReady: (events: number) => void): void {
    this.#handlers.set(fd.number, onReady);
    this.#epoll.add(fd.number, events);
  }
  modify(fd: Fd, events: number): void {
    this.#epoll.modify(fd.number, events);
  }
  /** Forgets and closes. */
  close(fd: Fd): void {
    if (fd.closed) return;
    if (this.#handlers.delete(fd.number)) this.#epoll.remove(fd.number);
    fd.close();
  }
}

/** Open namespaces by path. A descriptor keeps a namespace alive: `drop` what is gone. */
export class Namespaces {
  readonly #open = new Map<string, Fd>();
  within<T>(path: string, run: () => T): T {
    let fd = this.#open.get(path);
    if (!fd) {
      fd = openNetns(path);
      this.#open.set(path, fd);
    }
    return inNetns(fd, run);
  }
  keepOnly(paths: ReadonlySet<string>): void {
    for (const [path, fd] of this.#open) {
      if (paths.has(path)) continue;
      fd.close();
      this.#open.delete(path);
    }
  }
}

export function domainOf(address: string): number {
  return address.includes(':') ? AF_INET6 : AF_INET;
}

/** Gives a socket its local address. @throws SysError */
export function bindTo(socket: Fd, address: string): void {
  const local = sockaddrIn(address, 0);
  check('bind', libc.bind(socket.number, local, local.length), address);
}

/** A server socket on one address and port, in this thread's namespace. @throws SysError */
export function serverSocket(protocol: Exclude<ProbeProtocol, 'SCTP'>, address: string, port: number): Fd {
  const socket = newSocket(domainOf(address), protocol === 'TCP' ? SOCK_STREAM : SOCK_DGRAM);
  try {
    const to = sockaddrIn(address, port);
    if (protocol === 'TCP') setIntOption(socket.number, SOL_SOCKET, SO_REUSEADDR, 1);
    else setIntOption(socket.number, SOL_SOCKET, SO_RCVBUFFORCE, receiveBufferBytes);
    check('bind', libc.bind(socket.number, to, to.length), `${address} ${protocol} ${port}`);
    if (protocol === 'TCP') check('listen', libc.listen(socket.number, listenBacklog));
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/** A TCP socket that ends with a reset, so that a thousand probes leave no TIME-WAIT behind. */
export function tcpClient(address: string): Fd {
  const socket = newSocket(domainOf(address), SOCK_STREAM);
  check('setsockopt(SO_LINGER)', libc.setsockopt(socket.number, SOL_SOCKET, SO_LINGER, noLinger, noLinger.length));
  return socket;
}

export function udpClient(address: string): Fd {
  return newSocket(domainOf(address), SOCK_DGRAM);
}
