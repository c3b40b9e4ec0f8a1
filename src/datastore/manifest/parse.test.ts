import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseManifest } from './parse.ts';

function documents(text: string) {
  const parsed = parseManifest(text);
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return parsed.documents;
}

test('several YAML documents; empty ones are none; places count from the file', () => {
  const found = documents('---\na: 1\n---\n# nothing\n---\nb:\n  c: [1, 2]\n...\n');
  assert.deepEqual(
    found.map((d) => d.value),
    [{ a: 1 }, { b: { c: [1, 2] } }],
  );
  assert.deepEqual(found[1]!.place(['b', 'c', 1]), { line: 7, column: 10 });
  assert.deepEqual(found[1]!.place(['b', 'none', 'deeper']), { line: 6, column: 1 });
  assert.deepEqual(found[1]!.start, { line: 6, column: 1 });
  assert.deepEqual(documents(''), []);
  assert.deepEqual(documents('\ufeffa: 1').length, 1);
});

test('JSON has places too, and lists stand for their items', () => {
  const [first] = documents('{\n  "a": {\n    "b": 1\n  }\n}');
  assert.deepEqual(first!.place(['a', 'b']), { line: 3, column: 5 });
  const items = documents('apiVersion: v1\nkind: List\nitems:\n- {kind: Pod}\n- {kind: Node}\n');
  assert.deepEqual(
    items.map((d) => d.value),
    [{ kind: 'Pod' }, { kind: 'Node' }],
  );
  assert.equal(items[1]!.place(['kind']).line, 5);
  assert.deepEqual(documents('{"apiVersion":"v1","kind":"PodList","items":[{"metadata":{}}]}')[0]!.value, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {},
  });
});

test('a syntax error anywhere breaks the file, with its line', () => {
  const broken = (text: string) => {
    const parsed = parseManifest(text);
    assert.ok(!parsed.ok, text);
    return `${parsed.place.line}: ${parsed.message}`;
  };
  assert.match(broken('a: 1\n---\nb: [1\n'), /^[34]: not valid YAML/);
  assert.match(broken('a: 1\na: 2\n'), /^2: not valid YAML: Map keys must be unique/);
  assert.match(broken('a:\n\tb: 1\n'), /^2: .*indent with spaces/);
  assert.match(broken('{"a": '), /not valid YAML/);
  assert.match(broken(`a: &a [1,1,1,1]\n${'b: [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n'.repeat(1)}c: *missing`), /alias/i);
  assert.match(broken(`${'['.repeat(20_000)}`), /./);
});

test('a small file cannot become a large object', () => {
  let text = 'l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n';
  for (let i = 1; i < 9; i++)
    text += `l${i}: &l${i} [${Array(10)
      .fill(`*l${i - 1}`)
      .join(', ')}]\n`;
  const parsed = parseManifest(text);
  assert.ok(!parsed.ok);
  assert.match(parsed.message, /alias/i);
});
