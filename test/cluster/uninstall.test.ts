/**
 * Poplin into a cluster and out of it again, as a user does it with kubectl: both nodes are then what they were, and pods that are made anew under
 * another CNI plugin work.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { root } from '#setup';
import { type Cluster, nodesReady, withCluster } from '../support/cluster/cluster.ts';
import { agentNamespace, bridgeHook, manifestHook } from '../support/cluster/hooks.ts';
import { imageNames } from '../support/cluster/images.ts';
import { applyObjects, execInPod, kubectl, tryKubectl } from '../support/cluster/kubectl.ts';
import { apiServerUrl, type NodeName, nodeNames } from '../support/cluster/layout.ts';
import { execOnNode } from '../support/cluster/node.ts';
import { difference, nodeDump } from '../support/node-dump.ts';
import { until } from '../support/wait.ts';

const manifests = path.join(root, 'deploy', 'manifests');
const jobDeadlineMs = 240_000;

/** A server on each node; that of node1 has a port of its node, too. */
function podsOnBothNodes(): readonly object[] {
  const pods = nodeNames.map((nodeName, index) => ({
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
  }));
  const policy = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'only-web', namespace: 'web' },
    spec: { podSelector: {}, ingress: [{ from: [{ podSelector: {} }] }] },
  };
  const pool = {
    apiVersion: 'projectcalico.org/v3',
    kind: 'IPPool',
    metadata: { name: 'pods' },
    spec: { cidr: '10.240.0.0/16', natOutgoing: true },
  };
  return [{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'web' } }, policy, pool, ...pods];
}

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
    { what: 'a pod to reach the pod on the other node', deadlineMs: 30_000 },
  );
}

/** Applies a manifest of the uninstall as a user does, with the API server's address in it; answers its report when the Job has ended. */
async function runJob(cluster: Cluster, file: string, job: string): Promise<{ ok: boolean; report: string }> {
  const text = fs.readFileSync(path.join(manifests, file), 'utf8');
  const edited = text.replace(
    'POPLIN_KUBE_API_SERVER, value: ""',
    `POPLIN_KUBE_API_SERVER, value: "${apiServerUrl(cluster.options.family)}"`,
  );
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
  // What the documentation says.
  const report = await kubectl(['logs', '-n', 'poplin-uninstall', `job/${job}`]);
  return { ok: status === 'Complete', report };
}

const dumpOf = (node: NodeName): Promise<string> => nodeDump((command) => execOnNode(node, command));

/** Once kube-proxy and the kubelet have written what they write by themselves. */
async function settledDump(node: NodeName): Promise<string> {
  return until(
    async () => {
      const first = await dumpOf(node);
      const hasProxy = /KUBE-SERVICES|kube-proxy/.test(first);
      return hasProxy && difference(first, await dumpOf(node)).length === 0 && first;
    },
    { what: `${node} to come to rest`, deadlineMs: 60_000, intervalMs: 1_000 },
  );
}

test('out of a cluster, nodes are what they were and the next network works', async () => {
  await withCluster(
    { dns: false, ...(process.env['UNINSTALL_TEST_SAY'] ? { say: console.error } : {}) },
    async (cluster) => {
      const before = new Map<NodeName, string>();
      for (const node of nodeNames) before.set(node, await settledDump(node));
      await manifestHook().install(cluster);
      await nodesReady(cluster);
      await applyObjects(podsOnBothNodes());
      await serversReachEachOther();
      for (const node of nodeNames) assert.notEqual(await dumpOf(node), before.get(node), 'agents leave something');

      const look = await runJob(cluster, 'uninstall.yaml', 'poplin-uninstall');
      assert.ok(!look.ok, 'there is something to uninstall');
      for (const node of nodeNames)
        assert.match(look.report, new RegExp(`^${node} +web +server-${node} +10\\.240\\.`, 'm'));
      assert.match(look.report, /kubectl apply -f uninstall-confirmed\.yaml/);
      await serversReachEachOther();

      const done = await runJob(cluster, 'uninstall-confirmed.yaml', 'poplin-uninstall-confirmed');
      assert.ok(done.ok, done.report);
      assert.match(done.report, /^Poplin is uninstalled\.$/m);
      for (const node of nodeNames) {
        assert.match(done.report, new RegExp(`^${node} +clean +`, 'm'));
        assert.deepEqual(difference(before.get(node)!, await dumpOf(node)), [], node);
      }
      const gone = await tryKubectl(['get', 'namespace', agentNamespace]);
      assert.match(gone.stderr, /NotFound/);
      assert.match(await kubectl(['get', 'ippools']), /pods/, 'the configuration stays');

      // Once more: nothing is left.
      await kubectl(['delete', 'job', '-n', 'poplin-uninstall', 'poplin-uninstall-confirmed', '--wait']);
      const again = await runJob(cluster, 'uninstall-confirmed.yaml', 'poplin-uninstall-confirmed');
      assert.ok(again.ok);
      assert.match(again.report, /^Nothing of Poplin is left: .* nothing on 2 nodes\./m);
      await kubectl(['delete', '-f', path.join(manifests, 'uninstall-confirmed.yaml'), '--ignore-not-found']);
      await kubectl(['delete', '-f', path.join(manifests, 'uninstall.yaml'), '--ignore-not-found']);

      // Deleted without a network they end, and are gone once there is the next.
      await kubectl(['delete', 'pod', '-n', 'web', '--all', '--wait=false']);
      await bridgeHook.install(cluster);
      await nodesReady(cluster);
      await kubectl(['wait', '--for=delete', '-n', 'web', 'pod', '--all', '--timeout=90s'], { timeoutMs: 100_000 });
      await applyObjects(podsOnBothNodes());
      await serversReachEachOther();
    },
  );
});
