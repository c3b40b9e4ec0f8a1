/** What the parts count themselves, as metrics: read when they are scraped, so that nothing on a hot path pays for them. */
import type { Datastore } from '#datastore';
import type { PolicyDataplane, RouteDataplane } from '#felix';
import type { Ipam } from '#ipam';
import { kinds } from '#model';
import type { Metrics } from '#obs';
import type { Bgp } from './bgp.ts';
import type { ModelStore } from './model-store.ts';

export interface Observed {
  readonly model: ModelStore;
  readonly datastore: Datastore;
  readonly routes: RouteDataplane;
  readonly policyDataplane: PolicyDataplane;
  readonly bgp: Bgp;
  readonly ipam: Ipam;
}

export function observe(metrics: Metrics, parts: Observed): void {
  const gauge = (name: string, help: string, value: () => number): void => metrics.observedGauge({ name, help }, value);
  for (const kind of kinds) {
    gauge(`datastore_${kind.toLowerCase()}_objects`, `${kind} objects in force.`, () => parts.model.count(kind));
  }
  gauge('datastore_in_sync', '1 when every object is valid or has a last good version.', () =>
    parts.datastore.status().inSync ? 1 : 0,
  );
  gauge('datastore_faults', 'Faults in the datastore.', () => parts.datastore.status().faultsTotal);
  gauge('bgp_peers_established', 'BGP sessions in state Established.', () => parts.bgp.peers().established);
  gauge('bgp_peers_configured', 'BGP peers.', () => parts.bgp.peers().configured);
  gauge('routes_learned', 'Prefixes that BGP chose a path for.', () => parts.routes.status().routes.length);
  gauge('routes_pending', 'Learned routes that are not in the kernel.', () => {
    const { routes } = parts.routes.status();
    return routes.filter((route) => route.state !== 'installed').length;
  });
  const policy = () => parts.policyDataplane.status();
  gauge('policy_endpoints', 'Pods of this node whose rules are in the kernel.', () => policy().endpoints.programmed);
  gauge('policy_apply_failures', 'Failed runs of the policy dataplane in a row.', () => policy().failures);
  gauge('policy_iptables_restores', 'Calls of iptables-restore.', () => policy().counters.iptables.restoreCalls);
  gauge(
    'policy_iptables_restore_lines',
    'Lines sent to iptables-restore.',
    () => policy().counters.iptables.restoreLines,
  );
  gauge('policy_ipset_restores', 'Calls of ipset restore.', () => policy().counters.ipset.restoreCalls);
  gauge('ipam_addresses_used', 'Addresses given to pods.', () =>
    parts.ipam.usage().reduce((sum, u) => sum + u.used, 0),
  );
  gauge('ipam_addresses', 'Addresses that can be given to pods.', () =>
    parts.ipam.usage().reduce((sum, u) => sum + u.size, 0),
  );
}
