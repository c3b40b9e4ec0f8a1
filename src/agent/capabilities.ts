/** What the process may do to the kernel, said before the first thing fails for want of it: errno alone names no remedy. */
import fs from 'node:fs';

/** Bits of linux/capability.h, and what fails without. */
const needed = [
  { name: 'CAP_NET_ADMIN', bit: 12n, for: 'routes, interfaces, rules and sets' },
  { name: 'CAP_NET_RAW', bit: 13n, for: 'rules that name sets' },
  { name: 'CAP_NET_BIND_SERVICE', bit: 10n, for: 'BGP on a port below 1024' },
] as const;

/**
 * @param status text of /proc/PID/status
 * @returns what is missing, in words; undefined when nothing is, or the file does not tell
 */
export function lackingCapabilities(status: string, bgpPort: number): string | undefined {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  if (effective === undefined) return undefined;
  const set = BigInt(`0x${effective}`);
  const lacking = needed.filter(({ name, bit }) => {
    if (name === 'CAP_NET_BIND_SERVICE' && (bgpPort === 0 || bgpPort >= 1024)) return false;
    return ((set >> bit) & 1n) === 0n;
  });
  if (lacking.length === 0) return undefined;
  const what = lacking.map((capability) => `${capability.name} (${capability.for})`).join(', ');
  return `the process lacks ${what}: run it as root, and in a container add them to securityContext.capabilities`;
}

/** Of this process. */
export function ownLackingCapabilities(bgpPort: number): string | undefined {
  return lackingCapabilities(fs.readFileSync('/proc/self/status', 'utf8'), bgpPort);
}
