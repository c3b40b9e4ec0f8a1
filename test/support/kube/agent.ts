/**
 * An agent as the DaemonSet runs it, but unbundled and in a namespace: it follows a real API server under the ServiceAccount and the
 * roles of deploy/manifests, with a token bound to a Pod of its node, as kubelets make them. The test plays everybody else.
 *
 * @example
 * const server = await startApiServer(t);
 * await installPoplin(server);
 * const { agent, relay } = await kubeNode(t, server);
 * agent.start();
 * await agent.untilReady();
 */
import fs from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { LoneAgent } from '../lone-agent.ts';
import { until } from '../wait.ts';
import { type ApiServer, apiServerAssets } from './api-server.ts';
import type { KubeObject } from './objects.ts';
import { type Relay, relayInto } from './relay.ts';

export const systemNamespace = 'poplin-system';
const serviceAccount = 'poplin';

/** For `needs`: what an agent and its API server take of the machine. */
export const kubeAgentNeeds = {
  root: true,
  commands: ['ip', 'nsenter', 'setpriv', 'ipset', 'xtables-nft-multi'],
  provided: ['cniShim'],
  kube: apiServerAssets,
} as const;

const installation = path.join(import.meta.dirname, '..', '..', '..', 'deploy', 'manifests', 'poplin.yaml');
const isDefinition = ({ kind }: KubeObject): boolean => kind === 'CustomResourceDefinition';

/** The objects of deploy/manifests/poplin.yaml. */
export function installedObjects(): KubeObject[] {
  return parseAllDocuments(fs.readFileSync(installation, 'utf8')).map((document) => document.toJS() as KubeObject);
}

/** Our definitions, and those of Calico's kinds. */
export function definitions(): KubeObject[] {
  return installedObjects().filter(isDefinition);
}

/** Calico's kinds as its own API server stores them, of any content. */
export function legacyDefinitions(): KubeObject[] {
  const group = 'crd.projectcalico.org';
  const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } };
  const versions = [{ name: 'v1', served: true, storage: true, schema }];
  return definitions().flatMap((definition) => {
    const spec = definition['spec'] as {
      readonly group: string;
      readonly scope: string;
      readonly names: { readonly plural: string };
    };
    if (spec.group !== 'projectcalico.org') return [];
    const { kind, plural, singular, listKind } = spec.names as Record<string, string>;
    const metadata = { name: `${plural}.${group}` };
    const names = { kind, plural, singular, listKind };
    return [{ ...definition, metadata, spec: { group, names, scope: spec.scope, versions } }];
  });
}

/** Those of the Network Policy API, which nobody's installation brings. */
export function networkPolicyApiDefinitions(): KubeObject[] {
  const folder = path.join(import.meta.dirname, '..', '..', '..', 'deploy', 'crds', 'upstream');
  const files = fs.readdirSync(folder).filter((name) => name.endsWith('.yaml'));
  return files.map((name) => parse(fs.readFileSync(path.join(folder, name), 'utf8')) as KubeObject);
}

export interface InstallOptions {
  /** Default true. */
  readonly definitions?: boolean;
}

/** All of the installation but its DaemonSet: nobody would make pods of that. */
export async function installPoplin(server: ApiServer, options: InstallOptions = {}): Promise<void> {
  const all = installedObjects().filter(({ kind }) => kind !== 'DaemonSet');
  const wanted = all.filter((object) => (options.definitions ?? true) || !isDefinition(object));
  await server.objects.apply(wanted);
  await untilServed(server, wanted.filter(isDefinition));
}

export async function installDefinitions(server: ApiServer, wanted: readonly KubeObject[]): Promise<void> {
  await server.objects.apply(wanted);
  await untilServed(server, wanted);
}

/** What serves a kind is ready before it stands in the list of its group. */
export async function untilServed(server: ApiServer, wanted: readonly KubeObject[]): Promise<void> {
  for (const definition of wanted) {
    const { group, names, versions } = definition['spec'] as {
      readonly group: string;
      readonly names: { readonly plural: string };
      readonly versions: readonly { readonly name: string }[];
    };
    const path = `/apis/${group}/${versions[0]!.name}`;
    const isServed = async (): Promise<boolean> => {
      const { status, body } = await server.request({ path });
      const { resources = [] } = (status === 200 ? body : {}) as { resources?: readonly { name: string }[] };
      if (!resources.some(({ name }) => name === names.plural)) return false;
      return (await server.request({ path: `${path}/${names.plural}` })).status === 200;
    };
    await until(isServed, { what: `${path}/${names.plural} to be served`, deadlineMs: 60_000 });
  }
}

export interface NodeAddresses {
  readonly podCIDRs?: readonly string[];
  readonly internalIPs?: readonly string[];
}

export const nodeName = (name: string): KubeObject => ({ apiVersion: 'v1', kind: 'Node', metadata: { name } });

/** A Node as its kubelet registered it: by default with the addresses of the agent's namespace, and without a network yet. */
export async function registerNode(server: ApiServer, name: string, addresses: NodeAddresses = {}): Promise<void> {
  const { podCIDRs = ['10.42.1.0/24', 'fd00:42:1::/64'], internalIPs = ['192.0.2.1', '2001:db8::1'] } = addresses;
  const spec = podCIDRs.length === 0 ? {} : { podCIDR: podCIDRs[0], podCIDRs };
  await server.objects.create({ ...nodeName(name), spec });
  const conditions = [{ type: 'NetworkUnavailable', status: 'True', reason: 'NoRouteCreated', message: 'm' }];
  await setNodeStatus(server, name, { addresses: internalIPs.map(internalIP), conditions });
}

export const internalIP = (address: string): object => ({ type: 'InternalIP', address });

export async function setNodeStatus(server: ApiServer, name: string, status: object): Promise<void> {
  await server.objects.patch(nodeName(name), { status }, { subresource: 'status' });
}

/**
 * A token as the kubelet of `node` makes it for the agent's Pod there. The server takes it some 10 s longer than `seconds`; with
 * `validInSec` not before.
 */
export async function agentToken(
  server: ApiServer,
  node: string,
  seconds = 3600,
  options: { readonly validInSec?: number } = {},
): Promise<string> {
  const pod = `${serviceAccount}-${node}`;
  const name = { apiVersion: 'v1', kind: 'Pod', metadata: { name: pod, namespace: systemNamespace } };
  if (!(await server.objects.get(name))) {
    const containers = [{ name: 'agent', image: 'localhost/poplin' }];
    const spec = { nodeName: node, hostNetwork: true, serviceAccountName: serviceAccount, containers };
    await server.objects.create({ ...name, spec });
  }
  return server.tokenFor(serviceAccount, systemNamespace, seconds, { pod, ...options });
}

export interface KubeNodeOptions extends NodeAddresses {
  /** Default `n1`. */
  readonly name?: string;
  /** Further options of the agent. */
  readonly config?: Readonly<Record<string, string | number | boolean>>;
  /** What runs instead of the checkout's command line, with Node's flags. */
  readonly program?: readonly string[];
  /** As whom; default the agent's own ServiceAccount. */
  readonly token?: string;
  /** Where the API server is reached from inside; default 127.0.0.1. */
  readonly apiAddress?: string;
  /** The Node exists already, or comes later. */
  readonly registered?: boolean;
}

export interface KubeNode {
  readonly name: string;
  /** Not started yet. */
  readonly agent: LoneAgent;
  /** The one way from the node to the API server. */
  readonly relay: Relay;
  /** What the kubelet does before a token ends, and what the agent reads. */
  renewToken(token: string): void;
}

/** A Node, its namespace and the way to the API server; all is gone with the test. */
export async function kubeNode(
  t: Pick<TestContext, 'after'>,
  server: ApiServer,
  options: KubeNodeOptions = {},
): Promise<KubeNode> {
  const { name = 'n1', apiAddress = '127.0.0.1', program } = options;
  if (!options.registered) await registerNode(server, name, options);
  t.after(async () => {
    // Else the next node of a test on the same server meshes with it.
    if (server.pid !== undefined) await server.objects.delete(nodeName(name));
  });
  const tokenFile = path.join(server.directory, `token-${name}`);
  const renewToken = (token: string): void => {
    fs.writeFileSync(`${tokenFile}.new`, token, { mode: 0o600 });
    fs.renameSync(`${tokenFile}.new`, tokenFile);
  };
  renewToken(options.token ?? (await agentToken(server, name)));
  const host = apiAddress.includes(':') ? `[${apiAddress}]` : apiAddress;
  const kubeconfig = server.kubeconfig(`agent-${name}`, { tokenFile }, `https://${host}:${server.port}`);
  const agent = await LoneAgent.node(t, {
    config: { nodeName: name, datastore: 'kube', kubeconfig, ...options.config },
    ...(program ? { program } : {}),
  });
  const relay = relayInto(t, agent.netns, server.port, { address: apiAddress });
  return { name, agent, relay, renewToken };
}

/** A Pod that the scheduler has given to the node; its UID. */
export async function schedulePod(
  server: ApiServer,
  node: string,
  name: string,
  metadata: Pick<KubeObject['metadata'], 'labels' | 'annotations'> = {},
): Promise<string> {
  const pod = await server.objects.create({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', ...metadata },
    spec: { nodeName: node, containers: [{ name: 'c', image: 'example/c' }] },
  });
  return pod.metadata.uid ?? '';
}

/** An object of projectcalico.org/v3. */
export function calico(kind: string, name: string, spec: object): KubeObject {
  return { apiVersion: 'projectcalico.org/v3', kind, metadata: { name }, spec };
}
