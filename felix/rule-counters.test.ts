import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCounters } from './drivers/iptables/counters.ts';
import { defaultNames, endpointChain, policyChain } from './render/names.ts';
import { ruleCounters } from './rule-counters.ts';

const policy = 'NetworkPolicy:a/p';
const program = { ingress: [{ tier: 'default', policies: [policy], endOfTier: 'deny' as const }], egress: [] };

test('counters of kernel rules under policy, rule and tier; several kernel rules of one are summed', () => {
  const counts = parseCounters(`
*mangle
:poplin-x - [9:900]
[1:60] -A poplin-x -p tcp -m comment --comment "poplin:AAAAAAAAAAAAAAAA NetworkPolicy:a/p rule 1 allow" -g poplin-accepted
[2:80] -A poplin-x -m comment --comment "poplin:BBBBBBBBBBBBBBBB NetworkPolicy:a/p rule 1 allow" -g poplin-accepted
[7:70] -A poplin-x -m comment --comment "poplin:CCCCCCCCCCCCCCCC NetworkPolicy:a/p rule 2 deny" -j NFLOG
[4:40] -A poplin-x -m comment --comment "poplin:DDDDDDDDDDDDDDDD NetworkPolicy:a/p rule 2 deny" -j DROP
[5:50] -A poplin-y -m comment --comment "poplin:EEEEEEEEEEEEEEEE a/x ingress: end of tier default" -j DROP
[3:30] -A OTHER -j ACCEPT
COMMIT`);
  assert.equal(counts.size, 5);
  const rule = (letter: string, comment: string, target: string) => ({
    match: '',
    target,
    comment,
    hash: letter.repeat(16),
  });
  const chains = new Map([
    [
      policyChain(defaultNames, 'ingress', policy),
      [
        rule('A', `${policy} rule 1 allow`, '-g poplin-accepted'),
        rule('B', `${policy} rule 1 allow`, '-g poplin-accepted'),
        rule('C', `${policy} rule 2 deny`, '-j NFLOG'),
        rule('D', `${policy} rule 2 deny`, '-j DROP'),
        // Written, and not there any more when counters were read.
        rule('Z', `${policy} rule 3 deny`, '-j DROP'),
      ],
    ],
    [
      endpointChain(defaultNames, 'ingress', 'pop1'),
      [
        rule('E', 'a/x ingress: end of tier default', '-j DROP'),
        rule('F', 'a/x ingress: accepted', '-g poplin-accepted'),
      ],
    ],
  ]);
  const found = ruleCounters(program, 'pop1', {
    names: defaultNames,
    family: 4,
    written: (chain) => chains.get(chain) ?? [],
    counts,
  });
  assert.deepEqual(
    found.map(({ chain: _, ...counter }) => counter),
    [
      { family: 4, direction: 'ingress', policy, rule: 0, packets: 3, bytes: 140 },
      { family: 4, direction: 'ingress', policy, rule: 1, packets: 4, bytes: 40 },
      { family: 4, direction: 'ingress', endOfTier: 'default', packets: 5, bytes: 50 },
    ],
  );
});
