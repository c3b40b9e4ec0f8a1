/** One call of the shim over its connection: reads it, has it answered, and sees whether the answer arrived. */
import type { Clock } from '#kit';
import type { Descriptor, ShimTransport, WatchEvents } from './ports.ts';
import { decodeRequest, encodeAnswer, RequestReader, type ShimRequest } from './protocol.ts';

const EAGAIN = 11;
/** netns and netlink socket. */
const DESCRIPTORS_MAX = 2;

export interface CallLimits {
  /** From connect to the last byte of the request. */
  readonly requestWaitMs: number;
  /** From the answer to the shim's word that it has it. */
  readonly answerWaitMs: number;
}

export interface CallAnswer {
  readonly exitCode: number;
  readonly stdout: string;
  /** Called when the caller has gone without the answer. */
  readonly undo?: () => Promise<void>;
}

export interface Call extends ShimRequest {
  /** Closed when the call ends, unless taken. */
  readonly descriptors: readonly Descriptor[];
  /** Aborts when the caller hangs up. */
  readonly caller: AbortSignal;
}

/**
 * Serves one connection and closes it. Resolves when all is done, undoing included; rejects only when `answer` or `undo` does.
 *
 * The door's threats: half a request, more descriptors than asked for, bytes behind the request, a caller that hangs up at any point, one
 * that does not read its answer.
 */
export async function serveCaller(
  deps: { readonly transport: ShimTransport; readonly clock: Clock },
  connection: Descriptor,
  limits: CallLimits,
  answer: (call: Call) => Promise<CallAnswer>,
): Promise<void> {
  const { transport, clock } = deps;
  const descriptors: Descriptor[] = [];
  const hungUp = new AbortController();
  const requestRead = Promise.withResolvers<ShimRequest | undefined>();
  const answerTaken = Promise.withResolvers<boolean>();
  const reader = new RequestReader();
  let phase: 'reading' | 'working' | 'answering' | 'over' = 'reading';
  let unsent: Buffer = Buffer.alloc(0);

  const end = (): void => {
    phase = 'over';
    hungUp.abort();
    requestRead.resolve(undefined);
    answerTaken.resolve(false);
  };
  const onBytes = (data: Buffer): void => {
    if (phase === 'reading') {
      const request = readOn(reader, data);
      if (request === 'more') return;
      if (request !== 'invalid') {
        phase = 'working';
        requestRead.resolve(request);
        return;
      }
    }
    // The one byte that a caller sends behind its request says that it has the answer.
    if (phase === 'answering' && unsent.length === 0) answerTaken.resolve(true);
    end();
  };
  const readable = (): void => {
    while (phase !== 'over') {
      const received = transport.receive(connection.number);
      if (received.result === -EAGAIN) return;
      descriptors.push(...received.descriptors);
      const refused = received.result <= 0 || received.truncated || descriptors.length > DESCRIPTORS_MAX;
      if (refused) end();
      else onBytes(received.data.subarray(0, received.result));
    }
  };
  const writable = (): void => {
    const sent = transport.send(connection.number, unsent);
    if (sent >= 0) unsent = unsent.subarray(sent);
    else if (sent !== -EAGAIN) end();
  };
  const watched = (): WatchEvents => ({ readable: true, disconnect: true, writable: unsent.length > 0 });
  const watcher = transport.watch(connection.number, watched(), (status) => {
    if (status < 0) return end();
    if (phase === 'answering' && unsent.length > 0) {
      writable();
      if (unsent.length === 0) watcher.restart(watched());
    }
    readable();
    if (phase === 'over') watcher.close();
  });

  const cancelRead = clock.schedule(limits.requestWaitMs, end);
  try {
    const request = await requestRead.promise;
    cancelRead();
    if (!request) return;
    const given = await answer({ ...request, descriptors, caller: hungUp.signal });
    let taken = false;
    // `end` may have run while the answer was made; TypeScript does not see it.
    if ((phase as string) === 'working') {
      phase = 'answering';
      unsent = encodeAnswer(given.exitCode, given.stdout);
      const cancelAnswer = clock.schedule(limits.answerWaitMs, end);
      writable();
      if (unsent.length > 0) watcher.restart(watched());
      taken = await answerTaken.promise;
      cancelAnswer();
    }
    if (!taken) await given.undo?.();
  } finally {
    cancelRead();
    end();
    watcher.close();
    for (const descriptor of descriptors) descriptor.close();
    connection.close();
  }
}

function readOn(reader: RequestReader, data: Buffer): ShimRequest | 'more' | 'invalid' {
  try {
    if (!reader.push(data)) return 'more';
  } catch (error) {
    if (error instanceof RangeError) return 'invalid';
    throw error;
  }
  return decodeRequest(reader.body()) ?? 'invalid';
}
