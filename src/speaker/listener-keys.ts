/**
 * TCP-MD5 and TCP-AO keys of a listener, by peer address or prefix. The kernel answers a SYN by them, so each peer's are put there when the
 * peer is configured, changed in place, and deleted with the peer.
 *
 * Whose keys cannot be set is refused when it connects: without them anybody at its address would get in.
 */
import type { TcpAoKey } from '#bgp';
import type { Logger } from '#kit';
import { SysError, setMd5Key } from '#sys';
import type { RuleKeys } from './address-rules.ts';
import { type AoSystem, aoSubject, aoSystem, sameAoKey } from './ao-keys.ts';

export interface KeySystem extends AoSystem {
  setMd5Key(fd: number, peer: string, key: string | undefined, prefixLength?: number): void;
}

export class ListenerKeys {
  readonly #fd: number;
  readonly #log: Logger;
  readonly #system: KeySystem;
  /** What the listener has. */
  readonly #md5 = new Map<string, string>();
  readonly #ao = new Map<string, readonly TcpAoKey[]>();
  /** ENOMEM (net.core.optmem_max); ids, or kinds of keys, that overlap with those of another. */
  readonly #keyless = new Set<string>();

  constructor(fd: number, log: Logger, system: KeySystem = { ...aoSystem, setMd5Key }) {
    this.#fd = fd;
    this.#log = log;
    this.#system = system;
  }

  /** A key of its could not be set. */
  isKeyless(subject: string): boolean {
    return this.#keyless.has(subject);
  }

  /** What goes first goes: the kernel takes no key of one kind, or with an id, where one that overlaps is there. */
  sync({ md5, ao }: RuleKeys): void {
    for (const subject of this.#keyless) if (!md5.has(subject) && !ao.has(subject)) this.#keyless.delete(subject);
    for (const subject of [...this.#md5.keys()]) if (!md5.has(subject)) this.#setMd5(subject, undefined);
    for (const [subject, keys] of [...this.#ao]) {
      const wanted = ao.get(subject) ?? [];
      for (const key of keys) if (!wanted.some((each) => sameAoKey(each, key))) this.#removeAo(subject, key);
    }
    for (const [subject, key] of md5) if (this.#md5.get(subject) !== key) this.#setMd5(subject, key);
    for (const [subject, wanted] of ao) this.#addAo(subject, wanted);
  }

  #setMd5(subject: string, key: string | undefined): void {
    const { address, prefixLength } = aoSubject(subject);
    const done = this.#attempt(subject, key !== undefined, () =>
      this.#system.setMd5Key(this.#fd, address, key, prefixLength),
    );
    if (!done) return;
    if (key === undefined) this.#md5.delete(subject);
    else this.#md5.set(subject, key);
    this.#keyless.delete(subject);
  }

  #removeAo(subject: string, key: TcpAoKey): void {
    this.#attempt(subject, false, () => this.#system.removeFromListener(this.#fd, aoSubject(subject), key));
    const rest = (this.#ao.get(subject) ?? []).filter((each) => each !== key);
    if (rest.length === 0) this.#ao.delete(subject);
    else this.#ao.set(subject, rest);
  }

  #addAo(subject: string, wanted: readonly TcpAoKey[]): void {
    let complete = true;
    for (const key of wanted) {
      const there = this.#ao.get(subject) ?? [];
      if (there.some((each) => sameAoKey(each, key))) continue;
      const done = this.#attempt(subject, true, () => this.#system.add(this.#fd, aoSubject(subject), key, false));
      if (done) this.#ao.set(subject, [...there, key]);
      else complete = false;
    }
    if (complete) this.#keyless.delete(subject);
  }

  #attempt(subject: string, needed: boolean, change: () => void): boolean {
    try {
      change();
      return true;
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (needed) this.#keyless.add(subject);
      this.#log.error(
        { address: subject, error: error.message },
        'cannot change the TCP-MD5 or TCP-AO key of a peer on the listener; without its key it is refused',
      );
      return false;
    }
  }
}
