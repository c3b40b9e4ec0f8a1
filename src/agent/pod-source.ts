/**
 * CNI's question "is this Pod known?", answered from the model, now or as soon as it is. A runtime may be quicker than the
 * watch, or the watch may be broken: whoever waits too long has the source asked for this one Pod, again and again.
 */
import type { PodSource } from '#cni';
import { type Clock, errorText, type Logger } from '#kit';
import type { ObjectKey, PodObject } from '#model';
import type { ModelStore } from './model-store.ts';

/** How long the watch has before the source is asked, and between two questions. */
const ASK_AFTER_MS = 1_000;
const ASK_AGAIN_MS = 4_000;

/** A static pod's CNI UID is the hash of its configuration; its mirror Pod carries that in an annotation. */
const STATIC_POD_ANNOTATIONS = ['kubernetes.io/config.hash', 'kubernetes.io/config.mirror'];

export interface WaitingPodSource extends PodSource {
  /** The Pod if it is known, with that UID when one is given. */
  find(key: ObjectKey, uid: string | undefined): PodObject | undefined;
  /** A Pod came or changed. */
  podChanged(key: ObjectKey): void;
}

export interface PodSourceDeps {
  readonly model: ModelStore;
  readonly clock: Clock;
  readonly log: Logger;
  /** Asks the source for one Pod; what it finds comes into the model like everything else. Absent: the model is all there is. */
  readonly ask?: (key: ObjectKey) => Promise<unknown>;
}

export function createPodSource({ model, clock, log, ask }: PodSourceDeps): WaitingPodSource {
  const waiting = new Map<ObjectKey, Set<() => void>>();

  const find = (key: ObjectKey, uid: string | undefined): PodObject | undefined => {
    const pod = model.get('Pod', key);
    return pod && (uid === undefined || isPod(pod, uid)) ? pod : undefined;
  };

  return {
    find,
    async wait(key, uid, signal) {
      const known = find(key, uid);
      if (known) return known;
      return new Promise<PodObject>((resolve, reject) => {
        const look = (): void => {
          const pod = find(key, uid);
          if (pod) done(() => resolve(pod));
        };
        const abort = (): void => done(() => reject(signal.reason));
        let cancelAsk: (() => void) | undefined;
        const askLater = (delayMs: number): void => {
          if (!ask) return;
          cancelAsk = clock.schedule(delayMs, () => {
            ask(key).catch((error: unknown) => {
              log.warn({ pod: key, reason: errorText(error) }, 'the API server could not be asked for a pod');
            });
            askLater(ASK_AGAIN_MS);
          });
        };
        const done = (answer: () => void): void => {
          cancelAsk?.();
          signal.removeEventListener('abort', abort);
          const others = waiting.get(key);
          others?.delete(look);
          if (others?.size === 0) waiting.delete(key);
          answer();
        };
        if (signal.aborted) return reject(signal.reason);
        signal.addEventListener('abort', abort);
        const others = waiting.get(key) ?? new Set();
        waiting.set(key, others.add(look));
        askLater(ASK_AFTER_MS);
      });
    },
    podChanged(key) {
      for (const look of [...(waiting.get(key) ?? [])]) look();
    },
  };
}

/** Manifests may come without a UID: then the name alone decides. */
function isPod(pod: PodObject, uid: string): boolean {
  const { metadata } = pod;
  return (
    metadata.uid === '' || metadata.uid === uid || STATIC_POD_ANNOTATIONS.some((a) => metadata.annotations[a] === uid)
  );
}
