/**
 * Services with kube-proxy beside the agent, the same tests for each of its modes: what is reached from where, whom a server sees as its client, and
 * what policy makes of both.
 */
import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import { until } from '../wait.ts';
import { agentPods, agentsReady } from './agents.ts';
import type { KubeObject } from './api.ts';
import type { Cluster } from './cluster.ts';
import { agentNamespace, manifestHook } from './hooks.ts';
import { applyObjects, execInPod } from './kubectl.ts';
import { probesPass } from './kubelet-probes.ts';
import { addressesOf, type ClusterOptions, dnsAddress, type NodeName, nodeNames } from './layout.ts';
import { clusterNeeds } from './needs.ts';
import { execOnNode } from './node.ts';
import { nodeLocalAddresses, runNodeLocalDns, servedRecord } from './node-local-dns.ts';
import { defaultDeny, networkPolicy, torPeer, withObjects } from './objects.ts';
import { startPart, stopPart } from './parts.ts';
import { addressOf, createNamespace, deleteNamespace, deletePod, type Pod, runPods } from './pods.ts';
import { allBlocked, answers, blocked, url } from './requests.ts';
import { suiteCluster } from './suite.ts';

const namespace = 'services';
const probeNamespace = 'probes';
const families = [4, 6] as const;
type Family = (typeof families)[number];

const httpPort = 8080;
const nodePorts = { cluster: 30_080, local: 30_081 } as const;
const hostPort = 18_080;

interface Service extends KubeObject {
  readonly spec: { readonly clusterIPs: readonly string[] };
}

const addressOfMachine = (machine: NodeName | 'outside', family: Family): string =>
  addressesOf(machine)[family === 4 ? 0 : 1];

/** What netexec's `/clientip` answers for a client of this address. */
const from = (address: string): RegExp =>
  new RegExp(`^${address.includes(':') ? `\\[${address}\\]` : address.replaceAll('.', '\\.')}:\\d+$`);

function service(name: string, spec: object): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace, name },
    spec: { ipFamilyPolicy: 'RequireDualStack', ...spec },
  };
}

const server = (name: string, node: NodeName, ports: readonly object[] = []) => ({
  namespace,
  name,
  node,
  labels: { app: name },
  args: ['netexec', `--http-port=${httpPort}`, '--udp-port=8081'],
  container: { ports, readinessProbe: { httpGet: { path: '/', port: httpPort }, periodSeconds: 1 } },
});

const services: readonly object[] = [
  service('near', { selector: { app: 'server1' }, ports: [{ port: 80, targetPort: httpPort }] }),
  service('across', {
    type: 'NodePort',
    selector: { app: 'server2' },
    ports: [{ port: 80, targetPort: httpPort, nodePort: nodePorts.cluster }],
  }),
  service('local', {
    type: 'NodePort',
    externalTrafficPolicy: 'Local',
    selector: { app: 'server1' },
    ports: [{ port: 80, targetPort: httpPort, nodePort: nodePorts.local }],
  }),
];

/** kube-proxy's rules as they stand, in order, without counters. */
async function proxyRules(node: NodeName, mode: ClusterOptions['proxyMode']): Promise<string> {
  const commands =
    mode === 'iptables'
      ? [['iptables-save'], ['ip6tables-save']]
      : [
          ['nft', '-s', 'list', 'table', 'ip', 'kube-proxy'],
          ['nft', '-s', 'list', 'table', 'ip6', 'kube-proxy'],
        ];
  const dumps = await Promise.all(commands.map((command) => execOnNode(node, command)));
  for (const { code, stderr } of dumps) assert.equal(code, 0, stderr);
  const lines = dumps.flatMap(({ stdout }) => stdout.split('\n'));
  const own = mode === 'iptables' ? lines.filter((line) => line.includes('KUBE-')) : lines;
  assert.ok(own.length > 20, 'kube-proxy has rules');
  return own.map((line) => line.replace(/\[\d+:\d+\]/, '')).join('\n');
}

/** kube-proxy stopped, its rules taken away, and started again: it puts its jumps in front of whatever is there then. */
async function replaceKubeProxy(node: NodeName): Promise<void> {
  await stopPart(`kube-proxy ${node}`);
  const { code, stderr } = await execOnNode(node, ['kube-proxy', '--cleanup']);
  assert.equal(code, 0, stderr);
  await startPart(`kube-proxy ${node}`);
}

async function restartAgent(cluster: Cluster, node: NodeName): Promise<void> {
  const [old] = await agentPods(cluster, node);
  await deletePod(cluster, { namespace: agentNamespace, name: old!.metadata.name });
  await agentsReady([node]);
}

/** Both families side by side: half the time of waiting for what is not answered. */
async function overBoth(use: (family: Family) => Promise<void>): Promise<void> {
  await Promise.all(families.map(use));
}

export function serviceSuite(options: Pick<ClusterOptions, 'family' | 'proxyMode'>): void {
  const { proxyMode, family: firstFamily } = options;
  suite(`Services by kube-proxy in ${proxyMode} mode, IPv${firstFamily} first`, clusterNeeds(), () => {
    const theCluster = suiteCluster(`services-${proxyMode}`, {
      ...options,
      dns: false,
      agent: manifestHook({ objects: [torPeer] }),
    });
    let cluster: Cluster;
    let server1: Pod;
    let server2: Pod;
    let client: Pod;
    let hostPortPod: Pod;
    const clusterIps = new Map<string, readonly string[]>();
    const clusterIp = (name: string, family: Family): string =>
      clusterIps.get(name)!.find((address) => address.includes(':') === (family === 6))!;

    before(async () => {
      cluster = theCluster();
      await createNamespace(cluster, namespace);
      await applyObjects(services);
      [server1, server2, hostPortPod, client] = (await runPods(cluster, [
        server('server1', 'node1'),
        server('server2', 'node2'),
        server('hostport', 'node1', [{ containerPort: httpPort, hostPort }]),
        { namespace, name: 'client', node: 'node1', labels: { app: 'client' } },
      ])) as [Pod, Pod, Pod, Pod];
      for (const name of ['near', 'across', 'local']) {
        const { spec } = await cluster.api.get<Service>(`/api/v1/namespaces/${namespace}/services/${name}`);
        clusterIps.set(name, spec.clusterIPs);
      }
    });

    test('ClusterIPs across nodes and on one, from pods, whose address the server sees, and from nodes', async () => {
      await overBoth(async (family) => {
        await answers(client, url(clusterIp('across', family), 80, 'hostname'), 'server2');
        await answers(client, url(clusterIp('near', family), 80, 'hostname'), 'server1');
        for (const name of ['across', 'near'])
          await answers(client, url(clusterIp(name, family), 80, 'clientip'), from(addressOf(client, family)));
        for (const node of nodeNames) {
          await answers(node, url(clusterIp('across', family), 80, 'hostname'), 'server2');
          await answers(node, url(clusterIp('near', family), 80, 'hostname'), 'server1');
          for (const pod of [server1, server2])
            await answers(node, url(addressOf(pod, family), httpPort, 'hostname'), pod.metadata.name);
        }
      });
    });

    test('a pod reaches itself through its Service, where policy lets it as any other', async () => {
      const targets = families.flatMap((family) => [
        url(clusterIp('near', family), 80, 'hostname'),
        url(addressOfMachine('node1', family), nodePorts.local, 'hostname'),
      ]);
      const itself = async (): Promise<void> => {
        for (const target of targets) await answers(server1, target, 'server1');
      };
      await itself();
      const peers = [{ podSelector: { matchLabels: { app: 'server1' } } }];
      const own = {
        podSelector: { matchLabels: { app: 'server1' } },
        ingress: [{ from: peers }],
        egress: [{ to: peers }],
      };
      await withObjects([defaultDeny(namespace), networkPolicy(namespace, 'own', own)], async () => {
        await blocked(client, url(clusterIp('near', 4), 80));
        await itself();
      });
      await withObjects([defaultDeny(namespace)], () => allBlocked(server1, targets));
    });

    test("NodePorts from outside: of every node, and with traffic policy Local of the pod's own with the real client", async () => {
      await overBoth(async (family) => {
        const outside = addressOfMachine('outside', family);
        for (const node of nodeNames) {
          const address = addressOfMachine(node, family);
          await answers('outside', url(address, nodePorts.cluster, 'hostname'), 'server2');
          await answers(client, url(address, nodePorts.cluster, 'hostname'), 'server2');
        }
        await answers('outside', url(addressOfMachine('node1', family), nodePorts.local, 'clientip'), from(outside));
        await blocked('outside', url(addressOfMachine('node2', family), nodePorts.local));
      });
    });

    test('a hostPort from outside, from the other node, from pods and from its own node', async () => {
      await overBoth(async (family) => {
        const target = url(addressOfMachine('node1', family), hostPort, 'hostname');
        for (const place of ['outside', 'node2', 'node1', client, server2, hostPortPod] as const)
          await answers(place, target, 'hostport');
        const clientIp = url(addressOfMachine('node1', family), hostPort, 'clientip');
        await answers('outside', clientIp, from(addressOfMachine('outside', family)));
      });
      // The reference plugin does not do the same for ::1.
      await answers('node1', url('127.0.0.1', hostPort, 'hostname'), 'hostport');
    });

    test('policy sees the client in front of a NodePort and of a hostPort', async () => {
      const only = (cidrs: readonly string[]): object =>
        networkPolicy(namespace, 'only', { ingress: [{ from: cidrs.map((cidr) => ({ ipBlock: { cidr } })) }] });
      const targets = (family: Family): readonly string[] => [
        url(addressOfMachine('node1', family), nodePorts.local, 'hostname'),
        url(addressOfMachine('node1', family), hostPort, 'hostname'),
      ];
      await withObjects([only(['192.0.2.10/32', '2001:db8:2::10/128'])], async () => {
        await overBoth(async (family) => {
          await allBlocked(client, [
            ...targets(family),
            url(clusterIp('near', family), 80),
            url(addressOf(server1, family), httpPort),
          ]);
          await Promise.all(targets(family).map((target) => answers('outside', target, /^(server1|hostport)$/)));
        });
      });
      await withObjects([only(['192.0.2.11/32', '2001:db8:2::11/128'])], async () => {
        await overBoth((family) => allBlocked('outside', targets(family)));
      });
    });

    test('policy sees the pod behind a Service, by its labels and its own port', async () => {
      const peer = (app: string): object => ({ podSelector: { matchLabels: { app } } });
      const egress = networkPolicy(namespace, 'egress', {
        podSelector: { matchLabels: { app: 'client' } },
        egress: [{ to: [peer('server2')], ports: [{ port: httpPort }] }],
        policyTypes: ['Egress'],
      });
      const ingress = networkPolicy(namespace, 'ingress', {
        podSelector: { matchLabels: { app: 'server2' } },
        ingress: [{ from: [peer('client')] }],
      });
      await withObjects([egress, ingress], async () => {
        await overBoth(async (family) => {
          await Promise.all([
            blocked(client, url(clusterIp('near', family), 80)),
            blocked(server1, url(clusterIp('across', family), 80)),
            // The other node: a NodePort there is masqueraded, and so is the node's own.
            blocked('node1', url(clusterIp('across', family), 80)),
            blocked('outside', url(addressOfMachine('node1', family), nodePorts.cluster)),
          ]);
          for (const place of [client, 'node2'] as const)
            await answers(place, url(clusterIp('across', family), 80, 'hostname'), 'server2');
        });
      });
    });

    test('default-deny closes NodePorts and hostPorts, also when kube-proxy puts its rules in front of ours', async () => {
      const targets = families.flatMap((family) => [
        url(addressOfMachine('node1', family), nodePorts.local),
        url(addressOfMachine('node1', family), nodePorts.cluster),
        url(addressOfMachine('node2', family), nodePorts.cluster),
        url(addressOfMachine('node1', family), hostPort),
      ]);
      await withObjects([defaultDeny(namespace)], async () => {
        await allBlocked('outside', targets);
        for (const node of nodeNames) await replaceKubeProxy(node);
        // That it is back is seen from where policy lets everything through: a node to a pod of its own.
        await overBoth(async (family) => {
          await answers('node1', url(clusterIp('near', family), 80, 'hostname'), 'server1');
          await answers('node2', url(clusterIp('across', family), 80, 'hostname'), 'server2');
        });
        await allBlocked('outside', targets);
      });
      for (const target of targets) await answers('outside', target, /./);
    });

    test('probes of the kubelet pass under default-deny', async () => {
      await createNamespace(cluster, probeNamespace);
      await applyObjects([defaultDeny(probeNamespace)]);
      await probesPass(cluster, probeNamespace);
      await deleteNamespace(cluster, probeNamespace);
    });

    test("an agent's restart leaves kube-proxy's rules as they are", async () => {
      // kube-proxy itself writes until all endpoints are known, once a second at most.
      let rules = '';
      const atRest = async (): Promise<boolean> => {
        const before = rules;
        rules = await proxyRules('node1', proxyMode);
        return rules === before;
      };
      await until(atRest, { what: "kube-proxy's rules to come to rest", intervalMs: 2_000, deadlineMs: 60_000 });
      await restartAgent(cluster, 'node1');
      assert.equal(await proxyRules('node1', proxyMode), rules);
      await overBoth(async (family) => {
        await answers(client, url(clusterIp('across', family), 80, 'hostname'), 'server2');
      });
    });

    test('NodeLocal DNSCache answers under an egress policy that allows DNS, and not without', async () => {
      const served = [...nodeLocalAddresses, dnsAddress(firstFamily)];
      await runNodeLocalDns(cluster, { namespace, node: 'node1', addresses: served });
      const ask = async (address: string): Promise<boolean> => {
        const dig = ['dig', '+short', '+time=2', '+tries=1', `@${address}`, servedRecord.name, 'A'];
        return (await execInPod({ namespace, name: 'client' }, dig)).stdout.trim() === servedRecord.address;
      };
      const answered = async (): Promise<void> => {
        for (const address of served)
          await until(() => ask(address), { what: `an answer from ${address}`, deadlineMs: 60_000, intervalMs: 200 });
      };
      const unanswered = (address: string): Promise<boolean> =>
        until(async () => !(await ask(address)) && !(await ask(address)), {
          what: `no answer from ${address}`,
          deadlineMs: 60_000,
        });
      await answered();
      await withObjects([defaultDeny(namespace)], async () => {
        await Promise.all(served.map(unanswered));
        const dns = [{ ports: ['UDP', 'TCP'].map((protocol) => ({ protocol, port: 53 })) }];
        await withObjects([networkPolicy(namespace, 'dns', { policyTypes: ['Egress'], egress: dns })], answered);
        await unanswered(served[0]!);
        const cidrs = served.map((address) => `${address}/${address.includes(':') ? 128 : 32}`);
        const blocks = [{ to: cidrs.map((cidr) => ({ ipBlock: { cidr } })) }];
        await withObjects([networkPolicy(namespace, 'dns', { policyTypes: ['Egress'], egress: blocks })], answered);
      });
    });
  });
}
