/** A cluster for the tests of one suite. */
import path from 'node:path';
import { after, afterEach, before } from 'node:test';
import { root } from '#setup';
import { type Cluster, collectLogs, down, type UpOptions, up } from './cluster.ts';
import { readStateIfThere } from './state.ts';

/**
 * Call it in a suite: brings a cluster up before its tests and takes it down after them. When one failed, what helps to understand it is
 * in `dist/cluster-logs/NAME` (or below `$POPLINTEST_LOGS`).
 */
export function suiteCluster(
  name: string,
  options: UpOptions | (() => UpOptions | Promise<UpOptions>) = {},
): () => Cluster {
  let cluster: Cluster | undefined;
  let failed = true;
  before(async () => {
    cluster = await up(typeof options === 'function' ? await options() : options);
    failed = false;
  });
  afterEach((context) => {
    // Node has it, its types do not (yet).
    failed ||= 'passed' in context && context.passed === false;
  });
  after(async () => {
    const folder = process.env['POPLINTEST_LOGS'] ?? path.join(root, 'dist', 'cluster-logs');
    try {
      if (failed && readStateIfThere()) await collectLogs(path.join(folder, name));
    } finally {
      cluster?.api.close();
      await down();
    }
  });
  return () => {
    if (!cluster) throw new Error('the cluster is not up yet: use it within a test');
    return cluster;
  };
}
