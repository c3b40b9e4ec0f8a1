import { ENODEV } from './constants.ts';
import * as libc from './libc.ts';
import { SysError } from './sys-error.ts';

/** Index of an interface of this thread's namespace. @throws SysError ENODEV when there is none of that name. */
export function interfaceIndex(name: string): number {
  const index = libc.ifNametoindex(name);
  if (index > 0) return index;
  throw new SysError('if_nametoindex', ENODEV, name);
}
