import { formatIp, type IpAddress, parseIp } from '#kit';
import { AF_INET, AF_INET6, AF_NETLINK, AF_UNIX } from './constants.ts';

const UNIX_PATH_BYTES_MAX = 107;

/** sockaddr_in (16 bytes) or sockaddr_in6 (28): family in host order, port and address in network order. */
export function sockaddrIn(address: string, port: number, scopeId = 0): Buffer {
  const bytes = parseIp(address);
  if (!bytes) throw new Error(`not an IP address: ${address}`);
  const out = Buffer.alloc(bytes.length === 4 ? 16 : 28);
  out.writeUInt16LE(bytes.length === 4 ? AF_INET : AF_INET6, 0);
  out.writeUInt16BE(port, 2);
  out.set(bytes, bytes.length === 4 ? 4 : 8);
  if (bytes.length === 16) out.writeUInt32LE(scopeId, 24);
  return out;
}

export function parseSockaddrIn(bytes: Uint8Array): { readonly address: IpAddress; readonly port: number } | undefined {
  const family = bytes[0]! | (bytes[1]! << 8);
  const port = (bytes[2]! << 8) | bytes[3]!;
  if (family === AF_INET) return { address: formatIp(bytes, 4, 4), port };
  if (family === AF_INET6) return { address: formatIp(bytes, 8, 16), port };
  return undefined;
}

/** @throws Error when the path does not fit: sun_path holds 107 bytes and a zero. */
export function sockaddrUn(path: string): Buffer {
  const name = Buffer.from(path);
  if (name.length > UNIX_PATH_BYTES_MAX) {
    throw new Error(
      `unix socket path is ${name.length} bytes, at most ${UNIX_PATH_BYTES_MAX} fit: ${path}; choose a shorter run directory`,
    );
  }
  const out = Buffer.alloc(2 + name.length + 1);
  out.writeUInt16LE(AF_UNIX, 0);
  out.set(name, 2);
  return out;
}

export function sockaddrNetlink(): Buffer {
  const out = Buffer.alloc(12);
  out.writeUInt16LE(AF_NETLINK, 0);
  return out;
}
