/**
 * TCP for the speaker: sockets with TCP-MD5 keys made by system calls, adopted by node:net in the thread that calls.
 *
 * They are made in the speaker's own thread: a session that broke must come back while the main thread is busy.
 * Keys are on the listener before a peer can dial and on a dialling socket before its SYN.
 */
import net from 'node:net';
import type { ByteConnection, ConnectionHandlers, SpeakerConfig, Transport } from '#bgp';
import { errorText, type Logger, toIpAddress } from '#kit';
import { descriptorOf, SysError, setMd5Key, tcpSocket } from '#sys';

export interface TcpTransport extends Transport {
  /** Ends listeners; connections are the speaker's. */
  close(): void;
}

/** Time for what is queued (a NOTIFICATION) to leave before the connection is cut. */
const CLOSE_WAIT_MS = 2_000;
const DIAL_WAIT_MS = 10_000;
/** Connections of one listener that wait to be accepted. */
const BACKLOG = 512;

interface Listener {
  readonly server: net.Server;
  readonly six: boolean;
  /** Peer address -> key on this socket. */
  readonly keys: Map<string, string>;
}

export function createTcpTransport(deps: {
  readonly log: Logger;
  readonly onIncoming: (connection: ByteConnection) => void;
}): TcpTransport {
  const { log } = deps;
  const listeners = new Map<string, Listener>();

  const listen = (address: string, port: number): Listener | undefined => {
    const socket = tcpSocket({ local: address, port });
    const server = net.createServer({ pauseOnConnect: true }, (accepted) =>
      deps.onIncoming(connectionOf(accepted, log)),
    );
    server.on('error', (error) => log.error({ address, port, reason: error.message }, 'BGP listener failed'));
    server.listen({ fd: socket.take(), backlog: BACKLOG });
    return { server, six: address.includes(':'), keys: new Map() };
  };

  const setKeys = (listener: Listener, config: SpeakerConfig): void => {
    const wanted = new Map<string, string>();
    for (const { address, password } of config.peers) {
      if (password !== undefined && address.includes(':') === listener.six) wanted.set(address, password);
    }
    const fd = descriptorOf(listener.server as unknown as net.Socket);
    for (const address of listener.keys.keys()) {
      if (wanted.has(address)) continue;
      setMd5Key(fd, address, undefined);
      listener.keys.delete(address);
    }
    for (const [address, key] of wanted) {
      if (listener.keys.get(address) === key) continue;
      setMd5Key(fd, address, key);
      listener.keys.set(address, key);
    }
  };

  return {
    configure(config) {
      const wanted = new Map(config.listen.map((at) => [`${at.address} ${at.port}`, at]));
      for (const [name, { server }] of listeners) {
        if (wanted.has(name)) continue;
        server.close();
        listeners.delete(name);
      }
      for (const [name, { address, port }] of wanted) {
        if (listeners.has(name)) continue;
        const listener = listenOrSay(() => listen(address, port), address, port, log);
        if (listener) listeners.set(name, listener);
      }
      for (const listener of listeners.values()) setKeys(listener, config);
    },
    dial(request, onConnected, onFailed) {
      const { address, port, localAddress, password } = request;
      let socket: net.Socket;
      try {
        const fd = tcpSocket({ local: localAddress ?? (address.includes(':') ? '::' : '0.0.0.0'), port: 0 });
        try {
          if (password !== undefined) setMd5Key(fd.number, address, password);
        } catch (error) {
          fd.close();
          throw error;
        }
        socket = adopt(fd.take());
      } catch (error) {
        // "Later" is part of the contract: the caller is in the middle of something.
        const timer = setImmediate(() => onFailed(errorText(error)));
        return () => clearImmediate(timer);
      }
      return connect(socket, { address, port }, (connected) => onConnected(connectionOf(connected, log)), onFailed);
    },
    close() {
      for (const { server } of listeners.values()) server.close();
      listeners.clear();
    },
  };
}

/** An address family that the machine lacks must not keep the other from listening. */
function listenOrSay<T>(listen: () => T, address: string, port: number, log: Logger): T | undefined {
  try {
    return listen();
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    if (error.code === 'EAFNOSUPPORT') {
      log.warn({ address, port }, 'this machine lacks the address family; BGP does not listen there');
      return undefined;
    }
    const remedy =
      error.code === 'EADDRINUSE'
        ? 'another BGP daemon has the port: stop it, or set listenPort'
        : error.code === 'EACCES'
          ? 'ports below 1024 need root or NET_BIND_SERVICE'
          : 'give an address of this machine';
    throw new Error(`BGP cannot listen on ${address} port ${port}: ${error.code}; ${remedy}`, { cause: error });
  }
}

/** A bound, unconnected socket: `manualStart`, as reading it before it is connected fails (missing from Node's types). */
function adopt(fd: number): net.Socket {
  const options: net.SocketConstructorOpts & { readonly manualStart: boolean } = { fd, manualStart: true };
  return new net.Socket(options);
}

function connect(
  socket: net.Socket,
  to: { readonly address: string; readonly port: number },
  onConnected: (socket: net.Socket) => void,
  onFailed: (reason: string) => void,
): () => void {
  let over = false;
  const finish = (act: () => void): void => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    socket.removeAllListeners();
    act();
  };
  const fail = (reason: string): void =>
    finish(() => {
      socket.on('error', () => undefined);
      socket.destroy();
      onFailed(reason);
    });
  const timer = setTimeout(() => fail(`no answer from ${to.address} port ${to.port}`), DIAL_WAIT_MS);
  socket.once('error', (error) => fail(error.message));
  socket.once('connect', () => finish(() => onConnected(socket)));
  socket.connect({ host: to.address, port: to.port });
  return () =>
    finish(() => {
      socket.on('error', () => undefined);
      socket.destroy();
    });
}

function connectionOf(socket: net.Socket, log: Logger): ByteConnection {
  socket.setNoDelay(true);
  let handlers: ConnectionHandlers | undefined;
  let ended = false;
  const finish = (reason: string): void => {
    if (ended) return;
    ended = true;
    handlers?.onClosed(reason);
  };
  let reason = 'closed by the peer';
  socket.on('error', (error) => {
    reason = error.message;
  });
  socket.on('close', () => finish(reason));
  socket.on('end', () => socket.end());
  return {
    remoteAddress: plain(socket.remoteAddress),
    remotePort: socket.remotePort ?? 0,
    localAddress: plain(socket.localAddress),
    start(given) {
      handlers = given;
      if (socket.destroyed) {
        setImmediate(() => finish(reason));
        return;
      }
      socket.on('data', (chunk) => {
        if (!ended) given.onData(chunk);
      });
      socket.on('drain', () => {
        if (!ended) given.onDrained();
      });
      socket.resume();
    },
    write(bytes) {
      if (socket.writable) socket.write(bytes);
    },
    get queuedBytes() {
      return socket.writableLength;
    },
    close() {
      ended = true;
      socket.end();
      const timer = setTimeout(() => socket.destroy(), CLOSE_WAIT_MS);
      socket.once('close', () => clearTimeout(timer));
    },
    destroy() {
      ended = true;
      socket.destroy();
      log.debug({ remoteAddress: socket.remoteAddress }, 'connection destroyed');
    },
  };
}

function plain(address: string | undefined): string {
  const bare = (address ?? '').split('%')[0]!;
  return toIpAddress(bare) ?? bare;
}
