import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc, { type Arbitrary } from 'fast-check';
import {
  and,
  evaluateSelector,
  has,
  isIn,
  type LabelSelector,
  type LabelSelectorRequirement,
  type Labels,
  labelValue,
  not,
  or,
  parseSelector,
  type SelectorNode,
  selector,
} from '#model';
import { LabelIndex, requirementOf } from './label-index.ts';
import { compileLabelSelector } from './label-selector.ts';

function compile(matchLabels: Labels, ...expressions: [string, LabelSelectorRequirement['operator'], string[]][]) {
  const source: LabelSelector = {
    matchLabels,
    matchExpressions: expressions.map(([key, operator, values]) => ({ key, operator, values })),
  };
  return compileLabelSelector(source);
}

test('LabelSelector: where implementations go wrong', () => {
  assert.equal(compile({}, ['app', 'NotIn', ['web']]).matches({}), true, 'NotIn matches without the key');
  assert.equal(compile({}, ['app', 'DoesNotExist', []]).matches({}), true);
  assert.equal(compile({}, ['app', 'DoesNotExist', []]).matches({ app: '' }), false);
  assert.equal(compile({}, ['app', 'Exists', []]).matches({ app: '' }), true, 'Exists matches an empty value');
  assert.equal(compile({}, ['app', 'In', ['']]).matches({}), false);
  assert.equal(compile({ app: '' }).matches({}), false, 'an empty value needs the key');
  assert.equal(compile({ app: '' }).matches({ app: '' }), true);
  assert.equal(compile({}).matches({}), true, 'empty selects everything');
  assert.equal(compile({ a: '1' }, ['b', 'Exists', []]).matches({ a: '1' }), false, 'all terms must hold');
  assert.equal(compile({ constructor: 'x' }).matches({}), false);
  assert.equal(compile({}, ['toString', 'Exists', []]).matches({}), false, 'labels do not inherit');
});

test('selectors that mean the same share one text', () => {
  const same = [
    compile({ app: 'web', tier: 'db' }),
    compile({ tier: 'db', app: 'web' }),
    compile({ tier: 'db' }, ['app', 'In', ['web']]),
    compile({}, ['tier', 'In', ['db', 'db']], ['app', 'In', ['web']], ['app', 'In', ['web']]),
  ];
  for (const one of same) assert.equal(one.canonical, "app == 'web' && tier == 'db'");
  assert.equal(compile({}).canonical, 'all()');
  assert.equal(compile({}, ['a', 'NotIn', ['y', 'x']]).canonical, "a not in {'x', 'y'}");
  assert.equal(compile({}, ['a', 'NotIn', ['x']]).canonical, "a != 'x'");
  assert.equal(compile({}, ['a', 'DoesNotExist', []]).canonical, '!has(a)');
});

const parses: readonly (readonly [text: string, yes: Labels[], no: Labels[]])[] = [
  ['', [{}, { a: 'b' }], []],
  ['all()', [{}], []],
  ['!all()', [], [{}]],
  ['global()', [{}, { a: 'b' }], [{ 'projectcalico.org/namespace': 'x' }]],
  ["!global() && global != 'x'", [{ 'projectcalico.org/namespace': 'x' }], [{}]],
  ["rack == 'r1'", [{ rack: 'r1' }], [{}, { rack: 'r2' }]],
  ['rack == "r1"', [{ rack: 'r1' }], [{ rack: 'r2' }]],
  ["rack=='it\"s'", [{ rack: 'it"s' }], [{}]],
  ["rack != 'r1'", [{}, { rack: 'r2' }], [{ rack: 'r1' }]],
  ["rack in {'r1', 'r2'}", [{ rack: 'r1' }, { rack: 'r2' }], [{}, { rack: 'r3' }]],
  ['rack in {}', [], [{}, { rack: '' }]],
  ["rack not in {'r1'}", [{}, { rack: 'r2' }], [{ rack: 'r1' }]],
  ["rack notin{'r1'}", [{}], [{ rack: 'r1' }]],
  ["name contains 'od'", [{ name: 'node' }], [{}, { name: 'x' }]],
  ["name starts with 'no'", [{ name: 'node' }], [{ name: 'xno' }, {}]],
  ["name ends\twith 'de'", [{ name: 'node' }], [{ name: 'dex' }, {}]],
  ['has(example.com/a_b-c)', [{ 'example.com/a_b-c': '' }], [{}]],
  ['has ( a )', [{ a: '' }], [{}]],
  ['!has(a)', [{}], [{ a: '' }]],
  ["!(a == '1' || b == '2')", [{}, { a: '2' }], [{ a: '1' }, { b: '2' }]],
  ["has(a) || has(b) && c == '1'", [{ a: '' }, { b: '', c: '1' }], [{ b: '' }, { c: '1' }]],
  ["(has(a) || has(b)) && c == '1'", [{ a: '', c: '1' }], [{ a: '' }]],
  ["all == 'x' && has == 'y' && in in {'z'}", [{ all: 'x', has: 'y', in: 'z' }], [{}]],
  ["not == 'x'", [{ not: 'x' }], [{}]],
];

test("Calico's selector language", () => {
  for (const [text, yes, no] of parses) {
    const parsed = parseSelector(text);
    assert.ok(!('error' in parsed), `${text}: ${JSON.stringify(parsed)}`);
    for (const labels of yes) assert.equal(parsed.matches(labels), true, `${text} on ${JSON.stringify(labels)}`);
    for (const labels of no) assert.equal(parsed.matches(labels), false, `${text} on ${JSON.stringify(labels)}`);
  }
});

test('a selector of many kilobytes is canonical, and asks each value', () => {
  const values = Array.from({ length: 5_000 }, (_, i) => `value-${i}`);
  const { canonical, matches } = compile({}, ['a', 'In', values.toReversed()]);
  assert.ok(canonical.length > 50_000);
  for (const value of values) assert.ok(matches({ a: value }));
  for (const value of ['', 'value-', 'value-00', 'value-5000', 'zzz', 'aaa']) assert.ok(!matches({ a: value }), value);
});

test('what does not parse says where and what was expected', () => {
  const cases: readonly (readonly [text: string, position: number, expected: RegExp])[] = [
    ['rack', 4, /expected ==, !=, in/],
    ['rack = "a"', 5, /expected ==/],
    ['rack == r1', 8, /expected a string/],
    ["rack == 'r1", 8, /expected a string/],
    ["rack == 'a' rack == 'b'", 12, /expected &&, \|\| or the end/],
    ['(has(a)', 7, /expected \)/],
    ['has(a', 5, /expected \)/],
    ['has()', 4, /expected a label name/],
    ['a in {"x" "y"}', 10, /expected , or \}/],
    ['&& has(a)', 0, /expected a label name/],
    ['a == "x" &&', 11, /found the end/],
    ["a == 'x'\n", 8, /expected &&/],
    [`${'!'.repeat(100)}has(a)`, 65, /levels of nesting/],
    ['a'.repeat(2000), 1024, /longer than 1024/],
  ];
  for (const [text, position, expected] of cases) {
    const parsed = parseSelector(text);
    assert.ok('error' in parsed, text);
    assert.equal(parsed.position, position, text);
    assert.match(parsed.error, expected, text);
  }
});

test('no input makes the parser throw', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.constantFrom('a', ' ', '(', ')', '!', '&&', '||', '==', "'x'", '"', 'in', '{', '}', ',', 'has', 'not'),
        {
          maxLength: 12,
        },
      ),
      (parts) => void parseSelector(parts.join('')),
    ),
  );
});

const key = fc.constantFrom('a', 'b', 'c.d/e');
const value = fc.constantFrom('', 'x', 'xy', "it's");
const labelSets: Arbitrary<Labels> = fc.dictionary(key, value, { maxKeys: 3, noNullPrototype: true });
const nodes: Arbitrary<SelectorNode> = fc.letrec<{ node: SelectorNode }>((tie) => ({
  node: fc.oneof(
    { depthSize: 'medium' },
    key.map(has),
    fc.tuple(key, fc.array(value, { maxLength: 3 })).map(([k, values]) => isIn(k, values)),
    fc
      .tuple(key, value, fc.constantFrom('contains', 'startsWith', 'endsWith'))
      .map(([k, v, op]): SelectorNode => ({ op, key: k, value: v })),
    fc.constant<SelectorNode>({ op: 'all' }),
    tie('node').map(not),
    fc.array(tie('node'), { maxLength: 3 }).map(and),
    fc.array(tie('node'), { maxLength: 3 }).map(or),
  ),
})).node;

test('canonical text parses to the same selector', () => {
  fc.assert(
    fc.property(nodes, labelSets, (node, labels) => {
      const { canonical } = selector(node);
      const parsed = parseSelector(canonical);
      assert.ok(!('error' in parsed), canonical);
      assert.equal(parsed.canonical, canonical);
      assert.equal(parsed.matches(labels), evaluateSelector(node, labels), canonical);
    }),
    { numRuns: 500 },
  );
});

test('conjunction, disjunction and negation keep their truth through simplification', () => {
  fc.assert(
    fc.property(fc.array(nodes, { maxLength: 4 }), labelSets, (terms, labels) => {
      assert.equal(
        evaluateSelector(and(terms), labels),
        terms.every((term) => evaluateSelector(term, labels)),
      );
      assert.equal(
        evaluateSelector(or(terms), labels),
        terms.some((term) => evaluateSelector(term, labels)),
      );
      for (const term of terms) assert.equal(evaluateSelector(not(term), labels), !evaluateSelector(term, labels));
    }),
  );
});

test('the label index names every selector that flips, and no selector that does not read the changed label', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(nodes, { maxLength: 8, selector: (node) => node }),
      labelSets,
      labelSets,
      (all, a, b) => {
        const index = new LabelIndex<SelectorNode>();
        for (const node of all) index.add(node, node);
        const affected = index.affected(a, b);
        for (const node of all)
          if (evaluateSelector(node, a) !== evaluateSelector(node, b)) assert.ok(affected.has(node));
        assert.equal(index.affected(a, a).size, 0);
        for (const node of all) index.remove(node, node);
        assert.equal(index.affected(a, b).size, 0);
      },
    ),
    { numRuns: 300 },
  );
});

test('a value change concerns only selectors of the old and the new value', () => {
  const index = new LabelIndex<string>();
  for (let i = 0; i < 1000; i++) index.add(isIn('app', [`v${i}`]), `s${i}`);
  assert.deepEqual([...index.affected({ app: 'v1' }, { app: 'v2' })].sort(), ['s1', 's2']);
});

test('the requirement to search by is necessary', () => {
  fc.assert(
    fc.property(nodes, labelSets, (node, labels) => {
      const requirement = requirementOf(node);
      if (!requirement || !evaluateSelector(node, labels)) return;
      const found = labelValue(labels, requirement.key);
      assert.ok(found !== undefined && (requirement.values?.includes(found) ?? true));
    }),
    { numRuns: 300 },
  );
});
