/** What a route says on its way out beyond what it has itself: that a session is about to end, or that a route is stale. */
import { addCommunity, withLocalPref } from '../wire/index.ts';
import { communityFlag } from '../wire/types.ts';
import type { ExportPolicy } from './export-policy.ts';

export interface ExportMarks extends Pick<ExportPolicy, 'ebgp' | 'longLived'> {
  /** RFC 8326 4: GRACEFUL_SHUTDOWN, and LOCAL_PREF 0 within our AS. */
  readonly gracefulShutdown?: boolean;
}

const gracefulShutdown = Uint8Array.of(0xff, 0xff, 0x00, 0x00);
const noExport = Uint8Array.of(0xff, 0xff, 0xff, 0x01);

/** Whether a set needs marks. @param flags `communityFlags` of the set. */
export function isMarked(flags: number, marks: ExportMarks): boolean {
  return marks.gracefulShutdown === true || isPartial(flags, marks);
}

/** RFC 9494 4.6: a stale route to an internal peer that does not know LLGR. */
function isPartial(flags: number, marks: ExportMarks): boolean {
  return marks.longLived === 'internal' && (flags & communityFlag.llgrStale) !== 0;
}

/** Canonical attributes of such a set with its marks; undefined when that is longer than any message. Once per set: this allocates. */
export function markExported(attributes: Uint8Array, flags: number, marks: ExportMarks): Uint8Array | undefined {
  const partial = isPartial(flags, marks);
  let bytes = marks.ebgp ? attributes : withLocalPref(attributes, 0);
  if (bytes && partial && (flags & communityFlag.noExport) === 0) bytes = addCommunity(bytes, noExport);
  if (bytes && marks.gracefulShutdown && (flags & communityFlag.gracefulShutdown) === 0) {
    bytes = addCommunity(bytes, gracefulShutdown);
  }
  return bytes;
}
