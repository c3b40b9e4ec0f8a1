/** What the two threads say to each other. Everything is plain data; buffers are transferred. */
import type { RouteAnswer, RouteQuery, SpeakerConfig, SpeakerStatus, StopMode } from '#bgp';

export type ToSpeaker =
  | { readonly type: 'configure'; readonly config: SpeakerConfig }
  | { readonly type: 'stop'; readonly mode: StopMode }
  | { readonly type: 'pathLost'; readonly peer: string }
  | { readonly type: 'pathBack' }
  /** One more buffer of routes may be sent. */
  | { readonly type: 'credit' }
  | { readonly type: 'status'; readonly id: number }
  | { readonly type: 'routes'; readonly id: number; readonly query: RouteQuery };

export type FromSpeaker =
  | { readonly type: 'routeBuffer'; readonly buffer: ArrayBuffer }
  | { readonly type: 'answer'; readonly id: number; readonly value: SpeakerStatus | RouteAnswer }
  | { readonly type: 'refused'; readonly id: number; readonly reason: string }
  | {
      readonly type: 'log';
      readonly level: 'error' | 'warn' | 'info' | 'debug';
      readonly fields: object;
      readonly message: string;
    }
  | { readonly type: 'stopped' };

/** Buffers of routes on the way at once; further changes wait, coalesced, in the speaker. */
export const CREDITS = 4;
