import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Cidr } from '#kit';
import type { ClusterPolicyObject, ClusterPolicyRule, LabelSelector } from '#model';
import { compileClusterPolicy } from './cluster-policy.ts';
import { distinctRules } from './peer-rules.ts';
import { adminTier, baselineTier, comparePlaces, networkPolicyTier, type PolicyPlace, type Tier } from './tiers.ts';

const everything: LabelSelector = { matchLabels: {}, matchExpressions: [] };
const web: LabelSelector = { matchLabels: { app: 'web' }, matchExpressions: [] };
const everyPod = { type: 'pods', namespaceSelector: everything, podSelector: everything } as const;
const unknown = { type: 'unknown' } as const;

function policy(part: Partial<Pick<ClusterPolicyObject, 'ingress' | 'egress'>>): ClusterPolicyObject {
  return {
    metadata: { name: 'p', namespace: '', uid: 'u', labels: {}, annotations: {} },
    tier: 'Admin',
    priority: 1,
    subject: { namespaceSelector: everything, podSelector: web },
    ingress: [],
    egress: [],
    ...part,
  };
}

test('peers and ports of a rule multiply, all with its action, in the place of the rule', () => {
  const ports: ClusterPolicyRule['ports'] = [
    { type: 'numbers', protocol: 'TCP', first: 81, last: 90 },
    { type: 'numbers', protocol: 'TCP', first: 80, last: 80 },
    { type: 'name', name: 'web' },
  ];
  const networks = { type: 'networks', networks: ['10.0.0.0/8', 'fd00::/8'] as Cidr[] } as const;
  const { program, sets } = compileClusterPolicy(
    policy({
      ingress: [{ action: 'Deny', peers: [everyPod], ports }],
      egress: [
        { action: 'Pass', peers: [{ type: 'nodes', selector: web }, networks], ports: [] },
        { action: 'Accept', peers: [everyPod], ports: [{ type: 'name', name: 'web' }] },
      ],
    }),
  );
  const source = { type: 'set', set: 'pods:ns(all());all()' };
  assert.deepEqual(program, {
    ingress: [
      { action: 'deny', source, protocol: 6, destinationPorts: [{ first: 80, last: 90 }] },
      { action: 'deny', source, destinationNamedPorts: "ports:any:web:ns(all());app == 'web'" },
    ],
    egress: [
      { action: 'pass', destination: { type: 'set', set: "pods:nodes;app == 'web'" } },
      { action: 'pass', destination: { type: 'cidr', cidr: '10.0.0.0/8', except: [] } },
      { action: 'pass', destination: { type: 'cidr', cidr: 'fd00::/8', except: [] } },
      { action: 'allow', destinationNamedPorts: 'ports:any:web:ns(all());all()' },
    ],
  });
  assert.deepEqual(
    [...sets.keys()].sort(),
    [
      "pods:nodes;app == 'web'",
      'pods:ns(all());all()',
      "ports:any:web:ns(all());app == 'web'",
      'ports:any:web:ns(all());all()',
    ].sort(),
  );
});

test('all names of ports together are one set of each peer; many prefixes of a rule are one set, whichever peer they stand in', () => {
  const prefixes = Array.from({ length: 6 }, (_, i) => `10.${i}.0.0/16` as Cidr);
  const networks = (...list: Cidr[]) => ({ type: 'networks', networks: list }) as const;
  const names = ['dns', 'web', 'web'].map((name) => ({ type: 'name', name }) as const);
  const { program, sets } = compileClusterPolicy(
    policy({
      egress: [
        { action: 'Deny', peers: [networks(prefixes[5]!, prefixes[0]!), networks(...prefixes)], ports: [] },
        { action: 'Accept', peers: [everyPod], ports: names },
      ],
    }),
  );
  const nets = `nets:${prefixes.join(',')}`;
  assert.deepEqual(program.egress, [
    { action: 'deny', destination: { type: 'set', set: nets } },
    { action: 'allow', destinationNamedPorts: 'ports:any:dns,web:ns(all());all()' },
  ]);
  assert.deepEqual(sets.get(nets), { id: nets, setType: 'net', prefixes });
});

test('what is not known of a rule makes it fail closed: Accept is about nothing, Deny and Pass deny everything', () => {
  const open: ClusterPolicyRule = { action: 'Accept', peers: [everyPod], ports: [] };
  for (const part of [{ peers: [everyPod, unknown] }, { ports: [unknown] }]) {
    for (const action of ['Accept', 'Deny', 'Pass'] as const) {
      const { program } = compileClusterPolicy(policy({ egress: [{ ...open, action, ...part }] }));
      assert.deepEqual(program.egress, action === 'Accept' ? [] : [{ action: 'deny' }], action);
    }
  }
});

test('names of a rule go together in one set, equal for equal names, beside the other peers', () => {
  const names = (...list: string[]) => ({ type: 'domainNames', names: list }) as const;
  const { program, sets } = compileClusterPolicy(
    policy({
      egress: [
        { action: 'Accept', peers: [names('example.com'), everyPod, names('*.b.org', 'example.com')], ports: [] },
      ],
    }),
  );
  const id = 'domains:*.b.org,example.com';
  assert.deepEqual(program.egress, [
    { action: 'allow', destination: { type: 'set', set: 'pods:ns(all());all()' } },
    { action: 'allow', destination: { type: 'set', set: id } },
  ]);
  assert.deepEqual(sets.get(id), { id, setType: 'ip', domains: ['*.b.org', 'example.com'] });
});

test('names where a rule does not accept, or is for ingress, are as what is not known', () => {
  const peers = [{ type: 'domainNames', names: ['example.com'] }] as const;
  for (const action of ['Deny', 'Pass'] as const)
    assert.deepEqual(compileClusterPolicy(policy({ egress: [{ action, peers, ports: [] }] })).program.egress, [
      { action: 'deny' },
    ]);
  assert.deepEqual(
    compileClusterPolicy(policy({ ingress: [{ action: 'Accept', peers, ports: [] }] })).program.ingress,
    [],
  );
});

test('of equal rules the first stays, where it decides', () => {
  const rules = distinctRules([{ action: 'deny' }, { action: 'allow' }, { action: 'deny' }]);
  assert.deepEqual(rules, [{ action: 'deny' }, { action: 'allow' }]);
});

test('places: tiers by order, then policies by order as numbers, none last, equal ones by name', () => {
  const place = (tier: Tier, order: number | undefined, name = ''): PolicyPlace => ({ tier, order, name });
  const other: Tier = { name: 'security', order: 500_000, endOfTier: 'deny' };
  const sorted = [
    place(adminTier, 9),
    place(adminTier, 10, 'a'),
    place(adminTier, 10, 'b'),
    place(adminTier, 100),
    place(adminTier, undefined),
    place(other, 3),
    place(networkPolicyTier, 1000),
    place(baselineTier, 0),
  ];
  assert.deepEqual(sorted.toReversed().sort(comparePlaces), sorted);
});
