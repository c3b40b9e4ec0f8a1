/**
 * Writes Events, of events.k8s.io/v1 rather than core/v1: it has `series` (a count without a stream of new objects), `regarding` may be any kind,
 * `reportingInstance` says which agent, and API servers keep one store for both, so that `kubectl events` and `kubectl describe` show them as ever.
 *
 * An Event is a courtesy: what cannot be written is dropped and counted, and nothing waits for it.
 */
import { createHash } from 'node:crypto';
import type { KubeClient } from '#datastore';
import type { Clock, Logger } from '#kit';
import type { Limits } from '#obs';
import { type ApiOutcome, apiPath, callApi } from './api-call.ts';
import { bounded } from './conditions.ts';
import { createEventBook, type EventBook, type EventNote, type EventWrite } from './event-book.ts';
import { microTime } from './lease.ts';

const CONTROLLER = 'poplin.dev/agent';
/** events.k8s.io/v1 takes no more. */
const NOTE_CHARACTERS_MAX = 1024;
/** Events about cluster-scoped objects stand in this namespace: the API server wants it so. */
const CLUSTER_SCOPED_NAMESPACE = 'default';
/** After a write that failed: everything is dropped for so long, then tried again. */
const PAUSE_MS = 30_000;

export interface EventWriterDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly wallMs: () => number;
  readonly log: Logger;
  readonly limits: Limits;
}

export interface EventWriter {
  /** What is wrong now; call it again while it lasts. */
  tell(notes: readonly EventNote[]): void;
  /** Resolves when nothing is under way. */
  idle(): Promise<void>;
}

export function createEventWriter(
  deps: EventWriterDeps,
  options: { readonly instance: string; readonly book?: EventBook },
): EventWriter {
  const { client, clock, wallMs, log, limits } = deps;
  const book = options.book ?? createEventBook();
  let queue: Promise<void> = Promise.resolve();
  let queued = 0;
  let notBeforeMs = 0;
  let lastFailure: string | undefined;

  const write = async ({ note, count }: EventWrite): Promise<void> => {
    if (clock.nowMs() < notBeforeMs) return limits.hit('events');
    const event = eventObject(note, options.instance, wallMs());
    const done = await writeEvent(client, event, count, wallMs());
    if (done.ok) {
      lastFailure = undefined;
      return;
    }
    if (done.kind === 'notFound') book.lost(note);
    // A namespace that is being deleted takes no Events; a refused one is ours to mend.
    if (done.kind === 'failed' || done.kind === 'forbidden') {
      notBeforeMs = clock.nowMs() + Math.max(PAUSE_MS, done.waitMs ?? 0);
    }
    limits.hit('events');
    if (done.message !== lastFailure) log.warn({ reason: done.message }, 'an Event cannot be written and is dropped');
    lastFailure = done.message;
  };

  return {
    tell(notes) {
      const { writes, dropped } = book.tell(notes, clock.nowMs());
      for (let i = 0; i < dropped; i++) limits.hit('events');
      for (const each of writes) {
        queued++;
        queue = queue.then(() => write(each)).finally(() => queued--);
      }
    },
    async idle() {
      while (queued > 0) await queue;
    },
  };
}

interface EventObject {
  readonly metadata: { readonly name: string; readonly namespace: string };
}

/** The name says what it is about: an agent that starts again adds to the Event that is there. */
function eventObject(note: EventNote, instance: string, wallMs: number): EventObject {
  const { regarding, type, reason, action } = note;
  const namespace = regarding.namespace ?? CLUSTER_SCOPED_NAMESPACE;
  const identity = JSON.stringify([regarding.kind, regarding.uid, reason, instance, note.note]);
  const hash = createHash('sha256').update(identity).digest('hex').slice(0, 16);
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { name: `${regarding.name.slice(0, 200)}.${hash}`, namespace },
    eventTime: microTime(wallMs),
    reportingController: CONTROLLER,
    reportingInstance: instance.slice(0, 128),
    type,
    reason,
    action,
    note: bounded(note.note, NOTE_CHARACTERS_MAX),
    regarding,
  } as EventObject;
}

async function writeEvent(client: KubeClient, event: EventObject, count: number, wallMs: number): Promise<ApiOutcome> {
  const collection = `${apiPath('/apis/events.k8s.io/v1/namespaces', event.metadata.namespace)}/events`;
  if (count === 1) {
    const made = await callApi(client, { method: 'POST', path: collection, body: event });
    if (made.ok || made.kind !== 'conflict') return made;
  }
  return callApi(client, {
    method: 'PATCH',
    path: apiPath(collection, event.metadata.name),
    contentType: 'application/merge-patch+json',
    body: { series: { count: Math.max(2, count), lastObservedTime: microTime(wallMs) } },
  });
}
