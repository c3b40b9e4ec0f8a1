/** Dials a peer, one attempt at a time. What becomes of an attempt that was given up is nobody's business any more. */
import type { SessionKeys } from './tcp-ao.ts';
import type { ByteConnection, DialRequest, Transport } from './types.ts';

export interface DialHooks {
  onConnected(connection: ByteConnection): void;
  onFailed(reason: string): void;
}

export class Dialler {
  readonly #transport: Transport;
  readonly #hooks: DialHooks;
  #request: DialRequest;
  #abort: (() => void) | undefined;

  constructor(transport: Transport, request: DialRequest, hooks: DialHooks) {
    this.#transport = transport;
    this.#request = request;
    this.#hooks = hooks;
  }

  get request(): DialRequest {
    return this.#request;
  }
  /** For attempts to come. */
  rekey(keys: SessionKeys): void {
    this.#request = { ...this.#request, ...keys };
  }

  /** Either hook may be called within. */
  dial(): void {
    let over = false;
    const abort = this.#transport.dial(
      this.#request,
      (connection) => {
        if (over) {
          connection.destroy();
          return;
        }
        over = true;
        this.#abort = undefined;
        this.#hooks.onConnected(connection);
      },
      (reason) => {
        if (over) return;
        over = true;
        this.#abort = undefined;
        this.#hooks.onFailed(reason);
      },
    );
    this.#abort = () => {
      over = true;
      abort();
    };
  }

  abort(): void {
    this.#abort?.();
    this.#abort = undefined;
  }
}
