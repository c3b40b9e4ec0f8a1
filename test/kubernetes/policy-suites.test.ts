/** Every public policy suite, each object by way of a real API server: written there as users write it, and judged by what the datastore makes of it. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';
import { createKubeDatastore } from '#datastore';
import { silentLogger } from '#kit';
import { loadPolicySuite } from '../policy-suite/format.ts';
import { runCase } from '../policy-suite/run.ts';
import { ServerJudge } from '../policy-suite/server.ts';
import { installDefinitions, networkPolicyApiDefinitions } from '../support/kube/agent.ts';
import { type ApiServer, apiServerAssets, startApiServer } from '../support/kube/api-server.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const fixtures = path.join(import.meta.dirname, '..', 'fixtures', 'policy');
/** Of these, cases that the server's definitions refuse, and why. */
const suites = [
  { file: 'suite-k8s-e2e.json.gz', refused: [] },
  { file: 'suite-k8s-e2e-legacy.json.gz', refused: [] },
  { file: 'suite-recipes.json.gz', refused: [] },
  { file: 'suite-realworld.json.gz', refused: [] },
  // A name of a port beside networks, which the other channel's definitions do not forbid.
  { file: 'suite-np-guard.json.gz', refused: ['np-guard/anp_test_named_ports_multiple_peers'] },
  { file: 'suite-cnp-conformance.json.gz', refused: [] },
  { file: 'suite-anp-conformance.json.gz', refused: [] },
  { file: 'suite-tiers.json', refused: [] },
] as const;

suite('policy suites by way of an API server', needs({ kube: apiServerAssets }), () => {
  let server: ApiServer;
  let judge: ServerJudge;
  let stop: (() => Promise<void>) | undefined;
  before(async () => {
    server = await startApiServer();
    await installDefinitions(server, networkPolicyApiDefinitions());
    const stateDir = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-kube-state-'));
    const options = { kubeconfig: server.adminKubeconfig, namespace: 'poplin-system', stateDir };
    const datastore = createKubeDatastore({ log: silentLogger }, options);
    judge = new ServerJudge(server);
    let inSync = false;
    datastore.onUpdates((batch) => judge.hear(batch));
    datastore.onInSync(() => {
      inSync = true;
    });
    await datastore.start();
    stop = async () => {
      await datastore.stop();
      fs.rmSync(stateDir, { recursive: true, force: true });
    };
    await until(() => inSync && datastore.status().kinds?.ClusterNetworkPolicy?.state === 'synced', {
      what: 'the datastore to follow the kinds',
      deadlineMs: 60_000,
    });
  });
  after(async () => {
    await stop?.();
    await server?.stop();
  });

  for (const { file, refused } of suites) {
    test(file, async (t) => {
      const { cases } = loadPolicySuite(path.join(fixtures, file));
      const notTaken: string[] = [];
      for (const suiteCase of cases) {
        judge.expect(suiteCase);
        const { mismatches } = await runCase(suiteCase, [judge]);
        const refusal = mismatches.find((each) => 'error' in each && each.error.includes('is invalid'));
        if (refusal) {
          notTaken.push(suiteCase.id);
          t.diagnostic(JSON.stringify(refusal));
        } else assert.deepEqual(mismatches, [], suiteCase.id);
      }
      assert.deepEqual(notTaken, refused);
    });
  }
});
