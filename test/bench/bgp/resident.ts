/** Memory of all processes of a speaker together. */

/** Address range, permissions, offset in the file, device, inode. */
const mappingHead = /^([0-9a-f]+)-[0-9a-f]+ \S+ ([0-9a-f]+) (\S+) (\d+)/;
const mappingPart = /^(Private|Shared)_(?:Clean|Dirty): +(\d+) kB/;

/**
 * What they have in memory, in KiB, a page that several of them map (their program's code, libraries) once, whoever else on the machine maps it: of
 * one process its VmRSS. Where several map the same part of a file, what the one with most of it has counts for all. Our speaker with its process
 * of BFD has so 1.3 of 81 MB more than its page frames: V8 maps a part of node's code a second time, at an offset that the other has not.
 *
 * @param smaps of each process, the text of /proc/PID/smaps.
 */
export function residentKib(smaps: readonly string[]): number {
  let kib = 0;
  const shared = new Map<string, number>();
  for (const text of smaps) {
    const own = new Map<string, number>();
    let mapping = '';
    for (const line of text.split('\n')) {
      const head = mappingHead.exec(line);
      if (head) {
        const [, start, offset, device, inode] = head;
        // What is of no file is shared by those only that came of one another, at the same address.
        mapping = inode === '0' ? start! : `${device} ${inode} ${offset}`;
        continue;
      }
      const [, kind, size] = mappingPart.exec(line) ?? [];
      if (kind === 'Private') kib += Number(size);
      else if (kind === 'Shared') own.set(mapping, (own.get(mapping) ?? 0) + Number(size));
    }
    for (const [name, size] of own) shared.set(name, Math.max(size, shared.get(name) ?? 0));
  }
  for (const size of shared.values()) kib += size;
  return kib;
}
