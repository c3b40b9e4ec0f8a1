/** Entries as files on disk: for the Dockerfile, and for looking at them. */
import fs from 'node:fs';
import path from 'node:path';
import type { Entry } from './entries.ts';

/** @param entries sorted, parents first. */
export function unpack(entries: readonly Entry[], folder: string): void {
  fs.mkdirSync(folder, { recursive: true });
  for (const entry of entries) {
    const full = path.join(folder, entry.path);
    if (entry.type === 'link') fs.symlinkSync(entry.target, full);
    else {
      if (entry.type === 'folder') fs.mkdirSync(full);
      else fs.writeFileSync(full, entry.content);
      fs.chmodSync(full, entry.mode); // whatever the umask
    }
  }
}
