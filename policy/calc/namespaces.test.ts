import assert from 'node:assert/strict';
import { test } from 'node:test';
import { and, has, isIn, not, selector } from '#model';
import { Namespaces } from './namespaces.ts';
import { noWork } from './work.ts';

test('a selector that every one of many namespaces meets finds them all', () => {
  const namespaces = new Namespaces(noWork());
  for (let i = 0; i < 100; i++) namespaces.setObject(`ns${i}`, { team: 'a' });
  assert.equal(namespaces.acquire(selector(has('kubernetes.io/metadata.name'))).namespaces.size, 100);
  assert.equal(namespaces.acquire(selector(isIn('team', ['a']))).namespaces.size, 100);
});

test('a selector by one label of many namespaces looks only at those that carry it', () => {
  const work = noWork();
  const namespaces = new Namespaces(work);
  for (let i = 0; i < 1000; i++) namespaces.setObject(`ns${i}`, { team: `t${i}` });
  const before = work.evaluations;
  const scope = namespaces.acquire(selector(and([isIn('team', ['t7']), not(has('drained'))])));
  assert.deepEqual([...scope.namespaces], ['ns7']);
  assert.equal(work.evaluations - before, 1);
});

test('the default label holds the name, whatever the object says', () => {
  const namespaces = new Namespaces(noWork());
  namespaces.setObject('red', { 'kubernetes.io/metadata.name': 'blue' });
  const named = (name: string) => [
    ...namespaces.acquire(selector(isIn('kubernetes.io/metadata.name', [name]))).namespaces,
  ];
  assert.deepEqual([named('red'), named('blue')], [['red'], []]);
});

test('a namespace lives while its object or a pod does, and comes back without its past', () => {
  const namespaces = new Namespaces(noWork());
  const scope = namespaces.acquire(selector(has('team')));
  namespaces.setObject('red', { team: 'a' });
  namespaces.addPod('red');
  namespaces.setObject('red', undefined);
  assert.deepEqual([...scope.namespaces], [], 'without its object only the default label is left');
  namespaces.setObject('red', { team: 'a' });
  namespaces.removePod('red');
  assert.deepEqual([...scope.namespaces], ['red']);
  namespaces.setObject('red', undefined);
  assert.deepEqual([...scope.namespaces], []);
  namespaces.setObject('red', {});
  assert.deepEqual([...scope.namespaces], []);
  assert.deepEqual([...namespaces.scopesOf('red')], []);
});

test('a released selector is forgotten', () => {
  const namespaces = new Namespaces(noWork());
  namespaces.setObject('red', { team: 'a' });
  const heard: string[] = [];
  namespaces.onChange((_, namespace, matches) => heard.push(`${namespace} ${matches}`));
  const first = namespaces.acquire(selector(has('team')));
  assert.equal(namespaces.acquire(selector(has('team'))), first, 'equal selectors share one scope');
  namespaces.release(first);
  namespaces.setObject('red', {});
  assert.deepEqual(heard, ['red false'], 'still in use once');
  namespaces.release(first);
  namespaces.setObject('red', { team: 'a' });
  assert.deepEqual(heard, ['red false']);
});
