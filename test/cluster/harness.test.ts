/**
 * The cluster itself, with the reference plugins and routes by hand in place of the agent: what the tests of the agent stand on.
 * Where one of these fails, no verdict of theirs means anything.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { before, suite, test } from 'node:test';
import { isAlive, type LabProcess, namespacesWith } from '#lab';
import { apiServerReady } from '../support/cluster/api.ts';
import { nodeCgroups } from '../support/cluster/cgroup.ts';
import { type Cluster, down, installNetwork, nodeReadiness, rebootNode } from '../support/cluster/cluster.ts';
import { clusterDnsAnswers } from '../support/cluster/coredns.ts';
import { bridgeHook } from '../support/cluster/hooks.ts';
import { execInPod, kubectl } from '../support/cluster/kubectl.ts';
import { clusterFolder, type NodeName, netnsPrefix, nodeNames } from '../support/cluster/layout.ts';
import { clusterNeeds } from '../support/cluster/needs.ts';
import { execOnNode, nodePath } from '../support/cluster/node.ts';
import { isRunning, logOf, startPart, stopPart } from '../support/cluster/parts.ts';
import { addressOf, createNamespace, type Pod, podNetnsPath, podReady, runPods } from '../support/cluster/pods.ts';
import { readStateIfThere } from '../support/cluster/state.ts';
import { suiteCluster } from '../support/cluster/suite.ts';
import { birdc, torSessions } from '../support/cluster/tor.ts';
import { machineTarget, podTarget, startTraffic, streamPort } from '../support/cluster/traffic.ts';
import { podCgroup } from '../support/cluster/usage.ts';
import { until } from '../support/wait.ts';

const namespace = 'harness';
const packetsPerSec = 1_000;

/** A process that brings a cluster up and is killed when the nodes run. @returns their first processes */
async function crashedRun(): Promise<readonly LabProcess[]> {
  const entry = path.join(import.meta.dirname, '..', 'support', 'cluster', 'cluster.ts');
  const child = spawn(process.execPath, ['-e', `import(${JSON.stringify(entry)}).then(({ up }) => up())`], {
    stdio: 'inherit',
  });
  const processes = await until(
    () => {
      const { nodes = {} } = readStateIfThere() ?? {};
      const found = Object.values(nodes).filter(isAlive);
      return found.length === nodeNames.length && found;
    },
    { what: 'the nodes of a run that is to crash', deadlineMs: 120_000 },
  );
  child.kill('SIGKILL');
  await new Promise((resolve) => child.once('close', resolve));
  return processes;
}

suite('a cluster in namespaces', clusterNeeds(), () => {
  let server: Pod;
  let client: Pod;
  let crashed: readonly LabProcess[] = [];
  const theCluster = suiteCluster('harness', async () => {
    crashed = await crashedRun();
    return {};
  });
  let cluster: Cluster;
  before(() => {
    cluster = theCluster();
  });

  /** A container that has started may not listen yet. */
  async function serverAnswers(family: 4 | 6): Promise<void> {
    const address = addressOf(server, family);
    const url = `http://${family === 6 ? `[${address}]` : address}/hostname`;
    let said = '';
    const answered = async (): Promise<boolean> => {
      const { stdout, stderr } = await execInPod({ namespace, name: 'client' }, ['curl', '-sS', '-m', '5', url]);
      said = stdout || stderr;
      return stdout === 'server';
    };
    await until(answered, { what: () => `${url} to answer the client; it said ${said}`, deadlineMs: 60_000 });
  }

  test('what a crashed run left is gone before the next begins', () => {
    assert.equal(crashed.length, nodeNames.length);
    assert.deepEqual(crashed.filter(isAlive), []);
  });

  test('nodes begin with no plugin and no configuration, see nothing of the machine to write, and are not Ready', async () => {
    for (const node of nodeNames) {
      assert.deepEqual(fs.readdirSync(nodePath(node, '/opt/cni/bin')), []);
      assert.deepEqual(fs.readdirSync(nodePath(node, '/etc/cni/net.d')), []);
      for (const [file, why] of [
        ['/usr/poplin-test', 'Read-only file system'],
        ['/proc/sys/vm/swappiness', 'Read-only file system'],
        ['/proc/sys/kernel/core_pattern', 'Read-only file system'],
        ['/sys/kernel/mm/ksm/run', 'Read-only file system'],
      ] as const) {
        const { code, stderr } = await execOnNode(node, ['sh', '-c', `echo 1 > ${file}`]);
        assert.notEqual(code, 0, `${node} could write ${file}`);
        assert.match(stderr, new RegExp(why));
      }
    }
    assert.equal((await execOnNode('node1', ['sh', '-c', 'echo here > /etc/poplin-test'])).code, 0);
    assert.equal(fs.existsSync('/etc/poplin-test'), false, 'what a node writes into /etc stays its own');
    assert.deepEqual(
      [...(await nodeReadiness(cluster))],
      nodeNames.map((node) => [node, false]),
    );
  });

  test('with a network both nodes are Ready, cluster DNS and pods of both nodes run', async () => {
    await installNetwork(cluster, bridgeHook);
    assert.deepEqual(
      [...(await nodeReadiness(cluster)).values()],
      nodeNames.map(() => true),
    );
    await createNamespace(cluster, namespace);
    [server, client] = (await runPods(cluster, [
      { namespace, name: 'server', node: 'node2', args: ['netexec', '--http-port=80'] },
      { namespace, name: 'client', node: 'node1' },
    ])) as [Pod, Pod];
    for (const family of [4, 6] as const) await serverAnswers(family);
    await clusterDnsAnswers({ namespace, name: 'client' });
  });

  test('streams between pods, and from the outside host to a node, are counted packet by packet', async () => {
    const traffic = await startTraffic([
      podTarget(server),
      podTarget(client),
      machineTarget('outside'),
      machineTarget('node1'),
      machineTarget('node2'),
    ]);
    try {
      const probes = (['10.255.0.2', 'fd00:255::2'] as const).map((address) => ({
        ...({ from: 'outside', to: 'node2', protocol: 'TCP', port: streamPort, address } as const),
      }));
      const { outcomes } = await traffic.client.call({ op: 'probe', probes });
      assert.deepEqual(outcomes, [{ verdict: 'allow' }, { verdict: 'allow' }], 'the ToR router forwards both families');
      await traffic.start({
        stream: 'pods',
        from: `${namespace}/client`,
        to: `${namespace}/server`,
        address: addressOf(server, 6),
        packetsPerSec,
      });
      await traffic.start({ stream: 'in', from: 'outside', to: 'node1', address: '10.255.0.1', packetsPerSec });
      await execOnNode('node1', ['iptables', '-I', 'INPUT', '-p', 'udp', '-s', '192.0.2.0/24', '-j', 'DROP']);
      const counted = async (): Promise<boolean> =>
        /^\s*[1-9]\d\d+\s+\d+\s+DROP/m.test((await execOnNode('node1', ['iptables', '-nvxL', 'INPUT'])).stdout);
      await until(counted, { what: 'a hundred packets to be dropped' });
      const [pods, dropped] = await traffic.stop('pods', 'in');
      assert.ok(pods!.sent > 100, `${pods!.sent} sent`);
      assert.equal(pods!.lost, 0);
      assert.ok(dropped!.lost > 0, 'a stream whose packets are dropped says so');
    } finally {
      await execOnNode('node1', ['iptables', '-F', 'INPUT']);
      await traffic.close();
    }
  });

  test('the control group of a pod accounts its processes', () => {
    const usage = (): number =>
      Number(fs.readFileSync(path.join(podCgroup('node2', server.metadata.uid!, 'cpuacct'), 'cpuacct.usage'), 'utf8'));
    assert.ok(usage() > 0);
    assert.match(podNetnsPath(server), /^\/proc\/\d+\/ns\/net$/);
  });

  test('every part can be stopped and started; pods outlive kubelet, containerd and API server', async () => {
    for (const part of ['apiserver', 'kubelet node1', 'kube-proxy node1', 'containerd node1'] as const) {
      await stopPart(part);
      assert.equal(isRunning(part), false, part);
    }
    await assert.rejects(cluster.api.get('/readyz'));
    assert.ok(fs.existsSync(podNetnsPath(client)), 'the pod runs on');
    for (const part of ['kubelet node1', 'kube-proxy node1', 'containerd node1', 'apiserver'] as const)
      await startPart(part);
    await apiServerReady(cluster.api);
    await until(async () => (await execInPod({ namespace, name: 'client' }, ['true'])).code === 0, {
      what: `exec in a pod of node1 (${logOf('kubelet node1')})`,
      deadlineMs: 120_000,
      intervalMs: 500,
    });
  });

  test('a node whose power was cut has its disk and nothing else of before; its pods run again', async () => {
    fs.writeFileSync(nodePath('node1', '/var/lib/poplin-test'), 'here');
    await execOnNode('node1', ['iptables', '-t', 'mangle', '-N', 'POPLIN-TEST']);
    // Peers that answer no FIN: the kernel goes on sending it for a minute, and keeps the namespace for it.
    await execOnNode('node1', ['iptables', '-I', 'INPUT', '-p', 'tcp', '-j', 'DROP']);
    await rebootNode('node1');
    assert.equal(fs.readFileSync(nodePath('node1', '/var/lib/poplin-test'), 'utf8'), 'here');
    assert.deepEqual(fs.readdirSync(nodePath('node1', '/etc/cni/net.d')), ['10-bridge.conflist']);
    assert.doesNotMatch((await execOnNode('node1', ['iptables-save'])).stdout, /POPLIN-TEST|KUBE-/);
    const { stdout } = await execOnNode('node1', ['ip', '-br', 'link']);
    assert.deepEqual(stdout.match(/^[^@\s]+/gm), ['lo', 'eth0']);
    for (const part of ['kubelet node1', 'kube-proxy node1', 'containerd node1'] as const) {
      assert.equal(isRunning(part), false, `${part} waits to be started`);
      await startPart(part);
    }
    await bridgeHook.install(cluster);
    const restarted = async (): Promise<boolean> => {
      const [{ restartCount = 0, ready = false } = {}] =
        (await podReady(cluster, { namespace, name: 'client' })).status.containerStatuses ?? [];
      return ready && restartCount > 0;
    };
    await until(restarted, {
      what: 'the pod on node1 to have been started again',
      deadlineMs: 120_000,
      intervalMs: 500,
    });
    await serverAnswers(6);
  });

  test('the ToR router runs, ready for sessions', async () => {
    assert.match(await birdc('show', 'protocols'), /nodes\s+BGP/);
    assert.deepEqual(await torSessions(), []);
  });

  test('down leaves nothing', async () => {
    const first = Object.values(readStateIfThere()?.nodes ?? {});
    cluster.api.close();
    await down();
    assert.deepEqual(namespacesWith(netnsPrefix), []);
    assert.equal(fs.existsSync(clusterFolder), false);
    for (const node of nodeNames) assert.deepEqual(nodeCgroups(node satisfies NodeName), []);
    assert.equal(first.length, nodeNames.length);
    assert.deepEqual(first.filter(isAlive), []);
    assert.equal(fs.readFileSync('/proc/mounts', 'utf8').includes(clusterFolder), false, 'no mount is left');
    await assert.rejects(kubectl(['get', 'nodes']));
  });
});
