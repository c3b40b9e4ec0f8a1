/**
 * Datagrams between two namespaces, one a millisecond, each from a source port of its own, so that every one is judged as a new flow and none by what
 * conntrack remembers. Tells when the verdict changed.
 */
import { AF_INET, check, type Fd, inNetns, libc, newSocket, openNetns, SOCK_DGRAM, SOCK_RAW, sockaddrIn } from '#sys';

const IPPROTO_UDP = 17;
/** Comes round after 40 s; conntrack forgets an unanswered datagram after 30. */
const FIRST_PORT = 20_000;
const LAST_PORT = 60_000;
const INTERVAL_MS = 1;
/** A datagram that is not there when so many later ones were sent was dropped. */
const LATE_AFTER = 10;
/** Verdicts in a row that make a state. */
const RUN = 3;

export interface ProbeOptions {
  readonly fromNetns: string;
  readonly source: string;
  readonly toNetns: string;
  readonly destination: string;
  readonly port: number;
}

interface Sent {
  readonly atMs: number;
  arrived: boolean;
}

export class DatagramProbe {
  readonly #options: ProbeOptions;
  readonly #out: Fd;
  readonly #in: Fd;
  readonly #packet = Buffer.alloc(8 + 4);
  readonly #answer = Buffer.alloc(64);
  readonly #to: Buffer;
  readonly #timer: NodeJS.Timeout;
  #sent: Sent[] = [];
  #first = 0;

  constructor(options: ProbeOptions) {
    this.#options = options;
    using from = openNetns(`/run/netns/${options.fromNetns}`);
    using to = openNetns(`/run/netns/${options.toNetns}`);
    this.#out = inNetns(from, () => {
      const socket = newSocket(AF_INET, SOCK_RAW, IPPROTO_UDP);
      const address = sockaddrIn(options.source, 0);
      check('bind', libc.bind(socket.number, address, address.length), options.source);
      return socket;
    });
    this.#in = inNetns(to, () => {
      const socket = newSocket(AF_INET, SOCK_DGRAM);
      const address = sockaddrIn(options.destination, options.port);
      check('bind', libc.bind(socket.number, address, address.length), options.destination);
      return socket;
    });
    this.#to = sockaddrIn(options.destination, 0);
    this.#packet.writeUInt16BE(options.port, 2);
    this.#packet.writeUInt16BE(this.#packet.length, 4);
    this.#timer = setInterval(() => this.#tick(), INTERVAL_MS);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#out.close();
    this.#in.close();
  }

  #tick(): void {
    this.#drain();
    const number = this.#first + this.#sent.length;
    this.#packet.writeUInt16BE(FIRST_PORT + (number % (LAST_PORT - FIRST_PORT)), 0);
    // The checksum of UDP over IPv4 may be left out.
    this.#packet.writeUInt32BE(number, 8);
    this.#sent.push({ atMs: performance.now(), arrived: false });
    check('sendto', libc.sendto(this.#out.number, this.#packet, this.#packet.length, 0, this.#to, this.#to.length));
  }

  #drain(): void {
    for (;;) {
      const length = libc.recv(this.#in.number, this.#answer, this.#answer.length, 0);
      if (length < 4) return;
      const sent = this.#sent[this.#answer.readUInt32BE(0) - this.#first];
      if (sent) sent.arrived = true;
    }
  }

  /** Forgets what was sent before. */
  forget(): void {
    this.#drain();
    this.#first += this.#sent.length;
    this.#sent = [];
  }

  /** When the first of several datagrams in a row was sent that all had this verdict; undefined while there are none. */
  since(arrived: boolean): number | undefined {
    const judged = arrived ? this.#sent : this.#sent.slice(0, Math.max(0, this.#sent.length - LATE_AFTER));
    for (let i = 0; i + RUN <= judged.length; i++) {
      if (judged.slice(i, i + RUN).every((sent) => sent.arrived === arrived)) return judged[i]!.atMs;
    }
    return undefined;
  }

  /** @throws Error when the verdict has not come within `deadlineMs`. */
  async until(arrived: boolean, deadlineMs = 10_000): Promise<number> {
    const end = performance.now() + deadlineMs;
    for (;;) {
      const at = this.since(arrived);
      if (at !== undefined) return at;
      if (performance.now() > end) {
        const { source, destination } = this.#options;
        throw new Error(`${source} to ${destination}: not ${arrived ? 'open' : 'blocked'} within ${deadlineMs} ms`);
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}
