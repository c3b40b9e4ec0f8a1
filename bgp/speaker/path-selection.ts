/** Which peers news of a link concern. Pure. */
import { splitZone } from '#kit';
import type { PeerConfig } from './config.ts';
import type { PathSelector } from './types.ts';

/**
 * Their way is gone: by name, by address, by our own address on the link, or link-local ones by the interface.
 *
 * @param own our address of the session that is there.
 */
export function isOnPath(which: PathSelector, config: PeerConfig, own: string | undefined): boolean {
  const { name, address, localAddress } = config;
  if (which.peer === name || which.address === address) return true;
  if (which.localAddress && which.localAddress === (own ?? localAddress)) return true;
  return which.interface !== undefined && which.interface === splitZone(address).zone;
}

/** Their way may be back; nothing named: all. */
export function mayBeBack(which: PathSelector, { name, address }: PeerConfig): boolean {
  if (which.peer === undefined && which.address === undefined && which.interface === undefined) return true;
  if (which.peer === name || which.address === address) return true;
  return which.interface !== undefined && which.interface === splitZone(address).zone;
}
