/**
 * TCP-AO keys of connections (RFC 5925). A change of keys loses no segment as long as both ends have one in common: new ones are added, then the
 * first of the list is asked for (RNext_key), and the kernel of an end that is asked for a key that it has changes over to it.
 */
import type { TcpAoKey } from '#bgp';
import {
  type AoKey,
  type AoState,
  type AoSubject,
  addAoKey,
  aoState,
  deleteAoKey,
  deleteListenerAoKey,
  requestAoKey,
  SysError,
} from '#sys';

/** What is asked of the kernel. */
export interface AoSystem {
  add(fd: number, subject: AoSubject, key: AoKey, use: boolean): void;
  remove(fd: number, subject: AoSubject, key: AoKey, instead: AoKey): void;
  removeFromListener(fd: number, subject: AoSubject, key: AoKey): void;
  request(fd: number, recvId: number): void;
  state(fd: number): AoState | undefined;
}

export const aoSystem: AoSystem = {
  add: addAoKey,
  remove: deleteAoKey,
  removeFromListener: deleteListenerAoKey,
  request: requestAoKey,
  state: aoState,
};

/** Keys as they stand on a socket: for whom they were set is part of their name. */
export interface ConnectionKeys {
  readonly subject: AoSubject;
  readonly keys: readonly TcpAoKey[];
}

/** `10.0.0.1`, `10.0.0.0/8`, without zone. */
export function aoSubject(text: string): AoSubject {
  const [address = '', length] = text.split('/');
  return length === undefined ? { address } : { address, prefixLength: Number(length) };
}

export function sameAoKey(a: TcpAoKey, b: TcpAoKey): boolean {
  return (
    a.sendId === b.sendId &&
    a.recvId === b.recvId &&
    a.algorithm === b.algorithm &&
    a.secret === b.secret &&
    (a.excludeTcpOptions ?? false) === (b.excludeTcpOptions ?? false)
  );
}

/** Before connect(). @throws SysError as `addAoKey`. */
export function signDialled(fd: number, { subject, keys }: ConnectionKeys, system = aoSystem): void {
  for (const [index, key] of keys.entries()) system.add(fd, subject, key, index === 0);
}

/**
 * An accepted connection must be signed, with a key that counts; then it has all of them. It may have come before they were on the listener,
 * or before one was taken away.
 *
 * @returns why it must not go on; undefined: it may.
 * @throws SysError
 */
export function signAccepted(fd: number, { subject, keys }: ConnectionKeys, system = aoSystem): string | undefined {
  const state = system.state(fd);
  if (state === undefined) return 'it is not signed';
  if (!keys.some(({ sendId }) => sendId === state.current)) return 'it is signed with a key that counts no more';
  for (const key of keys) addUnlessThere(fd, subject, key, system);
  const [first] = keys;
  if (first && first.recvId !== state.rnext) system.request(fd, first.recvId);
  return undefined;
}

/**
 * Another list of keys for a connection that is there.
 *
 * @returns false when that takes a new connection: an id is to stand for another key (RFC 5925 3.1 has keys that do not change), or the kernel refuses.
 */
export function rekeyConnection(
  fd: number,
  { subject, keys: before }: ConnectionKeys,
  after: readonly TcpAoKey[],
  system = aoSystem,
): boolean {
  const [first] = after;
  const gone = before.filter((old) => !after.some((key) => sameAoKey(key, old)));
  const fresh = after.filter((key) => !before.some((old) => sameAoKey(key, old)));
  const clash = fresh.some((key) => gone.some(({ sendId, recvId }) => sendId === key.sendId || recvId === key.recvId));
  if (!first || clash) return false;
  try {
    for (const key of fresh) addUnlessThere(fd, subject, key, system);
    system.request(fd, first.recvId);
    for (const key of gone) system.remove(fd, subject, key, first);
    return true;
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    return false;
  }
}

function addUnlessThere(fd: number, subject: AoSubject, key: TcpAoKey, system: AoSystem): void {
  try {
    system.add(fd, subject, key, false);
  } catch (error) {
    if (!(error instanceof SysError) || error.failure.code !== 'EEXIST') throw error;
  }
}
