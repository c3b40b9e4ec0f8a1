/** The events of a watch as they come off its stream, in whichever form the server sends them. */

import { JsonLines } from '../json-lines.ts';
import { Frames } from './frames.ts';
import { isProtobuf, parseProtobufEvent } from './protobuf.ts';
import type { RawObject } from './raw-object.ts';

export interface RawEvent {
  readonly type: string;
  readonly object: Partial<RawObject>;
}

export type EventRead =
  /** Absent when what came is no event. */
  | { readonly type: 'event'; readonly event: RawEvent | undefined }
  /** `head`: how it begins, as JSON, if it is. */
  | { readonly type: 'oversized'; readonly head: string; readonly bytes: number };

export interface EventReader {
  /** Bytes that came of an event that is not complete. */
  readonly pendingBytes: number;
  /** The next bytes; `next` must have returned undefined before. */
  push(chunk: Buffer): void;
  /** Undefined when more bytes are needed. */
  next(): EventRead | undefined;
}

export function eventReader(contentType: string | undefined): EventReader {
  return isProtobuf(contentType) ? protobufEvents() : jsonEvents();
}

function jsonEvents(): EventReader {
  const lines = new JsonLines();
  return {
    get pendingBytes() {
      return lines.pendingBytes;
    },
    push: (chunk) => lines.push(chunk),
    next() {
      const line = lines.next();
      return line?.type === 'line' ? { type: 'event', event: parseJsonEvent(line.text) } : line;
    },
  };
}

function protobufEvents(): EventReader {
  const frames = new Frames();
  return {
    get pendingBytes() {
      return frames.pendingBytes;
    },
    push: (chunk) => frames.push(chunk),
    next() {
      const frame = frames.next();
      if (frame?.type === 'frame') return { type: 'event', event: parseProtobufEvent(frame.bytes) };
      return frame && { ...frame, head: '' };
    },
  };
}

function parseJsonEvent(text: string): RawEvent | undefined {
  try {
    const event = JSON.parse(text) as Partial<RawEvent> | null;
    return event?.type && event.object ? (event as RawEvent) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
