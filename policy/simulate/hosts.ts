/** By which host endpoint the connections of each node go, as far as objects tell. */

import type { IpAddress } from '#kit';
import { type EndpointId, type FelixConfigurationObject, failsafeOfNode, type HostEndpointObject } from '#model';
import type { CrossedHost } from '../explain/host.ts';

/**
 * An agent knows the interface of each connection; here the endpoint counts that expects one of the node's addresses, else the one of `*`, else the only
 * one that there is. Of several others none can be told.
 */
export class SimulatedHosts {
  readonly #byNode: ReadonlyMap<string, readonly (readonly [EndpointId, HostEndpointObject])[]>;
  readonly #configurations: readonly FelixConfigurationObject[];

  constructor(
    endpoints: ReadonlyMap<EndpointId, HostEndpointObject>,
    configurations: readonly FelixConfigurationObject[],
  ) {
    const sorted = [...endpoints].sort(([a], [b]) => (a < b ? -1 : 1));
    this.#byNode = Map.groupBy(sorted, ([, { node }]) => node);
    this.#configurations = configurations;
  }

  of(node: string, addresses: readonly IpAddress[]): CrossedHost | undefined {
    const all = this.#byNode.get(node);
    if (!all) return undefined;
    const [endpoint] =
      all.find(([, { expectedIPs }]) => expectedIPs.some((address) => addresses.includes(address))) ??
      all.find(([, { interfaceName }]) => interfaceName === '*') ??
      (all.length === 1 ? all[0]! : []);
    return endpoint === undefined ? undefined : { endpoint, failsafe: failsafeOfNode(this.#configurations, node) };
  }
}
