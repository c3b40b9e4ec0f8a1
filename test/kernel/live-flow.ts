/** Flows that try to go on for as long as they are not stopped. */
import assert from 'node:assert/strict';
import type { IpFamily } from '#kit';
import {
  AF_INET,
  AF_INET6,
  Fd,
  inNetns,
  libc,
  newSocket,
  SOCK_DGRAM,
  SOCK_STREAM,
  setIntOption,
  sockaddrIn,
} from '#sys';
import { until } from '../support/wait.ts';
import { connect, type L4, type PacketWorld } from './packet-world.ts';

const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SOL_IPV6 = 41;
const IPV6_V6ONLY = 26;
const SOCK_NONBLOCK = 0x800;
const IPPROTO_TCP = 6;
const TCP_INFO = 11;
/** tcpi_total_retrans. */
const TOTAL_RETRANS_OFFSET = 100;
const MSG_NOSIGNAL = 0x4000;
const beat = Buffer.from('x');

export interface LiveFlow {
  readonly name: string;
  /** What each end has got from the other. */
  atServer(): number;
  atClient(): number;
  /** How often both ends tried. */
  tries(): number;
  /** Segments that TCP had to send again, at both ends. */
  retransmitted(): number;
  /** Sends nothing more, and takes what is under way. */
  stop(): void;
}

export interface FlowOptions {
  readonly from: string;
  readonly to: string;
  readonly family: IpFamily;
  readonly protocol: L4;
  readonly port: number;
  /** What the client connects to; default the address of `to`. */
  readonly address?: string;
  /** Where the server listens; default `port`. */
  readonly serverPort?: number;
  readonly sourcePort?: number;
}

/** Both ends send about a thousand times a second, each whether or not it hears from the other. Resolves when each has heard the other. */
export async function openFlow(world: PacketWorld, options: FlowOptions): Promise<LiveFlow> {
  const { from, to, family, protocol, port } = options;
  const name = `${protocol} ${from}->${to} IPv${family}`;
  const any = family === 4 ? '0.0.0.0' : '::';
  const bound = socketIn(world, to, family, protocol, any, options.serverPort ?? port);
  if (protocol === 'tcp') assert.equal(libc.listen(bound.number, 8), 0);
  const client = socketIn(world, from, family, protocol, any, options.sourcePort ?? 0);
  connect(client, options.address ?? world.host(to).addresses[family], port);
  const server = protocol === 'tcp' ? await accepted(bound, name) : await peered(bound, client, name);
  const fds = { client, server };
  const got = { client: 0, server: 0 };
  let tries = 0;
  const buffer = Buffer.alloc(4096);
  const take = (): void => {
    for (const end of ['client', 'server'] as const) {
      for (;;) {
        const length = libc.recv(fds[end].number, buffer, buffer.length, 0);
        if (length <= 0) break;
        got[end] += length;
      }
    }
  };
  const timer = setInterval(() => {
    tries++;
    for (const fd of [client, server]) libc.send(fd.number, beat, 1, MSG_NOSIGNAL);
    take();
  }, 1);
  let open = true;
  const close = (): void => {
    clearInterval(timer);
    if (!open) return;
    open = false;
    for (const fd of new Set([client, server, bound])) fd.close();
  };
  world.onDispose(close);
  const flow: LiveFlow = {
    name,
    atServer: () => got.server,
    atClient: () => got.client,
    tries: () => tries,
    retransmitted: () => (protocol === 'tcp' ? retransmitted(client) + retransmitted(server) : 0),
    stop() {
      clearInterval(timer);
      take();
    },
  };
  await until(() => flow.atClient() > 0 && flow.atServer() > 0, { what: `${name} to begin` });
  return flow;
}

/** It goes on both ways. TCP that heard nothing for a while tries again only when as much time has passed once more (RFC 6298 section 5.5). */
export async function expectAlive(flow: LiveFlow): Promise<void> {
  const [server, client] = [flow.atServer(), flow.atClient()];
  await until(() => flow.atServer() > server + 20 && flow.atClient() > client + 20, {
    what: `${flow.name} to go on`,
    deadlineMs: 60_000,
  });
}

/** Neither end hears anything of the other, however often both try. */
export async function expectDead(flow: LiveFlow, tries = 600): Promise<void> {
  const [server, client, before] = [flow.atServer(), flow.atClient(), flow.tries()];
  await until(() => flow.tries() >= before + tries, { what: `${flow.name} to try`, deadlineMs: 30_000 });
  assert.deepEqual([flow.atServer(), flow.atClient()], [server, client], `${flow.name} has to be silent`);
}

/** Not a segment of it was sent twice; of datagrams, all arrived. */
export async function expectWhole(flow: LiveFlow): Promise<void> {
  if (flow.name.startsWith('tcp')) return assert.equal(flow.retransmitted(), 0, flow.name);
  const missing = (): number => {
    flow.stop();
    return 2 * flow.tries() - flow.atServer() - flow.atClient();
  };
  await until(() => missing() <= 0, { what: `every datagram of ${flow.name} to arrive`, deadlineMs: 5_000 });
}

function socketIn(world: PacketWorld, host: string, family: IpFamily, protocol: L4, address: string, port: number): Fd {
  return inNetns(world.host(host).netns, () => {
    const socket = newSocket(family === 4 ? AF_INET : AF_INET6, protocol === 'tcp' ? SOCK_STREAM : SOCK_DGRAM);
    if (family === 6) setIntOption(socket.number, SOL_IPV6, IPV6_V6ONLY, 1);
    setIntOption(socket.number, SOL_SOCKET, SO_REUSEADDR, 1);
    const local = sockaddrIn(address, port);
    assert.equal(libc.bind(socket.number, local, local.length), 0, `bind port ${port} in ${host}`);
    return socket;
  });
}

function accepted(listener: Fd, name: string): Promise<Fd> {
  return until(
    () => {
      const fd = libc.accept4(listener.number, null, null, SOCK_NONBLOCK);
      return fd >= 0 && new Fd(fd);
    },
    { what: `${name} to connect` },
  );
}

/** The server's UDP socket, connected to the client that sent to it. */
async function peered(server: Fd, client: Fd, name: string): Promise<Fd> {
  const sender = Buffer.alloc(28);
  const length = Buffer.from([28, 0, 0, 0]);
  await until(
    () => {
      libc.send(client.number, beat, 1, 0);
      return libc.recvfrom(server.number, Buffer.alloc(16), 16, 0, sender, length) > 0;
    },
    { what: `${name} to arrive` },
  );
  const bytes = sender.subarray(0, length.readUInt32LE(0));
  assert.equal(libc.connect(server.number, bytes, bytes.length), 0);
  // What was sent until it got through is not counted.
  while (libc.recv(server.number, Buffer.alloc(16), 16, 0) > 0);
  return server;
}

function retransmitted(socket: Fd): number {
  const info = Buffer.alloc(256);
  assert.equal(libc.getsockopt(socket.number, IPPROTO_TCP, TCP_INFO, info, Buffer.from([0, 1, 0, 0])), 0);
  return info.readUInt32LE(TOTAL_RETRANS_OFFSET);
}
