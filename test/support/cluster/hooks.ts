/** How a network comes into the cluster: the agent under test, or a reference one that proves the cluster itself. */
import fs from 'node:fs';
import path from 'node:path';
import { type Cluster, podCidrsOf } from './cluster.ts';
import { importImage } from './containerd.ts';
import { ClusterError } from './errors.ts';
import { applyFile, kubectl } from './kubectl.ts';
import { addressesOf, nodeNames } from './layout.ts';
import { execOnNode, nodePath } from './node.ts';
import { setupTool } from './tools.ts';

export interface AgentHook {
  readonly name: string;
  /** Called once, when both nodes have pod CIDRs and are not Ready yet. */
  readonly install: (cluster: Cluster) => Promise<void>;
  /** Where its pods are, for their CPU time and memory. */
  readonly pods?: { readonly namespace: string; readonly selector: string };
}

const checkout = path.join(import.meta.dirname, '..', '..', '..');

export interface ManifestOptions {
  /** Archive of the agent's image. Default: what `npm run image` writes. */
  readonly image?: string;
  /** What a user applies. Default: deploy/manifests/poplin.yaml. */
  readonly manifest?: string;
  /** Applied first, as a user would who has settings: objects. */
  readonly objects?: readonly object[];
}

export const agentNamespace = 'poplin-system';
export const agentSelector = 'app.kubernetes.io/name=poplin';

/** The agent as a user installs it: its image imported into each node's containerd, then `kubectl apply -f`. */
export function manifestHook(options: ManifestOptions = {}): AgentHook {
  const image = options.image ?? path.join(checkout, 'dist', 'image', 'poplin.tar');
  const manifest = options.manifest ?? path.join(checkout, 'deploy', 'manifests', 'poplin.yaml');
  return {
    name: 'poplin',
    pods: { namespace: agentNamespace, selector: agentSelector },
    install: async () => {
      for (const [file, remedy] of [
        [image, '`npm run image` makes it'],
        [manifest, 'it belongs to the checkout'],
      ] as const) {
        if (!fs.existsSync(file))
          throw new ClusterError(`${file} is not there: ${remedy}`, { code: 'TOOL_MISSING', tool: file });
      }
      await Promise.all(nodeNames.map((node) => importImage(node, image)));
      await applyFile(manifest);
      for (const object of options.objects ?? [])
        await kubectl(['apply', '-f', '-'], { stdin: JSON.stringify(object) });
    },
  };
}

const referencePlugins = ['bridge', 'host-local', 'portmap'];

/** The reference plugins bridge, host-local and portmap with routes by hand, and no policy: what a cluster can do at all. */
export const bridgeHook: AgentHook = {
  name: 'bridge',
  install: async (cluster) => {
    const cidrs = new Map<string, readonly [string, string]>();
    for (const node of nodeNames) cidrs.set(node, await podCidrsOf(cluster, node));
    for (const node of nodeNames) {
      for (const plugin of referencePlugins) {
        const target = nodePath(node, `/opt/cni/bin/${plugin}`);
        fs.copyFileSync(path.join(setupTool('cniReference'), plugin), target);
        fs.chmodSync(target, 0o755);
      }
      const others = nodeNames.filter((other) => other !== node);
      const routes = others.flatMap((other) =>
        ([0, 1] as const).map((i) => `ip route replace ${cidrs.get(other)![i]} via ${addressesOf(other)[i]}`),
      );
      await onNode(node, [
        // kube-proxy needs it for two pods of one node: bridged packets pass its rules.
        ...['iptables', 'ip6tables'].map((family) => `echo 1 > /proc/sys/net/bridge/bridge-nf-call-${family}`),
        'echo 1 > /proc/sys/net/ipv4/ip_forward',
        'echo 1 > /proc/sys/net/ipv6/conf/all/forwarding',
        ...routes.map((line) => (line.includes('::') ? line.replace('ip route', 'ip -6 route') : line)),
      ]);
      const conflist = nodePath(node, '/etc/cni/net.d/10-bridge.conflist');
      fs.writeFileSync(`${conflist}.new`, JSON.stringify(bridgeConflist(cidrs.get(node)!)));
      fs.renameSync(`${conflist}.new`, conflist);
    }
  },
};

async function onNode(node: (typeof nodeNames)[number], lines: readonly string[]): Promise<void> {
  const { code, stderr } = await execOnNode(node, ['sh', '-ec', lines.join('\n')]);
  if (code !== 0)
    throw new ClusterError(`${node}: ${stderr.trim()}`, { code: 'COMMAND_FAILED', command: lines.join('; ') });
}

function bridgeConflist(cidrs: readonly string[]): object {
  return {
    cniVersion: '1.0.0',
    name: 'bridge',
    plugins: [
      {
        type: 'bridge',
        bridge: 'cni0',
        isGateway: true,
        hairpinMode: true,
        ipam: {
          type: 'host-local',
          ranges: cidrs.map((subnet) => [{ subnet }]),
          routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
        },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  };
}
