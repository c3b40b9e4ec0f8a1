/**
 * Brings the API server of a test into a network namespace: what connects to 127.0.0.1 and the same port there is carried to the
 * machine's own loopback, where the server listens. Its certificate and every kubeconfig hold there too.
 */
import net from 'node:net';
import type { TestContext } from 'node:test';
import { inNetns, libc, openNetns, tcpSocket } from '#sys';

const BACKLOG = 64;

export interface Relay {
  /** Cuts what is carried now; new connections are carried again. */
  cut(): void;
  /** Answers nobody until `open`: connections are refused, as by a server that is down. */
  close(): Promise<void>;
  open(): void;
}

/** @param netns name of a namespace below /run/netns */
export function relayInto(t: Pick<TestContext, 'after'>, netns: string, port: number): Relay {
  const carried = new Set<net.Socket>();
  const carry = (inside: net.Socket): void => {
    const outside = net.connect({ host: '127.0.0.1', port });
    for (const [from, to] of [
      [inside, outside],
      [outside, inside],
    ] as const) {
      carried.add(from);
      from.setNoDelay(true);
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        carried.delete(from);
        to.destroy();
      });
    }
  };
  let server: net.Server | undefined;
  const open = (): void => {
    using namespace = openNetns(`/run/netns/${netns}`);
    const socket = inNetns(namespace, () => tcpSocket({ local: '127.0.0.1', port }));
    // The descriptor is the server's from now on.
    libc.listen(socket.number, BACKLOG);
    server = net.createServer({ allowHalfOpen: true }, carry).listen({ fd: socket.take() });
  };
  const cut = (): void => {
    for (const socket of carried) socket.destroy();
  };
  const close = async (): Promise<void> => {
    const ended = new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)));
    cut();
    server = undefined;
    await ended;
  };
  open();
  t.after(close);
  return { cut, close, open };
}
