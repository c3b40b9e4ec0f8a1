/** What the process may not do to the kernel, said before the first thing fails for want of it: errno alone names no remedy. */
import { capabilityBit } from '#sys';

/** What fails without. */
const needed = {
  NET_ADMIN: 'routes, interfaces, rules and sets',
  NET_RAW: 'rules that name sets',
  NET_BIND_SERVICE: 'BGP on a port below 1024',
} as const;
const firstFreePort = 1024;

/**
 * @param effective set of the process, bit by bit
 * @returns what is missing, in words; undefined when nothing is
 */
export function lackingCapabilities(effective: bigint, bgpPort: number): string | undefined {
  const lacking = (Object.keys(needed) as (keyof typeof needed)[]).filter((name) => {
    if (name === 'NET_BIND_SERVICE' && bgpPort >= firstFreePort) return false;
    return ((effective >> BigInt(capabilityBit[name])) & 1n) === 0n;
  });
  if (lacking.length === 0) return undefined;
  const what = lacking.map((name) => `CAP_${name} (${needed[name]})`).join(', ');
  return `the process lacks ${what}: run it as root, and in a container add them to securityContext.capabilities`;
}
