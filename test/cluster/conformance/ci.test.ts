/** The fixed list of upstream specs that every run of the tests goes through; `npm run test:conformance` runs all of them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { clusterNeeds } from '../../support/cluster/needs.ts';
import { needs } from '../../support/needs.ts';

const machine = { ...clusterNeeds(), ...needs({ kube: ['e2e.test'] }) };

test('upstream specs of the fixed list pass on a cluster with the agent', machine, async () => {
  const args = [path.join(import.meta.dirname, 'main.ts'), '--ci', '--family', '4', '--shards', '2'];
  // Its output is the report: a line a spec.
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  const code = await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  assert.equal(code, 0);
});
