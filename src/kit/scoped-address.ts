/** IPv6 link-local addresses, which mean nothing without their link (RFC 4007 11): `fe80::1%eth0`. */
import { type IpAddress, toIpAddress } from './ip.ts';

declare const scopedBrand: unique symbol;

/** Canonical link-local address, `%`, interface name. */
export type ScopedAddress = string & { readonly [scopedBrand]: true };

/** fe80::/10 in canonical text, with or without a zone. */
export function isLinkLocal(text: string): boolean {
  return /^fe[89ab][0-9a-f]:/.test(text);
}

/** Both parts; no zone: undefined. */
export function splitZone(text: string): { readonly address: string; readonly zone?: string } {
  const at = text.indexOf('%');
  return at < 0 ? { address: text } : { address: text.slice(0, at), zone: text.slice(at + 1) };
}

/** Canonical form of a link-local address with a zone; undefined for everything else. */
export function toScopedAddress(text: string): ScopedAddress | undefined {
  const { address, zone } = splitZone(text);
  const canonical = toIpAddress(address);
  if (!canonical || !isLinkLocal(canonical) || !zone || !isInterfaceName(zone)) return undefined;
  return scoped(canonical, zone);
}

export function scoped(address: IpAddress, interfaceName: string): ScopedAddress {
  return `${address}%${interfaceName}` as ScopedAddress;
}

/** What Linux takes as the name of an interface (dev_valid_name), 1 to 15 bytes. */
export function isInterfaceName(text: string): boolean {
  return /^[^\s/:]{1,15}$/.test(text) && text !== '.' && text !== '..' && new TextEncoder().encode(text).length <= 15;
}
