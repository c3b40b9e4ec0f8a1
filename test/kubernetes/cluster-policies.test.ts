/** The kinds of the Network Policy API on a real API server, by upstream's definitions. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';
import { createKubeDatastore, decodeObject, formatPath, identify } from '#datastore';
import { silentLogger } from '#kit';
import type { ClusterPolicyObject, Kind } from '#model';
import { loadPolicySuite } from '../policy-suite/format.ts';
import { follow } from '../support/datastore-compliance.ts';
import { installDefinitions, networkPolicyApiDefinitions } from '../support/kube/agent.ts';
import { type ApiServer, apiServerAssets, startApiServer } from '../support/kube/api-server.ts';
import type { KubeObject } from '../support/kube/objects.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { sayVerdict, tryCreate } from './crds/definitions.ts';

const fixtures = path.join(import.meta.dirname, '..', 'fixtures', 'policy');

/** Every object of these kinds in the public suites, each name once. */
function suiteObjects(): KubeObject[] {
  const objects = ['cnp-conformance', 'anp-conformance', 'np-guard']
    .map((name) => loadPolicySuite(path.join(fixtures, `suite-${name}.json.gz`)))
    .flatMap(({ cases }) => cases)
    .flatMap(({ steps }) => steps.flatMap((step) => step.do))
    .flatMap((operation) => (operation.op === 'apply' ? [operation.object as unknown as KubeObject] : []))
    .filter(({ apiVersion }) => apiVersion.startsWith('policy.networking.k8s.io/'));
  return [...new Map(objects.map((object) => [JSON.stringify(object), object])).values()];
}

function problems(object: KubeObject): string[] {
  const identity = identify(object);
  assert.equal(identity.type, 'object');
  if (identity.type !== 'object') return [];
  const { faults } = decodeObject(identity.kind, object, 'directory');
  return faults.map(({ path: field, message }) => `${formatPath(field)}: ${message}`);
}

const policy = (kind: Kind, version: string, name: string, spec: object): KubeObject => ({
  apiVersion: `policy.networking.k8s.io/${version}`,
  kind,
  metadata: { name },
  spec,
});
const egress = (...rules: object[]) =>
  policy('ClusterNetworkPolicy', 'v1alpha2', 'p', {
    tier: 'Admin',
    priority: 1,
    subject: { namespaces: {} },
    egress: rules,
  });

suite('cluster-wide policies on a real API server', needs({ kube: apiServerAssets }), () => {
  let server: ApiServer;
  before(async () => {
    server = await startApiServer();
    await installDefinitions(server, networkPolicyApiDefinitions());
  });
  after(() => server?.stop());

  test('it takes the objects of the public suites as they are read here', async () => {
    const objects = suiteObjects();
    assert.ok(objects.length > 80, `${objects.length}`);
    const refused: string[] = [];
    for (const object of objects) {
      const verdict = await tryCreate(server, object);
      if (verdict.accepted) assert.deepEqual(problems(object), [], JSON.stringify(object));
      else refused.push(sayVerdict(verdict));
    }
    // Only noted from a directory: the other channel's definitions have no such rule.
    assert.equal(refused.length, 1, refused.join('\n'));
    assert.match(refused[0]!, /networks\/nodes\/domainNames peer cannot be set with namedPorts/);
  });

  test('each of what its definitions refuse is refused from a directory', async () => {
    const to = { to: [{ namespaces: {} }] };
    const refused = [
      egress({ action: 'Allow', ...to }),
      egress({ action: 'Deny', to: [] }),
      egress({ action: 'Deny', to: [{}] }),
      egress({ action: 'Deny', to: [{ namespaces: {}, networks: ['10.0.0.0/8'] }] }),
      egress({ action: 'Deny', to: [{ networks: ['10.0.0.0/33'] }] }),
      egress({ action: 'Accept', to: [{ domainNames: ['a.*.com'] }] }),
      egress({ action: 'Deny', ...to, protocols: [] }),
      egress({ action: 'Deny', ...to, protocols: [{ tcp: {} }] }),
      egress({ action: 'Deny', ...to, protocols: [{ tcp: { destinationPort: { range: { start: 5, end: 5 } } } }] }),
      egress({ action: 'Deny', ...to, protocols: [{ udp: { destinationPort: { number: 70_000 } } }] }),
      egress(...Array(26).fill({ action: 'Deny', ...to })),
      policy('AdminNetworkPolicy', 'v1alpha1', 'p', { priority: 1001, subject: { namespaces: {} } }),
      policy('AdminNetworkPolicy', 'v1alpha1', 'p', { priority: 1, subject: { pods: { podSelector: {} } } }),
      policy('BaselineAdminNetworkPolicy', 'v1alpha1', 'other', { subject: { namespaces: {} } }),
    ];
    for (const object of refused) {
      const verdict = await tryCreate(server, object);
      assert.equal(verdict.accepted, false, JSON.stringify(object));
      assert.notDeepEqual(problems(object), [], `${JSON.stringify(object)}: ${sayVerdict(verdict)}`);
    }
  });

  test('the kube datastore follows all three; what the definitions leave unchecked fails closed', async (t) => {
    const stateDir = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-kube-state-'));
    t.after(() => fs.rmSync(stateDir, { recursive: true, force: true }));
    const badSelector = { matchExpressions: [{ key: 'a', operator: 'in', values: ['b'] }] };
    await server.objects.create(
      egress({ action: 'Deny', to: [{ namespaces: badSelector }] }, { action: 'Accept', to: [{ nodes: {} }] }),
    );
    await server.objects.create(
      policy('AdminNetworkPolicy', 'v1alpha1', 'a', { priority: 5, subject: { namespaces: {} } }),
    );
    await server.objects.create(
      policy('BaselineAdminNetworkPolicy', 'v1alpha1', 'default', { subject: { namespaces: {} } }),
    );
    const options = { kubeconfig: server.adminKubeconfig, namespace: 'poplin-system', stateDir };
    const watched = await follow(t, createKubeDatastore({ log: silentLogger }, options));
    const got = (kind: Kind, name: string) => watched.get(kind, name) as ClusterPolicyObject | undefined;
    await until(async () => got('BaselineAdminNetworkPolicy', 'default') !== undefined && watched.inSyncCalls() > 0, {
      what: 'the policies to be told',
      deadlineMs: 60_000,
    });
    assert.deepEqual(
      got('ClusterNetworkPolicy', 'p')?.egress.map(({ peers }) => peers[0]?.type),
      ['unknown', 'nodes'],
    );
    assert.equal(got('AdminNetworkPolicy', 'a')?.priority, 5);
    assert.match(watched.datastore.status().notUsed[0]?.message ?? '', /fails closed/);
  });
});
