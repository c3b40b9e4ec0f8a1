/**
 * The agent's roles allow what it does, and nothing else: agents that use every feature run under them, and the API server's audit log says
 * what they asked for.
 */
import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import {
  calico,
  installDefinitions,
  installedObjects,
  installPoplin,
  type KubeNode,
  kubeAgentNeeds,
  kubeNode,
  legacyDefinitions,
  networkPolicyApiDefinitions,
  nodeName,
  schedulePod,
  setNodeStatus,
  systemNamespace,
} from '../support/kube/agent.ts';
import { type ApiServer, startApiServer } from '../support/kube/api-server.ts';
import { type AuditLog, allows, auditLog, permissionsOf, permissionText } from '../support/kube/audit.ts';
import type { KubeObject } from '../support/kube/objects.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const user = `system:serviceaccount:${systemNamespace}:poplin`;
const poplinNode: KubeObject = { apiVersion: 'poplin.dev/v1alpha1', kind: 'PoplinNode', metadata: { name: 'n1' } };

interface Condition {
  readonly type: string;
  readonly status: string;
}
const conditionsOf = (object: KubeObject | undefined): readonly Condition[] =>
  (object?.['status'] as { readonly conditions?: readonly Condition[] } | undefined)?.conditions ?? [];
const holds = (object: KubeObject | undefined, type: string, status: string): boolean =>
  conditionsOf(object).some((each) => each.type === type && each.status === status);

const clusterPolicy = (version: string, kind: string, name: string, place: object): KubeObject => ({
  apiVersion: `policy.networking.k8s.io/${version}`,
  kind,
  metadata: { name },
  spec: { ...place, subject: { namespaces: {} } },
});

const inDefault = (object: KubeObject): KubeObject => ({
  ...object,
  metadata: { ...object.metadata, namespace: 'default' },
});

/** EndpointSlices are read for it. */
const ofService = inDefault(
  calico('NetworkPolicy', 'p', { egress: [{ action: 'Allow', destination: { services: { name: 'kubernetes' } } }] }),
);

/** The DNS service is asked for because of it. */
const ofDomain = inDefault(
  calico('NetworkPolicy', 'd', { egress: [{ action: 'Allow', destination: { domains: ['example.com'] } }] }),
);
const dnsService: KubeObject = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'kube-dns', namespace: 'kube-system' },
  spec: { ports: [{ name: 'dns', port: 53, protocol: 'UDP' }] },
};

/** One of each kind whose status agents write. */
const configured: readonly KubeObject[] = [
  calico('BGPConfiguration', 'default', { nodeToNodeMeshEnabled: true }),
  calico('BGPPeer', 'tor', {
    peerIP: '192.0.2.2',
    asNumber: 64513,
    filters: ['own'],
    password: { secretKeyRef: { name: 'bgp', key: 'password' } },
  }),
  calico('BGPFilter', 'own', { exportV4: [{ action: 'Accept', matchOperator: 'In', cidr: '10.42.0.0/16' }] }),
  calico('IPPool', 'pods', { cidr: '10.42.0.0/16', natOutgoing: true }),
  calico('FelixConfiguration', 'default', { mtu: 1400 }),
  calico('CalicoNodeStatus', 'n1', { node: 'n1', classes: ['BGP', 'Routes', 'Agent'], updatePeriodSeconds: 1 }),
  clusterPolicy('v1alpha2', 'ClusterNetworkPolicy', 'p', { tier: 'Admin', priority: 1 }),
  clusterPolicy('v1alpha1', 'AdminNetworkPolicy', 'p', { priority: 1 }),
  clusterPolicy('v1alpha1', 'BaselineAdminNetworkPolicy', 'default', {}),
  ofService,
  ofDomain,
  calico('GlobalNetworkPolicy', 'p', { selector: 'has(nobody)' }),
  calico('Tier', 'first', { order: 5 }),
  inDefault(calico('NetworkSet', 's', { nets: ['192.0.2.0/24'] })),
  calico('GlobalNetworkSet', 's', { nets: ['192.0.2.0/24'] }),
  calico('HostEndpoint', 'n1', { node: 'n1', expectedIPs: ['192.0.2.77'] }),
  inDefault(calico('StagedNetworkPolicy', 'p', { selector: 'has(nobody)' })),
  calico('StagedGlobalNetworkPolicy', 'p', { selector: 'has(nobody)' }),
  inDefault(calico('StagedKubernetesNetworkPolicy', 'p', { podSelector: {}, ingress: [{}] })),
];
const secret: KubeObject = {
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: 'bgp', namespace: systemNamespace },
  stringData: { password: 'top' },
};

/** Starts without pod CIDRs, which is worth an Event, and gets them; the same once more after a restart, which counts in that Event. */
async function withoutPodCidrs(server: ApiServer, { agent }: KubeNode): Promise<void> {
  const said = (count: number) => async (): Promise<boolean> => {
    const events = await server.objects.list({ apiVersion: 'events.k8s.io/v1', kind: 'Event' });
    return events.some((event) => {
      const { count: times = 1 } = (event['series'] as { readonly count?: number } | undefined) ?? {};
      return event['reason'] === 'PodCIDRMissing' && times >= count;
    });
  };
  agent.start();
  await until(said(1), { what: 'an Event', deadlineMs: 60_000 });
  await agent.kill('SIGTERM');
  agent.start();
  await until(said(2), { what: 'the Event to be counted', deadlineMs: 60_000 });
  const spec = { podCIDR: '10.42.1.0/24', podCIDRs: ['10.42.1.0/24'] };
  await server.objects.patch(nodeName('n1'), { spec });
  await agent.untilReady(60_000);
}

/** The runtime is quicker than the API server: the agent asks for the Pod. (A static pod's UID can be known before.) */
async function podThatComesLate(server: ApiServer, log: AuditLog, { agent }: KubeNode): Promise<void> {
  await agent.makePodNetns('late');
  const adding = agent.cni('ADD', 'late', {}, 'hash-of-late');
  await until(() => log.requests().some(({ verb, resource }) => verb === 'get' && resource === 'pods'), {
    what: 'the agent to ask for the Pod',
    deadlineMs: 60_000,
  });
  await schedulePod(server, 'n1', 'late', { annotations: { 'kubernetes.io/config.hash': 'hash-of-late' } });
  const { exitCode, message } = await adding;
  assert.equal(exitCode, 0, message);
}

async function everythingReported(server: ApiServer): Promise<void> {
  const wanted: readonly [KubeObject, (object: KubeObject | undefined) => boolean][] = [
    [nodeName('n1'), (object) => holds(object, 'NetworkUnavailable', 'False')],
    [poplinNode, (object) => holds(object, 'Ready', 'True')],
    ...configured.map((object): [KubeObject, (found: KubeObject | undefined) => boolean] => [
      object,
      (found) => Object.keys((found?.['status'] as object | undefined) ?? {}).length > 0,
    ]),
  ];
  for (const [object, isReported] of wanted) {
    await until(async () => isReported(await server.objects.get(object)), {
      what: `a status of ${object.kind} ${object.metadata.name}`,
      deadlineMs: 60_000,
      intervalMs: 100,
    });
  }
}

/** What the DNS service's address is, the agent has from the API server. */
async function dnsServiceKnown(server: ApiServer, { agent }: KubeNode): Promise<void> {
  const { clusterIP } = (await server.objects.get(dnsService))!['spec'] as { readonly clusterIP: string };
  const said = (): boolean =>
    agent.log
      .split('\n')
      .some((line) => line.includes('answers of these DNS servers count') && line.includes(clusterIP));
  await until(said, { what: `answers of ${clusterIP} to count`, deadlineMs: 30_000 });
}

async function everyFeature(server: ApiServer, log: AuditLog, node: KubeNode): Promise<void> {
  await withoutPodCidrs(server, node);
  await podThatComesLate(server, log, node);
  // Somebody takes back what the agent said.
  await setNodeStatus(server, 'n1', { conditions: [{ type: 'NetworkUnavailable', status: 'True' }] });
  await everythingReported(server);
  await dnsServiceKnown(server, node);
}

/** On API servers without streamed lists, as before Kubernetes 1.32, all is listed; also what an old installation of Calico left. */
async function withoutWatchList(t: TestContext): Promise<AuditLog> {
  const log = auditLog(t, user);
  const server = await startApiServer(t, { args: [...log.args, '--feature-gates=WatchList=false'] });
  await installPoplin(server);
  await installDefinitions(server, [...legacyDefinitions(), ...networkPolicyApiDefinitions()]);
  const question: KubeObject = {
    apiVersion: 'crd.projectcalico.org/v1',
    kind: 'CalicoNodeStatus',
    metadata: { name: 'old' },
    spec: { node: 'n1', classes: ['Agent'], updatePeriodSeconds: 0 },
  };
  await server.objects.create(question);
  await server.objects.create(ofService);
  const { agent } = await kubeNode(t, server);
  agent.start();
  await agent.untilReady(60_000);
  await until(async () => (await server.objects.get(question))?.['status'] !== undefined, {
    what: 'an answer in the object itself',
    deadlineMs: 30_000,
  });
  return log;
}

suite('the roles of the agent', needs(kubeAgentNeeds), () => {
  test('allow exactly the verbs that it uses', async (t) => {
    const log = auditLog(t, user);
    const server = await startApiServer(t, { args: log.args });
    await installPoplin(server);
    await installDefinitions(server, networkPolicyApiDefinitions());
    await server.objects.apply([secret, dnsService, ...configured]);
    const node = await kubeNode(t, server, { podCIDRs: [] });
    const missing = await everyFeature(server, log, node).then(
      () => undefined,
      (error: Error) => error.message,
    );
    const older = await withoutWatchList(t);
    const roles = installedObjects().filter(
      ({ kind, metadata }) => kind.endsWith('Role') && metadata.name === 'poplin',
    );
    assert.equal(roles.length, 2);
    const allowed = roles.flatMap(permissionsOf);
    const requests = () => [...log.requests(), ...older.requests()];
    const unused = () => {
      const all = requests();
      return allowed.filter((permission) => !all.some((request) => allows(permission, request))).map(permissionText);
    };
    // What is done now and then, e.g. to keep the Lease; what is left over is told below.
    await until(() => unused().length === 0, { what: 'everything', deadlineMs: 60_000, intervalMs: 500 }).catch(
      () => undefined,
    );
    const refused = requests().filter(({ code }) => code === 403);
    const refusals = refused.map((request) => `${permissionText(request)}: ${request.message ?? ''}`);
    const found = { refused: [...new Set(refusals)], unused: unused(), missing };
    assert.deepEqual(found, { refused: [], unused: [], missing: undefined }, node.agent.log.slice(-2000));
  });
});
