import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DomainPatterns } from './patterns.ts';

/** Written from the documents: without `*` the very name; `*` is one label or more. */
function naive(pattern: string, name: string): boolean {
  const text = pattern
    .split('.')
    .map((label) => (label === '*' ? '[^.]+([.][^.]+)*' : label))
    .join('[.]');
  return new RegExp(`^${text}$`).test(name);
}
const matches = (pattern: string, name: string): boolean => {
  const patterns = new DomainPatterns<true>();
  patterns.add(pattern, true);
  return patterns.matching(name).size > 0;
};

test("upstream's examples", () => {
  // The Network Policy API.
  for (const [pattern, name, expected] of [
    ['*.kubernetes.io', 'blog.kubernetes.io', true],
    ['*.kubernetes.io', 'latest.blog.kubernetes.io', true],
    ['*.kubernetes.io', 'kubernetes.io', false],
    ['*.kubernetes.io', 'wikipedia.org', false],
    ['kubernetes.io', 'blog.kubernetes.io', false],
    // Calico's.
    ['*.google.com', 'www.ipv6.google.com', true],
    ['www.*.com', 'www.sun.com', true],
    ['www.*.com', 'www.com', false],
    ['www.google.*', 'www.google.co.uk', true],
    ['update.*.mycompany.com', 'update.secure.suite.mycompany.com', true],
    ['update.*.mycompany.com', 'update.mycompany.com', false],
    ['*.google.com', 'notgoogle.com', false],
    ['www.*.com', 'wwwx.sun.com', false],
  ] as const)
    assert.equal(matches(pattern, name), expected, `${pattern} ${name}`);
});

test('any patterns that come and go, any name: as each says by itself', () => {
  const label: fc.Arbitrary<string> = fc.constantFrom('a', 'b', 'ab');
  const name = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join('.'));
  const pattern = fc
    .tuple(fc.array(label, { minLength: 1, maxLength: 4 }), fc.option(fc.nat(4)))
    .map(([labels, star]) => (star === null ? labels : labels.with(star % labels.length, '*')).join('.'))
    .filter((text) => text !== '*');
  const words = fc.array(fc.tuple(pattern, fc.nat(2), fc.boolean()), { maxLength: 12 });
  fc.assert(
    fc.property(words, name, (steps, wanted) => {
      const patterns = new DomainPatterns<number>();
      const there = new Map<string, readonly [string, number]>();
      for (const [text, owner, add] of steps) {
        const key = `${text} ${owner}`;
        if (add && !there.has(key)) {
          patterns.add(text, owner);
          there.set(key, [text, owner]);
        } else if (!add) {
          patterns.remove(text, owner);
          there.delete(key);
        }
      }
      const expected = [...there.values()].flatMap(([text, owner]) => (naive(text, wanted) ? [owner] : []));
      assert.deepEqual([...patterns.matching(wanted)].sort(), [...new Set(expected)].sort());
    }),
    { numRuns: 2_000 },
  );
});
