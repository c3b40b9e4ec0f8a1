/** What a test of the cluster needs of the machine, for its options. */
import { needs } from '../needs.ts';

export const clusterNeeds = (): ReturnType<typeof needs> =>
  needs({
    root: true,
    commands: ['ip', 'nsenter', 'unshare', 'iptables', 'conntrack', 'gcc', 'curl'],
    provided: ['bird', 'birdc', 'zebra', 'bgpd', 'vtysh', 'cniReference', 'runc', 'busybox', 'netcat', 'dnsutils'],
    kube: [
      'etcd',
      'kube-apiserver',
      'kube-controller-manager',
      'kube-scheduler',
      'kubelet',
      'kube-proxy',
      'kubectl',
      'containerd',
      'ctr',
      'coredns',
      'agnhost',
    ],
  });
