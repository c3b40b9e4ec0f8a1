/**
 * What crosses between the main thread and the speaker's. Routes go in packed, transferred buffers, at most
 * `routeBuffersMax` of them under way: main gives a credit back for each that it has worked off. While there is none, the
 * speaker keeps changes coalesced by prefix, so that a busy main costs no memory and delays no session.
 */
import type { PathSelector, PeerStatus, RouteAnswer, RouteQuery, SpeakerConfig, SpeakerStatus, StopMode } from '#bgp';
import type { LogLine } from '#kit';

export const routeBuffersMax = 4;

export type ToSpeaker =
  | { readonly type: 'configure'; readonly config: SpeakerConfig }
  | { readonly type: 'stop'; readonly mode: StopMode }
  | { readonly type: 'pathLost'; readonly which: PathSelector }
  | { readonly type: 'pathBack'; readonly which: PathSelector }
  | { readonly type: 'status'; readonly id: number }
  | { readonly type: 'routes'; readonly id: number; readonly query: RouteQuery }
  | { readonly type: 'credit' };

export type FromSpeaker =
  | { readonly type: 'started' }
  /** Could not start: an address cannot be listened on, a configuration that is none. The thread ends. */
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'routes'; readonly buffer: ArrayBuffer }
  | { readonly type: 'peer'; readonly status: PeerStatus }
  | { readonly type: 'status'; readonly id: number; readonly status: SpeakerStatus }
  | { readonly type: 'answer'; readonly id: number; readonly answer: RouteAnswer }
  | { readonly type: 'refused'; readonly id: number; readonly message: string }
  | ({ readonly type: 'log' } & LogLine)
  | { readonly type: 'stopped' };
