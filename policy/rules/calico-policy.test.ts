import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Cidr } from '#kit';
import type { CalicoEntity, CalicoPolicyObject, CalicoRule } from '#model';
import { calicoPolicySubject, compileCalicoPolicy } from './calico-policy.ts';
import { otherPorts } from './ports.ts';
import { podSelectorText } from './sets.ts';
import { calicoTier, networkPolicyTier } from './tiers.ts';

function policy(part: Partial<CalicoPolicyObject>, namespace = ''): CalicoPolicyObject {
  return {
    metadata: { name: 'p', namespace, uid: 'u', labels: {}, annotations: {} },
    tier: 'default',
    selector: 'all()',
    types: ['Ingress', 'Egress'],
    ingress: [],
    egress: [],
    ...part,
  };
}
const rule = (part: Partial<CalicoRule>): CalicoRule => ({ action: 'Allow', source: {}, destination: {}, ...part });
const ingress = (part: Partial<CalicoRule>, namespace?: string) =>
  compileCalicoPolicy(policy({ ingress: [rule(part)] }, namespace)).program.ingress;
const source = (entity: CalicoEntity, namespace?: string) => ingress({ source: entity }, namespace);

test('all that a rule says must hold, lists hold any of theirs: one rule for each combination that no set can hold', () => {
  const found = ingress({
    protocol: 6,
    source: { nets: ['10.0.0.0/8', 'fd00::/8'] as Cidr[], notNets: ['10.1.0.0/16'] as Cidr[], selector: 'has(a)' },
    destination: {
      ports: [{ first: 81, last: 90 }, { name: 'web' }, { first: 80, last: 80 }],
      notPorts: [{ name: 'x' }],
    },
  });
  const conditions = [
    { side: 'source', not: false, type: 'address', set: 'pods:any;has(a)' },
    { side: 'source', not: true, type: 'address', set: 'nets:10.1.0.0/16' },
    { side: 'destination', not: true, type: 'namedPorts', set: 'ports:tcp:x:any;all()' },
  ];
  const net = (cidr: string) => ({ source: { type: 'cidr', cidr, except: [] } });
  const numbered = { destinationPorts: [{ first: 80, last: 90 }] };
  const named = { destinationNamedPorts: 'ports:tcp:web:any;all()' };
  assert.deepEqual(
    found,
    ['10.0.0.0/8', 'fd00::/8'].flatMap((cidr) =>
      [numbered, named].map((port) => ({ action: 'allow', protocol: 6, ...net(cidr), ...port, conditions })),
    ),
  );
});

test('many prefixes are one set; source ports, ICMP and negations stand as they are', () => {
  const nets = Array.from({ length: 5 }, (_, i) => `10.${i}.0.0/16` as Cidr);
  assert.deepEqual(source({ nets }), [{ action: 'allow', source: { type: 'set', set: `nets:${nets.join(',')}` } }]);
  const port = { first: 1, last: 1023 };
  assert.deepEqual(ingress({ protocol: 17, source: { ports: [port] } }), [
    { action: 'allow', protocol: 17, conditions: [{ side: 'source', not: false, type: 'ports', ports: [port] }] },
  ]);
  assert.deepEqual(
    ingress({ action: 'Log', protocol: 1, ipVersion: 4, icmp: { type: 8 }, notICMP: { type: 8, code: 1 } }),
    [{ action: 'log', family: 4, protocol: 1, icmp: { type: 8 }, notIcmp: { type: 8, code: 1 } }],
  );
  assert.deepEqual(ingress({ action: 'Pass', notProtocol: 17 }), [{ action: 'pass', notProtocol: 17 }]);
  assert.deepEqual(ingress({ action: 'Pass', protocol: 6, notProtocol: 17 }), [{ action: 'pass', protocol: 6 }]);
  assert.deepEqual(ingress({ action: 'Pass', protocol: 6, notProtocol: 6 }), []);
});

test('many ports that must not match are all others, of which any may', () => {
  const notPorts = Array.from({ length: 65 }, (_, i) => ({ first: 2 * i, last: 2 * i }));
  const few = ingress({ protocol: 6, destination: { notPorts: notPorts.slice(1) } });
  assert.deepEqual(few[0]?.conditions, [{ side: 'destination', not: true, type: 'ports', ports: notPorts.slice(1) }]);
  const [condition] = ingress({ protocol: 6, destination: { notPorts } })[0]?.conditions ?? [];
  assert.ok(condition?.type === 'ports' && !condition.not);
  for (const port of [0, 1, 64, 127, 128, 129, 65_535]) {
    const within = condition.ports.some(({ first, last }) => first <= port && port <= last);
    assert.equal(within, port > 128 || port % 2 === 1, `${port}`);
  }
  assert.equal(otherPorts([{ first: 0, last: 65_535 }]).length, 0);
});

test('whom an end selects: of the own namespace as soon as it selects at all, unless it says in which', () => {
  const set = (entity: CalicoEntity, namespace?: string) => {
    const [first] = source(entity, namespace);
    return first?.source?.type === 'set' ? first.source.set : undefined;
  };
  const own = "projectcalico.org/namespace == 'shop'";
  assert.equal(set({ selector: 'has(a)' }, 'shop'), `pods:any;has(a) && ${own}`);
  assert.equal(set({ notSelector: 'has(a)' }, 'shop'), `pods:any;!has(a) && ${own}`);
  assert.equal(set({ notSelector: 'has(a)' }), undefined);
  assert.equal(set({ nets: ['10.0.0.0/8' as Cidr] }, 'shop'), undefined);
  assert.equal(set({ namespaceSelector: "team == 'a'" }, 'shop'), "pods:any;pcns.team == 'a'");
  assert.equal(set({ namespaceSelector: 'all()' }), 'pods:any;has(projectcalico.org/namespace)');
  assert.equal(
    set({ namespaceSelector: 'global()', selector: 'has(a)' }),
    'pods:any;!has(projectcalico.org/namespace) && has(a)',
  );
  assert.equal(
    set({ serviceAccounts: { names: ['x', 'y'], selector: '!has(b)' } }, 'shop'),
    `pods:any;!has(pcsa.b) && ${own} && projectcalico.org/serviceaccount in {'x', 'y'}`,
  );
});

test('a service: its addresses and ports as a destination, its addresses as a source', () => {
  const services = { namespace: 'shop', name: 'web' };
  const egress = compileCalicoPolicy(
    policy({ egress: [rule({ protocol: 6, source: { selector: 'has(a)' }, destination: { services } })] }),
  );
  const destinationNamedPorts = 'service:shop/web';
  assert.deepEqual(egress.program.egress, [
    { action: 'allow', protocol: 6, source: { type: 'set', set: 'pods:any;has(a)' }, destinationNamedPorts },
  ]);
  assert.equal(egress.sets.get('service:shop/web')?.setType, 'ip,port');
  const ports = [{ first: 1024, last: 65535 }];
  assert.deepEqual(ingress({ protocol: 6, source: { services, ports } }), [
    {
      action: 'allow',
      protocol: 6,
      source: { type: 'set', set: 'service-addresses:shop/web' },
      conditions: [{ side: 'source', not: false, type: 'ports', ports }],
    },
  ]);
});

test('a pod counts for itself, also at an address that a network set holds', () => {
  const both = { selector: 'has(a)', notSelector: 'has(b)' };
  const selected = 'any;!has(b) && has(a)';
  assert.deepEqual(source(both), [{ action: 'allow', source: { type: 'set', set: `pods:${selected}` } }]);
  const condition = { side: 'source', not: false, type: 'namedPorts', set: `ports:tcp:web:${selected}` };
  const [named] = ingress({ protocol: 6, source: { ...both, ports: [{ name: 'web' }] } });
  assert.deepEqual(named?.conditions, [condition]);
  const [not] = ingress({ protocol: 6, source: { ...both, notPorts: [{ name: 'web' }] } });
  assert.deepEqual(not?.conditions, [{ ...condition, not: true }]);
  assert.deepEqual(source({ notSelector: 'has(b)' }), [
    { action: 'allow', conditions: [{ side: 'source', not: true, type: 'address', set: 'pods:any;has(b)' }] },
  ]);
});

test('the subject: by selector, namespace and service account', () => {
  const text = (part: Partial<CalicoPolicyObject>, namespace?: string) =>
    podSelectorText(calicoPolicySubject(policy(part, namespace)));
  assert.equal(text({}), 'any;all()');
  assert.equal(text({ selector: "app == 'web'" }, 'shop'), "any;app == 'web' && projectcalico.org/namespace == 'shop'");
  assert.equal(
    text({ namespaceSelector: 'has(team)', serviceAccountSelector: "role != 'x'" }),
    "any;has(pcns.team) && pcsa.role != 'x'",
  );
});

test('a rule of which something is not known fails closed; a direction that types leaves out has no rules', () => {
  for (const [action, expected] of [
    ['Allow', []],
    ['Log', []],
    ['Deny', [{ action: 'deny' }]],
    ['Pass', [{ action: 'deny' }]],
  ] as const) {
    assert.deepEqual(ingress({ action, unknown: true }), expected, action);
  }
  const { program } = compileCalicoPolicy(policy({ types: ['Egress'], ingress: [rule({})] }));
  assert.deepEqual(program, { ingress: [], egress: [] });
});

test('tiers: those of Kubernetes are as they are; one that is not there stands last and denies', () => {
  const metadata = policy({}).metadata;
  assert.equal(calicoTier('default', { metadata, order: 1, defaultAction: 'Pass' }), networkPolicyTier);
  assert.deepEqual(calicoTier('x', { metadata, order: 1, defaultAction: 'Pass' }), {
    name: 'x',
    order: 1,
    endOfTier: 'pass',
  });
  assert.deepEqual(calicoTier('x', undefined), { name: 'x', order: Number.POSITIVE_INFINITY, endOfTier: 'deny' });
});
