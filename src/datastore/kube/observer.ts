/** What goes on between the agent and the API server, for metrics: told as it happens, never more than a counter's work. */
import type { Kind } from '#model';

export interface KubeObserver {
  /** A request was answered; `status` 0: no answer came. For a watch: its head. */
  answered(verb: 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete', status: number): void;
  /** Something came on the kind's watch, an event or a bookmark. */
  heard(kind: Kind): void;
  /** A list of the kind was begun; `again` when the watch had to be given up for it. */
  listing(kind: Kind, again: boolean): void;
  /** An object was too large to be read. */
  oversized(kind: Kind): void;
  /** Milliseconds from the arrival of an event to the handler having it. */
  handedOn(kind: Kind, afterMs: number): void;
}
