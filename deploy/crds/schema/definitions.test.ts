import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { definitions } from './index.ts';
import { yamlOf } from './yaml.ts';

const folder = path.join(import.meta.dirname, '..');

test('the YAML files are what the definitions say', () => {
  const files = fs.readdirSync(folder).filter((name) => name.endsWith('.yaml'));
  assert.deepEqual(files.sort(), [...definitions.keys()].sort());
  for (const [file, definition] of definitions) {
    assert.equal(
      fs.readFileSync(path.join(folder, file), 'utf8'),
      yamlOf(definition),
      `${file} is out of date; run node deploy/crds/write.ts`,
    );
  }
});

interface Node {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly 'x-kubernetes-validations'?: readonly { readonly rule: string; readonly message?: string }[];
}

test('every field is described, every CEL rule has a message of its own that names what it is about', () => {
  const undescribed: string[] = [];
  const walk = (node: Node, at: string): void => {
    if (!node.description && !at.startsWith('.metadata')) undescribed.push(at);
    for (const { message } of node['x-kubernetes-validations'] ?? []) assert.ok(message, at);
    for (const [name, child] of Object.entries(node.properties ?? {})) walk(child, `${at}.${name}`);
    if (node.items) walk(node.items, `${at}[]`);
  };
  for (const [file, definition] of definitions) {
    const { spec } = definition as { spec: { versions: [{ schema: { openAPIV3Schema: Node } }] } };
    walk(spec.versions[0].schema.openAPIV3Schema, '');
    assert.deepEqual(undescribed, [], file);
  }
});
