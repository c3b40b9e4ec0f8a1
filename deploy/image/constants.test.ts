import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { withConstants } from './constants.ts';

suite('constants of a bundle', () => {
  test('what is declared once with a value and never assigned is a constant, in the order in which it stood', () => {
    assert.equal(
      withConstants('var a=1,b=class b{};b.x=2;var c=()=>a,later;var d=3;export{a as z,b,c,d,later};'),
      'const a=1,b=class b{};b.x=2;const c=()=>a;var later;const d=3;export{a as z,b,c,d,later};',
    );
  });

  for (const [what, text] of [
    ['assigned', 'var a=1;a=2;'],
    ['assigned in a function', 'var a=1;function f(){a+=2}'],
    ['assigned if it has none', 'var a=1;a??=2;'],
    ['counted', 'var a=1;a++;'],
    ['counted down before it is used', 'var a=1;f(--a);'],
    ['taken out of an object', 'var a=1;({x:a}=y);'],
    ['taken out of an array, with a default', 'var a=1;[a=3]=y;'],
    ['what is left of an object', 'var a=1;({x,...a}=y);'],
    ['the variable of a loop', 'var a=1;for(a of y);'],
    ['the variable of a loop over names', 'var a=1;for(a in y);'],
    ['declared twice', 'var a=1;f();var a=2;'],
    ['declared without a value', 'var a;'],
    ['a pattern', 'var {a}=y;'],
  ] as const)
    test(`stays a variable: ${what}`, () => assert.equal(withConstants(text), text));

  test('what only looks like it, and what is in a function, is left alone', () => {
    const text = 'const a=1;let b=2;b=3;function f(){var c=4;return c}for(var d=0;d<b;d++)f();';
    assert.equal(withConstants(text), text);
    assert.equal(withConstants('var a={};a.x=1;a[0]++;'), 'const a={};a.x=1;a[0]++;');
  });

  test('of what is no module it says so', () => {
    assert.throws(() => withConstants('var a=;'), /the bundle cannot be read: /);
  });
});
