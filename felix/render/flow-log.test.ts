/** Rules that tell of packets: what they say of each, and that they decide nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PolicyRule, TierProgram } from '#model';
import { baseChains } from './base.ts';
import { renderEndpoint } from './endpoint.ts';
import { type FlowLabel, flowLogRules, flowNameHash, flowPrefix, parseFlowPrefix, tellOfDrops } from './flow-log.ts';
import { marksFromMask } from './marks.ts';
import { defaultNames as names } from './names.ts';
import { renderPolicy } from './policy.ts';
import type { Rule } from './rule.ts';

const marks = marksFromMask(0x000f0000);
const options = (verdicts: 'denied' | 'all') => ({ verdicts, group: 1179, ratePerSec: 10 });
const tells = ({ target }: Rule): boolean => target.startsWith('-j NFLOG');

const labels: fc.Arbitrary<FlowLabel> = fc.record(
  {
    verdict: fc.constantFrom('denied', 'allowed'),
    direction: fc.constantFrom('ingress', 'egress'),
    host: fc.constant(true as const),
    by: fc.oneof(
      fc.record({
        type: fc.constant('rule' as const),
        policy: fc.oneof(fc.stringMatching(/^[A-Za-z]+:[a-z./-]{1,80}$/), fc.string({ minLength: 1 })),
        rule: fc.nat(100_000),
      }),
      fc.record({ type: fc.constant('endOfTier' as const), tier: fc.string({ minLength: 1 }) }),
      fc.constant({ type: 'none' as const }),
      fc.constant({ type: 'staged' as const }),
    ),
  },
  { requiredKeys: ['verdict', 'direction', 'by'] },
);

test('a prefix fits in what the kernel keeps, quotes nothing, and is read back; a name that does not fit as its hash', () => {
  fc.assert(
    fc.property(labels, (made) => {
      // Of ordinary prototypes, for the comparison.
      const label = structuredClone(made);
      const prefix = flowPrefix(label);
      assert.match(prefix, /^[A-Za-z0-9_.:/#|-]{1,63}$/);
      const read = parseFlowPrefix(prefix)!;
      const { by } = label;
      const name = by.type === 'rule' ? by.policy : by.type === 'endOfTier' ? by.tier : '';
      const cut = name !== '' && !prefix.endsWith(`|${name}`);
      if (!cut) assert.deepEqual(read, label);
      else if (by.type === 'rule') assert.deepEqual(read, { ...label, by: { ...by, policy: flowNameHash(name) } });
      else assert.deepEqual(read, { ...label, by: { ...by, tier: flowNameHash(name) } });
    }),
  );
  assert.equal(
    flowPrefix({
      verdict: 'denied',
      direction: 'ingress',
      by: { type: 'rule', policy: 'NetworkPolicy:shop/api', rule: 3 },
    }),
    'DIR3|NetworkPolicy:shop/api',
  );
  assert.equal(
    flowPrefix({ verdict: 'denied', direction: 'egress', by: { type: 'endOfTier', tier: 'default' } }),
    'DET|default',
  );
});

test('what others log into the group is not ours', () => {
  for (const text of ['', 'calico:x', 'DIR|x', 'DIRx|y', 'DIR1|', 'XIN|', 'XEB|', 'DEB|x', 'DIN|more', 'DIT|'])
    assert.equal(parseFlowPrefix(text), undefined, text);
  fc.assert(fc.property(fc.string(), (text) => void parseFlowPrefix(text)));
});

const ruleArbitrary: fc.Arbitrary<PolicyRule> = fc.record(
  {
    action: fc.constantFrom('allow', 'deny', 'pass', 'log'),
    protocol: fc.constant(6),
    destinationPorts: fc.constant(Array.from({ length: 20 }, (_, i) => ({ first: i * 3, last: i * 3 }))),
  },
  { requiredKeys: ['action', 'protocol'] },
);

test('every rule that denies, and when asked every rule that allows, is told of with its own matches; nothing else changes', () => {
  fc.assert(
    fc.property(
      fc.array(ruleArbitrary, { maxLength: 5 }),
      fc.constantFrom('denied' as const, 'all' as const),
      (rules, verdicts) => {
        const context = { names, family: 4 as const, setName: () => undefined };
        const plain = renderPolicy(rules, 'NetworkPolicy:ns/p', context).rules;
        const flowLog = { ...options(verdicts), direction: 'egress' as const };
        const told = renderPolicy(rules, 'NetworkPolicy:ns/p', { ...context, flowLog }).rules;
        const isOurs = (rule: Rule): boolean => tells(rule) && rule.target.includes('1179');
        assert.deepEqual(
          told.filter((rule) => !isOurs(rule)),
          plain,
        );
        for (const [index, rule] of told.entries()) {
          const decides =
            rule.target === '-j DROP' || (verdicts === 'all' && rule.target === `-g ${names.chainPrefix}accepted`);
          const before = told[index - 1];
          assert.equal(before !== undefined && isOurs(before), decides);
          if (decides)
            assert.equal(before!.match, `${rule.match} -m limit --limit 10/second --limit-burst 20`.trimStart());
        }
      },
    ),
  );
  const { rules } = renderPolicy([{ action: 'pass' }, { action: 'deny' }], 'NetworkPolicy:ns/p', {
    names,
    family: 4,
    setName: () => undefined,
    flowLog: { ...options('denied'), direction: 'ingress' },
  });
  assert.equal(rules[1]!.target, '-j NFLOG --nflog-group 1179 --nflog-prefix "DIR2|NetworkPolicy:ns/p"');
});

test('the end of a tier that denies is told of, and what no policy decided when allowed flows are asked for', () => {
  const tiers: TierProgram[] = [
    { tier: 'first', policies: ['NetworkPolicy:ns/p'], endOfTier: 'pass' },
    { tier: 'default', policies: ['NetworkPolicy:ns/q'], endOfTier: 'deny' },
  ];
  const context = { names, marks };
  const plain = renderEndpoint(tiers, 'ingress', 'ns/pod', context);
  for (const [verdicts, prefixes] of [
    ['denied', ['DIT|default']],
    ['all', ['DIT|default', 'AIN|']],
  ] as const) {
    const rules = renderEndpoint(tiers, 'ingress', 'ns/pod', { ...context, flowLog: options(verdicts) });
    const told = rules.filter(tells);
    assert.deepEqual(
      told.map(({ target }) => /"(.*)"/.exec(target)?.[1]),
      prefixes,
    );
    assert.deepEqual(
      rules.filter((rule) => !tells(rule)),
      plain,
    );
    assert.ok(
      told[0]!.match.startsWith(rules[rules.indexOf(told[0]!) + 1]!.match),
      'the drop that it tells of follows',
    );
  }
  const open = renderEndpoint([], 'egress', 'ns/pod', { ...context, flowLog: options('all') });
  assert.deepEqual(open.length, 2);
  // What a policy accepted was told of there.
  assert.match(open[0]!.match, /^-m mark --mark 0x0\/0x10000 -m limit/);
});

test('where staged policies have a say, what is accepted is told of once, and nothing else changes', () => {
  const tiers: TierProgram[] = [
    { tier: 'first', policies: ['NetworkPolicy:ns/p'], endOfTier: 'pass' },
    { tier: 'default', policies: ['NetworkPolicy:ns/q'], endOfTier: 'deny' },
  ];
  const withFlowLog = { names, marks, flowLog: options('denied') };
  const plain = renderEndpoint(tiers, 'ingress', 'ns/pod', withFlowLog);
  const staged = renderEndpoint(tiers, 'ingress', 'ns/pod', { ...withFlowLog, isStaged: true });
  const isOurs = ({ target }: Rule): boolean => target.includes('"AIS|"');
  assert.deepEqual(
    staged.filter((rule) => !isOurs(rule)),
    plain,
  );
  // Ahead of each way out, with its matches: the next tier is not entered, or the chain ends.
  const waysOut = staged.flatMap((rule, index) => (isOurs(rule) ? [[rule, staged[index + 1]!] as const] : []));
  const limit = '-m limit --limit 10/second --limit-burst 20';
  assert.deepEqual(
    waysOut.map(([rule, next]) => [rule.match, next.target]),
    [
      [`-m mark --mark 0x10000/0x10000 ${limit}`, '-j RETURN'],
      [limit, `-g ${names.chainPrefix}accepted`],
    ],
  );
  // All allowed flows are told of already; none are, with the flow log off.
  for (const flowLog of [options('all'), undefined])
    assert.deepEqual(
      renderEndpoint(tiers, 'ingress', 'ns/pod', { ...withFlowLog, flowLog, isStaged: true }),
      renderEndpoint(tiers, 'ingress', 'ns/pod', { ...withFlowLog, flowLog }),
    );
});

test('what the base chains drop is told of by its comment, which fits, with no second comparison', () => {
  for (const family of [4, 6] as const) {
    for (const { rules } of baseChains({ names, marks, family })) {
      assert.equal(tellOfDrops(rules, names, undefined).rules, rules);
      const told = tellOfDrops(rules, names, options('denied'));
      assert.deepEqual(
        told.rules.map(({ match }) => match),
        rules.map(({ match }) => match),
      );
      for (const [index, rule] of rules.entries()) {
        const after = told.rules[index]!;
        if (rule.target !== '-j DROP') {
          assert.equal(after, rule);
          continue;
        }
        const [log, drop, ...more] = told.chains.get(after.target.replace('-g ', ''))!;
        assert.deepEqual([drop!.match, drop!.target, more], ['', '-j DROP', []]);
        const by = { type: 'dataplane', reason: rule.comment };
        const prefix = /"(.*)"/.exec(log!.target)![1]!;
        assert.deepEqual(parseFlowPrefix(prefix), { verdict: 'dropped', direction: 'egress', by });
      }
    }
  }
});

test('the limit stays within what xt_limit takes', () => {
  const label = { verdict: 'denied', direction: 'ingress', by: { type: 'none' } } as const;
  const [rule] = flowLogRules('', label, '', { verdicts: 'denied', group: 1, ratePerSec: 10_000 });
  assert.equal(rule!.match, '-m limit --limit 10000/second --limit-burst 10000');
});
