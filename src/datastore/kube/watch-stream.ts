/** Reads the events of a watch to the end of its stream, and gives it up where nothing comes any more. */
import type { Readable } from 'node:stream';
import { type Clock, errorText } from '#kit';
import { pauseIfDue } from '../time-slice.ts';
import { type KubeStream, mustBeWhole } from './connection.ts';
import { type EventRead, eventReader } from './event-reader.ts';
import type { Outcome } from './outcome.ts';

export interface WatchReader {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** For how long nothing may come, as things stand. */
  readonly silenceMaxMs: () => number;
  /** @returns what ends the reading; undefined: it goes on. */
  readonly take: (read: EventRead) => Outcome | undefined;
}

/** How it ended: `silent` after `silenceMaxMs` in which nothing came. */
export async function readWatch(
  stream: KubeStream,
  reader: WatchReader,
): Promise<Outcome | { readonly type: 'silent' }> {
  const { signal } = reader;
  const events = eventReader(stream.contentType);
  const watchdog = watch(stream.body, reader);
  const abort = (): void => void stream.body.destroy();
  signal.addEventListener('abort', abort);
  try {
    for await (const chunk of stream.body) {
      watchdog.seen();
      events.push(chunk as Buffer);
      for (let next = events.next(); next; next = events.next()) {
        const outcome = reader.take(next);
        if (outcome) return outcome;
        const pause = pauseIfDue();
        if (pause) await pause;
      }
    }
    mustBeWhole(stream);
  } catch (error) {
    if (error instanceof SilentError) return { type: 'silent' };
    return { type: 'broken', reason: `the watch broke: ${errorText(error)}`, unreachable: true };
  } finally {
    watchdog.stop();
    signal.removeEventListener('abort', abort);
  }
  if (events.pendingBytes > 0) return { type: 'broken', reason: 'the watch was cut in an object', unreachable: true };
  return { type: 'ended' };
}

class SilentError extends Error {}

/** Destroys the stream once nothing was seen for too long. */
function watch(body: Readable, { clock, silenceMaxMs }: WatchReader): { seen(): void; stop(): void } {
  let lastMs = clock.nowMs();
  const look = (): void => {
    const limitMs = silenceMaxMs();
    const leftMs = limitMs - (clock.nowMs() - lastMs);
    if (leftMs <= 0) body.destroy(new SilentError(`nothing came for ${limitMs / 1000} s`));
    else cancel = clock.schedule(leftMs, look);
  };
  let cancel = clock.schedule(silenceMaxMs(), look);
  return {
    seen() {
      lastMs = clock.nowMs();
    },
    stop: () => cancel(),
  };
}
