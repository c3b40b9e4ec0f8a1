/**
 * The sockets that sessions send from: one each, with a source port of its own in 49152..65535 (RFC 5881 4) and TTL 255. One that cannot be
 * made, or that the kernel no longer sends from (its address or interface went), is made anew when the session sends next, at most once
 * a second.
 */
import type { BfdSessionConfig } from '#bgp';
import { errorText, type Logger } from '#kit';
import {
  EADDRNOTAVAIL,
  EINVAL,
  ENODEV,
  type Fd,
  interfaceIndex,
  libc,
  MSG_DONTWAIT,
  SysError,
  udpDestination,
  udpSocket,
} from '#sys';

export const linkPort = 3784;
export const multihopPort = 4784;
const sourcePortMin = 49_152;
const sourcePortMax = 65_535;
const sourcePortTriesMax = 256;
const hopsSent = 255;
/** Internetwork control (DSCP CS6), RFC 5881's packets being as urgent as routing. */
export const tosInternetworkControl = 0xc0;
const reopenMs = 1_000;
/** Nothing is received here; the kernel rounds up to its own minimum. */
const receiveBufferBytes = 1;
const ENXIO = 6;
const EADDRINUSE = 98;
/** Answers of sendto that mean: this socket is of no use any more. */
const socketGone = new Set([EADDRNOTAVAIL, EINVAL, ENODEV, ENXIO]);

interface Sender {
  readonly config: BfdSessionConfig;
  socket: Fd | undefined;
  destination: Buffer;
  port: number;
  retryAtMs: number;
  failureLogged: boolean;
}

export class SendingSockets {
  readonly #log: Logger;
  readonly #random: () => number;
  readonly #senders: (Sender | undefined)[] = [];
  readonly #ports = new Set<number>();
  sent = 0;
  failures = 0;

  constructor(log: Logger, random: () => number) {
    this.#log = log;
    this.#random = random;
  }

  open(slot: number, config: BfdSessionConfig, nowMs: number): void {
    const sender: Sender = {
      config,
      socket: undefined,
      destination: Buffer.alloc(0),
      port: 0,
      retryAtMs: 0,
      failureLogged: false,
    };
    this.#senders[slot] = sender;
    this.#make(sender, nowMs);
  }

  close(slot: number): void {
    const sender = this.#senders[slot];
    if (!sender) return;
    this.#discard(sender);
    this.#ports.delete(sender.port);
    this.#senders[slot] = undefined;
  }

  closeAll(): void {
    for (const slot of this.#senders.keys()) this.close(slot);
  }

  send(slot: number, packet: Uint8Array, nowMs: number): void {
    const sender = this.#senders[slot]!;
    if (!sender.socket) {
      if (nowMs < sender.retryAtMs || !this.#make(sender, nowMs)) {
        this.failures++;
        return;
      }
    }
    const { destination, socket } = sender;
    const result = libc.sendto(socket!.number, packet, packet.length, MSG_DONTWAIT, destination, destination.length);
    if (result >= 0) {
      this.sent++;
      return;
    }
    this.failures++;
    if (!socketGone.has(-result)) return;
    this.#discard(sender);
    sender.retryAtMs = nowMs + reopenMs;
  }

  #make(sender: Sender, nowMs: number): boolean {
    const { config } = sender;
    try {
      const scopeId = config.interface === undefined ? 0 : interfaceIndex(config.interface);
      sender.socket = this.#bind(sender, scopeId);
      sender.destination = udpDestination(config.peerAddress, config.multihop ? multihopPort : linkPort, scopeId);
      sender.failureLogged = false;
      return true;
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      sender.retryAtMs = nowMs + reopenMs;
      if (!sender.failureLogged) {
        this.#log.warn({ session: config.key, error: errorText(error) }, 'BFD cannot send; it is tried again');
      }
      sender.failureLogged = true;
      return false;
    }
  }

  #bind(sender: Sender, scopeId: number): Fd {
    const { peerAddress, localAddress, interface: device, multihop } = sender.config;
    const local = localAddress ?? (peerAddress.includes(':') ? '::' : '0.0.0.0');
    const span = sourcePortMax - sourcePortMin + 1;
    // One that is made anew keeps its port, as all packets of a session have the same (RFC 5881 4).
    const first = sender.port === 0 ? Math.floor(this.#random() * span) : sender.port - sourcePortMin;
    for (let tries = 0; ; tries++) {
      const port = sourcePortMin + ((first + tries) % span);
      if (port !== sender.port && this.#ports.has(port)) continue;
      try {
        const socket = udpSocket({
          local,
          port,
          hops: hopsSent,
          tos: tosInternetworkControl,
          scopeId,
          receiveBufferBytes,
          ...(device === undefined || multihop ? {} : { device }),
        });
        this.#ports.delete(sender.port);
        sender.port = port;
        this.#ports.add(port);
        return socket;
      } catch (error) {
        const taken = error instanceof SysError && error.errno === EADDRINUSE;
        if (!taken || tries >= sourcePortTriesMax) throw error;
      }
    }
  }

  #discard(sender: Sender): void {
    sender.socket?.close();
    sender.socket = undefined;
  }
}
