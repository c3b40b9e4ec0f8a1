import { ENODEV } from './constants.ts';
import * as libc from './libc.ts';
import { SysError } from './sys-error.ts';

/** Index of an interface of this thread's namespace. @throws SysError ENODEV when there is none of that name. */
export function interfaceIndex(name: string): number {
  const index = libc.ifNametoindex(name);
  if (index > 0) return index;
  throw new SysError('if_nametoindex', ENODEV, name);
}

/** IF_NAMESIZE. */
const NAME_BYTES = 16;

/** Undefined when this thread's namespace has no such interface (any more). */
export function interfaceName(index: number): string | undefined {
  const name = Buffer.alloc(NAME_BYTES);
  libc.ifIndextoname(index, name);
  return name[0] === 0 ? undefined : name.toString('latin1', 0, name.indexOf(0));
}
