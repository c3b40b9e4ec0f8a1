import { AF_INET, type Fd, inNetns, libc, MSG_DONTWAIT, newSocket, SOCK_DGRAM, sockaddrIn } from '#sys';
import { until } from '../support/wait.ts';
import type { RouteWorld } from './route-world.ts';

/** UDP packets from many ports of the node to the far host, numbered per port. */
export class UdpStream {
  static readonly intervalMs = 2;
  received = 0;
  sent = 0;
  readonly flows: number;
  readonly #receiver: Fd;
  readonly #senders: Fd[];
  readonly #timer: NodeJS.Timeout;
  readonly #data = Buffer.alloc(100);
  #stopped = false;

  constructor(world: RouteWorld, flows: number) {
    this.flows = flows;
    const to = sockaddrIn('10.0.0.9', 9999);
    this.#receiver = inNetns(world.far.netns, () => newSocket(AF_INET, SOCK_DGRAM));
    libc.bind(this.#receiver.number, to, to.length);
    this.#senders = inNetns(world.node.netns, () =>
      Array.from({ length: flows }, () => newSocket(AF_INET, SOCK_DGRAM)),
    );
    this.#timer = setInterval(() => {
      for (const sender of this.#senders) {
        libc.sendto(sender.number, this.#data, this.#data.length, 0, to, to.length);
        this.sent++;
      }
      this.#receive();
    }, UdpStream.intervalMs);
  }
  /** Packets that did not arrive, once none is under way any more. */
  async lost(): Promise<number> {
    const sent = this.sent;
    await until(() => this.sent > sent + 10 * this.flows, { what: 'packets under way to arrive' });
    return Math.max(0, this.sent - this.received);
  }
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    clearInterval(this.#timer);
    for (const fd of [this.#receiver, ...this.#senders]) fd.close();
  }
  #receive(): void {
    const into = Buffer.alloc(200);
    while (libc.recv(this.#receiver.number, into, into.length, MSG_DONTWAIT) > 0) this.received++;
  }
}
