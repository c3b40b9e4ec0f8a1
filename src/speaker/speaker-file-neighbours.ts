/** Of the stand-alone speaker's file: who a peer is, and which address it is told to send to. */
import { isSeq, type Node } from 'yaml';
import type { PeerAsn, PeerConfig } from '#bgp';
import { familyOf, type IpAddress, isInterfaceName, isLinkLocal, type ScopedAddress, toScopedAddress } from '#kit';
import {
  asAddress,
  asAsn,
  asBoolean,
  asInteger,
  asText,
  type Fields,
  fail,
  listOf,
  type Reader,
  type Source,
  scalar,
} from './speaker-file-yaml.ts';

/** Peers of a range at once. */
export const asRangeLimit = asInteger(1, 65_535, 'limit');

export function asPeerAsn(source: Source, node: Node | null): PeerAsn {
  if (isSeq(node)) return listOf(asAsn)(source, node);
  const value = scalar(source, node);
  if (value === 'external' || value === 'internal' || value === 'auto') return value;
  if (typeof value === 'string') fail(source, node, `${value} is no AS number, and none of external, internal, auto`);
  return asAsn(source, node);
}

export function asInterface(source: Source, node: Node | null): string {
  const text = asText(source, node);
  if (isInterfaceName(text) && !text.includes('%')) return text;
  fail(source, node, `${text} is not the name of an interface`);
}

/** A link-local address means nothing without its interface. */
export function asPeerAddress(source: Source, node: Node | null): IpAddress | ScopedAddress {
  const scoped = toScopedAddress(asText(source, node));
  if (scoped) return scoped;
  const address = asAddress(source, node);
  if (isLinkLocal(address)) fail(source, node, `${address} needs its interface, for example ${address}%eth0`);
  return address;
}

type NextHopKeys = 'nextHop4' | 'nextHop6' | 'extendedNextHop' | 'linkLocalNextHop' | 'linkLocalNextHopFormat';

export function nextHops(fields: Fields): Pick<PeerConfig, NextHopKeys> {
  const nextHop4 = fields.optional('nextHop4', addressOf(4));
  const nextHop6 = fields.optional('nextHop6', addressOf(6));
  const extendedNextHop = fields.optional('extendedNextHop', asBoolean);
  const linkLocalNextHop = fields.optional('linkLocalNextHop', asBoolean);
  const linkLocalNextHopFormat = fields.optional('linkLocalNextHopFormat', asNextHopFormat);
  return {
    ...(nextHop4 === undefined ? {} : { nextHop4 }),
    ...(nextHop6 === undefined ? {} : { nextHop6 }),
    ...(extendedNextHop === undefined ? {} : { extendedNextHop }),
    ...(linkLocalNextHop === undefined ? {} : { linkLocalNextHop }),
    ...(linkLocalNextHopFormat === undefined ? {} : { linkLocalNextHopFormat }),
  };
}

function addressOf(family: 4 | 6): Reader<IpAddress> {
  return (source, node) => {
    const address = asAddress(source, node);
    if (familyOf(address) !== family) fail(source, node, `${address} is not an IPv${family} address`);
    return address;
  };
}

function asNextHopFormat(source: Source, node: Node | null): 'native' | 'single' | 'double' {
  const text = asText(source, node);
  if (text === 'native' || text === 'single' || text === 'double') return text;
  fail(source, node, `${text} is none of native, single, double`);
}
