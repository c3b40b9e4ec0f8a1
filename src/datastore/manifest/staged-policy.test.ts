import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stagedKinds } from '#model';
import { decodeObject, identify } from './decode.ts';
import type { DocumentSource } from './metadata.ts';
import { formatPath } from './reader.ts';

type Spec = Readonly<Record<string, unknown>>;

function read(kind: string, spec: Spec | undefined, source: DocumentSource = 'directory') {
  const document = { apiVersion: 'projectcalico.org/v3', kind, metadata: { name: 'x' }, ...(spec && { spec }) };
  const identity = identify(document);
  assert.equal(identity.type, 'object', kind);
  const decoded = decodeObject(identity.type === 'object' ? identity.kind : 'Node', document, source);
  const texts = (all: typeof decoded.faults) => all.map(({ path, message }) => `${formatPath(path)}: ${message}`);
  return { object: decoded.typed?.object as never as Spec, faults: texts(decoded.faults), notes: texts(decoded.notes) };
}

test('staged kinds read as their enforced ones, with an action; Set where none is written', () => {
  const allow = { action: 'Allow', protocol: 'TCP', destination: { ports: [80] } };
  for (const [staged, enforced, spec] of [
    ['StagedNetworkPolicy', 'NetworkPolicy', { tier: 'a', order: 5, selector: 'has(b)', ingress: [allow] }],
    ['StagedGlobalNetworkPolicy', 'GlobalNetworkPolicy', { namespaceSelector: 'has(c)', egress: [allow] }],
  ] as const) {
    const { metadata: _, ...expected } = read(enforced, spec).object;
    const { metadata, ...found } = read(staged, spec).object;
    assert.deepEqual(found, { ...expected, stagedAction: 'Set' }, staged);
    assert.equal((metadata as { namespace: string }).namespace, staged === 'StagedNetworkPolicy' ? 'default' : '');
  }
  const kubernetes = read('StagedKubernetesNetworkPolicy', {
    stagedAction: 'Set',
    podSelector: {},
    egress: [{ ports: [{ port: 53, protocol: 'UDP' }] }],
  });
  assert.deepEqual(kubernetes.faults, []);
  assert.deepEqual(kubernetes.object['policyTypes'], ['Ingress', 'Egress'], 'inferred as the API server does');
  assert.equal(kubernetes.object['stagedAction'], 'Set');
  for (const kind of stagedKinds) {
    assert.equal(read(kind, { stagedAction: '' }).object['stagedAction'], 'Set');
    assert.match(read(kind, undefined).faults.join(), /^spec: is required/);
    assert.match(
      read(kind, { stagedAction: 'set' }).faults.join(),
      /^spec\.stagedAction: .*Set, Delete, Learn, Ignore/,
    );
  }
  const older = {
    apiVersion: 'crd.projectcalico.org/v1',
    kind: 'StagedNetworkPolicy',
    metadata: { name: 'x' },
    spec: {},
  };
  assert.equal(identify(older).type, 'object', 'as Calico stores it');
});

test('Delete names a policy and says nothing else; recommendations are noted', () => {
  assert.deepEqual(read('StagedNetworkPolicy', { stagedAction: 'Delete', tier: 'a' }).faults, []);
  assert.deepEqual(
    read('StagedGlobalNetworkPolicy', { stagedAction: 'Delete', selector: 'all()', order: 5, types: [] }).faults,
    ['selector', 'order'].map(
      (name) => `spec.${name}: stands beside stagedAction Delete, which only names a policy; remove it`,
    ),
  );
  assert.match(
    read('StagedKubernetesNetworkPolicy', {
      stagedAction: 'Delete',
      podSelector: { matchLabels: { a: 'b' } },
    }).faults.join(),
    /^spec\.podSelector: stands beside/,
  );
  assert.deepEqual(read('StagedKubernetesNetworkPolicy', { stagedAction: 'Delete', podSelector: {} }).faults, []);
  for (const action of ['Learn', 'Ignore']) {
    const { object, notes } = read('StagedNetworkPolicy', { stagedAction: action });
    assert.equal(object['stagedAction'], action);
    assert.match(notes.join(), /^spec\.stagedAction: .*nothing is reported of it until it is Set/);
  }
});

test('what an enforced policy may not say a staged one may not either', () => {
  const faults = (kind: string, spec: Spec, source?: DocumentSource) => read(kind, spec, source).faults.join('; ');
  assert.match(faults('StagedNetworkPolicy', { ingress: [{ action: 'Allow', protocol: 'XCP' }] }), /ingress\[0\]/);
  assert.match(faults('StagedGlobalNetworkPolicy', { preDNAT: true }), /^spec\.applyOnForward: /);
  assert.match(
    faults('StagedKubernetesNetworkPolicy', { podSelector: {}, ingress: [{ ports: [{ port: 70_000 }] }] }),
    /^spec\.ingress\[0\]\.ports\[0\]\.port: /,
  );
  assert.match(faults('StagedKubernetesNetworkPolicy', { podSelector: {}, later: 1 }, 'api'), /^spec\.later: /);
});

test('a staged policy may make no more of the kernel than one in force, names of domains included', () => {
  const ports = Array.from({ length: 5_000 }, (_, i) => 1 + 2 * i);
  const domains = ['www.example.com', 'example.org'];
  const wide = { action: 'Allow', protocol: 'TCP', destination: { domains, ports } };
  for (const kind of ['StagedNetworkPolicy', 'StagedGlobalNetworkPolicy'] as const) {
    const wides = (length: number): Spec => ({ types: ['Egress'], egress: Array.from({ length }, () => wide) });
    assert.deepEqual(read(kind, wides(91)).faults, [], kind);
    const [fault, ...others] = read(kind, wides(92)).faults;
    assert.deepEqual(others, []);
    assert.match(fault!, /^spec\.egress\[91\]: makes, with the rules before it, .* more than 65536/, kind);
    const { egress } = read(kind, wides(92), 'api').object as { readonly egress: readonly Spec[] };
    assert.deepEqual([egress[90]!['unknown'], egress[91]!['unknown']], [undefined, true], kind);
  }
  const to = Array.from({ length: 9_000 }, (_, i) => ({ podSelector: { matchLabels: { app: `a${i}` } } }));
  const [fault, ...others] = read('StagedKubernetesNetworkPolicy', { podSelector: {}, egress: [{ to }] }, 'api').faults;
  assert.deepEqual(others, []);
  assert.match(fault!, /^spec\.egress\[0\]: .* 9000 sets, more than 8192/);
});
