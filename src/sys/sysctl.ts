import fs from 'node:fs';
import { SysError } from './sys-error.ts';

/**
 * /proc/sys, whose `net` part belongs to the network namespace of the thread that opens it. Keys are paths below it with slashes
 * (`net/ipv4/conf/eth0.7/rp_filter`): interface names may hold dots.
 */
export interface SysctlFiles {
  /** Trimmed value, or undefined when there is no such key (interface gone, family disabled). */
  read(key: string): string | undefined;
  /** Returns false when there is no such key. @throws SysError EACCES, EROFS, EINVAL */
  write(key: string, value: string): boolean;
}

function absent(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

export function sysctlFiles(root = '/proc/sys'): SysctlFiles {
  return {
    read(key) {
      try {
        return fs.readFileSync(`${root}/${key}`, 'utf8').trim();
      } catch (error) {
        if (absent(error)) return undefined;
        throw sysctlError('read', key, error);
      }
    },
    write(key, value) {
      try {
        // No O_CREAT: procfs would answer EACCES instead of ENOENT.
        fs.writeFileSync(`${root}/${key}`, value, { flag: 'r+' });
        return true;
      } catch (error) {
        if (absent(error)) return false;
        throw sysctlError(`write of ${value}`, key, error);
      }
    },
  };
}

function sysctlError(what: string, key: string, error: unknown): SysError {
  return new SysError(`sysctl ${key}`, -((error as NodeJS.ErrnoException).errno ?? -5), what);
}
