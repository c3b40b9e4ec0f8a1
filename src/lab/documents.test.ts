import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { manifestsBefore, policies } from './demo/phases.ts';
import { parseManifests, readManifests } from './documents.ts';
import { LabError } from './errors.ts';
import { checkManifests, complete, nodeAsn, podOf, withStatus } from './manifests.ts';
import { parseTopology } from './topology.ts';

const problemsOf = (text: string): string[] => {
  const problems: string[] = [];
  parseManifests(text, 'f.yaml', problems);
  return problems;
};

test('each document is known with its line, broken ones are named with theirs', () => {
  const problems: string[] = [];
  const text =
    '# head\napiVersion: v1\nkind: Namespace\nmetadata: { name: a }\n---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n';
  const [namespace, pod] = parseManifests(text, 'f.yaml', problems);
  assert.deepEqual(problems, []);
  assert.deepEqual([namespace!.line, namespace!.namespace], [2, '']);
  assert.deepEqual([pod!.line, pod!.namespace, pod!.lineOf(['metadata', 'name'])], [6, 'default', 9]);
  assert.equal(pod!.lineOf(['metadata', 'nothing', 'there']), 9);
  assert.match(problemsOf('a: [1')[0]!, /^f.yaml:1: /);
  assert.match(problemsOf('apiVersion: v1\nkind: Pod\n---\n- 1\n')[1]!, /^f.yaml:4: not a Kubernetes object/);
  assert.match(
    problemsOf('apiVersion: v1\nkind: Pod\nmetadata:\n  name: A_B\n')[0]!,
    /^f.yaml:4: metadata.name: "A_B" is not a DNS name/,
  );
});

test('an object that is given twice is refused with both places', (t) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-documents-'));
  t.after(() => fs.rmSync(directory, { recursive: true }));
  for (const name of ['a.yaml', 'b.yml'])
    fs.writeFileSync(path.join(directory, name), 'apiVersion: v1\nkind: Namespace\nmetadata: { name: x }\n');
  assert.throws(
    () => readManifests([directory]),
    (error) => error instanceof LabError && /b\.yml:1: Namespace x stands in .*a\.yaml:1 already/.test(error.message),
  );
  assert.throws(() => readManifests([path.join(directory, 'none')]), /no such file or directory/);
});

test("the demonstration's own manifests are valid and complete", () => {
  const manifests = readManifests([manifestsBefore, policies]);
  assert.deepEqual(checkManifests(manifests, ['node1', 'node2', 'node3']), []);
  assert.equal(manifests.filter(({ kind }) => kind === 'Pod').length, 12);
  const objects = complete(manifests, []);
  assert.equal(nodeAsn(objects, 'node1'), 64512);
});

test('what the agents would refuse is refused beforehand, with file and line', () => {
  const text = `apiVersion: v1
kind: Node
metadata: { name: n1 }
spec: { podCIDRs: [10.1.0.0/24] }
status: { addresses: [{ type: InternalIP, address: 10.0.0.1 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: p }
spec:
  nodeName: elsewhere
  containers: [{ name: c, image: i, ports: [{ containerPort: 99999 }] }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: d }
`;
  const problems = checkManifests(parseManifests(text, 'f.yaml', []), ['n1', 'n2']).join('\n');
  assert.match(problems, /^f.yaml:12: Pod default\/p: .*99999/m);
  assert.match(
    problems,
    /^f.yaml:11: Pod default\/p: spec.nodeName "elsewhere" is no node of the topology \(n1, n2\)/m,
  );
  assert.match(problems, /^f.yaml:15: Deployment d: .*leave it out/m);
  assert.match(problems, /node n2 has no Node manifest/);
});

test('objects get what an API server adds, and keep uid and status when applied again', () => {
  const text =
    'apiVersion: v1\nkind: Pod\nmetadata: { name: p, namespace: shop, labels: { v: "1" } }\nspec: { nodeName: n1, containers: [{ name: c, image: i, ports: [{ containerPort: 80 }] }] }\n';
  const first = complete(parseManifests(text, 'f', []), []);
  assert.deepEqual(
    first.map(({ kind, name }) => `${kind} ${name}`),
    ['Pod p', 'Namespace shop'],
  );
  assert.deepEqual(first[1]!.value['metadata'], {
    ...(first[1]!.value['metadata'] as object),
    labels: { 'kubernetes.io/metadata.name': 'shop' },
  });
  const running = withStatus(first[0]!, ['10.1.0.2', 'fd00::2'], ['10.0.0.1']);
  const again = complete(parseManifests(text.replace('"1"', '"2"'), 'f', []), [running, first[1]!]);
  assert.equal(again.length, 1);
  const pod = podOf(again[0]!);
  assert.equal(pod.uid, podOf(first[0]!).uid);
  assert.deepEqual(pod.addresses, ['10.1.0.2', 'fd00::2']);
  assert.deepEqual(pod.ports, [{ protocol: 'TCP', port: 80 }]);
  assert.match(pod.containerId, /^[0-9a-f]{64}$/);
});

test("a syntax error is named once, without the parser's own place", () => {
  assert.deepEqual(
    problemsOf('kind: ok\n---\nspec: [\n')
      .at(-1)
      ?.match(/^f\.yaml:\d+: not YAML: .*[^:]$/)?.length,
    1,
  );
  assert.doesNotMatch(problemsOf('spec: [\n')[0]!, /at line/);
});

test('the example of the README is a valid lab', () => {
  const readme = fs.readFileSync(path.join(import.meta.dirname, '..', '..', 'README.md'), 'utf8');
  const example = /```yaml\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
  const problems: string[] = [];
  const manifests = parseManifests(example, 'README.md', problems);
  const parsed = parseTopology(manifests.find(({ kind }) => kind === 'Topology')!);
  const nodes = parsed.topology!.nodes.map(({ name }) => name);
  assert.deepEqual([...problems, ...parsed.problems, ...checkManifests(manifests, nodes)], []);
  assert.equal(manifests.filter(({ kind }) => kind === 'Pod').length, 2);
});

test('nodes that share an address or a pod range, and names too long for files, are refused', () => {
  const node = (name: string, cidr: string, address: string): string =>
    `apiVersion: v1\nkind: Node\nmetadata: { name: ${name} }\nspec: { podCIDRs: [${cidr}] }\n` +
    `status: { addresses: [{ type: InternalIP, address: ${address} }] }\n`;
  const check = (text: string): string[] => checkManifests(parseManifests(text, 'f.yaml', []), ['a', 'b']);
  const a = node('a', '10.42.0.0/16', '10.0.0.1');
  assert.deepEqual(check(`${a}---\n${node('b', '10.43.0.0/16', '10.0.0.2')}`), []);
  assert.match(
    check(`${a}---\n${node('b', '10.42.1.0/24', '10.0.0.2')}`).join(),
    /Node b: podCIDRs 10\.42\.1\.0\/24 overlaps podCIDRs 10\.42\.0\.0\/16 of Node a/,
  );
  assert.match(
    check(`${a}---\n${node('b', '10.43.0.0/16', '10.0.0.1')}`).join(),
    /InternalIP 10\.0\.0\.1\/32 overlaps InternalIP 10\.0\.0\.1\/32 of Node a/,
  );
  const long = `apiVersion: v1\nkind: Pod\nmetadata: { name: ${'p'.repeat(240)} }\nspec: { nodeName: a, containers: [{ name: c, image: i }] }\n`;
  assert.match(check(long).join('\n'), /namespace and name are longer than 200 characters together/);
});
