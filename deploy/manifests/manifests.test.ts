import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { chartFolder, renderChart } from './chart.ts';
import { agentPodFile, packageVersion, renderAgentPod, renderManifests } from './render.ts';

type Manifest = { readonly kind: string; readonly apiVersion: string; readonly metadata: { readonly name: string } };

const documentsOf = (text: string): Manifest[] =>
  parseAllDocuments(text).flatMap((document) => (document.toJS() as Manifest | null) ?? []);

test('the manifests in the repository are those that their parts make', () => {
  for (const [file, text] of renderManifests())
    assert.equal(fs.readFileSync(path.join(import.meta.dirname, file), 'utf8'), text, `${file}: npm run manifests`);
  assert.equal(fs.readFileSync(agentPodFile, 'utf8'), renderAgentPod(), `${agentPodFile}: npm run manifests`);
});

test('the chart in the repository is that which manifests, definitions and options make', () => {
  const chart = renderChart(packageVersion());
  for (const [file, text] of chart)
    assert.equal(fs.readFileSync(path.join(chartFolder, file), 'utf8'), text, `${file}: npm run manifests`);
  const made = [...chart.keys()].filter((file) => file.startsWith('crd-files/')).map((file) => path.basename(file));
  assert.deepEqual(fs.readdirSync(path.join(chartFolder, 'crd-files')).sort(), made.sort());
});

test('the two installations differ by the definitions of projectcalico.org alone', () => {
  const manifests = renderManifests();
  const names = (file: string): string[] =>
    documentsOf(manifests.get(file)!).map((object) => `${object.kind} ${object.metadata.name}`);
  const whole = names('poplin.yaml');
  const existing = names('poplin-existing-crds.yaml');
  assert.equal(new Set(whole).size, whole.length, 'no object twice');
  const only = whole.filter((name) => !existing.includes(name));
  assert.deepEqual(
    existing.filter((name) => !whole.includes(name)),
    [],
  );
  assert.ok(only.length > 0);
  for (const name of only) assert.match(name, /^CustomResourceDefinition \w+\.projectcalico\.org$/);
  assert.ok(existing.includes('DaemonSet poplin'));
});

test('the agent is given no privilege that a comment does not account for', () => {
  const daemonSet = documentsOf(renderManifests().get('poplin.yaml')!).find(
    ({ kind }) => kind === 'DaemonSet',
  ) as never as {
    readonly spec: { readonly template: { readonly spec: Record<string, unknown> } };
  };
  const pod = daemonSet.spec.template.spec;
  assert.doesNotMatch(JSON.stringify(pod), /privileged|hostPID|hostIPC/);
  const source = fs.readFileSync(path.join(import.meta.dirname, 'src', '50-daemonset.yaml'), 'utf8').split('\n');
  for (const [index, line] of source.entries()) {
    if (!/^ +- [A-Z]+_[A-Z_]+$|hostPath:/.test(line)) continue;
    // The comment stands above the entry; a hostPath may share that of the entry before it.
    const above = source.slice(Math.max(0, index - 4), index).join('\n');
    assert.match(above, /#/, `${line.trim()} is justified`);
  }
});
