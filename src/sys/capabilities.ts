/** What the process may do, as the kernel says. */
import fs from 'node:fs';

/** Bits of linux/capability.h. */
export const capabilityBit = { NET_BIND_SERVICE: 10, NET_ADMIN: 12, NET_RAW: 13 } as const;

/** The effective set of this process, bit by bit. */
export function effectiveCapabilities(): bigint {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(fs.readFileSync('/proc/self/status', 'utf8'))?.[1];
  if (effective === undefined) throw new Error('/proc/self/status has no CapEff');
  return BigInt(`0x${effective}`);
}
