/** DELs that the shim took while the agent was away: one file each, CONTAINERID@IFNAME, holding a request without its length word. */
import fs from 'node:fs';
import path from 'node:path';
import { type Clock, errorText, type Logger } from '#kit';
import { KeyedLock } from './keyed-lock.ts';
import { decodeRequest, REQUEST_BYTES_MAX, type ShimRequest } from './protocol.ts';

/** A temporary file of a shim that died is removed at this age. */
const TEMPORARY_AGE_MAX_MS = 3_600_000;
/** A DEL that failed (disk full, kernel out of memory) is tried again after this. */
const RETRY_MS = 10_000;

export interface DelQueueDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** Does one DEL; rejects when it must be tried again. */
  readonly del: (request: ShimRequest) => Promise<void>;
}

/**
 * Works off what is there, then watches: a shim may decide that the agent is away just before it is back, and queue its DEL just after.
 */
export class DelQueue {
  readonly #deps: DelQueueDeps;
  readonly #directory: string;
  readonly #lock = new KeyedLock();
  #watcher: fs.FSWatcher | undefined;
  #cancelRetry: (() => void) | undefined;
  #stopped = false;

  constructor(deps: DelQueueDeps, directory: string) {
    this.#deps = deps;
    this.#directory = directory;
  }

  async open(): Promise<void> {
    await fs.promises.mkdir(this.#directory, { recursive: true, mode: 0o700 });
    await this.drain();
  }

  watch(): void {
    this.#watcher = fs.watch(this.#directory, { persistent: false }, (_event, name) => {
      if (name && !name.startsWith('.')) void this.drain();
    });
    this.#watcher.on('error', (error) => {
      this.#deps.log.warn(
        { directory: this.#directory, reason: error.message },
        'the queue of DELs is not watched any more',
      );
    });
    void this.drain();
  }

  /** Does the queued DEL of one attachment, if there is one: an ADD of the same must come after it. One stat when there is none. */
  async drainOne(containerId: string, ifName: string): Promise<void> {
    const name = `${containerId}@${ifName}`;
    if (fs.existsSync(path.join(this.#directory, name))) await this.#work(name);
  }

  /** Resolves when all that was there is done or put off; never rejects. */
  async drain(): Promise<void> {
    await this.#lock.run('', async () => {
      try {
        for (const name of await fs.promises.readdir(this.#directory)) {
          if (this.#stopped) return;
          if (name.startsWith('.')) await this.#dropOldTemporary(name);
          else await this.#work(name);
        }
      } catch (error) {
        this.#deps.log.error(
          { directory: this.#directory, reason: errorText(error) },
          'queued DELs cannot be read; pods deleted meanwhile keep their addresses',
        );
        this.#retryLater();
      }
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#watcher?.close();
    this.#cancelRetry?.();
    await this.#lock.idle();
  }

  async #work(name: string): Promise<void> {
    await this.#lock.run(name, async () => {
      const file = path.join(this.#directory, name);
      try {
        const request = await readRequest(file);
        if (request === 'gone') return;
        if (request === 'invalid') {
          this.#deps.log.error({ file }, 'a queued DEL does not read; it is set aside');
          await fs.promises.rename(file, path.join(this.#directory, `.${name}.invalid`));
          return;
        }
        await this.#deps.del(request);
        await fs.promises.rm(file, { force: true });
        this.#deps.log.info({ name }, 'a DEL that was queued while the agent was away is done');
      } catch (error) {
        this.#deps.log.error({ file, reason: errorText(error) }, 'a queued DEL failed; it is tried again');
        this.#retryLater();
      }
    });
  }

  #retryLater(): void {
    if (this.#cancelRetry || this.#stopped) return;
    this.#cancelRetry = this.#deps.clock.schedule(RETRY_MS, () => {
      this.#cancelRetry = undefined;
      void this.drain();
    });
  }

  async #dropOldTemporary(name: string): Promise<void> {
    const file = path.join(this.#directory, name);
    const stat = await fs.promises.stat(file).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (stat && name.endsWith('.tmp') && Date.now() - stat.mtimeMs > TEMPORARY_AGE_MAX_MS)
      await fs.promises.rm(file, { force: true });
  }
}

async function readRequest(file: string): Promise<ShimRequest | 'gone' | 'invalid'> {
  try {
    const stat = await fs.promises.lstat(file);
    if (!stat.isFile() || stat.size > REQUEST_BYTES_MAX) return 'invalid';
    const request = decodeRequest(await fs.promises.readFile(file));
    return request?.environment['CNI_COMMAND'] === 'DEL' ? request : 'invalid';
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'gone';
    throw error;
  }
}
