import * as libc from './libc.ts';

/** What a page-table entry of the second level maps, with pages of 4 KiB. */
const largePageBytes = 2 << 20;
const madvHugepage = 14;

/**
 * Zeros, for a table in which every other look-up is elsewhere: one as large as that is in pages of 2 MiB where the kernel has them for those who ask
 * (transparent_hugepage: madvise or always). Whoever reads it then walks one level of page tables less, and a guest whose host takes page-table
 * entries away pays for it once in 512 pages. No more memory is in use than with small pages, once something is in every one of these.
 */
export function zeroesInLargePages(length: number): Int32Array {
  const size = length * Int32Array.BYTES_PER_ELEMENT;
  if (size < largePageBytes) return new Int32Array(length);
  // What lies before the boundary is address space alone.
  const bytes = new Uint8Array(size + largePageBytes);
  const start = Number(libc.addressOf(bytes));
  const skipped = largePageBytes - (start % largePageBytes);
  // A kernel that has none refuses: then it has small ones.
  libc.madviseAt(start + skipped, size, madvHugepage);
  return new Int32Array(bytes.buffer, skipped, length);
}
