/** What keeps an object, or a part of it, from being used, as data: for conditions, Events and people. */
import type { Kind } from '#model';

export interface ObjectRef {
  readonly kind: Kind;
  /** With the namespace in front where the kind has one. */
  readonly name: string;
}

/**
 * `waiting`: something is not there yet, nobody need act. `unused`: the object does nothing on this node. `heldDown`: sessions of
 * it are kept down. `partial`: the field, or a part of what it asks for, is not in force; the rest of the object is.
 */
export type IssueEffect = 'waiting' | 'unused' | 'heldDown' | 'partial';

export interface Issue {
  readonly object: ObjectRef;
  /** Path in the object, e.g. `spec.password`; empty: the object as a whole. */
  readonly field: string;
  /** What is wrong, what follows, and what to do. */
  readonly message: string;
  readonly effect: IssueEffect;
}

export function refText({ kind, name }: ObjectRef): string {
  return `${kind} ${name}`;
}

export function issueText({ object, field, message }: Issue): string {
  return `${refText(object)}: ${field === '' ? '' : `${field}: `}${message}`;
}
