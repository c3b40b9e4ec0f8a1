/** The demonstration's table of expected verdicts, written by hand, equals what a naive reading of its policies gives. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { decodeObject, identify } from '#datastore';
import { toIpAddress } from '#kit';
import { readExpected } from '#lab';
import type { NamespaceObject, NetworkPolicyObject, PodObject } from '#model';
import { naiveVerdict } from '../support/naive-policy.ts';

const demo = path.join(import.meta.dirname, '..', '..', 'src', 'lab', 'demo');

function objects(file: string): unknown[] {
  return parseAllDocuments(fs.readFileSync(path.join(demo, file), 'utf8')).map((document) => document.toJS());
}

test('every pair of the table', () => {
  const namespaces: NamespaceObject[] = [];
  const pods: PodObject[] = [];
  const policies: NetworkPolicyObject[] = [];
  for (const value of [...objects('manifests/pods.yaml'), ...objects('policies/policies.yaml')]) {
    const identity = identify(value);
    assert.equal(identity.type, 'object');
    const { typed, faults } = decodeObject(identity.type === 'object' ? identity.kind : 'Pod', value);
    assert.deepEqual(faults, []);
    if (typed?.kind === 'Namespace') namespaces.push(typed.object);
    if (typed?.kind === 'Pod') pods.push(typed.object);
    if (typed?.kind === 'NetworkPolicy') policies.push(typed.object);
  }
  const addressed = pods.map((pod, i): PodObject => {
    const podIPs = [toIpAddress(`10.42.0.${i + 1}`)!, toIpAddress(`fd00:42::${i + 1}`)!];
    return { ...pod, phase: 'Running', podIPs };
  });
  const cluster = { namespaces, pods: addressed, policies };
  const expected = readExpected();
  assert.equal(expected.size, addressed.length ** 2);
  for (const from of addressed) {
    for (const to of addressed) {
      const allowed = (['IPv4', 'IPv6'] as const).flatMap((family) =>
        to.ports.map(({ protocol, containerPort }) => {
          return {
            protocol,
            verdict: naiveVerdict(cluster, {
              from: { pod: from },
              to: { pod: to },
              protocol,
              port: containerPort,
              family,
            }),
          };
        }),
      );
      const passing = allowed.filter(({ verdict }) => verdict === 'allow');
      const onlyTcp =
        passing.length > 0 && allowed.every(({ protocol, verdict }) => (verdict === 'allow') === (protocol === 'TCP'));
      const sign = passing.length === allowed.length ? '+' : passing.length === 0 ? '.' : onlyTcp ? 't' : '~';
      const pair = `${from.metadata.namespace}/${from.metadata.name} ${to.metadata.namespace}/${to.metadata.name}`;
      assert.equal(expected.get(pair), sign, pair);
    }
  }
});
