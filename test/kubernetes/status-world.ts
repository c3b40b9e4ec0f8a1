/** An API server with Poplin's definitions, roles and admission policy, and agents under them with tokens as kubelets give them to their pods. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { type ApiServer, startApiServer } from '../support/kube/api-server.ts';
import type { KubeObject } from '../support/kube/objects.ts';
import { relayInto } from '../support/kube/relay.ts';
import { LoneAgent } from '../support/lone-agent.ts';
import { until } from '../support/wait.ts';

export const NAMESPACE = 'poplin-system';
const deploy = path.join(import.meta.dirname, '..', '..', 'deploy');

export function documents(file: string): KubeObject[] {
  const text = fs.readFileSync(path.join(deploy, file), 'utf8');
  return parseAllDocuments(text).map((document) => document.toJS() as KubeObject);
}

export function definitions(): KubeObject[] {
  const files = fs.readdirSync(path.join(deploy, 'crds')).filter((name) => name.endsWith('.yaml'));
  return files.flatMap((file) => documents(`crds/${file}`));
}

/** `crds`: default all of ours. */
export async function startWorld(crds: readonly KubeObject[] = definitions()): Promise<ApiServer> {
  const server = await startApiServer();
  await server.objects.apply([
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
    ...crds,
    ...documents('manifests/src/20-rbac.yaml'),
    ...documents('manifests/src/30-node-guard.yaml'),
  ]);
  for (const crd of crds) {
    const { group, names, versions } = crd['spec'] as {
      readonly group: string;
      readonly names: { readonly kind: string };
      readonly versions: readonly { readonly name: string }[];
    };
    const kind = { apiVersion: `${group}/${versions[0]!.name}`, kind: names.kind };
    await until(async () => server.objects.list(kind), { what: `${names.kind} to be served`, deadlineMs: 30_000 });
  }
  return server;
}

export interface NodeOptions {
  readonly podCIDRs?: readonly string[];
  /** Further options of the agent. */
  readonly config?: Readonly<Record<string, string | number | boolean>>;
}

/** The Node object, a Pod of the agent on it, and the namespace in which `start` runs the agent with the Pod's token. */
export async function makeNode(
  t: Pick<TestContext, 'after'>,
  server: ApiServer,
  name: string,
  options: NodeOptions = {},
): Promise<LoneAgent> {
  const { objects } = server;
  const { podCIDRs = ['10.42.1.0/24', 'fd00:42:1::/64'], config = {} } = options;
  await objects.create({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    spec: podCIDRs.length === 0 ? {} : { podCIDR: podCIDRs[0], podCIDRs },
  });
  const addresses = [
    { type: 'InternalIP', address: '192.0.2.1' },
    { type: 'InternalIP', address: '2001:db8::1' },
  ];
  const taken = [{ type: 'NetworkUnavailable', status: 'True', reason: 'NoRouteCreated', message: 'm' }];
  await objects.patch(
    { apiVersion: 'v1', kind: 'Node', metadata: { name } },
    { status: { addresses, conditions: taken } },
    { subresource: 'status' },
  );
  const token = await agentToken(server, name);
  const kubeconfig = server.kubeconfig(`agent-${name}`, { token });
  const agent = await LoneAgent.node(t, { config: { nodeName: name, datastore: 'kube', kubeconfig, ...config } });
  relayInto(t, agent.netns, server.port);
  return agent;
}

async function agentToken(server: ApiServer, node: string): Promise<string> {
  const pod = `poplin-${node}`;
  await server.objects.create({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: pod, namespace: NAMESPACE },
    spec: {
      nodeName: node,
      hostNetwork: true,
      serviceAccountName: 'poplin',
      containers: [{ name: 'agent', image: 'x' }],
    },
  });
  const { status, body } = await server.request({
    method: 'POST',
    path: `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/poplin/token`,
    body: {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { expirationSeconds: 3600, boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: pod } },
    },
  });
  assert.equal(status, 201, JSON.stringify(body));
  return (body as unknown as { readonly status: { readonly token: string } }).status.token;
}

export interface ConditionView {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
  readonly observedGeneration?: number;
}

export function conditionIn(object: KubeObject | undefined, type: string): ConditionView | undefined {
  const status = object?.['status'] as { readonly conditions?: readonly ConditionView[] } | undefined;
  return status?.conditions?.find((each) => each.type === type);
}

export function poplinNode(server: ApiServer, name: string): Promise<KubeObject | undefined> {
  return server.objects.get({ apiVersion: 'poplin.dev/v1alpha1', kind: 'PoplinNode', metadata: { name } });
}

export interface EventView extends KubeObject {
  readonly reason: string;
  readonly note: string;
  readonly regarding: { readonly kind: string; readonly name: string };
}

export async function eventsOf(server: ApiServer, reason: string): Promise<EventView[]> {
  const all = await server.objects.list({ apiVersion: 'events.k8s.io/v1', kind: 'Event' });
  return (all as EventView[]).filter((event) => event.reason === reason);
}
