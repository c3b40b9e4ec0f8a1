/**
 * Agents that are replaced, hang, or have no API server, under traffic: between pods of the two nodes and from a host behind the ToR router to
 * pods of both, both families, 1,000 packets a second each. Not one is lost.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { agentPods, agentStatus, agentsReady, conflistOf } from '../support/cluster/agents.ts';
import { apiServerReady } from '../support/cluster/api.ts';
import { type Cluster, down, rolloutDone, up } from '../support/cluster/cluster.ts';
import { ctr } from '../support/cluster/containerd.ts';
import { agentNamespace, manifestHook } from '../support/cluster/hooks.ts';
import { kubectl } from '../support/cluster/kubectl.ts';
import { addressesOf, type NodeName, nodeNames } from '../support/cluster/layout.ts';
import { clusterNeeds } from '../support/cluster/needs.ts';
import { startPart, stopPart } from '../support/cluster/parts.ts';
import { createNamespace, listPods, type Pod, podProcess, runPods } from '../support/cluster/pods.ts';
import { addressesIn, allReach, asks, serverPod } from '../support/cluster/reach.ts';
import { defaultTor, torSessions } from '../support/cluster/tor.ts';
import { machineTarget, podTarget, startTraffic, streamPort, type Traffic } from '../support/cluster/traffic.ts';
import { until } from '../support/wait.ts';

const namespace = 'update';
const deadlineMs = 180_000;
const packetsPerSec = 1_000;
/** A minute for the whole truth. */
const apiAwaySec = Number(process.env['POPLINTEST_API_AWAY_SEC'] ?? 20);
const image = 'localhost/poplin';

const torPeer = {
  apiVersion: 'projectcalico.org/v3',
  kind: 'BGPPeer',
  metadata: { name: 'tor' },
  spec: { peerIP: addressesOf('tor')[0], asNumber: defaultTor.asn },
};

suite('agents come and go under traffic', clusterNeeds(), () => {
  let cluster: Cluster;
  let servers: readonly Pod[];
  let traffic: Traffic;

  before(async () => {
    // A hang is no failure of the session as long as it is shorter than this.
    cluster = await up({ agent: manifestHook({ objects: [torPeer] }), dns: false, tor: { holdTimeSec: 90 } });
    await createNamespace(cluster, namespace);
    servers = await runPods(
      cluster,
      nodeNames.map((node) => serverPod({ namespace, name: `server-${node}`, node })),
    );
    traffic = await startTraffic([...servers.map(podTarget), machineTarget('outside')]);
    await sessionsAreUp();
    await allReach(async () => servers, { also: ['outside'], deadlineMs });
  });
  after(async () => {
    await traffic?.close();
    cluster?.api.close();
    await down();
  });

  async function sessionsAreUp(): Promise<void> {
    await agentsReady(nodeNames, deadlineMs);
    await until(
      async () => {
        const up = (await torSessions()).filter(({ state }) => state === 'Established');
        return up.length === nodeNames.length;
      },
      { what: 'both nodes to have sessions with the ToR router', deadlineMs, intervalMs: 200 },
    );
    for (const node of nodeNames)
      await until(
        async () => {
          const { bgp } = await agentStatus(node);
          return bgp.peersEstablished === bgp.peersConfigured && bgp.waitingForEndOfRib.length === 0;
        },
        { what: `every session of ${node} to be established`, deadlineMs, intervalMs: 200 },
      );
  }

  /** Packets go both ways between the nodes and in from outside while `run` runs, and a while before and after. @throws AssertionError when one is lost */
  async function withoutLoss(run: () => Promise<void>): Promise<void> {
    const [one, two] = servers.map(podTarget) as [ReturnType<typeof podTarget>, ReturnType<typeof podTarget>];
    const plan = [
      { stream: 'node1 to node2, IPv4', from: one.id, to: two.id, address: two.addresses[0]! },
      { stream: 'node2 to node1, IPv6', from: two.id, to: one.id, address: one.addresses[1]! },
      { stream: 'outside to node1, IPv4', from: 'outside', to: one.id, address: one.addresses[0]! },
      { stream: 'outside to node2, IPv6', from: 'outside', to: two.id, address: two.addresses[1]! },
    ];
    for (const stream of plan) await traffic.start({ ...stream, packetsPerSec });
    await packetsGo();
    await run();
    await packetsGo();
    const reports = await traffic.stop(...plan.map(({ stream }) => stream));
    for (const [i, { sent, lost, longestOutageMs }] of reports.entries()) {
      assert.ok(sent > packetsPerSec, `${plan[i]!.stream}: only ${sent} sent`);
      assert.equal(lost, 0, `${plan[i]!.stream}: ${lost} of ${sent} lost, longest outage ${longestOutageMs} ms`);
    }
  }

  /** The streams run beside: a few round trips' worth of them. */
  async function packetsGo(): Promise<void> {
    const [one, two] = servers.map(podTarget) as [ReturnType<typeof podTarget>, ReturnType<typeof podTarget>];
    const probe = { from: one.id, to: two.id, protocol: 'TCP', port: streamPort, address: two.addresses[0]! } as const;
    for (let i = 0; i < 20; i++) {
      const { outcomes } = await traffic.client.call({ op: 'probe', probes: [probe] });
      assert.deepEqual(outcomes, [{ verdict: 'allow' }]);
    }
  }

  /** Waits for a roll-out to end, and that sessions stand again. */
  async function rolledOut(): Promise<void> {
    await rolloutDone(agentNamespace, 'daemonset/poplin', deadlineMs);
    await sessionsAreUp();
  }

  async function stopProcess(node: NodeName): Promise<number> {
    const [pod] = await agentPods(cluster, node);
    const pid = podProcess(pod!, 'agent');
    assert.ok(pid, `the agent of ${node} has a process`);
    process.kill(pid, 'SIGSTOP');
    return pid;
  }

  test('a rolling update to another image loses nothing and leaves the CNI configuration alone', async () => {
    const { version } = await agentStatus('node1');
    const old = (await agentPods(cluster)).map(({ metadata }) => metadata.uid);
    const conflists = nodeNames.map(conflistOf);
    for (const node of nodeNames) {
      const { code, stderr } = await ctr(node, ['images', 'tag', `${image}:${version}`, `${image}:next`]);
      assert.equal(code, 0, stderr);
    }
    await withoutLoss(async () => {
      const containers = ['agent', 'install-cni'].map((container) => `${container}=${image}:next`);
      await kubectl(['set', 'image', '-n', agentNamespace, 'daemonset/poplin', ...containers]);
      await rolledOut();
    });
    const pods = await agentPods(cluster);
    assert.equal(pods.length, nodeNames.length);
    assert.equal(
      pods.some(({ metadata }) => old.includes(metadata.uid)),
      false,
      'all are new',
    );
    assert.deepEqual(nodeNames.map(conflistOf), conflists, 'never removed, never written again');
  });

  test('agents that hang do not block their successors', async () => {
    await withoutLoss(async () => {
      const hanging = await Promise.all(nodeNames.map(stopProcess));
      await kubectl(['rollout', 'restart', '-n', agentNamespace, 'daemonset/poplin']);
      await rolledOut();
      for (const pid of hanging) assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
    });
  });

  test('nor does one whose pod is deleted by force, so that the next is there while it still is', async () => {
    await withoutLoss(async () => {
      const [pod] = await agentPods(cluster, 'node1');
      const pid = await stopProcess('node1');
      await kubectl(['delete', 'pod', '-n', agentNamespace, pod!.metadata.name, '--force', '--grace-period=0']);
      await rolledOut();
      assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
    });
  });

  test(`the API server away for ${apiAwaySec} s: containers, the agent and a whole sandbox come back, and nothing is lost`, async () => {
    const [restarted, anew] = (await runPods(
      cluster,
      ['restarted', 'anew'].map((name) => serverPod({ namespace, name, node: 'node1' })),
    )) as [Pod, Pod];
    const target = servers.find(({ spec }) => spec.nodeName === 'node2')!;
    const [agentPod] = await agentPods(cluster, 'node1');
    const conflists = nodeNames.map(conflistOf);
    await withoutLoss(async () => {
      await stopPart('apiserver', 'hard');
      const away = performance.now();
      // A container alone: its sandbox stays, and with it the network.
      await killAndWait(restarted, 'netexec');
      assert.deepEqual([...(await addressesIn(restarted))].sort(), restarted.status.podIPs!.map(({ ip }) => ip).sort());
      // The agent, which goes on with what it knew last; then a whole sandbox, which needs a new network.
      await killAndWait(agentPod!, 'agent');
      await agentsReady(['node1'], deadlineMs);
      await killAndWait(anew, '/pause');
      for (const pod of [restarted, anew])
        await until(() => asks(pod, target), {
          what: `pod ${pod.metadata.name} to reach a pod of the other node`,
          deadlineMs,
          intervalMs: 200,
        });
      await until(() => performance.now() - away >= apiAwaySec * 1_000, {
        what: 'the API server to have been away for long enough',
        deadlineMs: apiAwaySec * 1_000 + 1_000,
        intervalMs: 100,
      });
      await startPart('apiserver');
      await apiServerReady(cluster.api);
      await sessionsAreUp();
    });
    assert.deepEqual(nodeNames.map(conflistOf), conflists);
    await allReach(() => listPods(cluster, namespace), { also: ['outside'], deadlineMs });
  });
});

/** Kills the process of a pod that has `word` in its command, and waits until the kubelet has started another. */
async function killAndWait(pod: Pod, word: string): Promise<void> {
  const killed = podProcess(pod, word);
  assert.ok(killed, `pod ${pod.metadata.name} has a process ${word}`);
  process.kill(killed, 'SIGKILL');
  await until(
    () => {
      const next = podProcess(pod, word);
      return next !== undefined && next !== killed;
    },
    { what: `the kubelet to start ${word} of pod ${pod.metadata.name} again`, deadlineMs, intervalMs: 100 },
  );
}
