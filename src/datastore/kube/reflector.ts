/**
 * Follows one resource: lists it, watches it from there, and begins again where that breaks.
 *
 *        +--> WatchList --(refused)--> pages --+
 *        |        |  initial events            |
 *   410, |        v                            v
 *  first |     events <------------------------+
 *        |        | cut, silent, timeout, GOAWAY
 *        +--------+--> watch from the last resourceVersion
 *
 * A list never empties the store: what it does not name is taken away at its end. 404: the kind is not there, which counts
 * as empty, and is looked for again; 403: says which role is missing, and tries again.
 *
 * Known races:
 * - An answer cut in the middle of an object: the rest of the line is thrown away and the watch resumes before it.
 * - A list cut in the middle: begun again; what it told is newer than what was known and stays.
 * - An API server behind the one that was asked before: lists ask for data not older than the last resourceVersion. An etcd
 *   restored from a backup is behind for good ("too large resource version"): then the list asks for whatever is there.
 */
import { type Clock, errorText, type Logger } from '#kit';
import { Backoff, sleep } from './backoff.ts';
import { KubeError, type KubeResponse } from './client.ts';
import type { KubeConnection, KubeStream } from './connection.ts';
import type { RawEvent } from './event-reader.ts';
import { type ItemSink, readPage } from './list-page.ts';
import { type Outcome, outcomeOfErrorEvent, outcomeOfRefusal } from './outcome.ts';
import { protobufKinds, protobufWatchTypes } from './protobuf.ts';
import { completed, type RawObject } from './raw-object.ts';
import type { Resource } from './resources.ts';
import { readWatch } from './watch-stream.ts';

const watchSecMin = 300;
const watchSecMax = 600;
/** Bookmarks come every minute from the API server's watch cache. */
const silenceMaxMs = 150_000;
/** Of the first events: a server that took the request and does not know WatchList after all. */
const listSilenceMaxMs = 15_000;
const pageItems = 500;
const answerTimeoutMs = 60_000;
const absentPauseMs = 30_000;
/** Lists after an outage longer than this are spread over `relistSpreadMs`. */
const outageMs = 30_000;
const relistSpreadMs = 1_000;
/** A watch that ends sooner than this has not worked. */
const shortWatchMs = 1_000;
/** What cannot be read at one place so many times is read by a list. */
const garbageMax = 3;

export type ReflectorState =
  | { readonly state: 'synced' }
  | { readonly state: 'absent' }
  | { readonly state: 'forbidden'; readonly reason: string }
  /** `unreachable`: no HTTP answer came. */
  | { readonly state: 'failing'; readonly reason: string; readonly unreachable: boolean };

export interface ReflectorSink extends ItemSink {
  /** A list begins: what is not put until `listed` is gone. Again before `listed` when it was cut. */
  listing(): void;
  remove(object: RawObject): void;
  listed(resourceVersion: string): void;
  /** Everything up to here was told. */
  position(resourceVersion: string): void;
  /** The kind does not exist: nothing is left. */
  absent(): void;
  report(state: ReflectorState): void;
}

export interface ReflectorDeps {
  readonly connection: KubeConnection;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

export interface ReflectorOptions {
  readonly resource: Resource;
  readonly sink: ReflectorSink;
  /** Asks for data not older than this, from an earlier run. */
  readonly resourceVersion?: string;
  /** Resolves when an absent kind is worth another look; default: after half a minute or so. */
  readonly untilWorthALook?: (signal: AbortSignal) => Promise<void>;
}

export class Reflector {
  readonly #deps: ReflectorDeps;
  readonly #options: ReflectorOptions;
  readonly #pace: Backoff;
  readonly #stop = new AbortController();
  #look = new AbortController();
  #mode: 'watchList' | 'pages' = 'watchList';
  /** Where the next watch begins; undefined: with a list. */
  #position: string | undefined;
  /** What a list must not be older than. */
  #known: string;
  #garbage = 0;
  #brokenSinceMs: number | undefined;
  #running: Promise<void> | undefined;

  constructor(deps: ReflectorDeps, options: ReflectorOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#known = options.resourceVersion ?? '';
    this.#pace = new Backoff(deps.random, { baseMs: 100, maxMs: 10_000 });
  }

  start(): void {
    this.#running ??= this.#run();
  }
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
  /** An absent or forbidden kind may be there by now. */
  hint(): void {
    this.#look.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const outcome = this.#position === undefined ? await this.#list() : await this.#watch(this.#position);
      if (signal.aborted) return;
      await this.#act(outcome);
    }
  }

  async #act(outcome: Outcome): Promise<void> {
    const { sink } = this.#options;
    const connecting = this.#deps.connection.failedAttempts > 0;
    switch (outcome.type) {
      case 'ended':
        this.#brokenSinceMs = undefined;
        return;
      case 'noWatchList':
        this.#mode = 'pages';
        return;
      case 'ahead':
        this.#known = '';
        this.#position = undefined;
        return;
      case 'expired':
        return this.#expired();
      case 'absent':
        sink.absent();
        sink.report({ state: 'absent' });
        this.#position = undefined;
        this.#known = '';
        this.#pace.reset();
        return this.#untilWorthALook();
      case 'forbidden':
        sink.report({ state: 'forbidden', reason: outcome.reason });
        return sleep(this.#deps.clock, 1_000 + this.#pace.next(), this.#untilHint());
      case 'throttled':
        sink.report({ state: 'failing', reason: outcome.reason, unreachable: false });
        return this.#pause(outcome.waitMs * (1 + this.#deps.random() / 4));
      case 'broken':
        this.#brokenSinceMs ??= this.#deps.clock.nowMs();
        sink.report({ state: 'failing', reason: outcome.reason, unreachable: outcome.unreachable });
        // While nothing can be connected to, the connection sets the pace for everybody.
        return this.#pause(connecting ? 50 + 100 * this.#deps.random() : this.#pace.next());
    }
  }

  async #expired(): Promise<void> {
    const { clock, random, log } = this.#deps;
    log.info({ resource: this.#options.resource.path }, 'the watch expired; listing again');
    const first = this.#position !== undefined;
    this.#position = undefined;
    const outage = this.#brokenSinceMs !== undefined && clock.nowMs() - this.#brokenSinceMs > outageMs;
    if (!first) {
      this.#known = '';
      await this.#pause(this.#pace.next());
    } else if (outage) await this.#pause(random() * relistSpreadMs);
  }

  #pause(delayMs: number): Promise<void> {
    return sleep(this.#deps.clock, delayMs, this.#stop.signal);
  }

  /** Ends early on a hint. */
  #untilHint(): AbortSignal {
    if (this.#look.signal.aborted) this.#look = new AbortController();
    return AbortSignal.any([this.#stop.signal, this.#look.signal]);
  }

  async #untilWorthALook(): Promise<void> {
    const { clock, random } = this.#deps;
    const { untilWorthALook } = this.#options;
    if (untilWorthALook) await untilWorthALook(this.#untilHint());
    else await sleep(clock, absentPauseMs * (0.75 + random() / 2), this.#untilHint());
  }

  #list(): Promise<Outcome> {
    return this.#mode === 'watchList' ? this.#watchList() : this.#pages();
  }

  async #watchList(): Promise<Outcome> {
    const stream = await this.#open({
      watch: true,
      sendInitialEvents: true,
      resourceVersionMatch: 'NotOlderThan',
      allowWatchBookmarks: true,
      timeoutSeconds: this.#watchSeconds(),
      ...(this.#known ? { resourceVersion: this.#known } : {}),
    });
    if ('type' in stream) return stream;
    if (stream.status !== 200) return this.#refusal(stream, 'watch', true);
    this.#options.sink.listing();
    return this.#follow(stream, true);
  }

  async #watch(position: string): Promise<Outcome> {
    const stream = await this.#open({
      watch: true,
      allowWatchBookmarks: true,
      resourceVersion: position,
      timeoutSeconds: this.#watchSeconds(),
    });
    if ('type' in stream) return stream;
    if (stream.status !== 200) return this.#refusal(stream, 'watch', false);
    this.#brokenSinceMs = undefined;
    this.#options.sink.report({ state: 'synced' });
    const began = this.#deps.clock.nowMs();
    const outcome = await this.#follow(stream, false);
    const short = this.#deps.clock.nowMs() - began < shortWatchMs && this.#position === position;
    if (outcome.type === 'ended' && short) await this.#pause(this.#pace.next());
    else if (!short) this.#pace.reset();
    return outcome;
  }

  #watchSeconds(): number {
    return Math.round(watchSecMin + this.#deps.random() * (watchSecMax - watchSecMin));
  }

  async #open(query: Record<string, string | number | boolean>): Promise<KubeStream | Outcome> {
    const { connection } = this.#deps;
    try {
      const { path } = this.#options.resource;
      const accept = query['watch'] && protobufKinds.has(this.#options.resource.kind) ? protobufWatchTypes : undefined;
      const request = { path, query, timeoutMs: answerTimeoutMs, signal: this.#stop.signal };
      return await connection.open(accept ? { ...request, accept } : request);
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      return { type: 'broken', reason: error.message, unreachable: true };
    }
  }

  /** What an answer other than 200 means. */
  async #refusal(stream: KubeStream, verb: 'list' | 'watch', watchList: boolean): Promise<Outcome> {
    let response: KubeResponse;
    try {
      response = await this.#deps.connection.collect(stream);
    } catch (error) {
      return { type: 'broken', reason: errorText(error), unreachable: true };
    }
    return outcomeOfRefusal(response, this.#options.resource, { verb, watchList });
  }

  /** Reads events to the end of the stream. `initial`: it begins with what is there. */
  async #follow(stream: KubeStream, initial: boolean): Promise<Outcome> {
    const reading = { listing: initial };
    const outcome = await readWatch(stream, {
      clock: this.#deps.clock,
      signal: this.#stop.signal,
      silenceMaxMs: () => (reading.listing ? listSilenceMaxMs : silenceMaxMs),
      take: (read) => {
        if (read.type === 'event') return read.event ? this.#event(read.event, reading) : this.#unreadable();
        this.#options.sink.oversized(read.head, read.bytes);
        return undefined;
      },
    });
    if (outcome.type === 'silent') return reading.listing ? { type: 'noWatchList' } : { type: 'ended' };
    if (outcome.type === 'ended' && reading.listing)
      return { type: 'broken', reason: 'the list was cut', unreachable: false };
    return outcome;
  }

  #event({ type, object }: RawEvent, reading: { listing: boolean }): Outcome | undefined {
    const { sink, resource } = this.#options;
    if (type === 'ERROR') return outcomeOfErrorEvent(object);
    const resourceVersion = object.metadata?.resourceVersion;
    if (!resourceVersion) return this.#unreadable();
    if (type === 'BOOKMARK') {
      if (reading.listing) {
        if (object.metadata?.annotations?.['k8s.io/initial-events-end'] !== 'true') return undefined;
        reading.listing = false;
        this.#listed(resourceVersion);
        return undefined;
      }
    } else if (!object.metadata?.name) return this.#unreadable();
    else if (type === 'DELETED') sink.remove(object as RawObject);
    else if (type === 'ADDED' || type === 'MODIFIED') sink.put(completed(object as RawObject, resource));
    else return this.#unreadable();
    if (!reading.listing) this.#moveTo(resourceVersion);
    return undefined;
  }

  #moveTo(resourceVersion: string): void {
    this.#position = resourceVersion;
    this.#known = resourceVersion;
    this.#garbage = 0;
    this.#options.sink.position(resourceVersion);
  }

  #listed(resourceVersion: string): void {
    const { sink } = this.#options;
    sink.listed(resourceVersion);
    this.#pace.reset();
    this.#brokenSinceMs = undefined;
    this.#moveTo(resourceVersion);
    sink.report({ state: 'synced' });
  }

  #unreadable(): Outcome {
    this.#garbage++;
    this.#deps.log.warn({ resource: this.#options.resource.path }, 'a watch event cannot be read');
    if (this.#garbage >= garbageMax) {
      this.#garbage = 0;
      if (this.#position !== undefined) return { type: 'expired' };
    }
    return { type: 'broken', reason: 'the API server sent an event that cannot be read', unreachable: false };
  }

  /**
   * With a resourceVersion the API server answers whole from its cache, as it does for 0 with a limit; without one it cuts
   * pages, which may expire on the way: then the next try asks for all at once.
   */
  async #pages(): Promise<Outcome> {
    const { sink } = this.#options;
    sink.listing();
    let cursor = '';
    let whole = false;
    for (;;) {
      const fresh: Record<string, string | number> = this.#known
        ? { resourceVersion: this.#known, resourceVersionMatch: 'NotOlderThan' }
        : { resourceVersion: 0, limit: pageItems };
      const stream = await this.#open(cursor ? { limit: pageItems, continue: cursor } : whole ? {} : fresh);
      if ('type' in stream) return stream;
      if (stream.status === 410 && cursor !== '') {
        stream.body.destroy();
        sink.listing();
        cursor = '';
        whole = true;
        continue;
      }
      if (stream.status !== 200) return this.#refusal(stream, 'list', false);
      const page = await readPage(stream, this.#options.resource, sink);
      if ('type' in page) return page;
      cursor = page.continue ?? '';
      if (cursor !== '') continue;
      this.#listed(page.resourceVersion);
      return { type: 'ended' };
    }
  }
}
