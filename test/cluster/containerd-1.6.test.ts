/** The oldest runtime that we serve: pods come, reach each other and go. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allocationsAreThoseOf, conflistOf } from '../support/cluster/agents.ts';
import { withCluster } from '../support/cluster/cluster.ts';
import { ctr } from '../support/cluster/containerd.ts';
import { manifestHook } from '../support/cluster/hooks.ts';
import { nodeNames } from '../support/cluster/layout.ts';
import { clusterNeeds } from '../support/cluster/needs.ts';
import { createNamespace, deleteNamespace, listPods, runPods } from '../support/cluster/pods.ts';
import { allReach, serverPod } from '../support/cluster/reach.ts';

const namespace = 'old';

test('containerd 1.6: pods come, reach each other and go, and nothing of them is left', clusterNeeds(), async () => {
  await withCluster({ containerd: '1.6', agent: manifestHook() }, async (cluster) => {
    for (const node of nodeNames) {
      assert.match((await ctr(node, ['version'])).stdout, /Version:\s+v?1\.6/);
      assert.match(conflistOf(node)!.text, /"cniVersion": "1\.0\.0"/);
    }
    await createNamespace(cluster, namespace);
    await runPods(
      cluster,
      nodeNames.map((node) => serverPod({ namespace, name: `server-${node}`, node })),
    );
    await allReach(() => listPods(cluster, namespace), { deadlineMs: 120_000 });
    await deleteNamespace(cluster, namespace);
    // Cluster DNS stays.
    await allocationsAreThoseOf(() => listPods(cluster, 'kube-system'), 120_000);
  });
});
