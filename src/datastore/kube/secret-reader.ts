/**
 * Secrets that other objects name, each read by name: the agent's role has `get` in its own namespace and neither `list`
 * nor `watch`. At once when newly named, then every half minute or so. A missing one counts as read; one that cannot be
 * asked for keeps what was last known.
 */
import { type Clock, errorText, type Logger } from '#kit';
import { Backoff } from './backoff.ts';
import { KubeError, statusMessage } from './client.ts';
import type { KubeConnection } from './connection.ts';
import type { RawObject } from './raw-object.ts';

const readIntervalMs = 30_000;

export interface SecretReaderDeps {
  readonly connection: KubeConnection;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

export interface SecretSink {
  found(name: string, object: RawObject): void;
  /** Missing, or not named any more. */
  gone(name: string): void;
  /** `settled` or `trouble` may have changed. */
  changed(): void;
}

interface Reading {
  answered: boolean;
  forbidden: boolean;
  trouble: string | undefined;
  readonly pace: Backoff;
  cancel: () => void;
}

export class SecretReader {
  readonly #deps: SecretReaderDeps;
  readonly #namespace: string;
  readonly #sink: SecretSink;
  readonly #readings = new Map<string, Reading>();
  #stopped = false;

  constructor(deps: SecretReaderDeps, options: { readonly namespace: string; readonly sink: SecretSink }) {
    this.#deps = deps;
    this.#namespace = options.namespace;
    this.#sink = options.sink;
  }

  /** Every named Secret was found, or found missing. */
  get settled(): boolean {
    return [...this.#readings.values()].every(({ answered }) => answered);
  }
  get forbidden(): boolean {
    return [...this.#readings.values()].some(({ forbidden }) => forbidden);
  }
  /** Why Secrets cannot be read. */
  get trouble(): readonly string[] {
    return [...this.#readings.values()].flatMap(({ trouble }) => trouble ?? []);
  }

  /** Reads exactly these from now on. */
  want(names: ReadonlySet<string>): void {
    for (const [name, reading] of this.#readings) {
      if (names.has(name)) continue;
      reading.cancel();
      this.#readings.delete(name);
      this.#sink.gone(name);
    }
    for (const name of names) {
      if (this.#stopped || this.#readings.has(name)) continue;
      const pace = new Backoff(this.#deps.random, { baseMs: 500, maxMs: readIntervalMs });
      const reading: Reading = {
        answered: false,
        forbidden: false,
        trouble: undefined,
        pace,
        cancel: () => undefined,
      };
      this.#readings.set(name, reading);
      void this.#read(name, reading);
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const { cancel } of this.#readings.values()) cancel();
  }

  async #read(name: string, reading: Reading): Promise<void> {
    const { connection, clock, random, log } = this.#deps;
    const path = `/api/v1/namespaces/${encodeURIComponent(this.#namespace)}/secrets/${encodeURIComponent(name)}`;
    let trouble: string | undefined;
    let forbidden = false;
    try {
      const response = await connection.request({ method: 'GET', path });
      if (this.#stopped || this.#readings.get(name) !== reading) return;
      if (response.status === 200) this.#sink.found(name, response.body as RawObject);
      else if (response.status === 404) this.#sink.gone(name);
      else trouble = statusMessage(response);
      forbidden = response.status === 403;
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      trouble = errorText(error);
    }
    if (this.#stopped || this.#readings.get(name) !== reading) return;
    const text = trouble === undefined ? undefined : `Secret ${this.#namespace}/${name} cannot be read: ${trouble}`;
    if (text !== undefined && reading.trouble === undefined) {
      log.warn({ secret: `${this.#namespace}/${name}`, reason: trouble }, 'a Secret that is named cannot be read');
    }
    reading.trouble = text;
    reading.forbidden = forbidden;
    if (trouble === undefined) {
      reading.answered = true;
      reading.pace.reset();
    }
    const pauseMs = trouble === undefined ? readIntervalMs * (0.75 + random() / 2) : reading.pace.next();
    reading.cancel = clock.schedule(pauseMs, () => void this.#read(name, reading));
    this.#sink.changed();
  }
}
