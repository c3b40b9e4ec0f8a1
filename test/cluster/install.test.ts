/** The agent as a user installs it: from nodes that are not Ready to pods that the data centre reaches. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { suite, test } from 'node:test';
import { installNetwork, nodeReadiness, podCidrsOf } from '../support/cluster/cluster.ts';
import { clusterDnsAnswers } from '../support/cluster/coredns.ts';
import { agentNamespace, agentSelector, manifestHook } from '../support/cluster/hooks.ts';
import { applyObjects } from '../support/cluster/kubectl.ts';
import { addressesOf, nodeNames } from '../support/cluster/layout.ts';
import { clusterNeeds } from '../support/cluster/needs.ts';
import { nodePath } from '../support/cluster/node.ts';
import { addressOf, createNamespace, listPods, type Pod, runPods } from '../support/cluster/pods.ts';
import { suiteCluster } from '../support/cluster/suite.ts';
import { birdc, defaultTor, inNamespace, reconfigureTor, torSessions } from '../support/cluster/tor.ts';
import { machineTarget, podTarget, startTraffic, streamPort } from '../support/cluster/traffic.ts';
import { until } from '../support/wait.ts';

const namespace = 'install';

suite('the agent in a cluster', clusterNeeds(), () => {
  const cluster = suiteCluster('install');
  const pods = new Map<string, Pod>();

  test('without a conflist the nodes stay NotReady', async () => {
    for (const node of nodeNames) assert.deepEqual(fs.readdirSync(nodePath(node, '/etc/cni/net.d')), []);
    assert.deepEqual([...(await nodeReadiness(cluster())).values()], [false, false]);
  });

  test('kubectl apply of one file, and both nodes are Ready; the agents run without a restart', async () => {
    await installNetwork(cluster(), manifestHook());
    const agents = await listPods(cluster(), agentNamespace, agentSelector);
    assert.equal(agents.length, nodeNames.length);
    for (const { status } of agents)
      assert.deepEqual(
        status.containerStatuses?.map(({ restartCount }) => restartCount),
        [0],
      );
  });

  test('pods reach each other across nodes and on one node, over both families', async () => {
    await createNamespace(cluster(), namespace);
    const made = await runPods(
      cluster(),
      nodeNames.flatMap((node) =>
        [1, 2].map((i) => ({ namespace, name: `${node}-${i}`, node, args: ['netexec', '--http-port=80'] })),
      ),
    );
    for (const pod of made) pods.set(pod.metadata.name, pod);
    const traffic = await startTraffic(made.map(podTarget));
    try {
      const pairs = made.flatMap((from) => made.filter((to) => to !== from).map((to) => [from, to] as const));
      const probes = pairs.flatMap(([from, to]) =>
        ([4, 6] as const).flatMap((family) =>
          (['TCP', 'UDP'] as const).map((protocol) => ({
            from: podTarget(from).id,
            to: podTarget(to).id,
            ...{ protocol, port: streamPort, address: addressOf(to, family) },
          })),
        ),
      );
      // Pods may run before the nodes' sessions with each other are up.
      let denied: readonly object[] = probes;
      const reached = async (): Promise<boolean> => {
        const { outcomes } = await traffic.client.call({ op: 'probe', probes });
        denied = probes.filter((_, i) => outcomes[i]!.verdict !== 'allow');
        return denied.length === 0;
      };
      await until(reached, { what: () => `probes to pass: ${JSON.stringify(denied)}`, deadlineMs: 60_000 });
    } finally {
      await traffic.close();
    }
    await clusterDnsAnswers({ namespace, name: 'node1-1' });
  });

  test('the ToR router learns every pod CIDR from its node, and the outside host and pods reach each other', async () => {
    const peer = { apiVersion: 'projectcalico.org/v3', kind: 'BGPPeer', metadata: { name: 'tor' } };
    await applyObjects([{ ...peer, spec: { peerIP: addressesOf('tor')[0], asNumber: defaultTor.asn } }]);
    const established = async (): Promise<boolean> => {
      const sessions = await torSessions();
      return sessions.length === nodeNames.length && sessions.every(({ state }) => state === 'Established');
    };
    await until(established, { what: 'a session of the ToR router with each node', deadlineMs: 60_000 });
    for (const node of nodeNames) {
      for (const [i, cidr] of (await podCidrsOf(cluster(), node)).entries()) {
        const via = `via ${addressesOf(node)[i]} `;
        await until(async () => (await birdc('show', 'route', 'for', cidr)).includes(via), {
          what: `${cidr} ${via}at the ToR router`,
        });
        const routes = await inNamespace('tor', ['ip', ...(i === 1 ? ['-6'] : []), 'route', 'show', cidr]);
        assert.ok(routes.includes(via), routes);
      }
    }
    const pod = pods.get('node2-1')!;
    const traffic = await startTraffic([podTarget(pod), machineTarget('outside')]);
    try {
      const probes = ([0, 1] as const).flatMap((i) => [
        { from: 'outside', to: podTarget(pod).id, address: addressOf(pod, i === 0 ? 4 : 6) },
        { from: podTarget(pod).id, to: 'outside', address: addressesOf('outside')[i] },
      ]);
      const all = probes.map((one) => ({ ...one, protocol: 'TCP' as const, port: streamPort }));
      const reached = async (): Promise<boolean> =>
        (await traffic.client.call({ op: 'probe', probes: all })).outcomes.every(({ verdict }) => verdict === 'allow');
      await until(reached, { what: 'outside and pods to reach each other' });
    } finally {
      await traffic.close();
    }
  });

  test('a router that opens the sessions itself is answered, over IPv6 as well', async () => {
    await reconfigureTor({ ...defaultTor, peers: 'fixed', over: 6 });
    const peer = { apiVersion: 'projectcalico.org/v3', kind: 'BGPPeer', metadata: { name: 'tor' } };
    await applyObjects([{ ...peer, spec: { peerIP: addressesOf('tor')[1], asNumber: defaultTor.asn } }]);
    const established = async (): Promise<boolean> => {
      const sessions = await torSessions();
      return sessions.length === nodeNames.length && sessions.every(({ state }) => state === 'Established');
    };
    await until(established, { what: 'sessions over IPv6', deadlineMs: 60_000 });
  });
});
