/** Two readers of NetworkPolicy manifests, written apart, on every policy that the suites hold: the datastore's and the tests'. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { decodeObject } from '#datastore';
import { loadPolicySuite } from '../policy-suite/format.ts';
import { networkPolicyOf } from '../support/raw-network-policy.ts';

test("the datastore reads every policy of the suites as the suites' own reader does", (t) => {
  const fixtures = path.join(import.meta.dirname, '..', 'fixtures', 'policy');
  let policies = 0;
  for (const file of fs.readdirSync(fixtures).filter((name) => name.endsWith('.json.gz'))) {
    for (const { id, steps } of loadPolicySuite(path.join(fixtures, file)).cases) {
      for (const operation of steps.flatMap((step) => step.do)) {
        if (operation.op !== 'apply' || operation.object.kind !== 'NetworkPolicy') continue;
        const place = `${id} ${operation.object.metadata.name}`;
        const { faults, typed } = decodeObject('NetworkPolicy', operation.object);
        assert.deepEqual(faults, [], place);
        assert.ok(typed?.kind === 'NetworkPolicy', place);
        const { metadata, ...spec } = typed.object;
        const { metadata: expectedMetadata, ...expectedSpec } = networkPolicyOf(operation.object);
        assert.deepEqual(
          { ...spec, policyTypes: spec.policyTypes.toSorted() },
          { ...expectedSpec, policyTypes: expectedSpec.policyTypes.toSorted() },
          place,
        );
        assert.equal(
          `${metadata.namespace}/${metadata.name}`,
          `${expectedMetadata.namespace}/${expectedMetadata.name}`,
        );
        policies++;
      }
    }
  }
  t.diagnostic(`${policies} policies`);
  assert.ok(policies > 300);
});
