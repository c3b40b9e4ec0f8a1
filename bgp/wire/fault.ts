/**
 * What is wrong with an attribute, and what RFC 7606 2 wants done about it. No fault: the attribute is kept. Faults are
 * constants made once per rule, so that hostile input costs no allocation.
 */
import { updateSubcode } from './errors.ts';

export interface Fault {
  /** `discard` the attribute, treat the routes as `withdraw`n, or `reset` the session. */
  readonly verb: 'discard' | 'withdraw' | 'reset';
  /** Subcode of an UPDATE Message Error, sent where the fault ends in a reset. */
  readonly subcode: number;
  readonly reason: string;
  /** The attribute has no business here at all, so that its flags do not matter either. */
  readonly whateverTheFlags?: true;
}

export function discard(reason: string): Fault {
  return { verb: 'discard', subcode: updateSubcode.optionalAttributeError, reason };
}

export function withdraw(subcode: number, reason: string): Fault {
  return { verb: 'withdraw', subcode, reason };
}

export function reset(subcode: number, reason: string): Fault {
  return { verb: 'reset', subcode, reason };
}

/** Discards an attribute that this peer may not send, or that is not for us. */
export function unwelcome(reason: string): Fault {
  return { ...discard(reason), whateverTheFlags: true };
}
