import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Kind } from '#model';
import { decodeObject } from '../manifest/decode.ts';
import { Interner } from './intern.ts';
import { projectNamespace, projectNode, projectPod } from './project.ts';
import type { RawObject } from './raw-object.ts';

const odd = fc.constantFrom<unknown>(null, 7, '', [], {}, [null], { a: 1 });
/** Mostly what the API server sends, now and then what it never would. */
const mostly = (arbitrary: fc.Arbitrary<unknown>, seldom: fc.Arbitrary<unknown> = odd): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 40, arbitrary }, { weight: 1, arbitrary: seldom });
/** Each field there or not. */
const some = (fields: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<object> =>
  fc.record(fields, { requiredKeys: [] });

const label = fc.constantFrom('a', 'b-1', 'x', '');
const labels = fc.dictionary(fc.constantFrom('app', 'example.org/tier', 'kubernetes.io/metadata.name'), label);
const annotations = fc.dictionary(
  fc.constantFrom('kubernetes.io/config.hash', 'projectcalico.org/ASNumber', 'example.org/noise', 'poplin.dev/x'),
  fc.string(),
);
const metadata = (namespaced: boolean): fc.Arbitrary<unknown> =>
  fc
    .tuple(
      some({
        uid: fc.uuid(),
        resourceVersion: fc.constant('5'),
        creationTimestamp: fc.constant('2026-01-01T00:00:00Z'),
        deletionTimestamp: fc.constant('2026-01-01T00:00:00Z'),
        labels: mostly(labels),
        annotations: mostly(annotations),
        managedFields: fc.constant([{ manager: 'x' }]),
      }),
      fc.constantFrom('web-1', 'a.b'),
    )
    .map(([rest, name]) => ({ ...rest, name, ...(namespaced ? { namespace: 'default' } : {}) }));

const address = mostly(
  fc.constantFrom('10.1.2.3', '10.1.2.4', 'fd00::1', 'FD00:0::2'),
  fc.constantFrom('999.1.1.1', 'x'),
);
/** What stands in a Node's spec: both fields agree, or now and then not. */
const cidrs = mostly(
  fc
    .constantFrom<string[]>(
      [],
      ['10.1.2.0/24'],
      ['FD00:2::/64'],
      ['10.1.3.7/24', 'fd00:1::/64'],
      ['fd00:1::/64', '10.0.0.0/8'],
    )
    .map((podCIDRs) => (podCIDRs.length > 0 ? { podCIDRs, podCIDR: podCIDRs[0] } : {})),
  some({
    podCIDR: fc.constantFrom('10.1.2.0/24', '10.0.0.1', ''),
    podCIDRs: fc.array(fc.constantFrom('10.1.2.0/24', '10.1.3.0/24', 'x/8', 'fd00::/64')),
  }),
);
const port = some({
  name: fc.constantFrom('http', '', 'dns-tcp'),
  containerPort: fc.constantFrom(80, 8080, 53),
  protocol: mostly(fc.constantFrom('TCP', 'UDP', 'SCTP')),
  hostPort: fc.constant(80),
});
const container = some({
  name: fc.constant('c'),
  image: fc.constant('i'),
  ports: mostly(fc.array(port, { maxLength: 3 })),
  restartPolicy: fc.constantFrom('Always', 'Never'),
});
const objects: Record<'Pod' | 'Node' | 'Namespace', fc.Arbitrary<object>> = {
  Pod: fc.record({
    apiVersion: fc.constant('v1'),
    kind: fc.constant('Pod'),
    metadata: metadata(true),
    spec: mostly(
      some({
        nodeName: mostly(fc.constantFrom('n1', '')),
        hostNetwork: mostly(fc.boolean()),
        serviceAccountName: mostly(fc.constantFrom('default', 'robot', '')),
        containers: mostly(fc.array(container, { maxLength: 3 })),
        initContainers: mostly(fc.array(container, { maxLength: 2 })),
      }),
    ),
    status: mostly(
      some({
        phase: mostly(fc.constantFrom('Pending', 'Running', 'Succeeded', 'Failed', 'Unknown')),
        podIP: mostly(fc.oneof(address, fc.constant(''))),
        podIPs: mostly(
          fc.array(
            address.map((ip) => ({ ip })),
            { maxLength: 3 },
          ),
        ),
        hostIP: fc.constant('10.0.0.1'),
      }),
    ),
  }),
  Node: fc.record({
    apiVersion: fc.constant('v1'),
    kind: fc.constant('Node'),
    metadata: metadata(false),
    spec: mostly(cidrs),
    status: mostly(
      some({
        addresses: mostly(
          fc.array(some({ type: fc.constantFrom('InternalIP', 'Hostname', 'ExternalIP'), address: mostly(address) }), {
            maxLength: 4,
          }),
        ),
        conditions: mostly(
          fc.array(
            some({ type: fc.constantFrom('Ready', 'NetworkUnavailable'), status: fc.constantFrom('True', 'False') }),
            { maxLength: 3 },
          ),
        ),
      }),
    ),
  }),
  Namespace: fc.record({
    apiVersion: fc.constant('v1'),
    kind: fc.constant('Namespace'),
    metadata: metadata(false),
    spec: mostly(fc.constant({ finalizers: ['kubernetes'] })),
    status: mostly(fc.constant({ phase: 'Active' })),
  }),
};
const projections = { Pod: projectPod, Node: projectNode, Namespace: projectNamespace };

for (const kind of ['Pod', 'Node', 'Namespace'] as const) {
  test(`${kind}: a projection is what the decoder makes of it; what the decoder refuses for its shape has none`, () => {
    const intern = new Interner();
    let projected = 0;
    fc.assert(
      fc.property(objects[kind], (value) => {
        const object: unknown = JSON.parse(JSON.stringify(value));
        const { typed, faults } = decodeObject(kind satisfies Kind, object);
        const projection = projections[kind](object as RawObject, intern);
        if (!projection) return;
        projected++;
        // Names are checked by the API server, and here by the decoder alone.
        if (typed) assert.deepEqual(projection, typed.object);
        else
          assert.ok(
            faults.every(({ path }) => path[0] === 'metadata' || path.includes('name')),
            JSON.stringify(faults),
          );
      }),
      { numRuns: 2_000 },
    );
    assert.ok(projected > 500, `only ${projected} of 2000 took the fast path`);
  });
}

test('equal labels and ports of many pods are one object, and a full table only loses sharing', () => {
  const intern = new Interner();
  const pod = (name: string, app: string): RawObject => ({
    metadata: { name, namespace: 'web', labels: { app } },
    spec: { containers: [{ ports: [{ containerPort: 80 }] }] },
  });
  const [a, b] = [projectPod(pod('a', 'x'), intern)!, projectPod(pod('b', 'x'), intern)!];
  assert.equal(a.metadata.labels, b.metadata.labels);
  assert.equal(a.ports, b.ports);
  for (let index = 0; index < 30_000; index++) projectPod(pod('c', `${index}`), intern);
  assert.deepEqual(projectPod(pod('d', 'x'), intern)!.metadata.labels, { app: 'x' });
});
