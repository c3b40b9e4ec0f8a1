/**
 * The pod that cleans one node, made of the DaemonSet's: what may undo something on a node are the rights and the folders by which it was
 * done, whatever an operator changed about them.
 */
import { createHash } from 'node:crypto';
import { INSTALLED_NAME, PART_OF_LABEL, UNINSTALL_NAMESPACE } from './installation.ts';

type Json = Readonly<Record<string, unknown>>;

export interface VolumeMount {
  readonly name: string;
  readonly mountPath: string;
  readonly [field: string]: unknown;
}
export interface Container {
  readonly name: string;
  readonly image?: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly volumeMounts?: readonly VolumeMount[];
  readonly securityContext?: Json;
  readonly [field: string]: unknown;
}
export interface Volume {
  readonly name: string;
  readonly configMap?: Json;
  readonly secret?: Json;
  readonly [field: string]: unknown;
}
export interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly Volume[];
  readonly [field: string]: unknown;
}

export interface CleanupPodOptions {
  readonly node: string;
  /** Longest life of the pod, in seconds. */
  readonly timeoutSec: number;
  /** Copy of the agent's ConfigMap in the namespace of the pod. */
  readonly configMap: string;
  readonly image?: string;
}

/** Label of the pods that clean. */
export const CLEANUP_LABEL = 'poplin.dev/cleanup';
const podNameMax = 253;
/** The kubelet mounts it, writable, also where the root is not. */
const SUMMARY_FILE = '/dev/termination-log';

export function cleanupPodName(node: string): string {
  const name = `cleanup-${node}`;
  if (name.length <= podNameMax) return name;
  return `cleanup-${createHash('sha256').update(node).digest('hex')}`;
}

/** @param spec `spec.template.spec` of the DaemonSet. */
export function cleanupPod(spec: PodSpec, options: CleanupPodOptions): object {
  const agent = spec.containers.find(({ name }) => name === 'agent') ?? spec.containers[0];
  if (!agent) throw new TypeError('the pod has no container');
  const kept = ['hostNetwork', 'dnsPolicy', 'securityContext', 'priorityClassName', 'imagePullSecrets', 'hostAliases'];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: cleanupPodName(options.node),
      namespace: UNINSTALL_NAMESPACE,
      labels: { [PART_OF_LABEL]: UNINSTALL_NAMESPACE, [CLEANUP_LABEL]: 'true' },
    },
    spec: {
      ...Object.fromEntries(Object.entries(spec).filter(([field]) => kept.includes(field))),
      // Past the scheduler: a node that is cordoned, full or without a network is cleaned, too.
      nodeName: options.node,
      tolerations: [{ operator: 'Exists' }],
      restartPolicy: 'Never',
      activeDeadlineSeconds: options.timeoutSec,
      terminationGracePeriodSeconds: 5,
      enableServiceLinks: false,
      // It asks the API server nothing.
      automountServiceAccountToken: false,
      containers: [cleanupContainer(agent, spec.initContainers ?? [], options.image)],
      volumes: (spec.volumes ?? []).map((volume) => cleanupVolume(volume, options.configMap)),
    },
  };
}

function cleanupContainer(agent: Container, initContainers: readonly Container[], image?: string): Container {
  const { args, command, env, securityContext, imagePullPolicy, volumeMounts = [] } = agent;
  // What was put there before the agent started is on the node as well.
  const mounts = [...volumeMounts, ...initContainers.flatMap((container) => container.volumeMounts ?? [])];
  const plugins = pluginFolder(initContainers);
  return {
    name: 'cleanup',
    image: image ?? agent.image ?? '',
    ...(imagePullPolicy === undefined ? {} : { imagePullPolicy }),
    ...(command === undefined ? {} : { command }),
    args: [
      ...(args ?? []).map((word) => (word === 'agent' ? 'cleanup' : word)),
      ...(plugins === undefined ? [] : ['--cni-bin', plugins]),
      '--summary-file',
      SUMMARY_FILE,
    ],
    ...(env === undefined ? {} : { env }),
    ...(securityContext === undefined ? {} : { securityContext }),
    terminationMessagePath: SUMMARY_FILE,
    terminationMessagePolicy: 'FallbackToLogsOnError',
    volumeMounts: mounts.filter(
      (mount, index) => mounts.findIndex(({ mountPath }) => mountPath === mount.mountPath) === index,
    ),
  };
}

/** Where `poplin install-cni --dest FOLDER` was told to put the plugins. */
function pluginFolder(initContainers: readonly Container[]): string | undefined {
  for (const { command = [], args = [] } of initContainers) {
    const words = [...command, ...args];
    const at = words.indexOf('--dest');
    if (words.includes('install-cni') && at >= 0) return words[at + 1];
  }
  return undefined;
}

/** ConfigMaps and Secrets are of the installation's namespace: ours was copied, a pod starts without another. */
function cleanupVolume(volume: Volume, copy: string): Volume {
  if (volume.configMap) {
    const ours = volume.configMap['name'] === INSTALLED_NAME;
    return { ...volume, configMap: { ...volume.configMap, ...(ours ? { name: copy } : {}), optional: true } };
  }
  return volume.secret ? { ...volume, secret: { ...volume.secret, optional: true } } : volume;
}
