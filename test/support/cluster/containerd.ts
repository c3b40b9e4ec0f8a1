/** containerd on a node, 2.x from the assets or Debian's 1.6, and the images that it is given. */

import fs from 'node:fs';
import path from 'node:path';
import { kubeFolder } from '#setup';
import { until } from '../wait.ts';
import { ClusterError } from './errors.ts';
import { imageNames } from './images.ts';
import { type ClusterOptions, type NodeName, systemPath } from './layout.ts';
import { execOnNode, nodePath } from './node.ts';
import { readState } from './state.ts';
import { setupTool } from './tools.ts';

const importTimeoutMs = 120_000;

function binaries({ containerd }: Pick<ClusterOptions, 'containerd'>): string {
  return containerd === '2' ? kubeFolder() : setupTool('containerd16');
}

/** Version 3 of the configuration is containerd 2's, version 2 is 1.6's. */
function configuration(options: ClusterOptions): string {
  const runc = setupTool('runc');
  if (options.containerd === '2') {
    return `version = 3
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '${imageNames.pause}'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = '${runc}'
  SystemdCgroup = false
`;
  }
  return `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${imageNames.pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  BinaryName = "${runc}"
  SystemdCgroup = false
`;
}

export function containerdCommand(
  node: NodeName,
  options: ClusterOptions,
): { command: readonly string[]; env: Readonly<Record<string, string>> } {
  fs.writeFileSync(nodePath(node, '/etc/containerd/config.toml'), configuration(options));
  return {
    command: [path.join(binaries(options), 'containerd')],
    env: { PATH: [binaries(options), path.dirname(setupTool('runc')), systemPath].join(':') },
  };
}

export function ctr(node: NodeName, args: readonly string[], stdin?: string): ReturnType<typeof execOnNode> {
  const command = [path.join(binaries(readState().options), 'ctr'), '-n', 'k8s.io', ...args];
  return execOnNode(node, command, { timeoutMs: importTimeoutMs, ...(stdin === undefined ? {} : { stdin }) });
}

export async function containerdReady(node: NodeName): Promise<void> {
  await until(async () => (await ctr(node, ['version'])).code === 0, {
    what: `containerd on ${node}`,
    deadlineMs: 60_000,
    intervalMs: 100,
  });
}

/** Imports an archive of the machine; the node sees it for the time of the import only. @throws ClusterError COMMAND_FAILED */
export async function importImage(node: NodeName, archive: string): Promise<void> {
  const inside = `/tmp/${path.basename(archive)}`;
  fs.copyFileSync(archive, nodePath(node, inside));
  try {
    const { code, stderr } = await ctr(node, ['images', 'import', inside]);
    if (code !== 0)
      throw new ClusterError(`${node}: ctr images import ${archive}: ${stderr.trim()}`, {
        code: 'COMMAND_FAILED',
        command: 'ctr images import',
      });
  } finally {
    fs.rmSync(nodePath(node, inside), { force: true });
  }
}
