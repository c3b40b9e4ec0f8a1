/**
 * We and the other routers on one interface (RFC 4861): says that we are there, asks who else is, tells who answers.
 *
 * A solicitation and an advertisement at once, two more pairs a second apart (6.2.4, 6.3.7), then an advertisement every 10 seconds, as FRR does on
 * unnumbered links. A solicitation is answered, at most one a second. Without a usable link-local address sending fails, and is tried again.
 */
import type { Logger } from '#kit';
import { ALL_NODES, ALL_ROUTERS, openRouterSocket, type RouterMessage, type RouterSocket } from '#sys';
import { encodeAdvertisement, encodeSolicitation, routerMessageKind } from './router-messages.ts';

const firstIntervalMs = 1_000;
const firstCount = 3;
const intervalMs = 10_000;
const answerIntervalMs = 1_000;

export class RouterPresence {
  readonly #socket: RouterSocket;
  readonly #log: Logger;
  readonly #mac: Uint8Array;
  readonly #onRouter: (address: string) => void;
  #timer: NodeJS.Timeout | undefined;
  #sent = 0;
  #answeredMs = Number.NEGATIVE_INFINITY;
  #failed = false;

  /** @throws SysError EPERM without NET_RAW. */
  constructor(
    link: { readonly name: string; readonly index: number; readonly mac: string },
    log: Logger,
    onRouter: (address: string) => void,
  ) {
    this.#log = log;
    this.#mac = Uint8Array.from(link.mac === '' ? [] : link.mac.split(':').map((octet) => Number.parseInt(octet, 16)));
    this.#onRouter = onRouter;
    this.#socket = openRouterSocket(link.name, link.index, (message) => this.#receive(message));
    this.#advertise();
  }

  /** A link-local address has come: do not wait for the next turn. */
  announce(): void {
    this.#sent = 0;
    this.#advertise();
  }
  close(): void {
    clearTimeout(this.#timer);
    this.#socket.close();
  }

  #advertise(): void {
    clearTimeout(this.#timer);
    const failure = this.#socket.send(encodeAdvertisement(this.#mac), ALL_NODES);
    if (failure === 0 && this.#sent < firstCount) {
      this.#sent++;
      this.#socket.send(encodeSolicitation(this.#mac), ALL_ROUTERS);
    }
    if (failure < 0 && !this.#failed) {
      this.#log.debug({ errno: -failure }, 'cannot send a router advertisement yet');
    }
    this.#failed = failure < 0;
    const pauseMs = this.#sent < firstCount ? firstIntervalMs : intervalMs;
    // RFC 4861 6.2.4: not in step with others.
    this.#timer = setTimeout(() => this.#advertise(), pauseMs * (0.75 + 0.25 * Math.random()));
    this.#timer.unref();
  }

  #receive({ source, hopLimit, bytes }: RouterMessage): void {
    const kind = routerMessageKind(source, hopLimit, bytes);
    if (kind === 'advertisement') this.#onRouter(source);
    else if (kind === 'solicitation') this.#answer();
  }
  #answer(): void {
    const now = performance.now();
    if (now - this.#answeredMs < answerIntervalMs) return;
    this.#answeredMs = now;
    this.#socket.send(encodeAdvertisement(this.#mac), ALL_NODES);
  }
}
