import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Secret } from '#kit';
import { sameObject } from '../same-object.ts';
import { updatesBetween } from '../updates.ts';
import { withImpliedNamespaces } from './implied-namespaces.ts';
import { type ManifestFile, readManifestFile } from './manifest-file.ts';
import { type Held, resolve } from './resolve.ts';

function read(path: string, text: string): ManifestFile {
  const steps = readManifestFile(path, text);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}
/** A Namespace document; `version` shows as a label, `!` makes it invalid. */
const doc = (name: string, version: string): string =>
  version === '!'
    ? `apiVersion: v1\nkind: Namespace\nmetadata: {name: ${name}, labels: {v: [bad]}}`
    : `apiVersion: v1\nkind: Namespace\nmetadata: {name: ${name}, labels: {v: "${version}"}}`;
const versions = (held: ReadonlyMap<string, Held>): Record<string, string | undefined> =>
  Object.fromEntries(
    [...held].sort().map(([ref, { version }]) => [ref.slice(10), version.typed.object.metadata.labels['v']]),
  );

test('an invalid document keeps the last good version, a broken file all it gave; what is claimed no more goes', () => {
  const first = resolve([read('a', `${doc('x', '1')}\n---\n${doc('y', '1')}`), read('b', doc('z', '1'))], new Map());
  assert.deepEqual(versions(first.held), { x: '1', y: '1', z: '1' });
  const second = resolve([read('a', `${doc('x', '!')}\n---\n${doc('y', '2')}`), read('b', 'a: [')], first.held);
  assert.deepEqual(versions(second.held), { x: '1', y: '2', z: '1' });
  assert.deepEqual(
    second.faults.map((f) => [f.file, f.line, f.object, f.blocking]),
    [
      ['a', 3, 'Namespace x', false],
      ['b', 1, undefined, false],
    ],
  );
  assert.deepEqual(versions(resolve([read('a', doc('y', '3'))], second.held).held), { y: '3' });
});

test('what was never valid blocks: an object, a file, a document that does not say what it is', () => {
  for (const text of [doc('x', '!'), 'a: [', 'kind: Namespace', `${doc('x', '1')}\n---\nmetadata: {name: y}`]) {
    const { faults } = resolve([read('a', text)], new Map());
    assert.ok(
      faults.some((fault) => fault.blocking),
      text,
    );
  }
});

test('a staged policy that was never valid holds nothing back: it never is in force', () => {
  const staged = (kind: string, spec: string): string =>
    `apiVersion: projectcalico.org/v3\nkind: ${kind}\nmetadata: {name: x}\nspec: ${spec}`;
  for (const kind of ['StagedNetworkPolicy', 'StagedGlobalNetworkPolicy', 'StagedKubernetesNetworkPolicy']) {
    const { faults, held } = resolve(
      [read('a', `${doc('x', '1')}\n---\n${staged(kind, '{stagedAction: Sometimes}')}`)],
      new Map(),
    );
    assert.equal(held.size, 1);
    assert.deepEqual(
      faults.map(({ blocking, effect }) => [blocking, effect]),
      [[false, 'it was never valid: nothing is reported of it']],
      kind,
    );
    const good = resolve([read('a', staged(kind, '{}'))], new Map());
    assert.deepEqual([good.faults, good.held.size], [[], 1], kind);
  }
});

test('a document that lost its name keeps the object that it was', () => {
  const before = resolve([read('a', `${doc('x', '1')}\n---\n${doc('y', '1')}`)], new Map());
  const after = resolve([read('a', `${doc('x', '2')}\n---\nkind: Namespace`)], before.held);
  assert.deepEqual(versions(after.held), { x: '2', y: '1' });
  assert.deepEqual(
    after.faults.map((f) => f.blocking),
    [false],
  );
});

test('the first file by name wins, also while it cannot be read, and the other is told so', () => {
  const both = resolve([read('b', doc('x', '2')), read('a', doc('x', '1'))], new Map());
  assert.deepEqual(versions(both.held), { x: '1' });
  assert.match(both.faults[0]!.message, /is defined in a:1 as well/);
  assert.equal(both.faults[0]!.blocking, false);
  const broken = resolve([read('b', doc('x', '2')), read('a', '[')], both.held);
  assert.deepEqual(versions(broken.held), { x: '1' });
  assert.deepEqual(versions(resolve([read('b', doc('x', '2'))], broken.held).held), { x: '2' });
});

test('once every file is good again, the result depends on the files alone', () => {
  const name = fc.constantFrom('x', 'y', 'z');
  const file = fc.oneof(
    { weight: 4, arbitrary: fc.array(fc.tuple(name, fc.constantFrom('1', '2', '!')), { maxLength: 3 }) },
    { weight: 1, arbitrary: fc.constant('broken' as const) },
  );
  const directory = fc.record({ a: file, b: file, c: file }, { requiredKeys: [] });
  const files = (state: Record<string, readonly (readonly [string, string])[] | 'broken' | undefined>) =>
    Object.entries(state).map(([path, docs]) =>
      read(path, docs === 'broken' || !docs ? 'x: [' : docs.map(([n, v]) => doc(n, v)).join('\n---\n')),
    );
  fc.assert(
    fc.property(fc.array(directory, { maxLength: 5 }), directory, (history, last) => {
      let held: ReadonlyMap<string, Held> = new Map();
      for (const state of history) {
        const { held: next, faults } = resolve(files(state), held);
        // Nothing that was in force goes while a file that gave it is there and cannot be read.
        for (const [ref, { file: owner }] of held) {
          if ((state as Record<string, unknown>)[owner] === 'broken') assert.ok(next.has(ref), ref);
        }
        assert.ok(faults.every((f) => f.message !== ''));
        held = next;
      }
      const good = Object.fromEntries(
        Object.entries(last).map(([path, docs]) => [path, docs === 'broken' ? [] : docs.filter(([, v]) => v !== '!')]),
      );
      assert.deepEqual(versions(resolve(files(good), held).held), versions(resolve(files(good), new Map()).held));
    }),
  );
});

test('updates: one for each object, policies before pods, deletions last; none for what is equal', () => {
  const pod = 'apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: web}\nspec: {nodeName: n}';
  const policy =
    'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np, namespace: web}\nspec: {podSelector: {}}';
  const one = resolve([read('a', `${pod}\n---\n${policy}\n---\n${doc('old', '1')}`)], new Map());
  const inForce = withImpliedNamespaces(one.held);
  assert.deepEqual(
    updatesBetween(new Map(), inForce).map((u) => `${u.type} ${u.kind} ${u.key}`),
    ['upsert Namespace old', 'upsert Namespace web', 'upsert NetworkPolicy web/np', 'upsert Pod web/p'],
  );
  const again = resolve([read('a', `# moved\n${policy}\n---\n${pod}\n---\n${doc('old', '1')}`)], one.held);
  assert.deepEqual(updatesBetween(inForce, withImpliedNamespaces(again.held)), []);
  const less = withImpliedNamespaces(resolve([read('a', doc('web', '1'))], again.held).held);
  assert.deepEqual(
    updatesBetween(inForce, less).map((u) => `${u.type} ${u.kind} ${u.key}`),
    ['upsert Namespace web', 'delete Pod web/p', 'delete NetworkPolicy web/np', 'delete Namespace old'],
  );
});

test('equality sees through secrets', () => {
  assert.equal(sameObject({ p: new Secret('a') }, { p: new Secret('a') }), true);
  assert.equal(sameObject({ p: new Secret('a') }, { p: new Secret('b') }), false);
  assert.equal(sameObject({ p: new Secret('a') }, { p: {} }), false);
  assert.equal(sameObject([1, { a: 2 }], [1, { a: 2 }]), true);
  assert.equal(sameObject([1], { 0: 1 }), false);
  assert.equal(sameObject({ a: undefined }, { b: undefined }), false);
});
