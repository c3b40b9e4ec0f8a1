/**
 * Poplin into a cluster and out of it again, as a user does it with kubectl: both nodes are then what they were, routers send them nothing
 * more, and pods that are made anew under another CNI plugin work.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { root } from '#setup';
import { type Cluster, installNetwork, withCluster } from '../support/cluster/cluster.ts';
import { agentNamespace, bridgeHook, manifestHook } from '../support/cluster/hooks.ts';
import { imageNames } from '../support/cluster/images.ts';
import { applyObjects, execInPod, kubectl, tryKubectl } from '../support/cluster/kubectl.ts';
import { addressesOf, apiServerUrl, type NodeName, nodeNames } from '../support/cluster/layout.ts';
import { clusterNeeds } from '../support/cluster/needs.ts';
import { execOnNode } from '../support/cluster/node.ts';
import { createNamespace } from '../support/cluster/pods.ts';
import { birdc } from '../support/cluster/tor.ts';
import { difference, nodeDump } from '../support/node-dump.ts';
import { until } from '../support/wait.ts';

const manifests = path.join(root, 'deploy', 'manifests');
const jobDeadlineMs = 240_000;

/** Peering with the ToR router, and a pool with masquerading. */
const network: readonly object[] = [
  {
    apiVersion: 'projectcalico.org/v3',
    kind: 'IPPool',
    metadata: { name: 'pods' },
    spec: { cidr: '10.240.0.0/16', natOutgoing: true },
  },
  {
    apiVersion: 'projectcalico.org/v3',
    kind: 'BGPPeer',
    metadata: { name: 'tor' },
    spec: { peerIP: addressesOf('tor')[0], asNumber: 65_001 },
  },
];

/** A server on each node under a policy; that of node1 has a port of its node, too. */
const workload: readonly object[] = [
  {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'only-web', namespace: 'web' },
    spec: { podSelector: {}, ingress: [{ from: [{ podSelector: {} }] }] },
  },
  ...nodeNames.map((nodeName, index) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `server-${nodeName}`, namespace: 'web', labels: { app: 'server' } },
    spec: {
      nodeName,
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: 'c',
          image: imageNames.agnhost,
          args: ['netexec', '--http-port=8080'],
          ports: [{ containerPort: 8080, ...(index === 0 ? { hostPort: 30_999 } : {}) }],
          readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 },
        },
      ],
    },
  })),
];

async function serversReachEachOther(): Promise<void> {
  await kubectl(['wait', '--for=condition=Ready', '-n', 'web', 'pod', '--all', '--timeout=90s'], {
    timeoutMs: 100_000,
  });
  const address = await kubectl(['get', 'pod', '-n', 'web', 'server-node2', '-o', 'jsonpath={.status.podIP}']);
  await until(
    async () => {
      const pod = { namespace: 'web', name: 'server-node1' };
      const { stdout } = await execInPod(pod, ['curl', '-sm', '2', `http://${address}:8080/hostname`]);
      return stdout === 'server-node2';
    },
    { what: 'a pod to reach the pod on the other node', deadlineMs: 60_000 },
  );
}

/** Pod CIDRs that the ToR router has a route to. */
async function routesOfTor(): Promise<readonly string[]> {
  return (await birdc('show', 'route')).match(/^(10\.240|fd00:240)\S+/gm) ?? [];
}

/** Applies a manifest of the uninstall, with the API server's address written into it; answers its report when the Job has ended. */
async function runJob(
  cluster: Cluster,
  file: string,
  job: string,
): Promise<{ readonly ok: boolean; readonly report: string }> {
  const text = fs.readFileSync(path.join(manifests, file), 'utf8');
  const server = apiServerUrl(cluster.options.family);
  const edited = text.replace('POPLIN_KUBE_API_SERVER, value: ""', `POPLIN_KUBE_API_SERVER, value: "${server}"`);
  assert.notEqual(edited, text);
  await kubectl(['apply', '-f', '-'], { stdin: edited });
  const status = await until(
    async () => {
      const conditions = '{range .status.conditions[?(@.status=="True")]}{.type} {end}';
      const { stdout } = await tryKubectl([
        'get',
        'job',
        '-n',
        'poplin-uninstall',
        job,
        '-o',
        `jsonpath=${conditions}`,
      ]);
      return /Complete|Failed/.exec(stdout)?.[0];
    },
    { what: `job ${job} to end`, deadlineMs: jobDeadlineMs, intervalMs: 500 },
  );
  return { ok: status === 'Complete', report: await kubectl(['logs', '-n', 'poplin-uninstall', `job/${job}`]) };
}

const confirmed = ['uninstall-confirmed.yaml', 'poplin-uninstall-confirmed'] as const;
const dumpOf = (node: NodeName): Promise<string> => nodeDump((command) => execOnNode(node, command));

/** Once kube-proxy and the kubelet have written what they write by themselves. */
async function settledDump(node: NodeName): Promise<string> {
  let dump = '';
  let moved: readonly string[] = [];
  const atRest = async (): Promise<boolean> => {
    const before = dump;
    dump = await dumpOf(node);
    moved = difference(before, dump);
    return moved.length === 0 && /KUBE-SERVICES|kube-proxy/.test(dump);
  };
  const what = (): string => `${node} to come to rest; last: ${moved.join('\n')}`;
  await until(atRest, { what, deadlineMs: 120_000, intervalMs: 2_000 });
  return dump;
}

/** A block of the manual for one node, by the comment that it begins with, as somebody types it there. */
function byHand(what: string): string {
  const manual = fs.readFileSync(path.join(root, 'docs', 'uninstall.md'), 'utf8');
  const block = manual.match(/```sh\n[\s\S]*?```/g)?.find((text) => text.startsWith(`\`\`\`sh\n# by hand: ${what}\n`));
  assert.ok(block, `docs/uninstall.md says how to ${what}`);
  const { version } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string };
  return block.replaceAll('```', '').replace(/^sh/, '').replaceAll('VERSION', version);
}

async function typed(node: NodeName, script: string): Promise<string> {
  const { code, stdout, stderr } = await execOnNode(node, ['bash', '-euo', 'pipefail', '-c', script]);
  assert.equal(code, 0, stdout + stderr);
  return stdout;
}

/** What a node has that a cluster lost: a link of a pod, a chain, a setting that is recorded. */
const traces = `
ip link add pop00000000001 type veth peer name peer0
iptables -t mangle -N poplin-forward
iptables -t mangle -A FORWARD -j poplin-forward
mkdir -p /var/lib/poplin
old=$(cat /proc/sys/net/ipv4/fib_multipath_hash_policy)
echo 2 > /proc/sys/net/ipv4/fib_multipath_hash_policy
echo '{"version":1,"sysctls":{"net/ipv4/fib_multipath_hash_policy":{"before":"'$old'","ours":"2"}}}' > /var/lib/poplin/sysctls.json
echo '{"cniVersion":"1.0.0"}' > /etc/cni/net.d/10-poplin.conflist
`;

test('out of a cluster, nodes are what they were and the next network works', clusterNeeds(), async () => {
  await withCluster({}, async (cluster) => {
    const before = new Map<NodeName, string>();
    for (const node of nodeNames) before.set(node, await settledDump(node));
    const unchanged = async (): Promise<void> => {
      for (const node of nodeNames) assert.deepEqual(difference(before.get(node)!, await dumpOf(node)), [], node);
    };
    await installNetwork(cluster, manifestHook({ objects: network }), { dns: false });
    await createNamespace(cluster, 'web');
    await applyObjects(workload);
    await serversReachEachOther();
    await until(async () => (await routesOfTor()).length === 4, {
      what: 'the router to have both pod CIDRs of both nodes',
      deadlineMs: 60_000,
    });
    for (const node of nodeNames) assert.notEqual(await dumpOf(node), before.get(node), 'agents leave something');
    const list = /ctr -n k8s\.io containers ls .*'/.exec(byHand('end the agent'))![0];
    assert.match(await typed('node1', list), /^[0-9a-f]{64}$/m, 'the manual finds the containers of the agent');

    const look = await runJob(cluster, 'uninstall.yaml', 'poplin-uninstall');
    assert.ok(!look.ok, 'there is something to uninstall');
    for (const node of nodeNames) {
      assert.match(look.report, new RegExp(`^${node} +web +server-${node} +10\\.240\\.`, 'm'));
    }
    assert.match(look.report, /kubectl apply -f uninstall-confirmed\.yaml/);
    await serversReachEachOther();

    const done = await runJob(cluster, ...confirmed);
    assert.ok(done.ok, done.report);
    assert.match(done.report, /^Poplin is uninstalled\.$/m);
    for (const node of nodeNames) assert.match(done.report, new RegExp(`^${node} +clean +`, 'm'));
    await unchanged();
    // Closed with Cease: nothing is kept for an agent that is to come back.
    assert.deepEqual(await routesOfTor(), []);
    assert.match((await tryKubectl(['get', 'namespace', agentNamespace])).stderr, /NotFound/);
    const peer = await kubectl(['get', 'bgppeer', 'tor', '-o', 'json']);
    assert.equal(JSON.parse(peer).status, undefined, 'the configuration stays, and nobody reports on it');

    await kubectl(['delete', 'job', '-n', 'poplin-uninstall', confirmed[1], '--wait']);
    const again = await runJob(cluster, ...confirmed);
    assert.ok(again.ok);
    assert.match(again.report, /^Nothing of Poplin is left: .* nothing on 2 nodes\./m);

    await typed('node1', traces);
    assert.notDeepEqual(difference(before.get('node1')!, await dumpOf('node1')), []);
    assert.match(await typed('node1', byHand('clean the node')), /^interfaces +1$/m);
    await unchanged();

    for (const file of ['uninstall.yaml', confirmed[0]]) {
      await kubectl(['delete', '-f', path.join(manifests, file), '--ignore-not-found'], { timeoutMs: 90_000 });
    }
    // Deleted without a network they end, and are gone once there is the next.
    await kubectl(['delete', 'pod', '-n', 'web', '--all', '--wait=false']);
    await installNetwork(cluster, bridgeHook, { dns: false });
    await kubectl(['wait', '--for=delete', '-n', 'web', 'pod', '--all', '--timeout=90s'], { timeoutMs: 100_000 });
    await applyObjects(workload);
    await serversReachEachOther();
  });
});
