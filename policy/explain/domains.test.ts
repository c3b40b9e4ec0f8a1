import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IpAddress } from '#kit';
import { evaluate } from './evaluate.ts';
import { explainDirection } from './explain.ts';
import { PolicyStateStore } from './policy-state.ts';

test('a name that has the address is told with the rule that matched, and its names in words', () => {
  const id = 'domains:*.example.com,b.org';
  const state = new PolicyStateStore({
    learnt: (set, address) =>
      set === id && address === '192.0.2.1' ? { name: 'www.example.com', leftSec: 7 } : undefined,
    wasLearnt: (_set, address) => address === '192.0.2.2',
  });
  state.apply([
    { type: 'set', id, setType: 'ip', members: ['192.0.2.1'], domains: ['*.example.com', 'b.org'] },
    {
      type: 'policy',
      id: 'P',
      program: { ingress: [], egress: [{ action: 'allow', destination: { type: 'set', set: id } }] },
    },
    {
      type: 'endpoint',
      id: 'ns/a',
      program: { ingress: [], egress: [{ tier: 'default', policies: ['P'], endOfTier: 'deny' }] },
    },
  ]);
  const packet = {
    fromAddress: '10.0.0.1' as IpAddress,
    protocol: 'TCP',
    port: 443,
    endpoint: 'ns/a',
    direction: 'egress',
  } as const;
  const ruleOf = (to: string) =>
    explainDirection(state, { ...packet, toAddress: to as IpAddress }).tiers[0]?.policies[0]?.rules[0];
  assert.deepEqual(ruleOf('192.0.2.1'), {
    rule: 0,
    action: 'allow',
    text: 'allow all traffic to *.example.com, b.org (1 address)',
    matched: true,
    learnt: { name: 'www.example.com', leftSec: 7 },
  });
  const verdict = (established: boolean): string =>
    evaluate(state, { ...packet, toAddress: '192.0.2.2' as IpAddress, established }).verdict;
  assert.equal(ruleOf('192.0.2.2')?.matched, false);
  assert.deepEqual([verdict(false), verdict(true)], ['deny', 'allow'], 'what began earlier goes on');
});
