/**
 * Every option of the agent, once: `nodeName` is `--node-name`, `POPLIN_NODE_NAME`, and `nodeName:` in the file. Units
 * stand last in names.
 */
import {
  addressOption,
  asnOption,
  booleanOption,
  choiceOption,
  dnsServersOption,
  integerOption,
  listenOption,
  maskOption,
  namespaceOption,
  nodeNameOption,
  type Option,
  pathOption,
  routerIdOption,
  urlOption,
} from './option.ts';

export const agentOptions = {
  nodeName: nodeNameOption({
    description: 'Name of the Node object of this machine.',
    derived: 'the host name in lower case',
  }),
  datastore: choiceOption<'file' | 'kube'>({
    description: 'Where objects come from: a directory of manifests, or the Kubernetes API server.',
    default: 'file',
    choices: ['file', 'kube'],
  }),
  datastoreDir: pathOption({
    description: 'Directory of manifests that is the datastore.',
    default: '/etc/poplin/manifests',
  }),
  kubeconfig: pathOption({
    description: "Credentials for the API server; empty takes the pod's service account.",
    default: '',
    optional: true,
  }),
  kubeApiServer: urlOption({
    description:
      'API server to talk to instead of the one that the credentials name: reachable without kube-proxy and DNS.',
  }),
  namespace: namespaceOption({
    description: "The agent's own namespace: Secrets are read and Events of the agent written there.",
    default: 'poplin-system',
  }),
  nodeIpv4: addressOption({
    description: "This node's IPv4 address, where the Node's InternalIP is not the right one.",
    family: 4,
  }),
  nodeIpv6: addressOption({
    description: "This node's IPv6 address, where the Node's InternalIP is not the right one.",
    family: 6,
  }),
  httpListen: listenOption({
    description: 'Address and port of /livez, /readyz and /metrics over TCP, e.g. 127.0.0.1:9179; empty: none.',
  }),
  podsMayReachBgp: booleanOption({
    description: "Pods may connect to this node's BGP and BFD ports, where policy allows it.",
    default: false,
  }),
  stateDir: pathOption({ description: 'Where durable state is kept.', default: '/var/lib/poplin' }),
  runDir: pathOption({ description: 'Where sockets and the lock of a running agent are.', default: '/run/poplin' }),
  apiSocket: pathOption({
    description: 'Unix socket of the HTTP API, for this CLI and for probes.',
    default: '',
    derived: 'api.sock in runDir',
    optional: true,
    socket: true,
  }),
  logLevel: choiceOption<'error' | 'warn' | 'info' | 'debug'>({
    description: 'Least severe log lines to print.',
    default: 'info',
    choices: ['error', 'warn', 'info', 'debug'],
  }),
  asn: asnOption({
    description: 'AS number of the nodes, where neither BGPConfiguration nor the Node says one.',
    default: 64512,
  }),
  bgpPort: integerOption({
    description: 'TCP port of BGP, where BGPConfiguration says none.',
    default: 179,
    min: 1,
    max: 65535,
  }),
  routerId: routerIdOption({
    description: 'BGP identifier of this node.',
    derived: 'the IPv4 address of the Node, or a number made from its name',
  }),
  meshEnabled: booleanOption({
    description: 'Full iBGP mesh between all nodes, where BGPConfiguration does not say.',
    default: true,
  }),
  bgpTellNames: booleanOption({
    description: 'BGP peers are told the name of the node and the version of Poplin, for their operators.',
    default: false,
  }),
  holdTimeSec: integerOption({
    description: 'BGP hold time that is proposed, where neither BGPPeer nor BGPConfiguration says one.',
    default: 90,
    min: 3,
    max: 65535,
    unit: 'seconds',
    orZero: true,
  }),
  connectRetrySec: integerOption({
    description: 'Time between two attempts to connect to a BGP peer.',
    default: 5,
    min: 1,
    max: 3600,
    unit: 'seconds',
  }),
  gracefulRestartTimeSec: integerOption({
    description: 'How long peers are asked to keep our routes while the agent restarts (RFC 4724).',
    default: 120,
    min: 0,
    max: 4095,
    unit: 'seconds',
  }),
  gracefulRestartDeferralSec: integerOption({
    description: "Longest wait for every peer's End-of-RIB before routes of an earlier run are swept.",
    default: 30,
    min: 1,
    max: 3600,
    unit: 'seconds',
  }),
  iptablesBackend: choiceOption<'auto' | 'nft' | 'legacy'>({
    description: 'Which iptables to use; auto takes the one that the machine uses already.',
    default: 'auto',
    choices: ['auto', 'nft', 'legacy'],
  }),
  xtablesLockFile: pathOption({
    description: 'Lock file of iptables; give each network namespace its own.',
    default: '/run/xtables.lock',
  }),
  procSys: pathOption({
    description: "Where the kernel's settings are mounted, for a container in which the usual place is read-only.",
    default: '',
    derived: 'the usual place',
    optional: true,
  }),
  markMask: maskOption({
    description: 'Bits of the packet mark, and of the connection mark the highest of them, that are ours alone.',
    default: 0x000f0000,
    bitsMin: 2,
  }),
  flowLog: choiceOption<'off' | 'denied' | 'all'>({
    description: 'Flows that `poplin flows` shows: none, those that policy denies, or allowed ones too.',
    default: 'denied',
    choices: ['off', 'denied', 'all'],
  }),
  flowLogGroup: integerOption({
    description: 'NFLOG group over which the kernel tells the agent of flows; nobody else may read it.',
    default: 1179,
    min: 0,
    max: 65535,
  }),
  flowLogRatePerSec: integerOption({
    description: 'Packets a second that each rule tells of; over it the kernel keeps silent.',
    default: 10,
    min: 1,
    max: 10000,
  }),
  dnsQueue: integerOption({
    description: 'NFQUEUE by which DNS answers to pods pass, while policies name domains; nobody else may read it.',
    default: 1179,
    min: 0,
    max: 65535,
  }),
  dnsTrustedServers: dnsServersOption({
    description: 'DNS servers whose answers to pods say what addresses domain names have.',
    default: 'k8s-service:kube-dns,resolv.conf',
    max: 16,
  }),
  dnsMinTtlSec: integerOption({
    description: 'How long an address of a domain name counts at least, whatever the DNS answer says.',
    default: 10,
    min: 1,
    max: 86400,
    unit: 'seconds',
  }),
  dnsExtraTtlSec: integerOption({
    description: 'How much longer it counts than the answer says, for programs that keep answers too long.',
    default: 0,
    min: 0,
    max: 86400,
    unit: 'seconds',
  }),
  interfaceMtu: integerOption({
    description: "MTU of pods' interfaces; 0 takes that of the node's uplinks.",
    default: 0,
    min: 1280,
    max: 65535,
    unit: 'bytes',
    orZero: true,
  }),
  cniConfDir: pathOption({
    description: 'Directory into which the CNI configuration is written once pods can be added; empty writes none.',
    default: '',
    optional: true,
  }),
  cniVersion: choiceOption<'0.3.1' | '0.4.0' | '1.0.0' | '1.1.0'>({
    description: 'Version in the CNI configuration; runtimes before containerd 2 want 1.0.0.',
    default: '1.0.0',
    choices: ['0.3.1', '0.4.0', '1.0.0', '1.1.0'],
  }),
  cniPortmap: booleanOption({
    description: 'Chain the reference portmap plugin behind ours, for hostPort.',
    default: false,
  }),
  cniBinary: pathOption({
    description: 'Where the CNI plugin is installed for the runtime; its last part is the type in the configuration.',
    default: '/opt/cni/bin/poplin',
  }),
  cniSocket: pathOption({
    description: 'Unix socket on which the CNI plugin calls the agent.',
    default: '',
    derived: 'cni/cni.sock in runDir',
    optional: true,
    socket: true,
  }),
  cniQueue: pathOption({
    description: 'Directory in which the CNI plugin leaves deletions while the agent is away.',
    default: '',
    derived: 'cni-queue in stateDir',
    optional: true,
  }),
} as const satisfies Record<string, Option<string> | Option<number> | Option<boolean>>;

export type OptionName = keyof typeof agentOptions;

/** Effective values, every default filled in. */
export type AgentConfig = {
  readonly [K in OptionName]: (typeof agentOptions)[K] extends Option<infer T> ? T : never;
};

export const optionNames = Object.keys(agentOptions) as OptionName[];

/** `nodeName` -> `--node-name`. */
export function flagOf(name: OptionName): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** `nodeName` -> `POPLIN_NODE_NAME`. */
export function envOf(name: OptionName): string {
  return `POPLIN_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}
