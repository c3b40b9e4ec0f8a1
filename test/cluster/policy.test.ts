/** What policy means for kubelets, nodes, pods of the nodes' network, and routers; with the ToR router's routes to pods. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { before, suite, test } from 'node:test';
import { startProcess } from '#lab';
import { type Cluster, podCidrsOf, rolloutDone } from '../support/cluster/cluster.ts';
import { agentNamespace, manifestHook, withSettings } from '../support/cluster/hooks.ts';
import { applyObjects, kubectl } from '../support/cluster/kubectl.ts';
import { probesPass } from '../support/cluster/kubelet-probes.ts';
import { addressesOf, type NodeName, netnsOf, nodeNames, paths, systemPath } from '../support/cluster/layout.ts';
import { clusterNeeds } from '../support/cluster/needs.ts';
import { defaultDeny, networkPolicy, torPeer, withObjects } from '../support/cluster/objects.ts';
import { addressOf, createNamespace, type Pod, runPods } from '../support/cluster/pods.ts';
import { answers, blocked, request, url } from '../support/cluster/requests.ts';
import { suiteCluster } from '../support/cluster/suite.ts';
import { kubeBinary } from '../support/cluster/tools.ts';
import { birdc, torSessions } from '../support/cluster/tor.ts';
import { machineTarget, podTarget, startTraffic } from '../support/cluster/traffic.ts';
import { until } from '../support/wait.ts';

const namespaces = { open: 'open', denied: 'denied' } as const;
const families = [4, 6] as const;
const httpPort = 8080;
/** A pod of the node's network shares its ports. */
const hostNetworkPort = 18_081;
const outsidePort = 8090;
const bgpPort = 179;
const bfdPorts = [3784, 3785, 4784];

const serve = (port = httpPort): readonly string[] => ['netexec', `--http-port=${port}`, '--udp-port=-1'];
const ofNode = (node: NodeName | 'outside', family: 4 | 6): string => addressesOf(node)[family === 4 ? 0 : 1];
const cidrsOf = (node: NodeName): readonly object[] =>
  addressesOf(node).map((address) => ({ ipBlock: { cidr: `${address}/${address.includes(':') ? 128 : 32}` } }));

suite('policy on a cluster with a ToR router', clusterNeeds(), () => {
  const theCluster = suiteCluster('policy', { dns: false, agent: manifestHook({ objects: [torPeer] }) });
  let cluster: Cluster;
  /** In a namespace without policies, a pod on each node. */
  let open: readonly [Pod, Pod];
  /** Under default-deny, on node1. */
  let denied: Pod;
  let hostNetwork: Pod;

  before(async () => {
    cluster = theCluster();
    for (const name of Object.values(namespaces)) await createNamespace(cluster, name, { name });
    await applyObjects([defaultDeny(namespaces.denied)]);
    const [first, second, ...rest] = await runPods(cluster, [
      { namespace: namespaces.open, name: 'open1', node: 'node1', args: serve() },
      { namespace: namespaces.open, name: 'open2', node: 'node2', args: serve() },
      { namespace: namespaces.denied, name: 'denied', node: 'node1', labels: { app: 'denied' }, args: serve() },
      {
        namespace: namespaces.denied,
        name: 'host-network',
        node: 'node2',
        labels: { app: 'host-network' },
        args: serve(hostNetworkPort),
        spec: { hostNetwork: true },
      },
    ]);
    open = [first!, second!];
    [denied, hostNetwork] = rest as [Pod, Pod];
  });

  test('the ToR router learns the pod CIDRs of both nodes; outside and pods reach each other by their own addresses', async () => {
    await until(
      async () => (await torSessions()).filter(({ state }) => state === 'Established').length === nodeNames.length,
      {
        what: 'a session of the ToR router with each node',
        deadlineMs: 60_000,
        intervalMs: 300,
      },
    );
    await startProcess({
      role: 'outside server',
      netns: netnsOf('outside'),
      command: kubeBinary('agnhost'),
      args: serve(outsidePort),
      logFile: path.join(paths.logs, 'outside-server.log'),
      env: { PATH: systemPath },
    });
    for (const [i, node] of nodeNames.entries()) {
      for (const [j, cidr] of (await podCidrsOf(cluster, node)).entries()) {
        const route = new RegExp(`^${cidr} .*\\n\\s+via ${addressesOf(node)[j]} on eth0`, 'm');
        let routes = '';
        const learned = async (): Promise<boolean> => {
          routes = await birdc('show', 'route', 'primary');
          return route.test(routes);
        };
        await until(learned, { what: () => `the router's route to ${cidr}; it has ${routes}`, deadlineMs: 60_000 });
        const family = j === 0 ? 4 : 6;
        const [pod, outside] = [open[i]!, ofNode('outside', family)];
        const client = (address: string): RegExp => new RegExp(`^\\[?${address.replaceAll('.', '\\.')}\\]?:\\d+$`);
        await answers('outside', url(addressOf(pod, family), httpPort, 'clientip'), client(outside));
        await answers(pod, url(outside, outsidePort, 'clientip'), client(addressOf(pod, family)));
      }
    }
  });

  test('probes of the kubelet pass under default-deny', () => probesPass(cluster, namespaces.denied));

  test('another node is policed like anybody, the own one passes', async () => {
    const targets = families.map((family) => url(addressOf(denied, family), httpPort, 'hostname'));
    for (const target of targets) await answers('node1', target, 'denied');
    await Promise.all(
      targets.flatMap((target) => (['node2', 'outside', open[0]] as const).map((place) => blocked(place, target))),
    );
    const allow = networkPolicy(namespaces.denied, 'node2', { ingress: [{ from: cidrsOf('node2') }] });
    await withObjects([allow], async () => {
      for (const target of targets) await answers('node2', target, 'denied');
      await Promise.all(targets.map((target) => blocked('outside', target)));
    });
  });

  test("pods of the nodes' network are neither isolated nor selected", async () => {
    const targetsOf = (pod: Pod, port: number): readonly string[] =>
      families.map((family) =>
        url(pod === hostNetwork ? ofNode('node2', family) : addressOf(pod, family), port, 'hostname'),
      );
    // In a namespace under default-deny, and nothing of it holds for this one, in either direction.
    for (const target of targetsOf(hostNetwork, hostNetworkPort)) {
      await answers('outside', target, /./);
      await answers(open[0], target, /./);
    }
    for (const target of targetsOf(open[0], httpPort)) await answers(hostNetwork, target, 'open1');
    // As a peer it is no pod: labels do not find it, its node's address does.
    const peer = [{ podSelector: { matchLabels: { app: 'host-network' } } }];
    const byLabel = networkPolicy(namespaces.denied, 'by-label', { ingress: [{ from: peer }], egress: [{ to: peer }] });
    const toHost = targetsOf(hostNetwork, hostNetworkPort);
    const toDenied = targetsOf(denied, httpPort);
    await withObjects([byLabel], async () => {
      await Promise.all([
        ...toDenied.map((target) => blocked(hostNetwork, target)),
        ...toHost.map((target) => blocked(denied, target)),
      ]);
    });
    const byAddress = networkPolicy(namespaces.denied, 'by-address', {
      ingress: [{ from: cidrsOf('node2') }],
      egress: [{ to: cidrsOf('node2') }],
    });
    await withObjects([byAddress], async () => {
      for (const target of toDenied) await answers(hostNetwork, target, 'denied');
      for (const target of toHost) await answers(denied, target, /./);
    });
  });

  test("pods reach no node's BGP and BFD ports until the operator says so", async () => {
    const traffic = await startTraffic([
      ...open.map(podTarget),
      machineTarget('outside'),
      ...nodeNames.map((node) => ({
        ...machineTarget(node),
        ports: bfdPorts.map((port) => ({ protocol: 'UDP' as const, port })),
      })),
    ]);
    const probesFrom = (from: string) =>
      nodeNames.flatMap((to) =>
        addressesOf(to).flatMap((address) =>
          bfdPorts.map((port) => ({ from, to, address, port, protocol: 'UDP' as const })),
        ),
      );
    const verdicts = async (from: string): Promise<string> => {
      const { outcomes } = await traffic.client.call({ op: 'probe', probes: probesFrom(from) });
      return [...new Set(outcomes.map(({ verdict, reason }) => reason ?? verdict))].join(', ');
    };
    const bgpTargets = nodeNames.flatMap((node) => addressesOf(node).map((address) => url(address, bgpPort)));
    // The speaker takes the connection, finds no peer of that address and closes it.
    const reachesBgp = async (from: Pod | 'outside', target: string): Promise<boolean> =>
      !['timeout', 'refused'].includes((await request(from, target)).outcome);
    const reachBgp = async (from: Pod | 'outside'): Promise<void> => {
      for (const target of bgpTargets)
        await until(() => reachesBgp(from, target), { what: `a connection to ${target}`, deadlineMs: 30_000 });
    };
    try {
      await until(async () => (await verdicts('outside')) === 'allow', {
        what: 'the BFD ports to answer those who are no pods',
        deadlineMs: 30_000,
      });
      await reachBgp('outside');
      for (const pod of open) assert.equal(await verdicts(podTarget(pod).id), 'timeout');
      await Promise.all(open.flatMap((pod) => bgpTargets.map((target) => blocked(pod, target))));

      await setAgentOption('podsMayReachBgp', 'true');
      for (const pod of open) {
        await until(async () => (await verdicts(podTarget(pod).id)) === 'allow', {
          what: `${pod.metadata.name} to reach the BFD ports`,
          deadlineMs: 30_000,
        });
        await reachBgp(pod);
      }
    } finally {
      await traffic.close();
    }
  });
});

/** As an operator changes an option. */
async function setAgentOption(option: string, value: string): Promise<void> {
  const yaml = await kubectl([
    'get',
    'configmap',
    '-n',
    agentNamespace,
    'poplin',
    '-o',
    'jsonpath={.data.agent\\.yaml}',
  ]);
  const manifest = `  agent.yaml: |\n${yaml.replaceAll(/^/gm, '    ')}`;
  const changed = withSettings(manifest, { [option]: value })
    .replace(/^ {2}agent.yaml: \|\n/, '')
    .replaceAll(/^ {4}/gm, '');
  assert.notEqual(changed, yaml);
  await kubectl([
    'patch',
    'configmap',
    '-n',
    agentNamespace,
    'poplin',
    '--type=merge',
    '-p',
    JSON.stringify({ data: { 'agent.yaml': changed } }),
  ]);
  await kubectl(['rollout', 'restart', '-n', agentNamespace, 'daemonset/poplin']);
  await rolloutDone(agentNamespace, 'daemonset/poplin');
}
