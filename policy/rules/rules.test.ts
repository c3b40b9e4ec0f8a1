import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Cidr, cidrContains, type IpAddress } from '#kit';
import type { LabelSelector, NetworkPolicyObject, NetworkPolicyPeer, NetworkPolicyRule } from '#model';
import { ipBlockMatch } from './ip-block.ts';
import { compileNetworkPolicy } from './network-policy.ts';
import { groupPorts, mergeRanges } from './ports.ts';

const everything: LabelSelector = { matchLabels: {}, matchExpressions: [] };
const web: LabelSelector = { matchLabels: { app: 'web' }, matchExpressions: [] };

function policy(part: {
  readonly ingress?: NetworkPolicyRule[];
  readonly egress?: NetworkPolicyRule[];
  readonly policyTypes?: NetworkPolicyObject['policyTypes'];
}): NetworkPolicyObject {
  return {
    metadata: { name: 'p', namespace: 'shop', uid: 'u', labels: {}, annotations: {} },
    podSelector: web,
    policyTypes: part.policyTypes ?? ['Ingress', 'Egress'],
    ingress: part.ingress ?? [],
    egress: part.egress ?? [],
  };
}

test('merged ranges hold the same ports, sorted, disjoint and not touching', () => {
  const range = fc.tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: -2, max: 10 }));
  fc.assert(
    fc.property(fc.array(range, { maxLength: 8 }), (pairs) => {
      const ranges = pairs.map(([first, more]) => ({ first, last: first + more }));
      const merged = mergeRanges(ranges);
      for (let port = 0; port <= 80; port++) {
        const within = (r: { first: number; last: number }): boolean => r.first <= port && port <= r.last;
        assert.equal(merged.some(within), ranges.some(within), `port ${port}`);
      }
      for (const [i, one] of merged.entries()) if (i > 0) assert.ok(merged[i - 1]!.last + 1 < one.first);
    }),
  );
});

test('a port entry without a port makes the rest of its protocol redundant, and of no other', () => {
  const groups = groupPorts([
    { protocol: 'UDP', port: 'dns' },
    { protocol: 'TCP', port: 80 },
    { protocol: 'TCP' },
    { protocol: 'UDP', port: 53 },
  ]);
  assert.deepEqual(groups, [
    { protocol: 'TCP', everyPort: true, ranges: [], names: [] },
    { protocol: 'UDP', everyPort: false, ranges: [{ first: 53, last: 53 }], names: ['dns'] },
  ]);
});

test('excepts are reduced without changing what the block holds', () => {
  const cidr = fc.constantFrom(
    ...([
      '0.0.0.0/0',
      '10.0.0.0/8',
      '10.0.0.0/30',
      '10.0.0.0/31',
      '10.0.0.1/32',
      '10.0.0.3/32',
      '11.0.0.0/8',
      '::/0',
      'fd00::/127',
    ] as Cidr[]),
  );
  const probes = [
    '10.0.0.0',
    '10.0.0.1',
    '10.0.0.2',
    '10.0.0.3',
    '10.9.9.9',
    '11.1.1.1',
    '12.1.1.1',
    'fd00::',
    'fd00::2',
  ] as IpAddress[];
  fc.assert(
    fc.property(cidr, fc.array(cidr, { maxLength: 4 }), (block, except) => {
      const match = ipBlockMatch({ cidr: block, except });
      for (const address of probes) {
        const expected = cidrContains(block, address) && !except.some((cut) => cidrContains(cut, address));
        const cuts = match?.type === 'cidr' ? match.except : [];
        const got =
          match?.type === 'cidr' &&
          cidrContains(match.cidr, address) &&
          !cuts.some((cut) => cidrContains(cut, address));
        assert.equal(got, expected, `${address} in ${block} except ${except}`);
        for (const cut of cuts)
          assert.ok(cut !== block && cidrContains(block, cut), `${cut} cuts nothing out of ${block}`);
      }
    }),
    { numRuns: 500 },
  );
});

test('no peer and no port means everything; an empty list of rules nothing', () => {
  const { program, sets } = compileNetworkPolicy(policy({ ingress: [{ peers: [], ports: [] }] }));
  assert.deepEqual(program, { ingress: [{ action: 'allow' }], egress: [] });
  assert.equal(sets.size, 0);
});

test('peers and ports of one rule multiply, those of two rules never meet', () => {
  const { program, sets } = compileNetworkPolicy(
    policy({
      ingress: [
        {
          peers: [{ podSelector: web }],
          ports: [
            { protocol: 'TCP', port: 80 },
            { protocol: 'TCP', port: 81, endPort: 90 },
          ],
        },
        { peers: [{ ipBlock: { cidr: '10.0.0.0/8' as Cidr, except: [] } }], ports: [{ protocol: 'UDP' }] },
      ],
    }),
  );
  const set = "pods:ns=shop;app == 'web'";
  assert.deepEqual(program.ingress, [
    { action: 'allow', source: { type: 'set', set }, protocol: 6, destinationPorts: [{ first: 80, last: 90 }] },
    { action: 'allow', source: { type: 'cidr', cidr: '10.0.0.0/8', except: [] }, protocol: 17 },
  ]);
  assert.deepEqual([...sets.keys()], [set]);
});

test('equal rules are one, also where their sets and ports are long', () => {
  const longSelector: LabelSelector = {
    matchLabels: {},
    matchExpressions: [{ key: 'app', operator: 'In', values: Array.from({ length: 2_000 }, (_, i) => `web-${i}`) }],
  };
  const ports = (from: number) =>
    Array.from({ length: 2_500 }, (_, i) => ({ protocol: 'TCP' as const, port: from + 2 * i }));
  const peers = [{ podSelector: longSelector }];
  const rule = (from: number): NetworkPolicyRule => ({ peers, ports: ports(from) });
  const named: NetworkPolicyRule = { peers, ports: [{ protocol: 'TCP', port: 'http' }] };
  const compiled = compileNetworkPolicy(
    policy({ ingress: [rule(1), rule(1), rule(2), named, named], egress: [named] }),
  );
  assert.equal(compiled.program.ingress.length, 3);
  assert.equal(new Set(compiled.program.ingress.map(({ destinationPorts }) => destinationPorts?.[0]?.first)).size, 3);
  assert.equal(compiled.program.egress.length, 1);
  assert.equal(compiled.sets.size, 3);
});

test('many whole blocks of a rule are one set, those with excepts stay', () => {
  const blocks = Array.from({ length: 5 }, (_, i) => ({ ipBlock: { cidr: `10.${i}.0.0/16` as Cidr, except: [] } }));
  const cut = { ipBlock: { cidr: '10.0.0.0/8' as Cidr, except: ['10.9.0.0/16' as Cidr] } };
  const ingress = (peers: NetworkPolicyPeer[]) =>
    compileNetworkPolicy(policy({ ingress: [{ peers, ports: [] }] })).program.ingress.map(({ source }) => source);
  const set = 'nets:10.0.0.0/16,10.1.0.0/16,10.2.0.0/16,10.3.0.0/16,10.4.0.0/16';
  assert.deepEqual(ingress([...blocks, cut]), [
    { type: 'cidr', cidr: '10.0.0.0/8', except: ['10.9.0.0/16'] },
    { type: 'set', set },
  ]);
  assert.equal(ingress([...blocks.slice(1), cut]).length, 5);
});

test('named ports: ingress on the selected pods, egress on the pods of the peer, never outside', () => {
  const ports = [{ protocol: 'TCP' as const, port: 'http' }];
  const { program, sets } = compileNetworkPolicy(
    policy({
      ingress: [{ peers: [{ namespaceSelector: everything }], ports }],
      egress: [
        { peers: [{ namespaceSelector: web }], ports },
        { peers: [], ports },
      ],
    }),
  );
  assert.deepEqual(program, {
    ingress: [
      {
        action: 'allow',
        source: { type: 'set', set: 'pods:ns(all());all()' },
        protocol: 6,
        destinationNamedPorts: "ports:tcp:http:ns=shop;app == 'web'",
      },
    ],
    egress: [
      { action: 'allow', protocol: 6, destinationNamedPorts: "ports:tcp:http:ns(app == 'web');all()" },
      { action: 'allow', protocol: 6, destinationNamedPorts: 'ports:tcp:http:ns(all());all()' },
    ],
  });
  assert.equal(sets.get("ports:tcp:http:ns=shop;app == 'web'")?.setType, 'ip,port');
  assert.ok(!sets.has("pods:ns(app == 'web');all()"), 'no set that no rule names');
});

test('a direction that policyTypes leaves out has no rules', () => {
  const rules = [{ peers: [{ podSelector: everything }], ports: [] }];
  const { program, sets } = compileNetworkPolicy(policy({ policyTypes: ['Egress'], ingress: rules }));
  assert.deepEqual(program, { ingress: [], egress: [] });
  assert.equal(sets.size, 0);
});

test('a peer without a known field allows nobody', () => {
  const { program } = compileNetworkPolicy(policy({ ingress: [{ peers: [{}], ports: [] }] }));
  assert.deepEqual(program.ingress, []);
});
