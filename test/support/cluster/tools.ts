/** Programs that the cluster runs: Kubernetes' own from the assets, the rest from the set-up's cache. */
import fs from 'node:fs';
import path from 'node:path';
import { cacheFolder, toolPath } from '#setup';
import { ClusterError } from './errors.ts';

export type KubeBinary =
  | 'etcd'
  | 'etcdctl'
  | 'kube-apiserver'
  | 'kube-controller-manager'
  | 'kube-scheduler'
  | 'kubelet'
  | 'kube-proxy'
  | 'kubectl'
  | 'containerd'
  | 'containerd-shim-runc-v2'
  | 'ctr'
  | 'coredns'
  | 'agnhost'
  | 'e2e.test';

export function kubeFolder(): string {
  return process.env['KUBE_ASSETS'] ?? path.join(path.dirname(cacheFolder()), 'kube');
}

/** @throws ClusterError TOOL_MISSING */
export function kubeBinary(name: KubeBinary): string {
  return mustExist(path.join(kubeFolder(), name), name);
}

/** Something that the set-up unpacks. @throws ClusterError TOOL_MISSING */
export function setupTool(name: Parameters<typeof toolPath>[0]): string {
  return mustExist(toolPath(name), name);
}

/** Where images and the like are kept between runs. */
export function imageCache(): string {
  return path.join(cacheFolder(), 'cluster-images');
}

function mustExist(file: string | undefined, tool: string): string {
  if (file && fs.existsSync(file)) return file;
  throw new ClusterError(
    `${tool} is not there${file ? ` (${file})` : ''}: start this by \`npm run\`, which fetches and builds what it needs, or name a folder by $KUBE_ASSETS`,
    { code: 'TOOL_MISSING', tool },
  );
}
