/** Programs that the cluster runs: Kubernetes' own from the assets, the rest from the set-up's cache. */
import path from 'node:path';
import { cacheFolder, type KubeAsset, kubeAsset, toolPath } from '#setup';
import { ClusterError } from './errors.ts';

/** @throws ClusterError TOOL_MISSING */
export function kubeBinary(name: KubeAsset): string {
  return mustExist(kubeAsset(name), name);
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
  if (file) return file;
  throw new ClusterError(
    `${tool} is not there: start this by \`npm run\`, which fetches and builds what it needs, or name a folder by $KUBE_ASSETS`,
    { code: 'TOOL_MISSING', tool },
  );
}
