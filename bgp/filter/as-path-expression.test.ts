import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AsPathExpressions } from './as-path-expression.ts';
import { expressionCharsMax, pathSymbols } from './expression-parser.ts';

const matches = (expression: string, path: string): boolean => {
  const symbols = pathSymbols(path);
  return new AsPathExpressions([expression]).match(symbols, symbols.length)?.[0] === 1;
};

test('customary expressions over AS paths', () => {
  const cases: [string, string, boolean][] = [
    ['_65001_', '65001', true],
    ['_65001_', '1 65001 2', true],
    ['_65001_', '165001', false],
    ['_65001_', '1 {65001,2}', true],
    ['^65001$', '65001', true],
    ['^65001$', '65001 1', false],
    ['^65001_', '65001 1', true],
    ['_65001$', '1 65001', true],
    ['^$', '', true],
    ['^$', '1', false],
    ['.*', '', true],
    ['_', '', true],
    ['^_65001_$', '65001', true],
    ['^[0-9]+$', '65001', true],
    ['^[0-9]+$', '65001 65002', false],
    ['^65001( 65001)*$', '65001 65001 65001', true],
    ['^65001( 65001)*$', '65001 65001 65002', false],
    ['_(64512|64513)_', '1 64513', true],
    ['^[0-9]+ [0-9]+$', '1 2', true],
    ['_6[0-9]{4}_', '1 60000', true],
    ['_6[0-9]{4}_', '1 600000', false],
    ['\\{.*\\}', '1 {2,3}', true],
    ['(_1){2}', '1 1', true],
    ['_1_2_', '1 2', true],
    ['^(_1_)?$', '', true],
  ];
  for (const [expression, path, expected] of cases) {
    assert.equal(matches(expression, path), expected, `${expression} on "${path}"`);
  }
});

test('as a backtracking matcher says, on random expressions and paths', () => {
  const atom = fc.constantFrom('1', '2', '12', '.', '_', '^', '$', '[12]', '[^1]', '[0-9]', ' ', '\\{', ',');
  const { expression } = fc.letrec<{ expression: string }>((tie) => ({
    expression: fc.oneof(
      { maxDepth: 3, withCrossShrink: true },
      atom,
      fc.tuple(tie('expression'), tie('expression')).map(([a, b]) => a + b),
      fc.tuple(tie('expression'), tie('expression')).map(([a, b]) => `(${a}|${b})`),
      fc.tuple(tie('expression'), fc.constantFrom('*', '+', '?', '{2}', '{1,2}', '{2,}')).map(([a, b]) => `(${a})${b}`),
    ),
  }));
  // Short: the oracle's time doubles with every character where repetitions are nested, which is why it is the oracle only.
  const asn = fc.constantFrom('1', '2', '12');
  const segment = fc.oneof(
    asn,
    fc.tuple(asn, asn).map(([a, b]) => `{${a},${b}}`),
  );
  const path = fc.array(segment, { maxLength: 3 }).map((segments) => segments.join(' ').slice(0, 12));
  fc.assert(
    fc.property(
      fc.array(expression, { minLength: 1, maxLength: 4 }),
      fc.array(path, { maxLength: 4 }),
      (texts, paths) => {
        // Together, on one path after the other: what was learned of the first must hold for the next. With and without room for it.
        const together = new AsPathExpressions(texts);
        const crowded = [{ visits: 0 }, { states: 3 }].map((limits) => new AsPathExpressions(texts, limits));
        const oracles = texts.map((text) => new RegExp(text.replaceAll('_', '(?:^|$|[ ,{}()])')));
        for (const on of paths) {
          const symbols = pathSymbols(on);
          const expected = oracles.map((oracle) => (oracle.test(on) ? 1 : 0));
          for (const each of [together, ...crowded]) {
            assert.deepEqual([...each.match(symbols, symbols.length)!], expected, `${texts.join('   ')} on "${on}"`);
          }
        }
      },
    ),
    { numRuns: 3000 },
  );
});

test('no expression takes more than a look-up a character; beyond a full table of states each place is followed', () => {
  const long = `${'11 '.repeat(20_000)}2`;
  for (const expression of ['^(1+)+$', '(1|11|1 )*3$', '^(([0-9]* ?)*)*,$', '(.*1){20}3']) {
    assert.equal(matches(expression, long), false, expression);
  }
  // Positions of every 1 among the last 12 characters: more states than the table holds.
  const [wide, several] = [new AsPathExpressions(['1.{12}2$']), new AsPathExpressions(['1.{12}2$', '2.{12}1$', '^1'])];
  let seed = 1;
  const random = (): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed >>> 16;
  };
  for (let round = 0; round < 300; round++) {
    const text = Array.from({ length: 60 }, () => (random() % 2 === 0 ? '1' : '2')).join('');
    const symbols = pathSymbols(text);
    const expected = [/1.{12}2$/.test(text), /2.{12}1$/.test(text), text.startsWith('1')].map(Number);
    assert.deepEqual([...wide.match(symbols, symbols.length)!], expected.slice(0, 1), text);
    assert.deepEqual([...several.match(symbols, symbols.length)!], expected, text);
  }
});

test('RFC 8654: the longest path is decided, or is not, in bounded work, whatever the expression', () => {
  let seed = 7;
  const digits = Array.from({ length: 16_000 }, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return 1_000_000_000 + seed / 2;
  });
  const longest = pathSymbols(digits.map(Math.floor).join(' '));
  const usual = longest.subarray(0, 54);
  const cases: readonly [string, boolean][] = [
    ['1.{20}5$', true],
    ['(1|2|3|4|5).{200}5$', false],
    ['((1|2|3)?){255}$', false],
    ['([0-9]+ ){100}99$', false],
  ];
  for (const [expression, decided] of cases) {
    const made = new AsPathExpressions([expression]);
    assert.equal(made.match(longest, longest.length) !== undefined, decided, expression);
    for (const each of [made, new AsPathExpressions([expression])]) {
      assert.notEqual(each.match(usual, usual.length), undefined, expression);
    }
  }
});

test('what is no expression is refused with a reason', () => {
  const cases: [string, RegExp][] = [
    ['(1', /a parenthesis is not closed/],
    ['1)', /closes nothing/],
    ['[1', /a bracket is not closed/],
    ['[2-1]', /2-1 is not a range/],
    ['*1', /repeats nothing/],
    ['AS1', /A does not occur in AS paths/],
    ['1\\', /does not occur/],
    ['1{3,2}', /not a number of repetitions/],
    ['1{256}', /not a number of repetitions/],
    ['(((1{99}){99}){99})', /too large/],
    ['1'.repeat(expressionCharsMax + 1), /at most 512 characters/],
  ];
  for (const [text, reason] of cases) {
    assert.throws(
      () => new AsPathExpressions([text]),
      (error) => error instanceof RangeError && reason.test(error.message),
      text,
    );
  }
});
