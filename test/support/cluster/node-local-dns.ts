/**
 * A DNS cache on a node, as the manifest of NodeLocal DNSCache makes it: a pod of the node's network that listens on addresses which exist on
 * that node alone, beside them on the DNS Service's own, all of it past connection tracking and so past kube-proxy.
 */
import type { Cluster } from './cluster.ts';
import { ClusterError } from './errors.ts';
import { imageNames } from './images.ts';
import { applyObjects } from './kubectl.ts';
import type { NodeName } from './layout.ts';
import { execOnNode } from './node.ts';
import { podReady } from './pods.ts';

export const nodeLocalAddresses = ['169.254.20.10', 'fd00:169:254:20::10'] as const;
export const servedRecord = { name: 'name.test', address: '192.0.2.77' } as const;

const name = 'node-local-dns';

/** Addresses and rules stay with the node. */
export async function runNodeLocalDns(
  cluster: Cluster,
  where: { readonly namespace: string; readonly node: NodeName; readonly addresses: readonly string[] },
): Promise<void> {
  const { namespace, node, addresses } = where;
  const script = addresses.flatMap(linesFor).join('\n');
  const { code, stderr } = await execOnNode(node, ['sh', '-ec', script]);
  if (code !== 0) throw new ClusterError(`${node}: ${stderr.trim()}`, { code: 'COMMAND_FAILED', command: script });
  const hosts = `hosts {\n    ${servedRecord.address} ${servedRecord.name}\n  }`;
  const data = { Corefile: `.:53 {\n  bind ${addresses.join(' ')}\n  errors\n  ${hosts}\n}\n` };
  await applyObjects([
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { namespace, name }, data },
    pod(namespace, node),
  ]);
  await podReady(cluster, { namespace, name });
}

function linesFor(address: string): readonly string[] {
  const [tool, length] = address.includes(':') ? ['ip6tables', 128] : ['iptables', 32];
  const untracked = (chain: string, match: string): readonly string[] =>
    ['udp', 'tcp'].map((protocol) => `${tool} -w -t raw -A ${chain} -p ${protocol} ${match} 53 -j CT --notrack`);
  return [
    // The manifest has a dummy link for them, which not every kernel knows.
    `ip address replace ${address}/${length} dev lo`,
    ...untracked('PREROUTING', `-d ${address} --dport`),
    ...untracked('OUTPUT', `-s ${address} --sport`),
  ];
}

function pod(namespace: string, nodeName: NodeName): object {
  const container = {
    name: 'c',
    image: imageNames.coredns,
    imagePullPolicy: 'Never',
    args: ['-conf', '/etc/coredns/Corefile'],
    volumeMounts: [{ name: 'config', mountPath: '/etc/coredns' }],
  };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace, name, labels: { app: name } },
    spec: {
      nodeName,
      hostNetwork: true,
      dnsPolicy: 'Default',
      terminationGracePeriodSeconds: 0,
      containers: [container],
      volumes: [{ name: 'config', configMap: { name } }],
    },
  };
}
