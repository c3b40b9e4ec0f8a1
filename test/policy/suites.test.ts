/**
 * The public suites of policy cases, and our own of what they leave out, through the runner: the computed matrix and the explainer. That the expected verdicts are right,
 * and the naive evaluator too, is checked beside it.
 */
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import type { EndpointSliceObject } from '#model';
import { endOf } from '../policy-suite/ends.ts';
import { EngineJudge } from '../policy-suite/engine.ts';
import { loadPolicySuite } from '../policy-suite/format.ts';
import { unknownKinds } from '../policy-suite/kinds.ts';
import { runCase } from '../policy-suite/run.ts';
import type { Suite, SuiteCase, SuiteProbe } from '../policy-suite/suite.ts';
import { type ObjectOperation, SuiteWorld } from '../policy-suite/world.ts';
import type { RawCalico } from '../support/naive-calico-policy.ts';
import type { RawClusterPolicy } from '../support/naive-cluster-policy.ts';
import { type NaiveCluster, type NaiveEnd, naiveVerdict } from '../support/naive-policy.ts';

const fixtures = path.join(import.meta.dirname, '..', 'fixtures', 'policy');
/** Cases of kinds that the engine does not know are counted here, so that no case is left out unnoticed. */
const suites = [
  { file: 'suite-k8s-e2e.json.gz', run: 48, unknown: {} },
  { file: 'suite-k8s-e2e-legacy.json.gz', run: 32, unknown: {} },
  { file: 'suite-recipes.json.gz', run: 15, unknown: {} },
  { file: 'suite-realworld.json.gz', run: 15, unknown: {} },
  { file: 'suite-np-guard.json.gz', run: 85, unknown: {} },
  { file: 'suite-cnp-conformance.json.gz', run: 24, unknown: {} },
  { file: 'suite-anp-conformance.json.gz', run: 24, unknown: {} },
  { file: 'suite-tiers.json', run: 13, unknown: {} },
  { file: 'suite-calico.json', run: 14, unknown: {} },
];

const clusterKinds = ['ClusterNetworkPolicy', 'AdminNetworkPolicy', 'BaselineAdminNetworkPolicy'];

function knownCases(suite: Suite): { readonly cases: SuiteCase[]; readonly unknown: Record<string, number> } {
  const unknown = unknownKinds(suite, 'engine');
  const left = new Set([...unknown.values()].flat());
  return {
    cases: suite.cases.filter(({ id }) => !left.has(id)),
    unknown: Object.fromEntries([...unknown].map(([kind, ids]) => [kind, ids.length])),
  };
}

for (const { file, run, unknown } of suites) {
  const suite = loadPolicySuite(path.join(fixtures, file));

  test(`${file}: matrix and explainer agree with every case`, async () => {
    const known = knownCases(suite);
    assert.deepEqual({ run: known.cases.length, unknown: known.unknown }, { run, unknown });
    const judges = [new EngineJudge('matrix'), new EngineJudge('explain')];
    for (const suiteCase of known.cases) {
      const { mismatches } = await runCase(suiteCase, judges);
      assert.deepEqual(mismatches, [], suiteCase.id);
    }
  });

  test(`${file}: the naive evaluator agrees with every case`, () => {
    for (const suiteCase of knownCases(suite).cases) {
      const world = new SuiteWorld(suiteCase.cluster);
      // The world holds what the datastore read; the evaluator reads these itself.
      const manifests = new Map<string, RawClusterPolicy>();
      const calico = new Map<string, RawCalico>();
      for (const [index, step] of suiteCase.steps.entries()) {
        for (const operation of step.do) {
          if (!/Flow$|Agent$/.test(operation.op)) world.perform(operation as ObjectOperation);
          if (operation.op === 'apply') {
            const { kind, metadata, apiVersion } = operation.object;
            if (clusterKinds.includes(kind)) manifests.set(`${kind} ${metadata.name}`, operation.object as never);
            if (apiVersion.includes('projectcalico.org') || kind === 'ServiceAccount' || kind === 'EndpointSlice') {
              calico.set(`${kind} ${metadata.namespace ?? ''} ${metadata.name}`, operation.object as never);
            }
          } else if (operation.op === 'delete') {
            manifests.delete(`${operation.kind} ${operation.name}`);
            if (operation.apiGroup === 'projectcalico.org' || operation.kind === 'EndpointSlice') {
              calico.delete(`${operation.kind} ${operation.namespace ?? ''} ${operation.name}`);
            }
          }
        }
        const cluster: NaiveCluster = {
          namespaces: [...world.namespaces.values()],
          pods: [...world.pods.values()],
          nodes: [...world.nodes.values()],
          policies: [...world.policies.values()].flatMap((each) =>
            each.kind === 'NetworkPolicy' ? [each.object] : [],
          ),
          clusterPolicies: [...manifests.values()],
          calico: [...calico.values(), ...[...world.slices.values()].map(rawSlice)],
        };
        for (const probe of step.probes) check(world, cluster, probe, `${suiteCase.id} step ${index + 1}`);
      }
    }
  });
}

function rawSlice({ metadata, serviceName, addresses, ports }: EndpointSliceObject): RawCalico {
  const { name, namespace } = metadata;
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace, labels: { 'kubernetes.io/service-name': serviceName } },
    addressType: addresses[0]?.includes(':') ? 'IPv6' : 'IPv4',
    endpoints: [{ addresses }],
    ports,
  };
}

function check(world: SuiteWorld, cluster: NaiveCluster, probe: SuiteProbe, place: string): void {
  const { from, to, protocol, port, family, verdict } = probe;
  // Which pod a service leads to is the runner's.
  if (verdict === 'undefined' || to.startsWith('svc:')) return;
  const source = endOf(world, from, family);
  const target = endOf(world, to, family);
  // A node's packets to its own pods always pass.
  if (!source.pod && source.node !== undefined && source.node === target.node) return;
  const naiveEnd = (end: typeof source): NaiveEnd => (end.pod ? { pod: end.pod } : { external: end.address! });
  const query = { from: naiveEnd(source), to: naiveEnd(target), protocol, port, family: family };
  assert.equal(naiveVerdict(cluster, query), verdict, `${place}: ${from} -> ${to} ${protocol} ${port} ${family}`);
}
