/**
 * Which addresses sets of names held once: what established flows are judged by, since an answer that is over ends no flow. Kept on disk, so that
 * an agent that starts again cuts none of them. Bounded: what was learnt last is kept.
 */
import { hash } from 'node:crypto';
import type { Clock, IpAddress } from '#kit';
import type { SetId } from '#model';

/** Of all sets together; some 30 octets each on disk. */
const addressesMaxDefault = 32_768;
/** Shorter than the least time of an address by default: what is not on disk yet is in the kernel. */
const SAVE_MS = 5_000;
/** Of ids of sets, kept. */
const hashesMax = 1_024;

export interface PastDeps {
  readonly clock: Clock;
  readonly file: { read(): string | undefined; write(text: string): void };
  readonly addressesMax?: number;
}

export class PastAddresses {
  readonly #deps: PastDeps;
  readonly #addressesMax: number;
  readonly #hashes = new Map<SetId, string>();
  /** `hash-of-set address`, oldest first. */
  readonly #held: Set<string>;
  #cancelSave: (() => void) | undefined;

  constructor(deps: PastDeps) {
    this.#deps = deps;
    this.#addressesMax = deps.addressesMax ?? addressesMaxDefault;
    const lines = deps.file.read()?.split('\n') ?? [];
    this.#held = new Set(lines.filter((line) => line !== '').slice(-this.#addressesMax));
  }

  add(set: SetId, addresses: readonly IpAddress[]): void {
    for (const address of addresses) {
      const key = this.#key(set, address);
      this.#held.delete(key);
      const [oldest] = this.#held.size >= this.#addressesMax ? this.#held : [];
      if (oldest !== undefined) this.#held.delete(oldest);
      this.#held.add(key);
    }
    if (addresses.length > 0) this.#cancelSave ??= this.#deps.clock.schedule(SAVE_MS, () => this.save());
  }

  has(set: SetId, address: IpAddress): boolean {
    return this.#held.has(this.#key(set, address));
  }

  #key(set: SetId, address: IpAddress): string {
    let known = this.#hashes.get(set);
    if (known === undefined) {
      if (this.#hashes.size >= hashesMax) this.#hashes.clear();
      known = hashOf(set);
      this.#hashes.set(set, known);
    }
    return `${known} ${address}`;
  }

  /** What is not on disk yet. */
  save(): void {
    if (!this.#cancelSave) return;
    this.#cancelSave();
    this.#cancelSave = undefined;
    this.#deps.file.write([...this.#held, ''].join('\n'));
  }
}

/** Ids name every name of a set: a thousand of them are a quarter of a megabyte. */
function hashOf(set: SetId): string {
  return hash('sha256', set, 'base64url').slice(0, 22);
}
