/** Types of paths.mjs, for the lab and the tests. */
export declare function distribution(file?: string): { id: string; version: string; name: string };
export declare const root: string;
export declare const nodeBinary: string;
export declare function cacheFolder(env?: NodeJS.ProcessEnv): string;
type ToolName =
  | 'bird'
  | 'birdc'
  | 'zebra'
  | 'bgpd'
  | 'bfdd'
  | 'vtysh'
  | 'openbgpd'
  | 'openbgpctl'
  | 'exabgp'
  | 'bgpdump'
  | 'tshark'
  | 'cniShim'
  | 'cniReference'
  | 'runc'
  | 'containerd16'
  | 'busybox'
  | 'netcat'
  | 'dnsutils';
export declare function toolPath(name: ToolName): string | undefined;
/** Programs built from the Go modules of test/kubernetes/assets. */
export type KubeAsset =
  | 'agnhost'
  | 'containerd'
  | 'containerd-shim-runc-v2'
  | 'coredns'
  | 'ctr'
  | 'e2e.test'
  | 'etcd'
  | 'etcdctl'
  | 'gobgp'
  | 'gobgpd'
  | 'helm'
  | 'host-local'
  | 'kube-apiserver'
  | 'kube-controller-manager'
  | 'kube-proxy'
  | 'kube-scheduler'
  | 'kubectl'
  | 'kubelet'
  | 'loopback'
  | 'portmap'
  | 'ptp';
export declare function kubeFolder(env?: NodeJS.ProcessEnv): string;
export declare function kubeAsset(name: KubeAsset, env?: NodeJS.ProcessEnv): string | undefined;
