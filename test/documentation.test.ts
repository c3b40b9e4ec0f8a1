/** What docs/bgp.md says is so: its example is a configuration, and the tests that it names are there; as are those of docs/policy.md. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { decodeObject, identify } from '#datastore';
import { readSpeakerFile } from '#speaker';
import { fencedBlocks } from './support/markdown.ts';

const root = path.join(import.meta.dirname, '..');
const document = fs.readFileSync(path.join(root, 'docs/bgp.md'), 'utf8');

test('the example of docs/bgp.md is a configuration', (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-docs-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const secret = path.join(folder, 'tor');
  fs.writeFileSync(secret, 'secret\n');
  const [example, network] = fencedBlocks(document).filter(({ language }) => language === 'yaml');
  const file = path.join(folder, 'speaker.yaml');
  fs.writeFileSync(file, example!.text.replace('/run/secrets/tor', secret));
  const config = readSpeakerFile(file);
  assert.equal(config.peers[0]?.password, 'secret');
  assert.equal(config.peers[0]?.importFilter?.ipv4.length, 2);
  assert.ok(config.peers[0]?.bfd);
  fs.writeFileSync(file, network!.text);
  const [outside] = readSpeakerFile(file).peers;
  assert.equal(outside?.importFilter?.ipv4.length, 8);
  assert.equal(outside?.ttlSecurityHops, 1);
});

test('the objects of docs/kubernetes.md are understood, with nothing in them that is not used', () => {
  const text = fs.readFileSync(path.join(root, 'docs/kubernetes.md'), 'utf8');
  const examples = fencedBlocks(text).filter(({ language }) => language === 'yaml');
  assert.ok(examples.length > 0);
  for (const example of examples) {
    const value: unknown = parse(example.text);
    const identity = identify(value);
    assert.equal(identity.type, 'object', example.text);
    const { faults, notes } = decodeObject(identity.type === 'object' ? identity.kind : 'Node', value, 'directory');
    assert.deepEqual([faults, notes], [[], []]);
  }
});

test('every test file that docs/bgp.md names is there, and holds the titles that are quoted behind it', () => {
  const { named, missing } = namedTests(document);
  assert.deepEqual(missing, []);
  assert.ok(named > 150, `${named} tests are named`);
});

test('docs/policy.md: the same, and the cases that it names are in the suite', () => {
  const text = fs.readFileSync(path.join(root, 'docs/policy.md'), 'utf8');
  const { named, missing } = namedTests(text);
  assert.deepEqual(missing, []);
  assert.ok(named > 20, `${named} tests are named`);
  for (const [suite, least] of [
    ['tiers', 9],
    ['calico', 11],
  ] as const) {
    const file = path.join(root, `test/fixtures/policy/suite-${suite}.json`);
    const { cases } = JSON.parse(fs.readFileSync(file, 'utf8')) as {
      readonly cases: readonly { readonly id: string }[];
    };
    const rows = text.matchAll(new RegExp(`suite-${suite}\\.json ((?:\`[a-z-]+\`(?: and )?)+)`, 'g'));
    const documented = [...rows].flatMap(([, names]) =>
      [...names!.matchAll(/`([a-z-]+)`/g)].map(([, name]) => `${suite}/${name}`),
    );
    const ids = cases.map(({ id }) => id);
    assert.deepEqual(
      documented.filter((id) => !ids.includes(id)),
      [],
    );
    assert.ok(documented.length > least, `${documented.length} cases of ${suite} are named`);
  }
});

/** Of the rows of a document's tables. */
function namedTests(of: string): { readonly named: number; readonly missing: readonly string[] } {
  const missing: string[] = [];
  let named = 0;
  for (const row of of.split('\n').filter((line) => line.startsWith('| '))) {
    let text = '';
    // A file counts until the next one is named; titles stand in quotes, cut short by dots.
    for (const [, file, quoted] of row.matchAll(/([\w./-]+\.test\.ts)|"([^"]+)"/g)) {
      if (file !== undefined) {
        named++;
        const found = candidates(file).find((name) => fs.existsSync(path.join(root, name)));
        if (found) text = fs.readFileSync(path.join(root, found), 'utf8');
        else missing.push(file);
      } else if (text !== '') {
        for (const part of quoted!.split('...')) {
          const words = part.trim();
          if (words.length > 8 && !text.includes(words) && !text.includes(words.replaceAll("'", "\\'"))) {
            missing.push(`"${words}"`);
          }
        }
      }
    }
  }
  return { named, missing };
}

/** A file of test/interop may stand without its folder behind another of it. */
const candidates = (file: string): string[] => [file, `test/interop/${file}`];
