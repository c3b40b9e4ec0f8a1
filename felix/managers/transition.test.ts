import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PolicyRule } from '#model';
import { SetUses } from './set-uses.ts';
import { planTransition, type SetChange } from './transition.ts';

type Action = PolicyRule['action'];
const from = (set: string, action: Action = 'allow'): PolicyRule => ({ action, source: { type: 'set', set } });
const to = (set: string, action: Action = 'allow'): PolicyRule => ({ action, destination: { type: 'set', set } });
const change = (id: string, added: string[], removed: string[] = []): SetChange => ({ id, added, removed });

function plan(
  rules: { readonly ingress?: readonly PolicyRule[]; readonly egress?: readonly PolicyRule[] },
  changes: readonly SetChange[],
  extra: { readonly rulesChange?: boolean; readonly usesKnown?: boolean } = {},
): { readonly contested: string[]; readonly held: string[] } {
  const uses = new SetUses();
  uses.add('ingress', rules.ingress ?? []);
  uses.add('egress', rules.egress ?? []);
  const input = { changes, useOf: uses.of.bind(uses), rulesChange: false, usesKnown: true, ...extra };
  const { contested, held } = planTransition(input);
  return { contested: [...contested], held: [...held] };
}
const nothing = { contested: [], held: [] };
const [a, b] = ['10.0.0.1', '10.0.0.2'];

test('a pod that leaves one set for another is never in neither, where its packets meet no other change', () => {
  const moves = [change('A', [], [a]), change('B', [a])];
  assert.deepEqual(plan({ ingress: [from('A'), from('B')] }, moves), nothing);
  assert.deepEqual(plan({ ingress: [from('A')], egress: [to('B')] }, moves), nothing);
  // Two pods, as sources here and as destinations there: one packet may meet both.
  const two = [change('A', [], [a]), change('B', [b])];
  assert.deepEqual(plan({ ingress: [from('A'), from('B')] }, two), nothing);
  assert.deepEqual(plan({ ingress: [from('A')], egress: [to('B')] }, two).contested, ['A', 'B']);
  // One rule needs both.
  const both: PolicyRule = { ...from('A'), protocol: 6, destinationNamedPorts: 'B' };
  const ports = [change('A', [a]), change('B', [], ['10.0.0.2,tcp:80'])];
  assert.deepEqual(plan({ ingress: [both] }, ports).contested, ['A', 'B']);
  // A pod's own ports, and who it is to others.
  const own: PolicyRule = { action: 'allow', protocol: 6, destinationNamedPorts: 'P' };
  const self = [change('P', ['10.0.0.1,tcp:80']), change('E', [], [a])];
  assert.deepEqual(plan({ ingress: [own], egress: [to('E')] }, self).contested, ['P', 'E']);
});

test('with rules that change, and with sets that deny, what closes comes first', () => {
  const one = [change('A', [a], [b])];
  assert.deepEqual(plan({ ingress: [from('A')] }, one, { rulesChange: true }), { contested: ['A'], held: [] });
  // Additions come first as they are.
  assert.deepEqual(plan({ ingress: [from('D', 'deny')] }, [change('D', [a], [b])], { rulesChange: true }), nothing);
  const moves = [change('A', [], [a]), change('D', [], [a])];
  assert.deepEqual(plan({ ingress: [from('A'), from('D', 'deny')] }, moves), { contested: ['A'], held: [] });
  // All of it opens: any order will do.
  const opens = [change('A', [a]), change('D', [], [b])];
  assert.deepEqual(plan({ ingress: [from('A'), from('D', 'deny')] }, opens), nothing);
});

test('what pass rules or several actions name is held, unless a packet meets that change alone', () => {
  const pass = { ingress: [from('P', 'pass')] };
  assert.deepEqual(plan(pass, [change('P', [a], [b])]), nothing);
  assert.deepEqual(plan(pass, [change('P', [a], [b])], { rulesChange: true }).held, [a, b]);
  const mixed = { ingress: [from('M'), from('M', 'deny'), from('A')] };
  assert.deepEqual(plan(mixed, [change('M', [a])]), nothing);
  assert.deepEqual(plan(mixed, [change('M', [a]), change('A', [b])]), nothing);
  assert.deepEqual(plan(mixed, [change('M', [a]), change('A', [], [a])]), { contested: ['A'], held: [a] });
  const ways = { ingress: [from('P', 'pass')], egress: [to('P', 'pass')] };
  assert.deepEqual(plan(ways, [change('P', [a, b])]).held, [a, b]);
  assert.deepEqual(plan(ways, [change('P', [a])]), nothing);
});

test('after a restart all that changes is held; sets that no rule names are left alone', () => {
  const moves = [change('A', [a], [b])];
  assert.deepEqual(plan({ ingress: [from('A')] }, moves, { usesKnown: false }).held, [a, b]);
  assert.deepEqual(plan({}, moves, { rulesChange: true }), nothing);
  assert.deepEqual(plan({ ingress: [from('A', 'log')] }, moves, { rulesChange: true }), nothing);
});

test('sets that a rule excludes open and close the other way round, and are never in both', () => {
  const but = (set: string, action: Action = 'allow'): PolicyRule => ({
    action,
    conditions: [{ side: 'source', not: true, type: 'address', set }],
  });
  const one = (id: string) => [change(id, [a], [b])];
  assert.deepEqual(plan({ ingress: [but('A')] }, one('A'), { rulesChange: true }), nothing);
  assert.deepEqual(plan({ ingress: [but('D', 'deny')] }, one('D'), { rulesChange: true }).contested, ['D']);
  assert.deepEqual(plan({ ingress: [but('P', 'pass')] }, one('P'), { rulesChange: true }).held, [a, b]);
  assert.deepEqual(plan({ ingress: [from('B'), but('B')] }, one('B'), { rulesChange: true }).held, [a, b]);
  // In both for a moment, it would be denied by neither.
  const moves = [change('D', [], [a]), change('E', [a])];
  assert.deepEqual(plan({ ingress: [but('D', 'deny'), but('E', 'deny')] }, moves).contested, ['D', 'E']);
});

test('a packet may meet changes at both of its ends where a rule asks about its own end, twice about one set, or about prefixes', () => {
  const own = (set: string): PolicyRule => ({ action: 'pass', destination: { type: 'set', set } });
  const two = [change('P', [a]), change('Q', [], [b])];
  assert.deepEqual(plan({ ingress: [from('P', 'pass'), from('Q', 'pass')] }, two), nothing);
  assert.deepEqual(plan({ ingress: [from('P', 'pass'), own('Q')] }, two).held, [a, b]);
  const moves = [change('A', [], [a]), change('B', [a])];
  assert.deepEqual(plan({ ingress: [from('A')], egress: [from('B')] }, moves).contested, ['A', 'B']);
  const both: PolicyRule = { ...from('A'), destination: { type: 'set', set: 'A' } };
  assert.deepEqual(plan({ ingress: [both] }, [change('A', [a], [b])]).contested, ['A']);
  const prefixes = [change('P', ['10.0.0.0/24'], ['10.0.1.0/24'])];
  assert.deepEqual(plan({ ingress: [from('P', 'pass')] }, prefixes).held, ['10.0.0.0/24', '10.0.1.0/24']);
  assert.deepEqual(plan({ ingress: [from('P', 'pass')] }, [change('P', ['10.0.0.0/24'])]), nothing);
});

test('uses are counted, and forgotten with the last rule', () => {
  const uses = new SetUses();
  const rules = [from('A'), from('A', 'deny'), { ...from('A', 'pass'), destinationNamedPorts: 'B' }];
  uses.add('ingress', rules);
  uses.add('egress', [to('A')]);
  const { beside, ...counts } = uses.of('A')!;
  assert.deepEqual(counts, { allow: 2, deny: 1, pass: 1, ingress: 3, egress: 1, negated: 0, near: 0, namedPorts: 0 });
  assert.deepEqual([...beside], [['B', 1]]);
  uses.remove('ingress', rules);
  assert.deepEqual([...uses.of('A')!.beside], []);
  uses.remove('egress', [to('A')]);
  assert.deepEqual([uses.of('A'), uses.of('B')], [undefined, undefined]);
});
