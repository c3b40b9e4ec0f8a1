/** BFD with real sockets, in a thread of its own. */
export type { BfdTiming } from './protocol.ts';
export { type BfdThread, createBfdThread } from './thread.ts';
