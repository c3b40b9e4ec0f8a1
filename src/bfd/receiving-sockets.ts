/**
 * The sockets that BFD packets come to: port 3784 for neighbours on a link, 4784 for those that are hops away, of each family; only those are
 * open that a session needs. IP_MINTTL has no effect on UDP, so that the TTL of each packet is asked for and judged by the engine.
 */
import type { BfdSessionConfig, PacketPath } from '#bgp';
import { errorText, type Logger } from '#kit';
import { type EpollSleep, type Fd, SysError, UdpReceiver, udpSocket } from '#sys';
import { linkPort, multihopPort, tosInternetworkControl } from './sending-sockets.ts';

/**
 * Datagrams taken from one socket in one turn; the rest comes in the next. More than its buffer holds, so that all are read that waited when the
 * turn began, however many come in the meantime.
 */
const datagramsPerTurn = 1024;
/** The kernel doubles it and charges at least 576 bytes for a datagram: room for 910, half a second of 500 sessions at 300 ms. */
const receiveBufferBytes = 262_144;
/** A control packet with the longest authentication section has 52 octets; what is longer is cut off. */
const datagramBytes = 64;
const hopsSent = 255;
const retryMs = 5_000;

interface Receiving {
  readonly socket: Fd;
  readonly multihop: boolean;
}

/** The path of the datagram that was read last: one object for all of them. */
class LastPath implements PacketPath {
  readonly #receiver: UdpReceiver;
  multihop = false;
  constructor(receiver: UdpReceiver) {
    this.#receiver = receiver;
  }
  get hops(): number {
    return this.#receiver.hops;
  }
  get source(): string {
    return this.#receiver.source;
  }
  get destination(): string {
    return this.#receiver.destination;
  }
  get interface(): string {
    return this.#receiver.interface;
  }
}

export class ReceivingSockets {
  readonly #log: Logger;
  readonly #epoll: EpollSleep;
  readonly #onPacket: (bytes: Uint8Array, length: number, path: PacketPath) => void;
  readonly #receiver = new UdpReceiver(datagramBytes);
  readonly #path = new LastPath(this.#receiver);
  readonly #open = new Map<string, Receiving>();
  /** The same, to be gone through without an iterator being made. */
  #list: readonly Receiving[] = [];
  #wanted = new Set<string>();
  #retry: NodeJS.Timeout | undefined;
  received = 0;

  constructor(log: Logger, epoll: EpollSleep, onPacket: (bytes: Uint8Array, length: number, path: PacketPath) => void) {
    this.#log = log;
    this.#epoll = epoll;
    this.#onPacket = onPacket;
  }

  /** Opens what these sessions need and closes the rest. What cannot be opened is reported, and tried again. */
  configure(sessions: readonly BfdSessionConfig[]): void {
    this.#wanted = new Set(
      sessions.map(
        ({ peerAddress, multihop }) =>
          `${peerAddress.includes(':') ? '::' : '0.0.0.0'} ${multihop ? multihopPort : linkPort}`,
      ),
    );
    for (const [name, { socket }] of this.#open) {
      if (this.#wanted.has(name)) continue;
      this.#epoll.remove(socket.number);
      socket.close();
      this.#open.delete(name);
    }
    this.#openWanted(true);
  }

  close(): void {
    clearTimeout(this.#retry);
    this.configure([]);
  }

  /** Reads what waits on every socket. */
  drain(): void {
    for (let i = 0; i < this.#list.length; i++) this.#drain(this.#list[i]!);
  }

  #drain({ socket, multihop }: Receiving): void {
    const receiver = this.#receiver;
    const fd = socket.number;
    this.#path.multihop = multihop;
    for (let i = 0; i < datagramsPerTurn; i++) {
      const length = receiver.receive(fd);
      if (length < 0) return;
      this.received++;
      this.#onPacket(receiver.data, length, this.#path);
    }
  }

  #openWanted(first: boolean): void {
    clearTimeout(this.#retry);
    let failed = false;
    for (const name of this.#wanted) {
      if (this.#open.has(name)) continue;
      const [local, port] = name.split(' ') as [string, string];
      try {
        const options = {
          local,
          port: Number(port),
          hops: hopsSent,
          tos: tosInternetworkControl,
          receiveInfo: true,
          receiveBufferBytes,
        };
        const socket = udpSocket(options);
        this.#open.set(name, { socket, multihop: Number(port) === multihopPort });
        this.#epoll.add(socket.number);
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
        failed = true;
        if (first) {
          this.#log.error(
            { error: errorText(error), retryMs },
            'BFD cannot receive: another BFD daemon on this machine must be stopped, or BFD not be configured here',
          );
        }
      }
    }
    this.#list = [...this.#open.values()];
    if (failed) this.#retry = setTimeout(() => this.#openWanted(false), retryMs);
  }
}
