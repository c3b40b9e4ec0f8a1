import koffi from 'koffi';
import { PoplinError } from '#kit';

const names = new Map(Object.entries(koffi.os.errno).map(([name, number]) => [number, name]));
// Aliases share a number; keep the usual name.
names.set(11, 'EAGAIN');
names.set(95, 'EOPNOTSUPP');

/** `ENOENT` for 2; `E4095` for a number without a name. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `E${errno}`;
}

export interface SysFailure {
  /** Name of the errno, e.g. `EADDRINUSE`. */
  readonly code: string;
  readonly call: string;
  /** Positive. */
  readonly errno: number;
}

/** A system call that failed as system calls may. Callers switch on `code`. */
export class SysError extends PoplinError<SysFailure> {
  constructor(call: string, errno: number, detail?: string) {
    const code = errnoName(errno);
    super(`${call}: ${code}${detail ? ` (${detail})` : ''}`, { code, call, errno });
  }
  get errno(): number {
    return this.failure.errno;
  }
  get call(): string {
    return this.failure.call;
  }
}

/** Passes a result >= 0 through and throws a SysError for -errno. */
export function check(call: string, result: number, detail?: string): number {
  if (result < 0) throw new SysError(call, -result, detail);
  return result;
}
