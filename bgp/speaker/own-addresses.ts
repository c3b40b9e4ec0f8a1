/** Addresses of ours that peers see: a route with one of them as next hop leads back to us (RFC 4271 5.1.3). */
import type { PeerConfig } from './config.ts';
import type { Session } from './session.ts';

export class OwnAddresses {
  readonly #addresses = new Set<string>();
  /** Known next hops have to be looked at again. */
  readonly #changed: () => void;

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  has(address: string): boolean {
    return this.#addresses.has(address);
  }
  add(address: string): void {
    if (this.#addresses.has(address)) return;
    this.#addresses.add(address);
    this.#changed();
  }

  /** From nothing each time: an address that moved to another router is a next hop like any other. */
  renew(
    sessions: Iterable<{ readonly session: Pick<Session, 'localAddress'> }>,
    configs: Iterable<Pick<PeerConfig, 'localAddress' | 'nextHop4' | 'nextHop6'>>,
  ): void {
    this.#addresses.clear();
    for (const { session } of sessions) if (session.localAddress) this.#addresses.add(session.localAddress);
    for (const { localAddress, nextHop4, nextHop6 } of configs) {
      for (const address of [localAddress, nextHop4, nextHop6]) if (address) this.#addresses.add(address);
    }
    this.#changed();
  }
}
