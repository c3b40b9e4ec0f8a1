/** How a network comes into the cluster: the agent under test, or a reference one that proves the cluster itself. */
import fs from 'node:fs';
import path from 'node:path';
import { root } from '#setup';
import { until } from '../wait.ts';
import { agentImage } from './agent-image.ts';
import { type Cluster, podCidrsOf } from './cluster.ts';
import { importImage } from './containerd.ts';
import { ClusterError } from './errors.ts';
import { applyObjects, kubectl } from './kubectl.ts';
import { addressesOf, apiServerUrl, nodeNames } from './layout.ts';
import { execOnNode, nodePath } from './node.ts';
import { setupTool } from './tools.ts';

export interface AgentHook {
  readonly name: string;
  /** Called once, when both nodes have pod CIDRs and are not Ready yet. */
  readonly install: (cluster: Cluster) => Promise<void>;
  /** Where its pods are, for their CPU time and memory. */
  readonly pods?: { readonly namespace: string; readonly selector: string };
}

export interface ManifestOptions {
  /** Archive of the agent's image. Default: this checkout's, built where it is older than its sources. */
  readonly image?: string;
  /** What a user applies. Default: deploy/manifests/poplin.yaml. */
  readonly manifest?: string;
  /** Options of the agent in the manifest's ConfigMap, as a user edits them before. Default: the API server's own address. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Applied after the manifest, e.g. BGPPeers. */
  readonly objects?: readonly object[];
}

export const agentNamespace = 'poplin-system';
export const agentSelector = 'app.kubernetes.io/name=poplin';

/** The agent as a user installs it: its image imported into each node's containerd, then `kubectl apply -f`. */
export function manifestHook(options: ManifestOptions = {}): AgentHook {
  const manifest = options.manifest ?? path.join(root, 'deploy', 'manifests', 'poplin.yaml');
  return {
    name: 'poplin',
    pods: { namespace: agentNamespace, selector: agentSelector },
    install: async (cluster) => {
      const image = options.image ?? (await agentImage());
      await Promise.all(nodeNames.map((node) => importImage(node, image)));
      const settings = options.settings ?? { kubeApiServer: apiServerUrl(cluster.options.family) };
      await kubectl(['apply', '-f', '-'], { stdin: withSettings(fs.readFileSync(manifest, 'utf8'), settings) });
      const { objects } = options;
      // A definition is served a moment after it was applied.
      if (objects)
        await until(() => applyObjects(objects), {
          what: 'objects of the definitions to be taken',
          deadlineMs: 60_000,
          intervalMs: 500,
        });
    },
  };
}

/** The manifest with other values of options in its `agent.yaml`; one that does not stand there yet is added. */
export function withSettings(manifest: string, settings: Readonly<Record<string, string>>): string {
  let text = manifest;
  for (const [option, value] of Object.entries(settings)) {
    const line = `    ${option}: ${JSON.stringify(value)}`;
    const there = new RegExp(`^ {4}${option}: .*$`, 'm');
    text = there.test(text) ? text.replace(there, line) : text.replace(/^ {2}agent\.yaml: \|$/m, `$&\n${line}`);
  }
  return text;
}

/** Other values of options in the ConfigMap that is installed; agents have them once they start again. */
export async function setAgentOptions({ api }: Cluster, settings: Readonly<Record<string, string>>): Promise<void> {
  const file = `/api/v1/namespaces/${agentNamespace}/configmaps/poplin`;
  const { data } = await api.get<{ readonly data: { readonly 'agent.yaml': string } }>(file);
  const text = Object.entries(settings).reduce(
    (yaml, [option, value]) => yaml.replace(new RegExp(`^(${option}: ).*$`, 'm'), `$1${JSON.stringify(value)}`),
    data['agent.yaml'],
  );
  await api.patch(file, { data: { 'agent.yaml': text } });
}

const referencePlugins = ['bridge', 'host-local', 'loopback', 'portmap'];

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
