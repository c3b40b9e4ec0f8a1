/**
 * Brings the API server of a test somewhere else, byte by byte: into a network namespace, or to another port of the machine's own
 * loopback. What is carried can be cut, held or cut off in the middle of an answer, which no server does by itself.
 *
 * The server's certificate and every kubeconfig hold at 127.0.0.1 and the same port of a namespace too; another address must stand in
 * the `names` of `startApiServer`.
 */
import net from 'node:net';
import type { TestContext } from 'node:test';
import { inNetns, libc, openNetns, tcpSocket } from '#sys';
import { freePort } from '../free-port.ts';

const BACKLOG = 64;

export interface Relay {
  /** Where it listens. */
  readonly port: number;
  /** Cuts what is carried now; new connections are carried again. */
  cut(): void;
  /** Carries nothing in either direction and keeps all connections, also new ones, until `release`. */
  hold(): void;
  release(): void;
  /** Each connection is reset after so many more bytes of the server (TLS and all) went through; undefined: none is. */
  cutAfter(bytes: number | undefined): void;
  /** Answers nobody until `open`: connections are refused, as by a server that is down. */
  close(): Promise<void>;
  open(): void;
}

export interface RelayOptions {
  /** Of the namespace; default 127.0.0.1. */
  readonly address?: string;
  /** Default: the server's. */
  readonly port?: number;
}

/** @param netns name of a namespace below /run/netns */
export function relayInto(
  t: Pick<TestContext, 'after'>,
  netns: string,
  port: number,
  options: RelayOptions = {},
): Relay {
  const local = { local: options.address ?? '127.0.0.1', port: options.port ?? port };
  return relay(t, port, local.port, () => {
    using namespace = openNetns(`/run/netns/${netns}`);
    return inNetns(namespace, () => tcpSocket(local)).take();
  });
}

/** At another port of 127.0.0.1, for tests that need faults and no namespace. */
export async function relayBeside(t: Pick<TestContext, 'after'>, port: number): Promise<Relay> {
  const own = await freePort('127.0.0.1');
  return relay(t, port, own, () => tcpSocket({ local: '127.0.0.1', port: own }).take());
}

interface Carried {
  readonly client: net.Socket;
  readonly upstream: net.Socket;
  /** Bytes of the server that may still come through. */
  left: number | undefined;
}

/** One direction. */
function carry(from: net.Socket, to: net.Socket, isHeld: () => boolean, allow: (bytes: number) => number): void {
  from.setNoDelay(true);
  from.on('data', (chunk: Buffer) => {
    const allowed = allow(chunk.length);
    if (allowed < chunk.length) {
      to.write(chunk.subarray(0, allowed), () => to.resetAndDestroy());
      from.destroy();
    } else if (!to.write(chunk)) from.pause();
  });
  to.on('drain', () => {
    if (!isHeld()) from.resume();
  });
  from.on('end', () => to.end());
  from.on('error', () => to.destroy());
}

function relay(t: Pick<TestContext, 'after'>, target: number, port: number, bind: () => number): Relay {
  const connections = new Set<Carried>();
  let limit: number | undefined;
  let held = false;
  let server: net.Server | undefined;
  const sockets = (): net.Socket[] => [...connections].flatMap(({ client, upstream }) => [client, upstream]);

  const accept = (client: net.Socket): void => {
    const upstream = net.connect({ host: '127.0.0.1', port: target, allowHalfOpen: true });
    const connection: Carried = { client, upstream, left: limit };
    connections.add(connection);
    carry(
      client,
      upstream,
      () => held,
      (bytes) => bytes,
    );
    carry(
      upstream,
      client,
      () => held,
      (bytes) => {
        if (connection.left === undefined) return bytes;
        const allowed = Math.min(bytes, connection.left);
        connection.left -= allowed;
        return allowed;
      },
    );
    client.on('close', () => {
      connections.delete(connection);
      upstream.destroy();
    });
    upstream.on('close', () => client.destroySoon());
    if (held) for (const socket of [client, upstream]) socket.pause();
  };
  const open = (): void => {
    // The descriptor is the server's from now on.
    const descriptor = bind();
    libc.listen(descriptor, BACKLOG);
    server = net.createServer({ allowHalfOpen: true }, accept).listen({ fd: descriptor });
  };
  const cut = (): void => {
    for (const socket of sockets()) socket.resetAndDestroy();
  };
  const close = async (): Promise<void> => {
    const ended = new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)));
    cut();
    server = undefined;
    await ended;
  };
  open();
  t.after(close);
  return {
    port,
    cut,
    close,
    open,
    hold: () => {
      held = true;
      for (const socket of sockets()) socket.pause();
    },
    release: () => {
      held = false;
      for (const socket of sockets()) socket.resume();
    },
    cutAfter: (bytes) => {
      limit = bytes;
      for (const connection of connections) connection.left = bytes;
    },
  };
}
