import type { TcpAoAlgorithm, TcpAoFault } from '#bgp';
import { aoFault } from '#sys';

/** What the kernel can do it goes on to do; what it cannot is asked again: a module may have been loaded. */
export function createAoProbe(ask: (algorithm: TcpAoAlgorithm) => string | undefined = aoFault): TcpAoFault {
  const known = new Set<TcpAoAlgorithm>();
  return ({ algorithm }) => {
    if (known.has(algorithm)) return undefined;
    const fault = ask(algorithm);
    if (fault === undefined) known.add(algorithm);
    return fault;
  };
}
