/**
 * What becomes part of a route from its peer's settings when it comes in, before filters look at it, so that our own AS hears of it too:
 * that a session is about to end, that a blackhole stays here, how fast the link is. What does not fit leaves the route as it is.
 */
import type { IpFamily } from '#kit';
import {
  addCommunity,
  addExtendedCommunity,
  communityFlag,
  encodeLinkBandwidth,
  hasLinkBandwidth,
  linkBandwidthAt,
  type UpdateView,
  withLocalPref,
} from '../wire/index.ts';
import type { BlackholeConfig, PeerConfig } from './config.ts';

const gracefulShutdown = Uint8Array.of(0xff, 0xff, 0x00, 0x00);
const noExport = Uint8Array.of(0xff, 0xff, 0xff, 0x01);

export interface IntakeMarks {
  /** Routes of another AS are taken in as if they had GRACEFUL_SHUTDOWN (RFC 8326 4), which those that have it are anyway. */
  readonly gracefulShutdown: boolean;
  /** BLACKHOLE is obeyed (RFC 7999). */
  readonly blackhole?: BlackholeConfig;
  /** Extended community of routes that say no bandwidth (RFC 10005). */
  readonly linkBandwidth?: Uint8Array;
}

type MarkSettings = Pick<PeerConfig, 'gracefulShutdown' | 'blackhole' | 'linkBandwidthBytesPerSec'>;

export function intakeMarks(config: MarkSettings, localAsn: number): IntakeMarks {
  const { gracefulShutdown = false, blackhole, linkBandwidthBytesPerSec: bandwidth } = config;
  return {
    gracefulShutdown,
    ...(blackhole ? { blackhole } : {}),
    ...(bandwidth === undefined ? {} : { linkBandwidth: encodeLinkBandwidth(localAsn, bandwidth, false) }),
  };
}

/** Whether the routes of an UPDATE are to be marked. Asked for each. */
export function isMarkedIn(marks: IntakeMarks, flags: number, ebgp: boolean): boolean {
  if (marks.linkBandwidth !== undefined) return true;
  if (marks.blackhole && (flags & communityFlag.blackhole) !== 0) return true;
  return ebgp && (marks.gracefulShutdown || (flags & communityFlag.gracefulShutdown) !== 0);
}

/**
 * Marks the canonical attributes `scratch[0..length)` in place, and the view's numbers with them; returns the new length.
 *
 * @param scratch has room for the longest.
 */
export function markIntake(
  marks: IntakeMarks,
  ebgp: boolean,
  view: UpdateView,
  scratch: Uint8Array,
  length: number,
): number {
  let bytes: Uint8Array = scratch.subarray(0, length);
  if (ebgp && (marks.gracefulShutdown || (view.communityFlags & communityFlag.gracefulShutdown) !== 0)) {
    bytes = leastPreferred(view, bytes);
  }
  // RFC 7999 3.2: whoever obeys it keeps it from going further.
  const kept = communityFlag.noExport | communityFlag.noAdvertise;
  if (marks.blackhole && (view.communityFlags & communityFlag.blackhole) !== 0 && (view.communityFlags & kept) === 0) {
    const marked = addCommunity(bytes, noExport);
    if (marked) view.communityFlags |= communityFlag.noExport;
    bytes = marked ?? bytes;
  }
  if (marks.linkBandwidth && !hasLinkBandwidth(bytes)) {
    const marked = addExtendedCommunity(bytes, marks.linkBandwidth);
    if (marked) view.linkBandwidth = linkBandwidthAt(marks.linkBandwidth, 0);
    bytes = marked ?? bytes;
  }
  scratch.set(bytes);
  return bytes.length;
}

/** RFC 8326 4: LOCAL_PREF 0 and GRACEFUL_SHUTDOWN for a route from another AS that is about to go. */
function leastPreferred(view: UpdateView, attributes: Uint8Array): Uint8Array {
  const there = (view.communityFlags & communityFlag.gracefulShutdown) !== 0;
  const bytes = withLocalPref(attributes, 0);
  const marked = there || !bytes ? bytes : addCommunity(bytes, gracefulShutdown);
  if (!marked) return attributes;
  view.localPref = 0;
  view.communityFlags |= communityFlag.gracefulShutdown;
  return marked;
}

/** Shortest prefix whose BLACKHOLE is obeyed; 0: that of none. */
export function blackholeBits({ blackhole }: Pick<IntakeMarks, 'blackhole'>, family: IpFamily): number {
  if (!blackhole) return 0;
  return family === 4 ? (blackhole.minLength4 ?? 32) : (blackhole.minLength6 ?? 128);
}

/** Equal for settings that mark in the same way. */
export function marksKey(config: MarkSettings): string {
  const { gracefulShutdown = false, linkBandwidthBytesPerSec } = config;
  return JSON.stringify([
    gracefulShutdown,
    blackholeBits(config, 4),
    blackholeBits(config, 6),
    linkBandwidthBytesPerSec,
  ]);
}
