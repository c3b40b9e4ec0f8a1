/** kube-proxy beside the agent in nftables mode, in a cluster whose first family is IPv6. */
import { serviceSuite } from '../support/cluster/service-suite.ts';

serviceSuite({ proxyMode: 'nftables', family: 6 });
