/** kube-proxy beside the agent in iptables mode; the same in nftables mode, IPv6 first: services-nftables.test.ts. */
import { serviceSuite } from '../support/cluster/service-suite.ts';

serviceSuite({ proxyMode: 'iptables', family: 4 });
